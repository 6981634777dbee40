//! Any names, keys and values: every line is one that carbon keeps, and two streams never share a tagged path.
#![no_main]

use std::{
    collections::{BTreeMap, HashMap},
    time::{SystemTime, UNIX_EPOCH},
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any},
    metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
        metric::Data, number_data_point,
    },
};
use prost::Message as _;
use pushpull::{
    collector::{
        batch::{Batch, Request},
        wire::Metrics,
    },
    config::GraphiteNames,
};
use pushpull_fuzz::{Bridge, carbon};

#[derive(Arbitrary, Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Number(i64),
    Truth(bool),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

#[derive(Arbitrary, Clone, Debug, PartialEq, Eq, Hash)]
struct Stream {
    name: String,
    attributes: Vec<(String, Value)>,
}

#[derive(Arbitrary, Debug)]
struct Input {
    dotted: bool,
    histogram: bool,
    streams: Vec<Stream>,
}

impl From<Value> for AnyValue {
    fn from(value: Value) -> Self {
        let text = |text: String| Self { value: Some(Any::StringValue(text)) };
        let value = match value {
            Value::Text(text) => Any::StringValue(text),
            Value::Bytes(bytes) => Any::BytesValue(bytes),
            Value::Number(number) => Any::IntValue(number),
            Value::Truth(truth) => Any::BoolValue(truth),
            Value::List(list) => Any::ArrayValue(ArrayValue { values: list.into_iter().map(text).collect() }),
            Value::Map(map) => Any::KvlistValue(KeyValueList {
                values: map
                    .into_iter()
                    .map(|(key, value)| KeyValue { key, value: Some(text(value)), ..KeyValue::default() })
                    .collect(),
            }),
        };
        Self { value: Some(value) }
    }
}

fuzz_target!(|input: Input| {
    let names = if input.dotted { GraphiteNames::Dotted } else { GraphiteNames::Tagged };
    let bridge = Bridge::new(names);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    let mut paths = HashMap::new();
    for stream in input.streams.into_iter().take(20) {
        let wire = Bytes::from(request(&stream, input.histogram, now).encode_to_vec());
        let metrics = Metrics::read(&wire, &mut |_| true).expect("what prost wrote");
        let identity = identity(&metrics);
        let batch = Batch { request: Request::Metrics(metrics), wire: wire.clone() };
        bridge.pipeline.accept(batch).expect("room");
        let lines = bridge.lines();
        carbon::keeps_all(&lines);
        // Keys are not in a dotted path, so it does not promise to keep all streams apart.
        if input.dotted {
            continue;
        }
        for line in String::from_utf8(lines).expect("UTF-8").lines() {
            let path = line.split(' ').next().expect("a path").to_owned();
            let other = paths.entry(path.clone()).or_insert_with(|| identity.clone());
            assert_eq!(*other, identity, "two streams share {path:?}");
        }
    }
});

/// What tells a stream from others: its attributes as a set of texts, the last of equal keys, without those that say
/// nothing. A number and the text that reads the same are one value to whoever has texts only.
fn identity(metrics: &Metrics<'_>) -> (String, BTreeMap<String, String>) {
    let metric = &metrics.metrics[0];
    let attributes = metrics.attributes(metrics.points(metric)[0].attributes).iter();
    let mut attributes: BTreeMap<_, _> =
        attributes.map(|attribute| (attribute.key.to_owned(), attribute.value.text().into_owned())).collect();
    attributes.retain(|_, value| !value.is_empty());
    (metric.name.to_owned(), attributes)
}

fn request(stream: &Stream, histogram: bool, now: u64) -> ExportMetricsServiceRequest {
    let attributes: Vec<_> = stream
        .attributes
        .iter()
        .cloned()
        .map(|(key, value)| KeyValue { key, value: Some(value.into()), ..KeyValue::default() })
        .collect();
    let data = if histogram {
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                attributes,
                time_unix_nano: now,
                count: 3,
                sum: Some(1.5),
                bucket_counts: vec![1, 2],
                explicit_bounds: vec![0.5],
                ..HistogramDataPoint::default()
            }],
            aggregation_temporality: 2,
        })
    } else {
        Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                attributes,
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsInt(1)),
                ..NumberDataPoint::default()
            }],
        })
    };
    let metric = Metric { name: stream.name.clone(), data: Some(data), ..Metric::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}
