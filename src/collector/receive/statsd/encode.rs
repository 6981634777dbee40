//! The series as one OTLP request.
//!
//! It must not change them: a request that is refused is made again at the next flush.
//!
//! Values are doubles throughout. A series so never changes its type when a fraction follows whole
//! numbers, and whole numbers are exact up to 2⁵³ and written without a fraction.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};

use super::aggregate::{Family, Histogram, Series, Table, tags_of_key};

/// The instrumentation scope of all that came by `StatsD`.
const SCOPE: &str = "statsd";
/// The UCUM unit of timers.
const SECONDS: &str = "s";
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// One request with one metric for each name, at time `now`. Counters and histograms are cumulative since
/// the series began; nothing is known of the sender, so the resource is empty.
pub(super) fn request<'a>(
    families: impl Iterator<Item = (&'a str, &'a Family)>,
    bounds: &[f64],
    now: u64,
) -> ExportMetricsServiceRequest {
    let metrics = families.map(|(name, family)| metric(name, family, bounds, now)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource::default()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope { name: SCOPE.to_owned(), ..Default::default() }),
                metrics,
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

fn metric(name: &str, family: &Family, bounds: &[f64], now: u64) -> Metric {
    let mut unit = "";
    let data = match family {
        Family::Counters { monotonic, series } => Data::Sum(Sum {
            data_points: numbers(series, now, |total| *total),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: *monotonic,
        }),
        Family::Gauges(series) => Data::Gauge(Gauge { data_points: numbers(series, now, |value| *value) }),
        Family::Sets(series) => {
            let data_points = numbers(series, now, |values| values.len() as f64);
            Data::Gauge(Gauge { data_points })
        }
        Family::Timers(series) => {
            unit = SECONDS;
            Data::Histogram(histogram(series, bounds, now))
        }
        Family::Distributions(series) => Data::Histogram(histogram(series, bounds, now)),
    };
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Default::default() }
}

fn numbers<T>(table: &Table<Series<T>>, now: u64, value: impl Fn(&T) -> f64) -> Vec<NumberDataPoint> {
    let point = |(key, series): (&str, &Series<T>)| NumberDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: series.start,
        time_unix_nano: now.max(series.start),
        value: Some(number_data_point::Value::AsDouble(value(&series.state))),
        ..Default::default()
    };
    table.rows().map(point).collect()
}

fn histogram(
    table: &Table<Series<Histogram>>,
    bounds: &[f64],
    now: u64,
) -> opentelemetry_proto::tonic::metrics::v1::Histogram {
    let point = |(key, series): (&str, &Series<Histogram>)| HistogramDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: series.start,
        time_unix_nano: now.max(series.start),
        count: series.state.count,
        sum: series.state.sum,
        bucket_counts: series.state.buckets.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..Default::default()
    };
    opentelemetry_proto::tonic::metrics::v1::Histogram {
        data_points: table.rows().map(point).collect(),
        aggregation_temporality: CUMULATIVE,
    }
}

fn attributes(key: &str) -> Vec<KeyValue> {
    let attribute = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..Default::default()
    };
    tags_of_key(key).map(attribute).collect()
}
