//! What a data point must hold, and what it becomes.

use opentelemetry_proto::tonic::metrics::v1::{self as proto, AggregationTemporality, DataPointFlags};

use crate::{
    collector::{
        exact::{LARGEST, LARGEST_WHOLE},
        wire::{Content, Data, Metric, Point},
    },
    exposition::family::{Kind, Number},
};

/// Exponential histograms reach back this many powers of two around one; a scale beyond is not OTLP.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Buckets of a histogram, or quantiles of a summary, that are kept: each is a series to Prometheus and to
/// Graphite.
const MAX_PARTS: usize = 1024;

/// The lowest and the highest value, where they were sent.
pub(super) const fn extremes(point: &Point<'_>) -> (Option<f64>, Option<f64>) {
    match &point.content {
        Content::Histogram(histogram) => (histogram.min, histogram.max),
        Content::Exponential(histogram) => (histogram.min, histogram.max),
        Content::Number(_) | Content::Summary(_) => (None, None),
    }
}

/// The sender says that the series has ended, or has a gap.
pub(super) const fn no_recorded_value(point: &Point<'_>) -> bool {
    point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

/// At most so many carbon lines; exponential histograms are kept by as many bounds as `bounds`, and histograms
/// have as many ready quantiles as `quantiles`.
pub(super) fn lines(point: &Point<'_>, bounds: usize, quantiles: usize) -> usize {
    // Beside the buckets: sum, count, lowest and highest value.
    match &point.content {
        Content::Number(_) => 1,
        Content::Histogram(histogram) => histogram.counts().len().max(1) + 4 + quantiles,
        Content::Exponential(_) => bounds + 1 + 4 + quantiles,
        Content::Summary(summary) => summary.quantiles.len() + 2,
    }
}

/// Whether the point holds what its metric's type needs.
pub(super) fn check(point: &Point<'_>, metric: &Metric<'_>) -> Result<(), &'static str> {
    const KNOWN: [i32; 2] = [AggregationTemporality::Cumulative as i32, AggregationTemporality::Delta as i32];
    let is_aggregated = matches!(metric.data, Some(Data::Sum | Data::Histogram | Data::ExponentialHistogram));
    if is_aggregated && !KNOWN.contains(&metric.temporality) {
        return Err("no_temporality");
    }
    if no_recorded_value(point) {
        return Ok(());
    }
    let parts = match &point.content {
        Content::Histogram(histogram) => histogram.counts().len(),
        Content::Summary(summary) => summary.quantiles.len(),
        // An exponential histogram is kept by the table's own bounds.
        Content::Number(_) | Content::Exponential(_) => 0,
    };
    if parts > MAX_PARTS {
        return Err("too_many_buckets");
    }
    let good = match &point.content {
        Content::Number(number) => number.is_some(),
        Content::Histogram(histogram) => {
            let (bounds, counts) = (histogram.bounds(), histogram.counts().len());
            let shape = counts == bounds.len() + 1 || (counts == 0 && bounds.len() == 0);
            shape && bounds.clone().all(|bound| !bound.is_nan()) && bounds.is_sorted_by(|a, b| a < b)
        }
        Content::Exponential(histogram) => SCALES.contains(&histogram.scale),
        Content::Summary(summary) => {
            summary.quantiles.iter().all(|(quantile, _)| (0.0..=1.0).contains(quantile))
        }
    };
    match good {
        true if is_aggregated && is_delta(metric) => check_delta(point, metric.is_monotonic),
        true => Ok(()),
        false => Err("malformed_point"),
    }
}

/// Whether a total stays a total with this delta, whatever it stands at.
fn check_delta(point: &Point<'_>, is_monotonic: bool) -> Result<(), &'static str> {
    let (sum, counted) = match &point.content {
        Content::Number(number) => {
            let value = number.map_or(f64::NAN, |number| number.as_f64());
            let falls = is_monotonic && value < 0.0;
            // As a double an integer may seem to be smaller than it is.
            let overflows =
                matches!(number, Some(Number::Int(value)) if value.unsigned_abs() > LARGEST_WHOLE);
            let counted = match (falls, overflows) {
                (true, _) => Err("negative_delta"),
                (false, true) => Err("overflow"),
                (false, false) => Ok(()),
            };
            (Some(value), counted)
        }
        Content::Histogram(histogram) => {
            // A histogram need not have buckets.
            let buckets = (histogram.counts().len() > 0).then(|| histogram.counts());
            (histogram.sum, check_counts(histogram.count, histogram.sum, buckets))
        }
        Content::Exponential(histogram) => {
            let sides = histogram.positive.iter().chain(&histogram.negative);
            let counts = sides.flat_map(|buckets| buckets.bucket_counts.iter().copied());
            let counts = counts.chain([histogram.zero_count]);
            (histogram.sum, check_counts(histogram.count, histogram.sum, Some(counts)))
        }
        Content::Summary(_) => (None, Ok(())),
    };
    if sum.is_some_and(|sum| !sum.is_finite()) {
        return Err("not_finite");
    }
    counted?;
    // One such would fill the total, or leave no digits for those after it.
    if sum.is_some_and(|sum| sum.abs() > LARGEST) { Err("overflow") } else { Ok(()) }
}

/// Whether what a histogram counted is what it says that it counted, and not so much that its total would be full.
fn check_counts(
    count: u64,
    sum: Option<f64>,
    buckets: Option<impl Iterator<Item = u64>>,
) -> Result<(), &'static str> {
    let counted = buckets.map(|mut counts| counts.try_fold(0_u64, u64::checked_add).ok_or("overflow"));
    let counted = counted.transpose()?.unwrap_or(count);
    if counted != count || (count == 0 && sum.is_some_and(|sum| sum != 0.0)) {
        return Err("count_mismatch");
    }
    if count > LARGEST_WHOLE { Err("overflow") } else { Ok(()) }
}

/// The family's type, or the reason why the metric cannot be kept.
pub(super) const fn kind(metric: &Metric<'_>) -> Result<Kind, &'static str> {
    match metric.data {
        Some(Data::Sum) if metric.is_monotonic => Ok(Kind::Counter),
        Some(Data::Gauge | Data::Sum) => Ok(Kind::Gauge),
        Some(Data::Histogram | Data::ExponentialHistogram) => Ok(Kind::Histogram),
        Some(Data::Summary) => Ok(Kind::Summary),
        None => Err("no_data"),
    }
}

pub(super) const fn is_delta(metric: &Metric<'_>) -> bool {
    metric.temporality == AggregationTemporality::Delta as i32
}

/// Keeps the points for which `keep` says so, asked in their order.
pub(super) fn retain(metric: &mut proto::Metric, mut keep: impl FnMut() -> bool) {
    match &mut metric.data {
        Some(proto::metric::Data::Gauge(gauge)) => gauge.data_points.retain(|_| keep()),
        Some(proto::metric::Data::Sum(sum)) => sum.data_points.retain(|_| keep()),
        Some(proto::metric::Data::Histogram(histogram)) => histogram.data_points.retain(|_| keep()),
        Some(proto::metric::Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.retain(|_| keep())
        }
        Some(proto::metric::Data::Summary(summary)) => summary.data_points.retain(|_| keep()),
        None => {}
    }
}
