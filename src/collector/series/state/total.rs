//! Adding a delta to a total: what would spoil the total for good is not added, and nothing is swallowed.
//!
//! It must not change a total that it refuses to add to.

use crate::{
    collector::exact::two_sum,
    exposition::family::{Histogram, Number, Value},
};

/// A total with a delta.
#[derive(Debug, PartialEq)]
pub(super) struct Sum {
    pub(super) total: Value,
    /// What rounding took from the total's double: so small deltas add up on large totals too.
    pub(super) rest: f64,
    /// It goes on from the total before; otherwise it begins anew with the delta.
    pub(super) added: bool,
}

/// `delta` on top of `total`, whose double lacks `rest`.
///
/// # Errors
/// The reason why it is not added.
pub(super) fn sum(total: &Value, rest: f64, delta: Value) -> Result<Sum, &'static str> {
    match (total, delta) {
        (Value::Number(total), Value::Number(delta)) if is_finite(*total) => {
            let (number, rest) = add(*total, rest, delta)?;
            Ok(Sum { total: Value::Number(number), rest, added: true })
        }
        // Nothing was counted, whatever the buckets are in which that is said.
        (Value::Histogram(total), Value::Histogram(delta)) if delta.count == 0 => {
            Ok(Sum { total: Value::Histogram(total.clone()), rest, added: true })
        }
        (Value::Histogram(total), Value::Histogram(delta)) if total.count == 0 => {
            Ok(Sum { total: Value::Histogram(delta), rest: 0.0, added: true })
        }
        (Value::Histogram(total), Value::Histogram(delta))
            if total.bounds == delta.bounds && total.sum.is_none_or(is_finite) =>
        {
            let (histogram, rest) = add_histogram(total, rest, delta)?;
            Ok(Sum { total: Value::Histogram(histogram), rest, added: true })
        }
        // Counts of different buckets cannot be added, nor anything to what is no number.
        (_, delta) => Ok(Sum { total: first(delta), rest: 0.0, added: false }),
    }
}

/// The total that begins with this delta.
pub(super) fn first(mut delta: Value) -> Value {
    if let Value::Histogram(histogram) = &mut delta
        && histogram.count == 0
    {
        // Nothing adds up to nothing.
        histogram.sum = histogram.sum.or(Some(Number::Float(0.0)));
    }
    delta
}

fn add_histogram(total: &Histogram, rest: f64, delta: Histogram) -> Result<(Histogram, f64), &'static str> {
    let plus = |a: u64, b: u64| a.checked_add(b).ok_or("overflow");
    let counts =
        total.counts.iter().zip(&delta.counts).map(|(a, b)| plus(*a, *b)).collect::<Result<_, _>>()?;
    let count = plus(total.count, delta.count)?;
    let (sum, rest) = match (total.sum, delta.sum) {
        (Some(total), Some(delta)) => {
            let (sum, rest) = add(total, rest, delta)?;
            (Some(sum), rest)
        }
        // The sum of all would never be known again.
        (Some(_), None) => return Err("no_sum"),
        // That of what was counted before never was.
        (None, _) => (None, 0.0),
    };
    Ok((Histogram { bounds: delta.bounds, counts, sum, count }, rest))
}

/// The sum, and what rounding took from it. Of whole numbers one of which is an integer it is an integer, as long as
/// there is one; then it goes on as a double.
fn add(total: Number, rest: f64, delta: Number) -> Result<(Number, f64), &'static str> {
    let has_integer = !matches!((total, delta), (Number::Float(_), Number::Float(_)));
    if has_integer
        && let (Some(total), Some(delta)) = (whole(total, rest), whole(delta, 0.0))
        && let Some(sum) = total.checked_add(delta)
    {
        return Ok((Number::Int(sum), 0.0));
    }
    let ((total, rest), (delta, delta_rest)) = (double(total, rest), double(delta, 0.0));
    let (sum, error) = two_sum(total, delta);
    let (rounded, rest) = two_sum(sum, error + (rest + delta_rest));
    // Only a total that was sent as such can be so large.
    if rounded.is_finite() { Ok((Number::Float(rounded), rest)) } else { Err("overflow") }
}

/// The number as an integer, where it is one.
fn whole(number: Number, rest: f64) -> Option<i64> {
    match number {
        Number::Int(value) => Some(value),
        Number::Uint(value) => i64::try_from(value).ok(),
        Number::Float(value) if value.fract() == 0.0 && rest.fract() == 0.0 => {
            i64::try_from((value as i128).checked_add(rest as i128)?).ok()
        }
        Number::Float(_) => None,
    }
}

/// The number as a double, and what rounding took from that.
fn double(number: Number, rest: f64) -> (f64, f64) {
    let exact = match number {
        Number::Int(value) => i128::from(value),
        Number::Uint(value) => i128::from(value),
        Number::Float(value) => return (value, rest),
    };
    let rounded = number.as_f64();
    (rounded, (exact - rounded as i128) as f64)
}

/// Whether anything can be added to it.
pub(super) fn is_finite(number: Number) -> bool {
    number.as_f64().is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::exact::LARGEST;

    fn histogram(bounds: &[f64], counts: &[u64], sum: Option<f64>) -> Value {
        Value::Histogram(Histogram {
            bounds: bounds.into(),
            counts: counts.to_vec(),
            sum: sum.map(Number::Float),
            count: counts.iter().sum(),
        })
    }

    fn int(value: i64) -> Value {
        Value::Number(Number::Int(value))
    }

    fn float(value: f64) -> Value {
        Value::Number(Number::Float(value))
    }

    fn added(total: &Value, delta: Value) -> Result<Value, &'static str> {
        sum(total, 0.0, delta).map(|sum| sum.total)
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
        assert!(!sum(&total, 0.0, others()).unwrap().added);
    }

    #[test]
    fn what_would_spoil_a_total_is_not_added() {
        for (total, delta, expected) in [
            (float(f64::MAX), float(f64::MAX), Err("overflow")),
            (float(0.1), float(1e15), Ok(float(1e15 + 0.1))),
            (float(f64::NAN), float(5.0), Ok(float(5.0))),
            (float(f64::INFINITY), int(5), Ok(int(5))),
        ] {
            assert_eq!(added(&total, delta.clone()), expected, "{total:?} {delta:?}");
        }
    }

    #[test]
    fn what_is_whole_stays_exact_beside_an_integer() {
        for (total, delta, expected) in [
            (int(i64::MAX - 1), int(1), int(i64::MAX)),
            (int(i64::MAX - 1), float(1.0), int(i64::MAX)),
            (float(LARGEST), int(1), int(9_007_199_254_740_993)),
            (int(5), float(0.5), float(5.5)),
            (float(5.5), int(1), float(6.5)),
            (float(1.0), float(1.0), float(2.0)),
            // Beyond all integers it goes on as a double.
            (int(i64::MAX), int(1), float(2_f64.powi(63))),
            (int(i64::MIN), int(-1), float(-2_f64.powi(63))),
        ] {
            assert_eq!(added(&total, delta.clone()), Ok(expected), "{total:?} {delta:?}");
        }
    }

    #[test]
    fn no_delta_swallows_those_after_it() {
        for (first, small, times, expected) in [
            (float(LARGEST), float(LARGEST), 3, 4.0 * LARGEST),
            (float(2.0 * LARGEST), float(1.0), 64, 2.0 * LARGEST + 64.0),
            (int(i64::MAX), int(1), 2048, 2_f64.powi(63) + 2048.0),
            (float(0.0), float(0.1), 100_000, 10_000.0),
        ] {
            let mut total = Sum { total: first, rest: 0.0, added: true };
            for _ in 0..times {
                total = sum(&total.total, total.rest, small.clone()).unwrap();
            }
            assert_eq!(total.total, float(expected));
        }
    }

    #[test]
    fn a_histogram_is_added_whole_or_not_at_all() {
        let total = histogram(&[1.0], &[1, 2], Some(1.5));
        let many = histogram(&[1.0], &[0, u64::MAX - 1], Some(1.0));
        assert_eq!(added(&total, many), Err("overflow"));
        assert_eq!(added(&total, histogram(&[1.0], &[1, 1], None)), Err("no_sum"));
        let without = histogram(&[1.0], &[1, 2], None);
        assert_eq!(added(&without, histogram(&[1.0], &[1, 1], None)), Ok(histogram(&[1.0], &[2, 3], None)));
        assert_eq!(
            added(&without, histogram(&[1.0], &[1, 1], Some(1.0))),
            Ok(histogram(&[1.0], &[2, 3], None))
        );
    }

    #[test]
    fn nothing_counted_changes_nothing_and_has_no_buckets_of_its_own() {
        let total = histogram(&[1.0], &[1, 2], Some(1.5));
        for empty in [
            histogram(&[1.0], &[0, 0], None),
            histogram(&[], &[0], None),
            histogram(&[2.0], &[0, 0], Some(0.0)),
        ] {
            assert_eq!(first(empty.clone()), histogram_of_nothing(&empty));
            assert_eq!(
                sum(&total, 0.25, empty.clone()),
                Ok(Sum { total: total.clone(), rest: 0.25, added: true })
            );
            let begun = sum(&first(empty), 0.0, total.clone());
            assert_eq!(begun, Ok(Sum { total: total.clone(), rest: 0.0, added: true }));
        }
    }

    fn histogram_of_nothing(like: &Value) -> Value {
        let Value::Histogram(histogram) = like else { unreachable!() };
        Value::Histogram(Histogram { sum: Some(Number::Float(0.0)), ..histogram.clone() })
    }
}
