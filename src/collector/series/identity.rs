//! What makes two points belong to one series: resource, scope, name, type, attributes.
//!
//! Keys are byte strings, so that a point of a known series is found without an allocation.

use std::{borrow::Cow, collections::BTreeMap, io::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    metrics::v1::Metric,
    resource::v1::Resource as ProtoResource,
};

use super::super::export::graphite::lines::Template;
use crate::{
    exposition::family::{Kind, Labels},
    naming::{
        graphite,
        prometheus::{Suffix, family_name, label_name},
    },
};

/// Resource attributes that become tags in Graphite.
const GRAPHITE_TAGS: [&str; 1] = ["service.name"];

/// Bytes of a metric's name with its unit.
const MAX_NAME: usize = 1024;
/// Bytes of the attributes of one series; and of a scope with a metric's name and unit.
const MAX_KEY: usize = 16 * 1024;
/// Bytes of the attributes of a resource: a command line may be among them.
const MAX_RESOURCE: usize = 64 * 1024;
/// Characters of a description that are kept.
const MAX_HELP: usize = 1024;

/// What a series is told by is longer than what is kept for one: a table of many such series would have no
/// bound in bytes.
pub(super) const TOO_LONG: &str = "too_long";

/// The entity that points, spans and log records are from.
#[derive(Debug)]
pub struct Resource {
    pub(super) id: u32,
    /// `service.name`, or empty.
    pub service: String,
    /// `service.version`, or empty.
    pub version: String,
    /// `service.instance.id`, or empty.
    pub instance: String,
    /// `service.namespace/service.name`, as Prometheus's `job`.
    job: String,
    /// The labels of its `target_info`, if it has any.
    pub(super) target_info: Option<Labels>,
    tags: Vec<(String, String)>,
}

impl Resource {
    pub(super) fn new(id: u32, resource: Option<&ProtoResource>) -> Self {
        let attributes: BTreeMap<&str, Cow<'_, str>> = resource
            .into_iter()
            .flat_map(|resource| &resource.attributes)
            .map(|attribute| (attribute.key.as_str(), text(attribute.value.as_ref())))
            .collect();
        let attribute = |key: &str| attributes.get(key).map(|value| value.to_string()).unwrap_or_default();
        let (service, namespace) = (attribute("service.name"), attribute("service.namespace"));
        let instance = attribute("service.instance.id");
        let job = match (namespace.is_empty(), service.is_empty()) {
            (false, false) => format!("{namespace}/{service}"),
            _ => service.clone(),
        };
        let target_info = (!job.is_empty() || !instance.is_empty()).then(|| {
            let identifying = ["service.name", "service.namespace", "service.instance.id"];
            let rest = attributes.iter().filter(|(key, _)| !identifying.contains(key));
            let rest = rest.map(|(key, value)| (exported(key), value.as_ref()));
            Labels::new(rest.chain([("job", job.as_str()), ("instance", instance.as_str())]))
        });
        let tags = GRAPHITE_TAGS.into_iter().map(|key| (key.to_owned(), attribute(key))).collect();
        Self { id, version: attribute("service.version"), service, instance, job, target_info, tags }
    }
}

/// What all series of one metric from one scope of one resource share.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) id: u32,
    pub(super) resource: Arc<Resource>,
    pub(super) family: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    name: String,
}

impl Descriptor {
    pub(super) fn new(id: u32, resource: Arc<Resource>, metric: &Metric, kind: Kind) -> Self {
        let suffix = match kind {
            Kind::Counter => Suffix::Total,
            Kind::Gauge => Suffix::Gauge,
            Kind::Histogram | Kind::Summary => Suffix::Distribution,
        };
        Self {
            id,
            resource,
            family: family_name(&metric.name, &metric.unit, suffix),
            help: metric.description.chars().take(MAX_HELP).collect(),
            kind,
            name: graphite::name(&metric.name).into_owned(),
        }
    }

    /// The exposition's labels and the carbon lines of the series with these attributes.
    pub(super) fn series(&self, attributes: &[KeyValue]) -> (Labels, Template) {
        let values: Vec<_> = attributes
            .iter()
            .map(|attribute| (attribute.key.as_str(), text(attribute.value.as_ref())))
            .collect();
        let target = [("job", self.resource.job.as_str()), ("instance", self.resource.instance.as_str())];
        let own = values.iter().map(|(key, value)| (exported(key), value.as_ref()));
        let labels = Labels::of(self.kind, own.chain(target));

        let reserved = match self.kind {
            Kind::Histogram => Some("le"),
            Kind::Summary => Some("quantile"),
            Kind::Counter | Kind::Gauge => None,
        };
        let renamed = reserved.map(|key| format!("exported_{key}"));
        let own = values.iter().map(|(key, value)| match (&renamed, Some(*key) == reserved) {
            (Some(renamed), true) => (renamed.as_str(), value.as_ref()),
            _ => (*key, value.as_ref()),
        });
        let resource = self.resource.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let tags = own.chain(resource).filter_map(|(key, value)| graphite::tag(key, value)).collect();
        (labels, Template::new(&self.name, &graphite::sorted(tags), reserved))
    }
}

/// A point's attribute makes way for the target's label of the same name, as in a scrape by Prometheus; and
/// for the metric's name, which to Prometheus is a label too and for which it would refuse the whole scrape.
fn exported(key: &str) -> &str {
    match key {
        "job" => "exported_job",
        "instance" => "exported_instance",
        key if label_name(key) == "__name__" => "exported_name",
        key => key,
    }
}

pub(super) fn resource_key(resource: Option<&ProtoResource>, key: &mut Vec<u8>) -> Result<(), &'static str> {
    write_key(0, resource.map_or(&[], |resource| &resource.attributes), key);
    within(key, MAX_RESOURCE)
}

/// Refuses a key that is too long, and gives its room back.
fn within(key: &mut Vec<u8>, limit: usize) -> Result<(), &'static str> {
    if key.len() > limit {
        *key = Vec::new();
        return Err(TOO_LONG);
    }
    Ok(())
}

pub(super) fn descriptor_key(
    resource: &Resource,
    scope: Option<&InstrumentationScope>,
    metric: &Metric,
    kind: Kind,
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if metric.name.len() + metric.unit.len() > MAX_NAME {
        return Err(TOO_LONG);
    }
    write_key(resource.id, scope.map_or(&[], |scope| &scope.attributes), key);
    let (scope_name, scope_version) = scope.map_or(("", ""), |scope| (&scope.name, &scope.version));
    for part in [scope_name, scope_version, &metric.name, &metric.unit, kind.as_str()] {
        push(part, key);
    }
    within(key, MAX_KEY)
}

/// The key of a series: its descriptor and its attributes, sorted, as text.
pub(super) fn attribute_key(id: u32, attributes: &[KeyValue], key: &mut Vec<u8>) -> Result<(), &'static str> {
    write_key(id, attributes, key);
    within(key, MAX_KEY)
}

fn write_key(id: u32, attributes: &[KeyValue], key: &mut Vec<u8>) {
    key.clear();
    key.extend(id.to_le_bytes());
    if attributes.is_sorted_by(|a, b| a.key <= b.key) {
        attributes.iter().for_each(|attribute| push_attribute(attribute, key));
    } else {
        let mut sorted: Vec<&KeyValue> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted.into_iter().for_each(|attribute| push_attribute(attribute, key));
    }
}

fn push_attribute(attribute: &KeyValue, key: &mut Vec<u8>) {
    push(&attribute.key, key);
    push(&text(attribute.value.as_ref()), key);
}

fn push(part: &str, key: &mut Vec<u8>) {
    key.extend((part.len() as u64).to_le_bytes());
    // Writing to a vector cannot fail.
    let _ = key.write_all(part.as_bytes());
}

/// An attribute's value as text: "Mapping to non-OTLP formats" of the OpenTelemetry specification (strings
/// as they are, bytes in base64, lists and maps as JSON).
pub(crate) fn text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Cow::Borrowed(""),
        Some(Any::StringValue(text)) => Cow::Borrowed(text),
        Some(Any::BoolValue(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Some(Any::IntValue(value)) => Cow::Owned(value.to_string()),
        Some(Any::DoubleValue(value)) => Cow::Owned(value.to_string()),
        Some(Any::BytesValue(bytes)) => Cow::Owned(STANDARD.encode(bytes)),
        Some(list_or_map) => Cow::Owned(json(list_or_map).to_string()),
    }
}

fn json(value: &Any) -> serde_json::Value {
    let inner = |value: Option<&AnyValue>| {
        value.and_then(|value| value.value.as_ref()).map_or(serde_json::Value::Null, json)
    };
    match value {
        Any::StringValue(text) => text.as_str().into(),
        Any::BoolValue(value) => (*value).into(),
        Any::IntValue(value) => (*value).into(),
        Any::DoubleValue(value) => (*value).into(),
        Any::BytesValue(bytes) => STANDARD.encode(bytes).into(),
        Any::ArrayValue(list) => list.values.iter().map(|value| inner(Some(value))).collect(),
        Any::KvlistValue(map) => {
            map.values.iter().map(|entry| (entry.key.clone(), inner(entry.value.as_ref()))).collect()
        }
        _ => serde_json::Value::Null,
    }
}
