//! What the OpenTelemetry SDK collected, as families.
//!
//! Follows "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification, without scope
//! labels, so that a name here is the same as where the same data arrive by push.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    metrics::data::{
        AggregatedMetrics, ExponentialHistogramDataPoint, HistogramDataPoint, MetricData, ResourceMetrics,
    },
};

use super::family::{Family, Histogram, Kind, Labels, Number, Sample, Value};
use crate::naming::prometheus::{Suffix, family_name};

/// Families by name, samples by labels, `target_info` with the resource's attributes first.
///
/// Of two instruments whose names become equal with different types, the later is left out: one family
/// has one type.
#[must_use]
pub fn families(collected: &ResourceMetrics) -> Vec<Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for metric in collected.scope_metrics().flat_map(|scope| scope.metrics()) {
        let (kind, suffix, samples) = samples(metric.data());
        let name = family_name(metric.name(), metric.unit(), suffix);
        let family = families.entry(name.clone()).or_insert_with(|| Family {
            name,
            help: metric.description().to_owned(),
            kind,
            samples: Vec::new(),
        });
        if family.kind == kind {
            family.samples.extend(samples);
        }
    }
    let mut result = Vec::with_capacity(families.len() + 1);
    result.extend(target_info(collected.resource()));
    result.extend(families.into_values().map(|mut family| {
        // Of samples whose labels became equal the largest is kept: which one it is must not change from scrape to
        // scrape, or a counter would seem to fall.
        let size = |sample: &Sample| match &sample.value {
            Value::Number(number) => number.as_f64(),
            Value::Histogram(histogram) => Number::Uint(histogram.count).as_f64(),
            Value::Summary(summary) => Number::Uint(summary.count).as_f64(),
        };
        family.samples.sort_by(|a, b| a.labels.cmp(&b.labels).then(size(b).total_cmp(&size(a))));
        family.samples.dedup_by(|later, first| later.labels == first.labels);
        family
    }));
    result
}

fn target_info(resource: &Resource) -> Option<Family> {
    let attributes: Vec<_> =
        resource.iter().map(|(key, value)| (key.as_str(), value.as_str().into_owned())).collect();
    if attributes.is_empty() {
        return None;
    }
    let labels = Labels::new(attributes.iter().map(|(key, value)| (*key, value.as_str())));
    Some(Family {
        name: "target_info".to_owned(),
        help: "Target metadata".to_owned(),
        kind: Kind::Gauge,
        samples: vec![Sample { labels, value: Value::Number(Number::Int(1)) }],
    })
}

fn samples(data: &AggregatedMetrics) -> (Kind, Suffix, Vec<Sample>) {
    match data {
        AggregatedMetrics::F64(data) => typed_samples(data, Number::Float),
        AggregatedMetrics::I64(data) => typed_samples(data, Number::Int),
        AggregatedMetrics::U64(data) => typed_samples(data, Number::Uint),
    }
}

fn typed_samples<T: Copy>(data: &MetricData<T>, number: impl Fn(T) -> Number) -> (Kind, Suffix, Vec<Sample>) {
    let value = |point| Value::Number(number(point));
    match data {
        MetricData::Gauge(gauge) => {
            let samples = gauge.data_points().map(|p| sample(Kind::Gauge, p.attributes(), value(p.value())));
            (Kind::Gauge, Suffix::Gauge, samples.collect())
        }
        MetricData::Sum(sum) => {
            let (kind, suffix) = match sum.is_monotonic() {
                true => (Kind::Counter, Suffix::Total),
                false => (Kind::Gauge, Suffix::Gauge),
            };
            let samples = sum.data_points().map(|p| sample(kind, p.attributes(), value(p.value())));
            (kind, suffix, samples.collect())
        }
        MetricData::Histogram(histogram) => {
            let samples = histogram.data_points().map(|p| {
                sample(Kind::Histogram, p.attributes(), Value::Histogram(explicit(p, number(p.sum()))))
            });
            (Kind::Histogram, Suffix::Distribution, samples.collect())
        }
        MetricData::ExponentialHistogram(histogram) => {
            let samples = histogram.data_points().map(|p| {
                sample(Kind::Histogram, p.attributes(), Value::Histogram(exponential(p, number(p.sum()))))
            });
            (Kind::Histogram, Suffix::Distribution, samples.collect())
        }
    }
}

fn sample<'a>(kind: Kind, attributes: impl Iterator<Item = &'a KeyValue>, value: Value) -> Sample {
    let attributes: Vec<_> = attributes.map(|pair| (pair.key.as_str(), pair.value.as_str())).collect();
    let labels = Labels::of(kind, attributes.iter().map(|(key, value)| (*key, value.as_ref())));
    Sample { labels, value }
}

fn explicit<T>(point: &HistogramDataPoint<T>, sum: Number) -> Histogram {
    Histogram {
        bounds: point.bounds().collect(),
        counts: point.bucket_counts().collect(),
        sum: Some(sum),
        count: point.count(),
    }
}

/// An exponential histogram has no place in the text format but for its sum and count: it is shown with the
/// one bucket that all its values are in.
fn exponential<T>(point: &ExponentialHistogramDataPoint<T>, sum: Number) -> Histogram {
    let count = point.count() as u64;
    Histogram { bounds: [].into(), counts: vec![count], sum: Some(sum), count }
}
