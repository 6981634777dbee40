//! Adding a delta to a total: what would spoil the total for good is not added.
//!
//! It must not change a total that it refuses to add to.

use crate::exposition::family::{Histogram, Number, Value};

/// The largest double below which all whole numbers are there.
const WHOLE: f64 = 9_007_199_254_740_992.0;
/// The part of a total that may be lost where a large double is added to it.
const LOST_PART: f64 = 1e-9;

/// A total with a delta.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) total: Value,
    /// It goes on from the total before; otherwise it begins anew with the delta.
    pub(super) added: bool,
}

/// `delta` on top of `total`.
///
/// # Errors
/// The reason why it is not added.
pub(super) fn sum(total: &Value, delta: Value) -> Result<Sum, &'static str> {
    let added = |total| Sum { total, added: true };
    match (total, delta) {
        (Value::Number(total), Value::Number(delta)) if is_finite(*total) => {
            Ok(added(Value::Number(add(*total, delta)?)))
        }
        (Value::Histogram(total), Value::Histogram(delta))
            if total.bounds == delta.bounds && total.sum.is_none_or(is_finite) =>
        {
            Ok(added(Value::Histogram(add_histogram(total, delta)?)))
        }
        // Counts of different buckets cannot be added, nor anything to what is no number.
        (_, delta) => Ok(Sum { total: delta, added: false }),
    }
}

fn add_histogram(total: &Histogram, delta: Histogram) -> Result<Histogram, &'static str> {
    let plus = |a: u64, b: u64| a.checked_add(b).ok_or("overflow");
    let counts =
        total.counts.iter().zip(&delta.counts).map(|(a, b)| plus(*a, *b)).collect::<Result<_, _>>()?;
    let count = plus(total.count, delta.count)?;
    let sum = match (total.sum, delta.sum) {
        (Some(total), Some(delta)) => Some(add(total, delta)?),
        // Nothing adds up to nothing.
        (sum, None) if delta.count == 0 => sum,
        // The sum of all would never be known again.
        (Some(_), None) => return Err("no_sum"),
        (None, _) => None,
    };
    Ok(Histogram { bounds: delta.bounds, counts, sum, count })
}

fn add(total: Number, delta: Number) -> Result<Number, &'static str> {
    if let (Number::Int(total), Number::Int(delta)) = (total, delta) {
        return total.checked_add(delta).map(Number::Int).ok_or("overflow");
    }
    let (total, delta) = (total.as_f64(), delta.as_f64());
    let sum = total + delta;
    // A delta so large that what was counted before is no more to be seen in the sum.
    let swallows = delta.abs() > WHOLE && (sum - delta - total).abs() > total.abs() * LOST_PART;
    if sum.is_finite() && !swallows { Ok(Number::Float(sum)) } else { Err("overflow") }
}

/// Whether anything can be added to it.
pub(super) fn is_finite(number: Number) -> bool {
    number.as_f64().is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64], counts: &[u64], sum: Option<f64>) -> Value {
        Value::Histogram(Histogram {
            bounds: bounds.into(),
            counts: counts.to_vec(),
            sum: sum.map(Number::Float),
            count: counts.iter().sum(),
        })
    }

    fn added(total: &Value, delta: Value) -> Result<Value, &'static str> {
        sum(total, delta).map(|sum| sum.total)
    }

    #[test]
    fn deltas_add_up_and_new_bounds_begin_anew() {
        let total = histogram(&[1.0], &[1, 2], Some(1.5));
        assert_eq!(
            added(&total, histogram(&[1.0], &[3, 4], Some(1.5))),
            Ok(histogram(&[1.0], &[4, 6], Some(3.0)))
        );
        let others = || histogram(&[2.0], &[1, 1], Some(1.5));
        assert_eq!(added(&total, others()), Ok(others()));
        assert!(!sum(&total, others()).unwrap().added);
    }

    #[test]
    fn what_would_spoil_a_total_is_not_added() {
        let int = |value| Value::Number(Number::Int(value));
        let float = |value| Value::Number(Number::Float(value));
        for (total, delta, expected) in [
            (int(i64::MAX - 1), int(1), Ok(int(i64::MAX))),
            (int(i64::MAX), int(1), Err("overflow")),
            (int(i64::MIN), int(-1), Err("overflow")),
            (float(f64::MAX), float(f64::MAX), Err("overflow")),
            (float(0.0), float(f64::MAX), Ok(float(f64::MAX))),
            (float(1.0), float(1e300), Err("overflow")),
            (int(5), float(1e16), Err("overflow")),
            (float(6e16), float(6.1e16), Ok(float(12.1e16))),
            (float(0.1), float(1e15), Ok(float(1e15 + 0.1))),
            (float(f64::NAN), float(5.0), Ok(float(5.0))),
            (float(f64::INFINITY), int(5), Ok(int(5))),
        ] {
            assert_eq!(added(&total, delta.clone()), expected, "{total:?} {delta:?}");
        }
    }

    #[test]
    fn a_histogram_is_added_whole_or_not_at_all() {
        let total = histogram(&[1.0], &[1, 2], Some(1.5));
        let many = histogram(&[1.0], &[0, u64::MAX - 1], Some(1.0));
        assert_eq!(added(&total, many), Err("overflow"));
        assert_eq!(added(&total, histogram(&[1.0], &[1, 1], Some(f64::MAX))), Err("overflow"));
        assert_eq!(added(&total, histogram(&[1.0], &[1, 1], None)), Err("no_sum"));
        assert_eq!(added(&total, histogram(&[1.0], &[0, 0], None)), Ok(total.clone()));
        let without = histogram(&[1.0], &[1, 2], None);
        assert_eq!(added(&without, histogram(&[1.0], &[1, 1], None)), Ok(histogram(&[1.0], &[2, 3], None)));
    }
}
