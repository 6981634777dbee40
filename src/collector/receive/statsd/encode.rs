//! The series as one OTLP request.
//!
//! It must not change them: a request that is refused is made again at the next flush.
//!
//! Values are doubles throughout. A series so never changes its type when a fraction follows whole
//! numbers, and whole numbers are exact up to 2⁵³ and written without a fraction.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, DataPointFlags, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};

use super::{
    aggregate::Ended,
    family::{Data as Rowed, Family, Series},
    line::Kind,
    rows::Rows,
    tags,
    total::{Gauge as Last, Histogram as Counts},
};

/// The UCUM unit of timers.
const SECONDS: &str = "s";
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const ENDED: u32 = DataPointFlags::NoRecordedValueMask as u32;
const NANOSECONDS: u64 = 1_000_000_000;

/// One request with a metric for each series that has `ended`, and one for each name and type, at time `now`. Counters
/// and histograms are cumulative since the series began; nothing is known of the sender, so the resource is empty, and there is no
/// scope.
pub(super) fn request<'a>(
    families: impl Iterator<Item = (&'a str, &'a Family)>,
    ended: &[Ended],
    bounds: &[f64],
    now: u64,
) -> ExportMetricsServiceRequest {
    let ended = ended.iter().map(|ended| end(ended, now));
    let metrics = ended.chain(families.map(|(name, family)| metric(name, family, bounds, now))).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource::default()),
            scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn metric(name: &str, family: &Family, bounds: &[f64], now: u64) -> Metric {
    let (kind, data) = match &family.data {
        Rowed::Counters(rows) => {
            let points = numbers(rows, now, |total| total.value());
            (Kind::Counter, sum(points, !family.named.was_decremented))
        }
        Rowed::Gauges(rows) => (Kind::Gauge, gauge(rows.iter().flat_map(|row| gauges(row, now)).collect())),
        Rowed::Sets(rows) => (Kind::Set, gauge(numbers(rows, now, |values| values.len() as f64))),
        Rowed::Timers(rows) => (Kind::Timer, histogram(counts(rows, bounds, now))),
        Rowed::Distributions(rows) => (Kind::Distribution, histogram(counts(rows, bounds, now))),
    };
    named(family.shown(name), kind, data)
}

/// A point that says that there are no more.
fn end(ended: &Ended, now: u64) -> Metric {
    let number = || NumberDataPoint {
        attributes: attributes(&ended.key),
        time_unix_nano: now,
        flags: ENDED,
        ..Default::default()
    };
    let data = match ended.kind {
        Kind::Counter => sum(vec![number()], !ended.was_decremented),
        Kind::Gauge | Kind::Set => gauge(vec![number()]),
        Kind::Timer | Kind::Distribution => histogram(vec![HistogramDataPoint {
            attributes: attributes(&ended.key),
            time_unix_nano: now,
            flags: ENDED,
            ..Default::default()
        }]),
    };
    named(&ended.shown, ended.kind, data)
}

fn named(name: &str, kind: Kind, data: Data) -> Metric {
    let unit = if kind == Kind::Timer { SECONDS } else { "" };
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Default::default() }
}

fn sum(data_points: Vec<NumberDataPoint>, is_monotonic: bool) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic })
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

fn histogram(data_points: Vec<HistogramDataPoint>) -> Data {
    Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE })
}

fn numbers<T>(rows: &Rows<Series<T>>, now: u64, value: impl Fn(&T) -> f64) -> Vec<NumberDataPoint> {
    rows.iter()
        .map(|(key, series)| number(key, series.start, now.max(series.start), value(&series.state)))
        .collect()
}

/// The points of a gauge: those for other seconds, and the last.
fn gauges<'a>(
    (key, series): (&'a str, &'a Series<Last>),
    now: u64,
) -> impl Iterator<Item = NumberDataPoint> + 'a {
    let of_second = move |(second, value): (u64, f64)| {
        let time = second.saturating_mul(NANOSECONDS);
        number(key, series.start.min(time), time, value)
    };
    let (value, time) = (series.state.value, series.state.time(now.max(series.start)));
    let last = number(key, series.start.min(time), time, value);
    series.state.others.iter().copied().map(of_second).chain([last])
}

fn number(key: &str, start: u64, time: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    }
}

fn counts(rows: &Rows<Series<Counts>>, bounds: &[f64], now: u64) -> Vec<HistogramDataPoint> {
    let point = |(key, series): (&str, &Series<Counts>)| HistogramDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: series.start,
        time_unix_nano: now.max(series.start),
        count: series.state.count,
        sum: series.state.sum.map(|sum| sum.value()),
        bucket_counts: series.state.buckets.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..Default::default()
    };
    rows.iter().map(point).collect()
}

fn attributes(key: &str) -> Vec<KeyValue> {
    let attribute = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..Default::default()
    };
    tags::of_key(key).map(attribute).collect()
}
