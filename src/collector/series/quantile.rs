//! Ready quantiles of a histogram's increments, interpolated as Prometheus's `histogram_quantile` does.
//!
//! It must not know where the increments come from, nor where the quantiles go.

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use crate::{collector::wire, exposition::family::Histogram};

/// A quantile by bounds: linear within a bucket, the first of which begins at 0 if its bound is above; the
/// highest bound where it lies beyond all of them. `None` without values, or without bounds.
pub(super) fn by_bounds(quantile: f64, bounds: &[f64], counts: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    let highest = *bounds.last()?;
    if total == 0 {
        return None;
    }
    let rank = quantile * float(total);
    let mut below = 0_u64;
    for (at, (bound, count)) in bounds.iter().zip(counts).enumerate() {
        let cumulative = below.saturating_add(*count);
        if float(cumulative) >= rank {
            let start = match at {
                0 if *bound <= 0.0 => return Some(*bound),
                0 => 0.0,
                _ => bounds[at - 1],
            };
            // A rank of 0 may fall on an empty bucket.
            let share = if *count == 0 { 0.0 } else { (rank - float(below)) / float(*count) };
            return Some(start + (bound - start) * share);
        }
        below = cumulative;
    }
    Some(highest)
}

/// The counts of a histogram that came after those of an earlier one; all of them where it began anew.
pub(super) fn increments(histogram: &Histogram, earlier: Option<&Histogram>) -> Vec<u64> {
    let earlier = earlier.filter(|earlier| {
        earlier.bounds == histogram.bounds && falls(&earlier.counts, &histogram.counts).is_none()
    });
    match earlier {
        Some(earlier) => {
            histogram.counts.iter().zip(&earlier.counts).map(|(now, before)| now - before).collect()
        }
        None => histogram.counts.clone(),
    }
}

fn falls(earlier: &[u64], later: &[u64]) -> Option<()> {
    earlier.iter().zip(later).any(|(before, now)| now < before).then_some(())
}

/// Buckets on one side of zero that are kept for one series: SDKs send 160.
const MAX_BUCKETS: usize = 1024;

/// An exponential histogram's own buckets, of which there is one for each series whose quantiles are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exponential {
    scale: i32,
    zero_threshold: f64,
    zero_count: u64,
    positive: Dense,
    negative: Dense,
}

/// Counts of neighbouring buckets from an index on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Dense {
    offset: i64,
    counts: Arc<[u64]>,
}

impl Exponential {
    /// The point's buckets; more than are kept for one series are made coarser.
    pub(super) fn of(point: &wire::Exponential) -> Self {
        let mut buckets = Self {
            scale: point.scale,
            zero_threshold: point.zero_threshold,
            zero_count: point.zero_count,
            positive: Dense::of(point.positive.as_ref()),
            negative: Dense::of(point.negative.as_ref()),
        };
        while buckets.positive.counts.len().max(buckets.negative.counts.len()) > MAX_BUCKETS {
            buckets = buckets.at(buckets.scale - 1);
        }
        buckets
    }

    /// What came after `earlier`; all of it where it began anew. Of two scales the coarser.
    pub(super) fn since(&self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self.clone() };
        let scale = self.scale.min(earlier.scale);
        let (mut now, before) = (self.at(scale), earlier.at(scale));
        let zero_count = now.zero_count.checked_sub(before.zero_count);
        // A threshold that rose took buckets in, whose counts then seem to fall.
        let positive = now.positive.minus(&before.positive);
        let negative = now.negative.minus(&before.negative);
        match (zero_count, positive, negative) {
            (Some(zero_count), Some(positive), Some(negative)) => {
                now.zero_count = zero_count;
                now.positive = positive;
                now.negative = negative;
                now
            }
            _ => self.clone(),
        }
    }

    fn at(&self, scale: i32) -> Self {
        let by = u32::try_from(self.scale - scale).unwrap_or(0);
        Self {
            scale,
            positive: self.positive.coarser(by),
            negative: self.negative.coarser(by),
            ..self.clone()
        }
    }

    /// A quantile; exponential within a bucket, linear within that of zero. `None` without values.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let buckets = self.buckets();
        let total = buckets.iter().fold(0_u64, |sum, (_, _, count)| sum.saturating_add(*count));
        let rank = quantile * float(total);
        let mut below = 0_u64;
        for (lower, upper, count) in &buckets {
            let cumulative = below.saturating_add(*count);
            if float(cumulative) >= rank {
                let share = ((rank - float(below)) / float(*count)).clamp(0.0, 1.0);
                return Some(between(*lower, *upper, share));
            }
            below = cumulative;
        }
        buckets.last().map(|(_, upper, _)| *upper)
    }

    /// The buckets that hold anything, ascending: from, to, count.
    fn buckets(&self) -> Vec<(f64, f64, u64)> {
        let edge = |index: i64| super::state::boundary(self.scale, index);
        let mut buckets: Vec<_> = self.negative.filled().map(|(i, n)| (-edge(i + 1), -edge(i), n)).collect();
        buckets.reverse();
        if self.zero_count > 0 {
            let (positive, negative) = (self.positive.any(), self.negative.any());
            let lower = if positive && !negative { 0.0 } else { -self.zero_threshold };
            let upper = if negative && !positive { 0.0 } else { self.zero_threshold };
            buckets.push((lower, upper, self.zero_count));
        }
        buckets.extend(self.positive.filled().map(|(i, n)| (edge(i), edge(i + 1), n)));
        buckets
    }
}

impl Dense {
    fn of(buckets: Option<&Buckets>) -> Self {
        let Some(buckets) = buckets else { return Self::default() };
        let counts = &buckets.bucket_counts;
        let filled = |count: &u64| *count > 0;
        let Some((first, last)) = counts.iter().position(filled).zip(counts.iter().rposition(filled)) else {
            return Self::default();
        };
        Self { offset: i64::from(buckets.offset) + first as i64, counts: counts[first..=last].into() }
    }

    fn filled(&self) -> impl Iterator<Item = (i64, u64)> {
        (self.offset..).zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0)
    }

    fn any(&self) -> bool {
        self.counts.iter().any(|count| *count > 0)
    }

    /// Every 2^`by` buckets as one.
    fn coarser(&self, by: u32) -> Self {
        if by == 0 || self.counts.is_empty() {
            return self.clone();
        }
        let by = by.min(62);
        let offset = self.offset >> by;
        let last = (self.offset + self.counts.len() as i64 - 1) >> by;
        let mut counts = vec![0_u64; usize::try_from(last - offset + 1).unwrap_or(0)];
        for (index, count) in self.filled() {
            let at = usize::try_from((index >> by) - offset).unwrap_or(0);
            counts[at] = counts[at].saturating_add(count);
        }
        Self { offset, counts: counts.into() }
    }

    /// `None` where a bucket holds less than before.
    fn minus(&self, earlier: &Self) -> Option<Self> {
        let mut counts = self.counts.to_vec();
        for (index, before) in earlier.filled() {
            let at = usize::try_from(index - self.offset).ok()?;
            let count = counts.get_mut(at)?;
            *count = count.checked_sub(before)?;
        }
        Some(Self { offset: self.offset, counts: counts.into() })
    }
}

fn between(lower: f64, upper: f64, share: f64) -> f64 {
    if lower <= 0.0 && upper >= 0.0 {
        return lower + (upper - lower) * share;
    }
    let (from, to) = (lower.abs().log2(), upper.abs().log2());
    let at = (from + (to - from) * share).exp2();
    if lower < 0.0 { -at } else { at }
}

#[expect(clippy::cast_precision_loss, reason = "a rank is a double to Prometheus too")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Prometheus's own tests: testdata/histograms.test.
    #[test]
    fn quantiles_by_bounds_are_those_of_prometheus() {
        let positive = (&[0.1, 0.2, 1.0][..], &[5_u64, 2, 4, 1][..]);
        let negative = (&[-0.2, -0.1, 0.3][..], &[1_u64, 1, 0, 1][..]);
        for ((bounds, counts), quantile, expected) in [
            (positive, 0.0, 0.0),
            (negative, 0.0, -0.2),
            (positive, 0.2, 0.048),
            (negative, 0.2, -0.2),
            (positive, 0.5, 0.15),
            (negative, 0.5, -0.15),
            (positive, 0.8, 0.72),
            (negative, 0.8, 0.3),
            (positive, 1.0, 1.0),
            (negative, 1.0, 0.3),
        ] {
            let found = by_bounds(quantile, bounds, counts).unwrap();
            assert!((found - expected).abs() < 1e-9, "{quantile} of {bounds:?} {counts:?}: {found}");
        }
        assert_eq!(by_bounds(0.5, &[1.0], &[0, 0]), None);
        assert_eq!(by_bounds(0.5, &[], &[3]), None);
    }

    fn exponential(scale: i32, offset: i32, counts: &[u64]) -> wire::Exponential {
        wire::Exponential {
            scale,
            positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
            ..Default::default()
        }
    }

    /// Prometheus: a quantile in the middle of the bucket (1, 2] is the square root of 2, not 1.5.
    #[test]
    fn quantiles_of_exponential_histograms_are_interpolated_exponentially() {
        let quantile = |point: &wire::Exponential, q| Exponential::of(point).quantile(q).unwrap();
        let one = exponential(0, 0, &[2]);
        assert!((quantile(&one, 0.5) - 2_f64.sqrt()).abs() < 1e-12);
        assert!((quantile(&one, 1.0) - 2.0).abs() < 1e-12);
        let mut negative = exponential(0, 0, &[]);
        negative.negative = Some(Buckets { offset: 0, bucket_counts: vec![2] });
        assert!((quantile(&negative, 0.5) + 2_f64.sqrt()).abs() < 1e-12);
        let mut zero = exponential(0, 0, &[1]);
        (zero.zero_count, zero.zero_threshold) = (1, 0.5);
        assert!((quantile(&zero, 0.25) - 0.25).abs() < 1e-12, "between 0 and 0.5: no value is negative");
        assert_eq!(Exponential::of(&exponential(0, 0, &[])).quantile(0.5), None);
    }

    #[test]
    fn increments_are_what_came_since_and_all_where_it_began_anew() {
        let first = Exponential::of(&exponential(1, 0, &[1, 2, 3, 4]));
        let second = Exponential::of(&exponential(1, 0, &[1, 2, 3, 9]));
        assert_eq!(second.since(Some(&first)).positive.filled().collect::<Vec<_>>(), [(3, 5)]);
        assert_eq!(first.since(Some(&second)), first, "it began anew");
        let mut wide = vec![0; 1_000_000];
        (wide[10], wide[999_999]) = (1, 1);
        let wide = Exponential::of(&exponential(20, 0, &wide));
        assert!(wide.positive.counts.len() <= MAX_BUCKETS && wide.positive.filled().count() == 2);
        let coarser = Exponential::of(&exponential(0, 0, &[3, 10]));
        assert_eq!(coarser.since(Some(&first)).positive.filled().collect::<Vec<_>>(), [(1, 3)]);
        let negative = Dense { offset: -3, counts: [1, 2, 4].into() };
        assert_eq!(negative.coarser(1), Dense { offset: -2, counts: [1, 6].into() });
    }
}
