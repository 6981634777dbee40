//! What values add up to: totals that swallow nothing, and counts by bucket.
//!
//! Neither may be spoilt for good by one value: what cannot be added without that is refused.

use super::{NANOSECONDS_IN_SECOND as NANOSECONDS, tally::Reason};
use crate::collector::{exact::two_sum, series::AHEAD};

pub(super) use crate::collector::exact::LARGEST;

/// A sum of doubles, with what its last addition rounded away: so increments of one add up beyond 2⁵³ too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Total {
    pub(super) rounded: f64,
    pub(super) rest: f64,
}

impl Total {
    /// The nearest double.
    pub(super) const fn value(self) -> f64 {
        self.rounded
    }

    /// Adds, unless the increment is one that would swallow others.
    pub(super) fn add(&mut self, increment: f64) -> Result<(), Reason> {
        // A NaN is not within either.
        if !(-LARGEST..=LARGEST).contains(&increment) {
            return Err(Reason::Overflow);
        }
        let (sum, error) = two_sum(self.rounded, increment);
        let (rounded, rest) = two_sum(sum, error + self.rest);
        if !rounded.is_finite() {
            return Err(Reason::Overflow);
        }
        *self = Self { rounded, rest };
        Ok(())
    }
}

/// Counts of values by bucket, and their sum.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    pub(super) count: u64,
    /// `None` once a value was below zero: OTLP has a sum only of what never falls.
    pub(super) sum: Option<Total>,
    /// One more than there are bounds; bucket `i` holds what is above bound `i - 1` and up to bound `i`.
    pub(super) buckets: Box<[u64]>,
    /// How many more values the sample rates stand for than were counted, from -½ to ½: counts are whole.
    pub(super) owed: f64,
}

impl Histogram {
    pub(super) fn new(bounds: usize) -> Self {
        Self { count: 0, sum: Some(Total::default()), buckets: vec![0; bounds + 1].into(), owed: 0.0 }
    }

    /// Counts a value that was sent with a sample rate from 10⁻⁹ to 1, and so stands for itself at least.
    pub(super) fn record(&mut self, value: f64, rate: f64, bounds: &[f64]) -> Result<(), Reason> {
        let stands_for = self.owed + 1.0 / rate;
        let whole = stands_for.round();
        let weight = whole as u64;
        let count = self.count.checked_add(weight).ok_or(Reason::Overflow)?;
        if value < 0.0 {
            self.sum = None;
        } else if let Some(sum) = self.sum {
            // Once more than the rate says where a remainder is carried: in two parts, so that what the rate alone
            // allows is not too large for it.
            let mut more = sum;
            more.add(value * (whole - 1.0))?;
            more.add(value)?;
            self.sum = Some(more);
        }
        self.owed = stands_for - whole;
        self.count = count;
        self.buckets[bounds.partition_point(|bound| *bound < value)] += weight;
        Ok(())
    }
}

/// The newest value of a gauge, and those of its interval that have a time of their own.
///
/// A value is as of the second that it was sent for, or else of the second in which it came; the newest by that time is
/// the gauge's value. Where a flush wrote a point of a later time already, a value with a time gets a point of that time,
/// and goes on as one that was sent without.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge {
    pub(super) value: f64,
    /// The second that it was sent for, if it was and no later point was written.
    pub(super) second: Option<u64>,
    as_of: u64,
    /// Whether it was sent for that second, and did not only come in it.
    is_dated: bool,
    /// The time of the last point that a flush took, in nanoseconds since 1970.
    written: u64,
    /// Whether a flush took the value.
    is_flushed: bool,
    pub(super) others: Vec<(u64, f64)>,
}

impl Gauge {
    /// A gauge that an earlier process left, or that has expired.
    pub(super) fn restored(value: f64, as_of: u64) -> Self {
        Self { value, as_of, is_dated: true, is_flushed: true, ..Self::default() }
    }

    /// The second that the value is of.
    pub(super) const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The time of the value's point in a flush at `now`, both in nanoseconds since 1970.
    pub(super) fn time(&self, now: u64) -> u64 {
        match self.second {
            Some(second) => second.saturating_mul(NANOSECONDS),
            // Behind all that was written of it: a sender's clock may be ahead.
            None => now.max(self.as_of.saturating_mul(NANOSECONDS)).max(self.written),
        }
    }

    /// Moves the gauge, in the second `now`.
    pub(super) fn move_by(&mut self, change: f64, now: u64, room: &mut usize) -> Result<(), Reason> {
        let value = self.value + change;
        if change.abs() > LARGEST || !value.is_finite() {
            return Err(Reason::Overflow);
        }
        let pending = self.second.filter(|_| !self.is_flushed).map(|second| (second, self.value));
        self.push(pending, room)?;
        (self.value, self.second, self.as_of) = (value, None, self.as_of.max(now));
        (self.is_flushed, self.is_dated) = (false, false);
        Ok(())
    }

    /// Sets the gauge, in the second `now`; `room` is how many more points with times of their own there may be.
    pub(super) fn set(
        &mut self,
        value: f64,
        second: Option<u64>,
        now: u64,
        room: &mut usize,
    ) -> Result<(), Reason> {
        let as_of = second.unwrap_or(now);
        // No time so far ahead was taken: the clock was set back.
        let is_clock_set_back = self.as_of > now + AHEAD.as_secs();
        let is_newer_by_arrival = second.is_none() && !self.is_dated;
        if as_of < self.as_of && !is_clock_set_back && !is_newer_by_arrival {
            return self.push(Some((as_of, value)), room);
        }
        let pending = self.second.filter(|before| !self.is_flushed && *before != as_of);
        self.push(pending.map(|before| (before, self.value)), room)?;
        // A point of that time would be older than the last one that was written.
        let is_late = second.is_some_and(|second| second.saturating_mul(NANOSECONDS) <= self.written);
        if is_late {
            self.push(Some((as_of, value)), room)?;
        }
        (self.value, self.second, self.as_of) = (value, second.filter(|_| !is_late), as_of);
        (self.is_flushed, self.is_dated) = (false, second.is_some());
        Ok(())
    }

    fn push(&mut self, point: Option<(u64, f64)>, room: &mut usize) -> Result<(), Reason> {
        if let Some(point) = point {
            if let Some(last) = self.others.last_mut().filter(|last| last.0 == point.0) {
                *last = point;
                return Ok(());
            }
            *room = room.checked_sub(1).ok_or(Reason::MaxPoints)?;
            self.others.push(point);
        }
        Ok(())
    }

    /// The points of a flush at `now`, in nanoseconds since 1970, were taken.
    pub(super) fn end_interval(&mut self, now: u64) {
        self.written = self.written.max(self.time(now));
        self.is_flushed = true;
        self.others = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_increment_swallows_those_after_it() {
        let mut total = Total::default();
        for refused in [LARGEST + 2.0, -1e308, f64::INFINITY, f64::NAN] {
            assert_eq!(total.add(refused), Err(Reason::Overflow));
        }
        [LARGEST, LARGEST, 1.0, 1.0].into_iter().for_each(|increment| total.add(increment).unwrap());
        assert_eq!(total.value(), 2.0 * LARGEST + 2.0);
        (0..10).for_each(|_| total.add(0.1).unwrap());
        assert_eq!(total.value() + total.rest, 2.0 * LARGEST + 3.0);
        let mut tenths = Total::default();
        (0..1_000_000).for_each(|_| tenths.add(0.1).unwrap());
        assert_eq!(tenths.value(), 100_000.0);
    }

    #[test]
    fn a_gauge_has_a_point_for_each_second_that_it_was_sent_for() {
        let (mut gauge, mut room) = (Gauge::default(), 2);
        gauge.set(1.0, Some(100), 1000, &mut room).unwrap();
        gauge.set(2.0, Some(110), 1000, &mut room).unwrap();
        gauge.set(0.5, Some(90), 1000, &mut room).unwrap();
        assert_eq!(
            (gauge.value, gauge.second, gauge.others.as_slice()),
            (2.0, Some(110), &[(100, 1.0), (90, 0.5)][..])
        );
        assert_eq!(gauge.set(9.0, Some(80), 1000, &mut room), Err(Reason::MaxPoints));
        gauge.end_interval(1000 * NANOSECONDS);
        gauge.set(3.0, None, 1000, &mut 0).unwrap();
        gauge.move_by(1.0, 1001, &mut 0).unwrap();
        assert_eq!((gauge.value, gauge.second, gauge.others.len()), (4.0, None, 0));
        assert_eq!(gauge.move_by(2.0 * LARGEST, 1001, &mut 0), Err(Reason::Overflow));
        gauge.set(f64::MAX, None, 1001, &mut 0).unwrap();
        gauge.move_by(LARGEST, 1001, &mut 0).unwrap();
    }

    #[test]
    fn a_clock_that_is_set_back_freezes_no_gauge() {
        for second in [None, Some(9_000)] {
            let mut gauge = Gauge::default();
            gauge.set(1.0, second, 9_000, &mut 0).unwrap();
            gauge.end_interval(9_000 * NANOSECONDS);
            gauge.set(2.0, None, 5_000, &mut 0).unwrap();
            assert_eq!(gauge.value, 2.0, "{second:?}");
        }
        // Within what a sender's clock may be ahead, its time counts; values of one second have one point.
        let (mut gauge, mut room) = (Gauge::default(), 1);
        gauge.set(1.0, Some(5_300), 5_000, &mut room).unwrap();
        (0..10).for_each(|value| gauge.set(f64::from(value), None, 5_000, &mut room).unwrap());
        assert_eq!((gauge.value, gauge.others.as_slice()), (1.0, &[(5_000, 9.0)][..]));
    }

    #[test]
    fn what_a_rate_allows_is_not_too_large_for_its_remainder() {
        let mut histogram = Histogram::new(0);
        (0..10).for_each(|_| histogram.record(5e15, 0.7, &[]).unwrap());
        let sum = histogram.sum.unwrap().value();
        assert_eq!((histogram.count, sum), (14, 7e16));
    }

    proptest! {
        #[test]
        fn counts_stay_within_one_of_what_the_rates_stand_for(
            values in prop::collection::vec((0.0..10.0_f64, 0.001..=1.0_f64), 1..500),
        ) {
            let (mut histogram, mut expected) = (Histogram::new(1), 0.0);
            for (value, rate) in values {
                let before = histogram.count;
                histogram.record(value, rate, &[5.0]).unwrap();
                expected += 1.0 / rate;
                prop_assert!(histogram.count > before, "each value counts");
                prop_assert!((histogram.count as f64 - expected).abs() < 1.0);
                prop_assert_eq!(histogram.buckets.iter().sum::<u64>(), histogram.count);
            }
        }
    }
}
