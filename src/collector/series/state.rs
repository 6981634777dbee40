//! What a series stands at: cumulative points replace, delta points add up.

mod encoded;
mod total;

use std::{borrow::Cow, sync::Arc};

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use super::quantile::{self, Exponential};
use crate::{
    collector::wire::{self, Content, Point},
    exposition::family::{Histogram, Number, Summary, Value},
};

const NANOSECONDS: u64 = 1_000_000_000;

/// The newest value of a series with its time; nothing before the first point and after the series' end.
#[derive(Debug, Default)]
pub(super) struct State {
    newest: Newest,
    /// What rounding took from the double of a total.
    rest: f64,
    /// The last buckets of an exponential histogram, where quantiles are wanted of it.
    buckets: Option<Box<Exponential>>,
}

/// A value with its time; small for the many that are one number.
#[derive(Debug, Default)]
enum Newest {
    #[default]
    None,
    Number(Number, u64),
    Distribution(Box<(Value, u64)>),
}

impl Newest {
    fn time(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Number(_, time) => Some(*time),
            Self::Distribution(newest) => Some(newest.1),
        }
    }

    fn value(&self) -> Option<Cow<'_, Value>> {
        match self {
            Self::None => None,
            Self::Number(number, _) => Some(Cow::Owned(Value::Number(*number))),
            Self::Distribution(newest) => Some(Cow::Borrowed(&newest.0)),
        }
    }

    fn set(&mut self, value: Value, time: u64) {
        match (value, &mut *self) {
            (Value::Number(number), _) => *self = Self::Number(number, time),
            (value, Self::Distribution(newest)) => **newest = (value, time),
            (value, _) => *self = Self::Distribution(Box::new((value, time))),
        }
    }
}

/// A point as it was taken in.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its own value, where that is to be written; else it is the newest one, with its time.
    pub(super) own: Option<Value>,
    /// The stream was reset: what it counted began anew at its new start time.
    pub(super) reset: bool,
    /// It was added to what was counted before.
    pub(super) added: bool,
}

impl State {
    pub(super) fn value(&self) -> Option<Cow<'_, Value>> {
        self.newest.value()
    }

    /// The bounds of the newest histogram.
    pub(super) fn bounds(&self) -> Option<&Arc<[f64]>> {
        match &self.newest {
            Newest::Distribution(newest) => match &newest.0 {
                Value::Histogram(histogram) => Some(&histogram.bounds),
                _ => None,
            },
            _ => None,
        }
    }

    /// Nanoseconds since 1970.
    pub(super) fn time(&self) -> Option<u64> {
        self.newest.time()
    }

    /// The series has ended; a later point begins it anew.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Whether a cumulative point that says that it began at `start` could be the first after a reset.
    pub(super) fn may_be_reset(&self, start: u64) -> bool {
        self.time().is_some_and(|time| start > time)
    }

    /// Takes a point in, whose own value is `value`. A cumulative point that is older than the newest one changes
    /// nothing; its own value is returned, unless the newest one is of the same second. A newest time beyond
    /// `horizon` is that of a broken clock, and must not hold up the points that follow.
    ///
    /// # Errors
    /// The reason why a delta is not added: it would spoil the total for good. The total stays as it is.
    pub(super) fn take(
        &mut self,
        value: Value,
        point: &Point<'_>,
        delta: bool,
        horizon: u64,
    ) -> Result<Taken, &'static str> {
        let (mut reset, mut added) = (false, false);
        let newest = self.newest.value().zip(self.newest.time());
        let mut rest = 0.0;
        let (value, time) = match newest {
            Some((total, time)) if delta => {
                let sum = total::sum(&total, self.rest, value)?;
                (added, rest) = (sum.added, sum.rest);
                // The total is one of the newest time: at the time of a late point it would be more than what
                // follows it.
                let time = if time <= horizon { point.time.max(time) } else { point.time };
                (sum.total, time)
            }
            Some((_, time)) if time > point.time && time <= horizon => {
                // Graphite keeps one value a second: the newest.
                let of_one_second = time / NANOSECONDS == point.time / NANOSECONDS;
                return Ok(Taken { own: (!of_one_second).then_some(value), reset, added });
            }
            Some((newest, _)) => {
                reset = self.may_be_reset(point.start) && falls(&newest, &value);
                (value, point.time)
            }
            None if delta => (total::first(value), point.time),
            None => (value, point.time),
        };
        self.newest.set(value, time);
        self.rest = rest;
        Ok(Taken { own: None, reset, added })
    }

    /// Quantiles of what a histogram counted since the series' previous point (since its start, for the first one):
    /// those of all values that there ever were would hardly move. None of a point that is late, and none where
    /// nothing was counted. To be asked before the point is taken in.
    pub(super) fn quantiles(
        &mut self,
        value: &Value,
        point: &Point<'_>,
        delta: bool,
        wanted: &[f64],
    ) -> Vec<(f64, f64)> {
        let late = !delta && self.time().is_some_and(|time| time > point.time);
        let Value::Histogram(histogram) = value else { return Vec::new() };
        if wanted.is_empty() || late {
            return Vec::new();
        }
        let of_each = |quantile: &dyn Fn(f64) -> Option<f64>| {
            wanted.iter().filter_map(|wanted| Some((*wanted, quantile(*wanted)?))).collect()
        };
        if let Content::Exponential(point) = &point.content {
            let now = Exponential::of(point);
            let earlier = self.buckets.as_deref().filter(|_| !delta);
            let since = now.since(earlier);
            self.buckets = (!delta).then(|| Box::new(now));
            return of_each(&|wanted| since.quantile(wanted));
        }
        let newest = self.value();
        let earlier = match newest.as_deref() {
            Some(Value::Histogram(earlier)) if !delta => Some(earlier),
            _ => None,
        };
        let counts = quantile::increments(histogram, earlier);
        of_each(&|wanted| quantile::by_bounds(wanted, &histogram.bounds, &counts))
    }
}

/// Whether a value that only grows is below what it was.
fn falls(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Number(before), Value::Number(now)) => now.as_f64() < before.as_f64(),
        (Value::Histogram(before), Value::Histogram(now)) => now.count < before.count,
        _ => false,
    }
}

/// A point's own value. Exponential histograms are kept by `bounds`; `known` are those of the series' newest histogram.
pub(super) fn value(point: &Point<'_>, bounds: &Arc<[f64]>, known: Option<&Arc<[f64]>>) -> Value {
    match &point.content {
        Content::Number(number) => Value::Number(number.unwrap_or(Number::Float(f64::NAN))),
        Content::Histogram(point) => Value::Histogram(explicit(point, known)),
        Content::Exponential(point) => Value::Histogram(by_bounds(point, bounds)),
        Content::Summary(point) => {
            // To all readers -0 is 0.
            let mut quantiles: Vec<_> =
                point.quantiles.iter().map(|(quantile, value)| (quantile + 0.0, *value)).collect();
            // One that is there twice would be one sample twice.
            quantiles.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            quantiles.dedup_by(|(later, _), (first, _)| later == first);
            Value::Summary(Summary { quantiles, sum: point.sum, count: point.count })
        }
    }
}

fn explicit(point: &wire::Histogram<'_>, known: Option<&Arc<[f64]>>) -> Histogram {
    // A last bound of infinity says the same as the bucket that every histogram ends with.
    let mut bounds = point.bounds();
    let mut counts: Vec<u64> = point.counts().collect();
    if bounds.clone().next_back().is_some_and(f64::is_infinite)
        && let Some(beyond) = counts.pop()
    {
        bounds.next_back();
        counts.last_mut().into_iter().for_each(|last| *last = last.saturating_add(beyond));
    }
    let known = known.filter(|known| bounds.clone().eq(known.iter().copied()));
    let bounds = known.map_or_else(|| bounds.map(|bound| bound + 0.0).collect(), Arc::clone);
    if counts.is_empty() {
        counts.push(point.count);
    }
    let count = at_least(point.count, &counts);
    Histogram { bounds, counts, sum: point.sum.map(Number::Float), count }
}

/// The count of a histogram whose buckets may hold more than it says: the last bucket must not be below the
/// one before it.
fn at_least(count: u64, counts: &[u64]) -> u64 {
    counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count)).max(count)
}

/// Counts each exponential bucket under the first of `bounds` that is not below the bucket's upper end.
fn by_bounds(point: &wire::Exponential, bounds: &Arc<[f64]>) -> Histogram {
    let mut counts = vec![0; bounds.len() + 1];
    let mut add = |upper: f64, count: u64| {
        let bucket: &mut u64 = &mut counts[bounds.partition_point(|bound| *bound < upper)];
        *bucket = bucket.saturating_add(count);
    };
    add(point.zero_threshold, point.zero_count);
    for (index, count) in buckets(point.positive.as_ref()) {
        add(boundary(point.scale, index + 1), count);
    }
    for (index, count) in buckets(point.negative.as_ref()) {
        add(-boundary(point.scale, index), count);
    }
    let count = at_least(point.count, &counts);
    Histogram { bounds: Arc::clone(bounds), counts, sum: point.sum.map(Number::Float), count }
}

fn buckets(buckets: Option<&Buckets>) -> impl Iterator<Item = (i64, u64)> {
    buckets.into_iter().flat_map(|buckets| {
        let counts = buckets.bucket_counts.iter().copied();
        (i64::from(buckets.offset)..).zip(counts).filter(|(_, count)| *count > 0)
    })
}

/// `base^index` with `base = 2^(2^-scale)`: the lower end of bucket `index`.
#[expect(clippy::cast_precision_loss, reason = "an index has 32 bits")]
pub(super) fn boundary(scale: i32, index: i64) -> f64 {
    (index as f64 * f64::from(-scale).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(scale: i32, offset: i32, counts: &[u64]) -> wire::Exponential {
        wire::Exponential {
            scale,
            count: counts.iter().sum::<u64>() + 1,
            zero_count: 1,
            positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
            negative: Some(Buckets { offset: 0, bucket_counts: vec![0] }),
            ..Default::default()
        }
    }

    /// Scale 0 has the bounds 1, 2, 4, 8: the specification's own example of base 2.
    #[test]
    fn exponential_buckets_fall_under_the_first_bound_not_below_them() {
        let bounds: Arc<[f64]> = [1.0, 2.0, 5.0].into();
        let histogram = by_bounds(&exponential(0, 0, &[10, 20, 40]), &bounds);
        assert_eq!(histogram.counts, [1, 10, 20, 40]);
        assert_eq!(histogram.count, 71);
        let fine = by_bounds(&exponential(1, -2, &[3, 4]), &bounds);
        assert_eq!(fine.counts, [8, 0, 0, 0], "(0.5, 0.71] and (0.71, 1] are both under 1");
    }
}
