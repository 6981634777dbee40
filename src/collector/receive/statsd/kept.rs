//! What is kept of series beyond this process: their totals, the last values of gauges, and when they began.
//!
//! It must not write anything itself: values go into the spool with the lines of the same flush. A value is a byte
//! that says whose it is, the start, and then what the series stands at; numbers are little endian.

use super::{
    aggregate::{Histogram, Series},
    line::Kind,
};
use crate::collector::export::graphite::spool::{self, Entries, Values};

/// Tells a value from those of the series table.
const STATSD: u8 = 16;
/// How long what no series has gone on from is kept: a nightly job is to find its counter again.
const EXPIRES_AFTER: u64 = 48 * 3600 * 1_000_000_000;

/// The values that this module kept, and those of others.
#[must_use]
pub fn split(values: Values) -> (Values, Values) {
    values.into_iter().partition(|(_, value)| value.first() == Some(&STATSD))
}

/// What an earlier process kept, as far as no series has gone on from it.
#[derive(Debug)]
pub(super) struct Kept {
    values: Values,
    loaded: u64,
}

impl Kept {
    /// `now` is in nanoseconds since 1970.
    pub(super) const fn new(values: Values, now: u64) -> Self {
        Self { values, loaded: now }
    }

    /// What was kept of a series that is heard of.
    pub(super) fn claim<T: Keep>(
        &mut self,
        kind: Kind,
        name: &str,
        key: &str,
        bounds: &[f64],
    ) -> Option<Series<T>> {
        if self.values.is_empty() {
            return None;
        }
        let value = self.values.remove(&identity(kind, name, key, bounds))?;
        let (start, rest) = value.strip_prefix(&[STATSD])?.split_first_chunk()?;
        Some(Series { start: u64::from_le_bytes(*start), state: T::decoded(rest)? })
    }

    /// Forgets in `state` what nobody has asked for.
    pub(super) fn expire(&mut self, now: u64, state: &mut Entries) {
        if now.saturating_sub(self.loaded) > EXPIRES_AFTER {
            std::mem::take(&mut self.values).keys().for_each(|identity| state.put(*identity, &[]));
        }
    }
}

/// What a series is kept under: another where its buckets have other bounds.
pub(super) fn identity(kind: Kind, name: &str, key: &str, bounds: &[f64]) -> u128 {
    let what: &[u8; 1] = match kind {
        Kind::Counter => b"c",
        Kind::Gauge => b"g",
        Kind::Timer => b"t",
        Kind::Distribution => b"d",
        Kind::Set => b"s",
    };
    let is_histogram = matches!(kind, Kind::Timer | Kind::Distribution);
    let bounds = if is_histogram { bounds } else { &[] };
    let bounds: Vec<u8> = bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
    let [bounds_length, name_length] = [bounds.len(), name.len()].map(|length| (length as u64).to_le_bytes());
    let parts: [&[u8]; 7] =
        [b"statsd", what, &bounds_length, &bounds, &name_length, name.as_bytes(), key.as_bytes()];
    spool::identity(&parts)
}

/// A series as it is kept.
pub(super) fn encoded<T: Keep>(series: &Series<T>) -> Vec<u8> {
    let mut bytes = vec![STATSD];
    bytes.extend(series.start.to_le_bytes());
    series.state.encode(&mut bytes);
    bytes
}

/// What a series can stand at.
pub(super) trait Keep: Sized {
    fn encode(&self, bytes: &mut Vec<u8>);
    /// `None` where these bytes are none.
    fn decoded(bytes: &[u8]) -> Option<Self>;
}

impl Keep for f64 {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }
}

impl Keep for Histogram {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.count.to_le_bytes());
        // One that is not there any more is no number.
        bytes.extend(self.sum.unwrap_or(f64::NAN).to_le_bytes());
        bytes.extend(self.buckets.iter().flat_map(|bucket| bucket.to_le_bytes()));
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let [count, sum, buckets @ ..] = numbers else { return None };
        let sum = f64::from_le_bytes(*sum);
        Some(Self {
            count: u64::from_le_bytes(*count),
            sum: (!sum.is_nan()).then_some(sum),
            buckets: buckets.iter().map(|bucket| u64::from_le_bytes(*bucket)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{aggregate::Aggregate, tally::Tally},
        *,
    };

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            start in any::<u64>(),
            number in proptest::num::f64::NORMAL,
            count in any::<u64>(),
            sum in proptest::option::of(proptest::num::f64::NORMAL),
            buckets in proptest::collection::vec(any::<u64>(), 1..40),
        ) {
            let identity = identity(Kind::Counter, "gorets", "", &[]);
            let read = |bytes: Vec<u8>| Kept::new([(identity, bytes.into())].into(), 0);
            let series = read(encoded(&Series { start, state: number })).claim(Kind::Counter, "gorets", "", &[1.0]);
            prop_assert_eq!(series.map(|series| (series.start, series.state)), Some((start, number)));
            let state = Histogram { count, sum, buckets: buckets.into() };
            let series = Series { start, state };
            let kept = read(encoded(&series)).claim::<Histogram>(Kind::Counter, "gorets", "", &[]);
            prop_assert_eq!(format!("{kept:?}"), format!("{:?}", Some(series)));
        }
    }

    #[test]
    fn a_series_is_told_by_kind_name_tags_and_the_bounds_of_a_histogram() {
        let identities = [
            identity(Kind::Counter, "a", "", &[]),
            identity(Kind::Gauge, "a", "", &[]),
            identity(Kind::Counter, "ab", "", &[]),
            identity(Kind::Counter, "a", "b", &[]),
            identity(Kind::Timer, "a", "", &[1.0]),
            identity(Kind::Timer, "a", "", &[2.0]),
            identity(Kind::Distribution, "a", "", &[1.0]),
        ];
        assert_eq!(identities.iter().collect::<std::collections::HashSet<_>>().len(), identities.len());
        assert_eq!(identities[0], identity(Kind::Counter, "a", "", &[1.0]), "a counter has no bounds");
    }

    #[test]
    fn what_no_series_goes_on_from_is_forgotten_in_the_end() {
        let value = encoded(&Series { start: 1, state: 5.0 });
        let values = Values::from([(7, value.into())]);
        let mut aggregate = Aggregate::new(vec![1.0], 10).with_kept(Some(Kept::new(values, 100)));
        assert!(aggregate.state(100 + EXPIRES_AFTER).is_empty());
        let mut forgotten = Entries::default();
        forgotten.put(7, &[]);
        assert_eq!(aggregate.state(101 + EXPIRES_AFTER), forgotten);
        assert!(aggregate.state(102 + EXPIRES_AFTER).is_empty());
        aggregate.add(b"gorets:1|c\nusers:1|s", 3, &mut Tally::default());
        assert_eq!(aggregate.state(4).len(), Entries::bytes_of(17), "a set is of one interval");
    }
}
