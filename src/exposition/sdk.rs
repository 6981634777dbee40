//! What the OpenTelemetry SDK collected, as families.
//!
//! Follows "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification, without scope
//! labels, so that a name here is the same as where the same data arrive by push.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use opentelemetry::{Array, InstrumentationScope, KeyValue};
use opentelemetry_sdk::{
    Resource,
    metrics::data::{
        AggregatedMetrics, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, MetricData,
        ResourceMetrics,
    },
};

use super::family::{Family, Histogram, Kind, Labels, Number, Origin, Sample, Value, distinct, scope_labels};
use crate::naming::{
    self,
    prometheus::{Suffix, family_name},
};

/// What was collected, as families, and what of it is not among them.
#[derive(Debug, Default)]
pub struct Exposed {
    /// Families by name, `target_info` first.
    pub families: Vec<Family>,
    /// What came to a name, or to a name and labels, that something else has.
    pub hidden: Vec<Hidden>,
}

/// Series of one family that are not shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The family's name.
    pub family: String,
    /// How many series.
    pub series: usize,
    /// Why, and what would show them.
    pub remedy: String,
}

/// Families by name, samples by labels, `target_info` with the resource's attributes first.
///
/// One family has one type, and a label set one sample: of instruments that come to the same, the one whose scope, name
/// and attributes sort first is shown, as where the same data arrive by push.
#[must_use]
pub fn families(collected: &ResourceMetrics) -> Vec<Family> {
    exposed(collected, false).families
}

/// The same with labels of the instrumentation scope (`otel_scope_name` and the like) on all but `target_info`.
#[must_use]
pub fn families_with_scopes(collected: &ResourceMetrics) -> Vec<Family> {
    exposed(collected, true).families
}

/// The same, with or without labels of the scope, and with what is not shown.
#[must_use]
pub fn exposed(collected: &ResourceMetrics, with_scopes: bool) -> Exposed {
    let mut instruments: BTreeMap<String, Vec<Instrument<'_>>> = BTreeMap::new();
    for scope in collected.scope_metrics() {
        let labels: Arc<[_]> = if with_scopes { labels(scope.scope()).into() } else { [].into() };
        for metric in scope.metrics() {
            let (kind, suffix) = kind(metric.data());
            let name = family_name(metric.name(), metric.unit(), suffix);
            instruments.entry(name).or_default().push(Instrument {
                scope: scope.scope(),
                labels: Arc::clone(&labels),
                metric,
                kind,
            });
        }
    }
    let mut hidden = Vec::new();
    let mut result = Vec::with_capacity(instruments.len() + 1);
    result.extend(target_info(collected.resource()));
    let families = instruments
        .into_iter()
        .filter_map(|(name, instruments)| family(name, instruments, with_scopes, &mut hidden));
    result.extend(families);
    let (families, clashing) = distinct(result);
    hidden.extend(
        clashing.into_iter().map(|family| Hidden {
            series: family.samples.len(),
            family: family.name,
            remedy: "samples of another family have its name: give one of the two instruments another name"
                .to_owned(),
        }),
    );
    Exposed { families, hidden }
}

struct Instrument<'a> {
    scope: &'a InstrumentationScope,
    /// Those of the scope that are shown.
    labels: Arc<[(String, String)]>,
    metric: &'a Metric,
    kind: Kind,
}

impl Instrument<'_> {
    /// What distinguishes it from others whose family has the same name.
    fn identity(&self) -> impl Ord + '_ {
        let scope = self.scope;
        let (version, schema_url) = (scope.version().unwrap_or(""), scope.schema_url().unwrap_or(""));
        (scope.name(), version, schema_url, attributes(scope), self.metric.name(), self.metric.unit())
    }
}

/// The attributes of a scope, sorted.
fn attributes(scope: &InstrumentationScope) -> Attributes<'_> {
    let mut attributes = texts(scope.attributes());
    attributes.sort();
    attributes
}

fn labels(scope: &InstrumentationScope) -> Vec<(String, String)> {
    let (version, schema_url) = (scope.version().unwrap_or(""), scope.schema_url().unwrap_or(""));
    let attributes = attributes(scope);
    let attributes = attributes.iter().map(|(key, value)| (*key, value.as_ref()));
    scope_labels(scope.name(), version, schema_url, attributes)
}

fn family(
    name: String,
    mut instruments: Vec<Instrument<'_>>,
    with_scopes: bool,
    hidden: &mut Vec<Hidden>,
) -> Option<Family> {
    if instruments.len() > 1 {
        instruments.sort_by(|a, b| a.identity().cmp(&b.identity()));
    }
    let kind = instruments.first()?.kind;
    let mut hide = |series: usize, remedy: &str| {
        if series > 0 {
            hidden.push(Hidden { family: name.clone(), series, remedy: remedy.to_owned() });
        }
    };
    let others = instruments.iter().filter(|instrument| instrument.kind != kind);
    let others = others.map(|instrument| points(instrument.metric.data(), &[], false).len()).sum();
    hide(others, "they are of another type: give one of the instruments another name");
    instruments.retain(|instrument| instrument.kind == kind);
    let mut helps = instruments.iter().map(|instrument| instrument.metric.description());
    let help = helps.find(|help| !help.is_empty()).unwrap_or_default().to_owned();
    let candidates = |with_origin| {
        let of_each = instruments.iter().enumerate();
        let mut candidates: Vec<_> = of_each
            .flat_map(|(at, instrument)| {
                let added = instrument.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                let added: Vec<_> = added.collect();
                let points = points(instrument.metric.data(), &added, with_origin).into_iter();
                points.map(move |(sample, origin)| (sample, at, origin))
            })
            .collect();
        candidates.sort_by(|(a, a_at, a_origin), (b, b_at, b_origin)| {
            a.labels.cmp(&b.labels).then_with(|| (a_at, a_origin).cmp(&(b_at, b_origin)))
        });
        candidates
    };
    let mut chosen = candidates(false);
    // Only where labels became equal it matters what they were.
    if chosen.windows(2).any(|pair| pair[0].0.labels == pair[1].0.labels) {
        chosen = candidates(true);
        let (mut of_scopes, mut of_names, mut of_attributes) = (0, 0, 0);
        chosen.dedup_by(|(later, later_at, _), (first, first_at, _)| {
            let are_alike = later.labels == first.labels;
            if are_alike {
                let [a, b] = [*later_at, *first_at].map(|at| &instruments[at]);
                let count = match later_at == first_at {
                    true => &mut of_attributes,
                    false if !with_scopes && labels(a.scope) != labels(b.scope) => &mut of_scopes,
                    false => &mut of_names,
                };
                *count += 1;
            }
            are_alike
        });
        hide(
            of_scopes,
            "scopes have the same labels, since scopes are not shown: set --exposition-scope on, or give one of the \
             instruments another name",
        );
        hide(of_names, "instruments have the same labels: give one of them another name");
        hide(of_attributes, "their attributes come to the same labels: give one attribute another key");
    }
    Some(Family { name, help, kind, samples: chosen.into_iter().map(|(sample, ..)| sample).collect() })
}

fn target_info(resource: &Resource) -> Option<Family> {
    let attributes: Vec<_> = resource.iter().map(|(key, value)| (key.as_str(), text(value))).collect();
    if attributes.is_empty() {
        return None;
    }
    let labels = Labels::new(attributes.iter().map(|(key, value)| (*key, value.as_ref())));
    Some(Family {
        name: "target_info".to_owned(),
        help: "Target metadata".to_owned(),
        kind: Kind::Gauge,
        samples: vec![Sample { labels, value: Value::Number(Number::Int(1)) }],
    })
}

fn kind(data: &AggregatedMetrics) -> (Kind, Suffix) {
    match data {
        AggregatedMetrics::F64(data) => kind_of(data),
        AggregatedMetrics::I64(data) => kind_of(data),
        AggregatedMetrics::U64(data) => kind_of(data),
    }
}

fn kind_of<T>(data: &MetricData<T>) -> (Kind, Suffix) {
    match data {
        MetricData::Sum(sum) if sum.is_monotonic() => (Kind::Counter, Suffix::Total),
        MetricData::Gauge(_) | MetricData::Sum(_) => (Kind::Gauge, Suffix::Gauge),
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => {
            (Kind::Histogram, Suffix::Distribution)
        }
    }
}

/// Samples; and where it is asked for, what they were before they became labels.
type Points = Vec<(Sample, Origin)>;

fn points(data: &AggregatedMetrics, added: &[(&str, &str)], with_origin: bool) -> Points {
    match data {
        AggregatedMetrics::F64(data) => typed_points(data, Number::Float, added, with_origin),
        AggregatedMetrics::I64(data) => typed_points(data, Number::Int, added, with_origin),
        AggregatedMetrics::U64(data) => typed_points(data, Number::Uint, added, with_origin),
    }
}

fn typed_points<T: Copy>(
    data: &MetricData<T>,
    number: impl Fn(T) -> Number,
    added: &[(&str, &str)],
    with_origin: bool,
) -> Points {
    let (kind, _) = kind_of(data);
    let simple = |value| Value::Number(number(value));
    let point = |mut attributes: Attributes<'_>, value| {
        attributes.sort();
        let pairs: Vec<_> = attributes.iter().map(|(key, value)| (*key, value.as_ref())).collect();
        let (labels, joined) = Labels::with_added(kind, &pairs, added);
        let origin = if with_origin { Origin::new(&pairs, joined) } else { Origin::default() };
        (Sample { labels, value }, origin)
    };
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().map(|p| point(texts(p.attributes()), simple(p.value()))).collect()
        }
        MetricData::Sum(sum) => {
            sum.data_points().map(|p| point(texts(p.attributes()), simple(p.value()))).collect()
        }
        MetricData::Histogram(histogram) => {
            let value = |p| Value::Histogram(explicit(p, number(p.sum())));
            histogram.data_points().map(|p| point(texts(p.attributes()), value(p))).collect()
        }
        MetricData::ExponentialHistogram(histogram) => {
            let value = |p| Value::Histogram(exponential(p, number(p.sum())));
            histogram.data_points().map(|p| point(texts(p.attributes()), value(p))).collect()
        }
    }
}

type Attributes<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Keys, and values as text.
fn texts<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Attributes<'a> {
    attributes.map(|pair| (pair.key.as_str(), text(&pair.value))).collect()
}

/// An attribute's value as text, as where the same data arrive by push.
fn text(value: &opentelemetry::Value) -> Cow<'_, str> {
    match value {
        opentelemetry::Value::F64(value) => Cow::Owned(naming::value::double(*value)),
        opentelemetry::Value::Array(Array::F64(list)) => {
            Cow::Owned(json(list, |json, value| naming::value::push_json_double(json, *value)))
        }
        opentelemetry::Value::Array(Array::String(list)) => {
            Cow::Owned(json(list, |json, text| naming::value::push_json_text(json, text.as_str())))
        }
        // Whole numbers and truth values are the same in JSON.
        other => other.as_str(),
    }
}

fn json<T>(list: &[T], push: impl Fn(&mut String, &T)) -> String {
    let mut json = "[".to_owned();
    for (at, value) in list.iter().enumerate() {
        json.push_str(if at > 0 { "," } else { "" });
        push(&mut json, value);
    }
    json.push(']');
    json
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
