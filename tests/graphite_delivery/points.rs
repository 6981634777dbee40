//! Points to send, and the lines that each of them has to become.

use std::{
    collections::BTreeSet,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message as _;

/// What any single wait may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The second of the first batch.
pub(crate) const T: u64 = 1_700_000_000;

/// Looks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Gauges of some series at one second, each batch at a second of its own.
pub(crate) struct Batch {
    pub(crate) number: u64,
    series: Range<usize>,
}

impl Batch {
    pub(crate) const fn new(number: u64, series: usize) -> Self {
        Self::of(number, 0..series)
    }

    /// Of these series.
    pub(crate) const fn of(number: u64, series: Range<usize>) -> Self {
        Self { number, series }
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        self.series.clone().map(|series| format!("path{series:05}"))
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> Vec<u8> {
        let point = |name: String| NumberDataPoint {
            attributes: vec![attribute("k", name)],
            time_unix_nano: (T + self.number) * 1_000_000_000,
            value: Some(number_data_point::Value::AsInt(self.number.cast_signed())),
            ..NumberDataPoint::default()
        };
        let data = Data::Gauge(Gauge { data_points: self.names().map(point).collect() });
        request(vec![Metric { name: "level".to_owned(), data: Some(data), ..Metric::default() }])
    }

    /// The lines, without their newlines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + use<> {
        let (value, second) = (self.number, T + self.number);
        self.names().map(move |name| format!("level;k={name};service.name=shop {value} {second}"))
    }
}

/// The body of a request with deltas of one, for these series.
pub(crate) fn deltas(number: u64, series: Range<usize>) -> Vec<u8> {
    let point = |series: usize| NumberDataPoint {
        attributes: vec![attribute("k", format!("path{series:05}"))],
        time_unix_nano: (T + number) * 1_000_000_000,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: series.map(point).collect(),
        aggregation_temporality: AggregationTemporality::Delta as i32,
        is_monotonic: true,
    };
    request(vec![Metric { name: "jobs".to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() }])
}

/// The lines of the batches with these numbers.
pub(crate) fn lines_of(numbers: impl IntoIterator<Item = u64>, series: usize) -> BTreeSet<String> {
    numbers.into_iter().flat_map(|number| Batch::new(number, series).lines()).collect()
}

pub(crate) fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// The body of a request from the service `shop`.
pub(crate) fn request(metrics: Vec<Metric>) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "shop".to_owned()),
            attribute("service.instance.id", "one".to_owned()),
        ],
        ..Resource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
    .encode_to_vec()
}
