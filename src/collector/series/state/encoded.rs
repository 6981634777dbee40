//! A total as bytes, to be kept beyond this process.
//!
//! It must not trust them: what does not read as a total is none. All numbers are little endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | what it is: 1, 2, 3 a number (signed, unsigned, double), 4 a histogram; 5 a double, 6 a histogram with a rest |
//! | 8 | its time, in nanoseconds since 1970 |
//! | 8 | the number; of a histogram, the count of all values |
//! | 1, 8 | of a histogram: what its sum is (0 for none), and the sum |
//! | 8 | with a rest: what rounding took from the double, or from the sum |
//! | 8 each | of a histogram: the bounds, and the counts of the buckets, one more than bounds |

use super::{Newest, State, total::is_finite};
use crate::{
    collector::wire::{Content, Point},
    exposition::family::{Histogram, Number, Value},
};

const SIGNED: u8 = 1;
const UNSIGNED: u8 = 2;
const DOUBLE: u8 = 3;
const HISTOGRAM: u8 = 4;
const DOUBLE_WITH_REST: u8 = 5;
const HISTOGRAM_WITH_REST: u8 = 6;
/// Bytes of a number with what it is, its time and a rest.
const NUMBER_BYTES: usize = 25;
/// Bytes of a histogram beside bounds and counts.
const BESIDE_BUCKETS: usize = NUMBER_BYTES + 9;

impl State {
    /// The most bytes of [`encoded`](Self::encoded) after this point; exponential histograms are kept by as many
    /// bounds as `bounds`.
    pub(in crate::collector::series) fn encoded_bytes(point: &Point<'_>, bounds: usize) -> usize {
        let numbers = match &point.content {
            Content::Histogram(histogram) => histogram.bounds().len() + histogram.counts().len().max(1),
            Content::Exponential(_) => 2 * bounds + 1,
            Content::Number(_) | Content::Summary(_) => return NUMBER_BYTES,
        };
        BESIDE_BUCKETS + 8 * numbers
    }

    /// The newest value with its time; empty where there is none.
    pub(in crate::collector::series) fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.newest {
            Newest::None => {}
            Newest::Number(number, time) => {
                let (what, number) = number_bytes(*number);
                let rest = self.rest_bytes().filter(|_| what == DOUBLE);
                bytes.push(if rest.is_some() { DOUBLE_WITH_REST } else { what });
                bytes.extend(time.to_le_bytes());
                bytes.extend(number);
                bytes.extend(rest.into_iter().flatten());
            }
            Newest::Distribution(newest) => {
                // A summary is never a total.
                let (Value::Histogram(histogram), time) = &**newest else { return bytes };
                let rest = self.rest_bytes().filter(|_| histogram.sum.is_some());
                bytes.push(if rest.is_some() { HISTOGRAM_WITH_REST } else { HISTOGRAM });
                bytes.extend(time.to_le_bytes());
                bytes.extend(histogram.count.to_le_bytes());
                let (what, sum) = histogram.sum.map_or((0, [0; 8]), number_bytes);
                bytes.push(what);
                bytes.extend(sum);
                bytes.extend(rest.into_iter().flatten());
                bytes.extend(histogram.bounds.iter().flat_map(|bound| bound.to_le_bytes()));
                bytes.extend(histogram.counts.iter().flat_map(|count| count.to_le_bytes()));
            }
        }
        bytes
    }

    /// The rest, where there is one.
    fn rest_bytes(&self) -> Option<[u8; 8]> {
        (self.rest != 0.0).then(|| self.rest.to_le_bytes())
    }

    /// What was encoded; `None` where it is no total.
    pub(in crate::collector::series) fn decoded(bytes: &[u8]) -> Option<Self> {
        let (what, rest) = bytes.split_first()?;
        let (time, rest) = eight(rest)?;
        let (first, rest) = eight(rest)?;
        let mut lost = 0.0;
        let newest = match *what {
            HISTOGRAM | HISTOGRAM_WITH_REST => {
                let (sum_is, rest) = rest.split_first()?;
                let (sum, rest) = eight(rest)?;
                let sum = if *sum_is == 0 { None } else { Some(number(*sum_is, sum)?) };
                let rest = if *what == HISTOGRAM_WITH_REST { read_rest(rest, &mut lost)? } else { rest };
                let (numbers, []) = rest.as_chunks::<8>() else { return None };
                let (bounds, counts) = numbers.split_at(numbers.len() / 2);
                if counts.len() != bounds.len() + 1 {
                    return None;
                }
                let histogram = Histogram {
                    bounds: bounds.iter().map(|bound| f64::from_le_bytes(*bound)).collect(),
                    counts: counts.iter().map(|count| u64::from_le_bytes(*count)).collect(),
                    sum,
                    count: u64::from_le_bytes(first),
                };
                Newest::Distribution(Box::new((Value::Histogram(histogram), u64::from_le_bytes(time))))
            }
            DOUBLE_WITH_REST if read_rest(rest, &mut lost)?.is_empty() => {
                Newest::Number(number(DOUBLE, first)?, u64::from_le_bytes(time))
            }
            what if rest.is_empty() => Newest::Number(number(what, first)?, u64::from_le_bytes(time)),
            _ => return None,
        };
        Some(Self { newest, rest: lost, buckets: None })
    }
}

/// Reads what rounding took; one that is no number is none.
fn read_rest<'a>(bytes: &'a [u8], rest: &mut f64) -> Option<&'a [u8]> {
    let (lost, after) = eight(bytes)?;
    *rest = Some(f64::from_le_bytes(lost)).filter(|rest| rest.is_finite())?;
    Some(after)
}

fn number_bytes(number: Number) -> (u8, [u8; 8]) {
    match number {
        Number::Int(value) => (SIGNED, value.to_le_bytes()),
        Number::Uint(value) => (UNSIGNED, value.to_le_bytes()),
        Number::Float(value) => (DOUBLE, value.to_le_bytes()),
    }
}

fn number(what: u8, bytes: [u8; 8]) -> Option<Number> {
    match what {
        SIGNED => Some(Number::Int(i64::from_le_bytes(bytes))),
        UNSIGNED => Some(Number::Uint(u64::from_le_bytes(bytes))),
        // To what is no number nothing can be added: such a total begins anew.
        DOUBLE => Some(Number::Float(f64::from_le_bytes(bytes))).filter(|number| is_finite(*number)),
        _ => None,
    }
}

fn eight(bytes: &[u8]) -> Option<([u8; 8], &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(Number::Int),
            any::<u64>().prop_map(Number::Uint),
            proptest::num::f64::NORMAL.prop_map(Number::Float),
        ]
    }

    fn any_histogram() -> impl Strategy<Value = Value> {
        let buckets = proptest::collection::vec((any::<f64>(), any::<u64>()), 0..40);
        (buckets, any::<u64>(), any::<u64>(), proptest::option::of(any_number())).prop_map(
            |(buckets, last, count, sum)| {
                let (bounds, mut counts): (Vec<_>, Vec<_>) = buckets.into_iter().unzip();
                counts.push(last);
                Value::Histogram(Histogram { bounds: bounds.into(), counts, sum, count })
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            value in prop_oneof![any_number().prop_map(Value::Number), any_histogram()],
            time in any::<u64>(),
            rest in prop_oneof![Just(0.0), proptest::num::f64::NORMAL],
            cut in any::<prop::sample::Index>(),
        ) {
            let mut state = State::default();
            // Only doubles have a rest.
            let has_rest = match &value {
                Value::Number(number) => matches!(number, Number::Float(_)),
                Value::Histogram(histogram) => histogram.sum.is_some(),
                Value::Summary(_) => false,
            };
            state.newest.set(value, time);
            state.rest = if has_rest { rest } else { 0.0 };
            let bytes = state.encoded();
            // By their digits: of doubles, one that is not a number is not equal to itself.
            let decoded = State::decoded(&bytes).map(|decoded| format!("{decoded:?}"));
            prop_assert_eq!(decoded, Some(format!("{state:?}")));
            prop_assert!(bytes.len() > 1, "told from a beginning");
            // What is cut off is no total, unless a whole bucket with its bound is.
            let part = &bytes[..cut.index(bytes.len())];
            if (bytes.len() - part.len()) % 16 != 0 || part.len() < BESIDE_BUCKETS - 8 {
                prop_assert!(State::decoded(part).is_none());
            }
        }

        #[test]
        fn what_is_no_total_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(state) = State::decoded(&bytes) {
                prop_assert!([0, 8].contains(&(bytes.len() - state.encoded().len())), "a rest of 0 is none");
            }
        }
    }

    #[test]
    fn a_total_that_is_no_number_is_none() {
        for value in [f64::NAN, f64::INFINITY] {
            let mut state = State::default();
            state.newest.set(Value::Number(Number::Float(value)), 1);
            assert!(State::decoded(&state.encoded()).is_none());
        }
    }

    #[test]
    fn nothing_is_no_bytes() {
        assert!(State::default().encoded().is_empty() && State::decoded(&[]).is_none());
    }
}
