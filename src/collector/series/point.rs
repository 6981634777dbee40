//! One view of OTLP's kinds of data points.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
        NumberDataPoint, SummaryDataPoint, metric::Data,
    },
};

use crate::exposition::family::Kind;

#[derive(Clone, Copy, Debug)]
pub(super) enum Point<'a> {
    Number(&'a NumberDataPoint),
    Histogram(&'a HistogramDataPoint),
    Exponential(&'a ExponentialHistogramDataPoint),
    Summary(&'a SummaryDataPoint),
}

/// Exponential histograms reach back this many powers of two around one; a scale beyond is not OTLP.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Buckets of a histogram, or quantiles of a summary, that are kept: each is a series to Prometheus and to
/// Graphite.
const MAX_PARTS: usize = 1024;

impl<'a> Point<'a> {
    pub(super) fn attributes(&self) -> &'a [KeyValue] {
        match self {
            Self::Number(point) => &point.attributes,
            Self::Histogram(point) => &point.attributes,
            Self::Exponential(point) => &point.attributes,
            Self::Summary(point) => &point.attributes,
        }
    }

    /// Nanoseconds since 1970.
    pub(super) const fn time(&self) -> u64 {
        match self {
            Self::Number(point) => point.time_unix_nano,
            Self::Histogram(point) => point.time_unix_nano,
            Self::Exponential(point) => point.time_unix_nano,
            Self::Summary(point) => point.time_unix_nano,
        }
    }

    /// When the counting of this point began, in nanoseconds since 1970; 0 where it is not known.
    pub(super) const fn start(&self) -> u64 {
        match self {
            Self::Number(point) => point.start_time_unix_nano,
            Self::Histogram(point) => point.start_time_unix_nano,
            Self::Exponential(point) => point.start_time_unix_nano,
            Self::Summary(point) => point.start_time_unix_nano,
        }
    }

    /// The lowest and the highest value, where they were sent.
    pub(super) const fn extremes(&self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Histogram(point) => (point.min, point.max),
            Self::Exponential(point) => (point.min, point.max),
            Self::Number(_) | Self::Summary(_) => (None, None),
        }
    }

    /// The sender says that the series has ended, or has a gap.
    pub(super) const fn no_recorded_value(&self) -> bool {
        let flags = match self {
            Self::Number(point) => point.flags,
            Self::Histogram(point) => point.flags,
            Self::Exponential(point) => point.flags,
            Self::Summary(point) => point.flags,
        };
        flags & DataPointFlags::NoRecordedValueMask as u32 != 0
    }

    /// At most so many carbon lines; exponential histograms are kept by as many bounds as `bounds`, and histograms
    /// have as many ready quantiles as `quantiles`.
    pub(super) fn lines(&self, bounds: usize, quantiles: usize) -> usize {
        // Beside the buckets: sum, count, lowest and highest value.
        match self {
            Self::Number(_) => 1,
            Self::Histogram(point) => point.bucket_counts.len().max(1) + 4 + quantiles,
            Self::Exponential(_) => bounds + 1 + 4 + quantiles,
            Self::Summary(point) => point.quantile_values.len() + 2,
        }
    }

    /// Whether the point holds what its metric's type needs.
    pub(super) fn check(&self, metric: &Metric) -> Result<(), &'static str> {
        let temporality = match &metric.data {
            Some(Data::Sum(sum)) => sum.aggregation_temporality,
            Some(Data::Histogram(histogram)) => histogram.aggregation_temporality,
            Some(Data::ExponentialHistogram(histogram)) => histogram.aggregation_temporality,
            _ => AggregationTemporality::Cumulative as i32,
        };
        if temporality != AggregationTemporality::Cumulative as i32
            && temporality != AggregationTemporality::Delta as i32
        {
            return Err("no_temporality");
        }
        if self.no_recorded_value() {
            return Ok(());
        }
        let parts = match self {
            Self::Histogram(point) => point.bucket_counts.len(),
            Self::Summary(point) => point.quantile_values.len(),
            // An exponential histogram is kept by the table's own bounds.
            Self::Number(_) | Self::Exponential(_) => 0,
        };
        if parts > MAX_PARTS {
            return Err("too_many_buckets");
        }
        let good = match self {
            Self::Number(point) => point.value.is_some(),
            Self::Histogram(point) => {
                let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
                let shape = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
                shape && bounds.iter().all(|bound| !bound.is_nan()) && bounds.is_sorted_by(|a, b| a < b)
            }
            Self::Exponential(point) => SCALES.contains(&point.scale),
            Self::Summary(point) => {
                point.quantile_values.iter().all(|value| (0.0..=1.0).contains(&value.quantile))
            }
        };
        if good { Ok(()) } else { Err("malformed_point") }
    }
}

/// The family's type, or the reason why the metric cannot be kept.
pub(super) const fn kind(metric: &Metric) -> Result<Kind, &'static str> {
    match &metric.data {
        Some(Data::Gauge(_)) => Ok(Kind::Gauge),
        Some(Data::Sum(sum)) if sum.is_monotonic => Ok(Kind::Counter),
        Some(Data::Sum(_)) => Ok(Kind::Gauge),
        Some(Data::Histogram(_) | Data::ExponentialHistogram(_)) => Ok(Kind::Histogram),
        Some(Data::Summary(_)) => Ok(Kind::Summary),
        None => Err("no_data"),
    }
}

pub(super) const fn is_delta(metric: &Metric) -> bool {
    let temporality = match &metric.data {
        Some(Data::Sum(sum)) => sum.aggregation_temporality,
        Some(Data::Histogram(histogram)) => histogram.aggregation_temporality,
        Some(Data::ExponentialHistogram(histogram)) => histogram.aggregation_temporality,
        _ => return false,
    };
    temporality == AggregationTemporality::Delta as i32
}

pub(super) fn for_each<'a>(metric: &'a Metric, f: impl FnMut(Point<'a>)) {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(Point::Number).for_each(f),
        Some(Data::Sum(sum)) => sum.data_points.iter().map(Point::Number).for_each(f),
        Some(Data::Histogram(histogram)) => histogram.data_points.iter().map(Point::Histogram).for_each(f),
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.iter().map(Point::Exponential).for_each(f);
        }
        Some(Data::Summary(summary)) => summary.data_points.iter().map(Point::Summary).for_each(f),
        None => {}
    }
}

/// Keeps the points for which `keep` says so, asked in their order.
pub(super) fn retain(metric: &mut Metric, mut keep: impl FnMut() -> bool) {
    match &mut metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.retain(|_| keep()),
        Some(Data::Sum(sum)) => sum.data_points.retain(|_| keep()),
        Some(Data::Histogram(histogram)) => histogram.data_points.retain(|_| keep()),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.retain(|_| keep()),
        Some(Data::Summary(summary)) => summary.data_points.retain(|_| keep()),
        None => {}
    }
}
