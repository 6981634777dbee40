//! What makes two points belong to one series: resource, scope, name, type, attributes.
//!
//! Keys are byte strings, so that a point of a known series is found without an allocation.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use siphasher::sip128::SipHasher13;

use crate::{
    collector::{
        export::graphite::spool,
        wire::{Attribute, Metric, Metrics},
    },
    exposition::family::{Kind, Labels},
    naming::{
        graphite::{Names, Path, Series, Shape},
        prometheus::{Suffix, family_name},
        value,
    },
};

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
    /// The same in every process; `id` is this one's.
    identity: u128,
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
    /// The attributes that become tags in Graphite.
    tags: Vec<(String, String)>,
}

impl Resource {
    /// `key` is its [`resource_key`].
    pub(super) fn new(id: u32, resource: &[Attribute<'_>], key: &[u8], graphite_tags: &[String]) -> Self {
        let identity = stable(0, key);
        let attributes: BTreeMap<&str, Cow<'_, str>> =
            resource.iter().map(|attribute| (attribute.key, attribute.value.text())).collect();
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
        let tag = |key: &String| Some((key.clone(), attributes.get(key.as_str())?.to_string()));
        let tags = graphite_tags.iter().filter_map(tag).collect();
        Self {
            id,
            identity,
            version: attribute("service.version"),
            service,
            instance,
            job,
            target_info,
            tags,
        }
    }
}

/// The type that a metric's name has for one service.
#[derive(Debug)]
pub(super) struct NamedType {
    pub(super) kind: Kind,
    conflict_named: AtomicBool,
}

impl NamedType {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, conflict_named: AtomicBool::new(false) }
    }

    /// Whether no other type was refused for the name before.
    pub(super) fn first_conflict(&self) -> bool {
        !self.conflict_named.swap(true, Ordering::Relaxed)
    }
}

/// What all series of one metric from one scope of one resource share.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) id: u32,
    /// The same in every process; `id` is this one's.
    identity: u128,
    pub(super) resource: Arc<Resource>,
    pub(super) family: String,
    pub(super) help: String,
    /// Whether the metric goes to Graphite.
    pub(super) written: bool,
    named: Arc<NamedType>,
    name: String,
}

impl Descriptor {
    /// `key` is its [`descriptor_key`].
    pub(super) fn new(
        id: u32,
        resource: Arc<Resource>,
        metric: &Metric<'_>,
        key: &[u8],
        named: Arc<NamedType>,
        written: bool,
    ) -> Self {
        let suffix = match named.kind {
            Kind::Counter => Suffix::Total,
            Kind::Gauge => Suffix::Gauge,
            Kind::Histogram | Kind::Summary => Suffix::Distribution,
        };
        Self {
            id,
            identity: stable(resource.identity, key),
            resource,
            family: family_name(metric.name, metric.unit, suffix),
            help: metric.description.chars().take(MAX_HELP).collect(),
            written,
            named,
            name: metric.name.to_owned(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.named.kind
    }

    /// The identity of the series with this [`attribute_key`]: the same in every process.
    pub(super) fn series_identity(&self, key: &[u8]) -> u128 {
        stable(self.identity, key)
    }

    /// The exposition's labels and Graphite's path of the series with these attributes.
    pub(super) fn series(&self, attributes: &[Attribute<'_>], names: &Names) -> (Labels, Option<Path>) {
        let values: Vec<_> =
            attributes.iter().map(|attribute| (attribute.key, attribute.value.text())).collect();
        let target = [("job", self.resource.job.as_str()), ("instance", self.resource.instance.as_str())];
        let own = values.iter().map(|(key, value)| (exported(key), value.as_ref()));
        let labels = Labels::of(self.kind(), own.chain(target));
        let path = self.written.then(|| {
            let attributes: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_ref())).collect();
            let service = self.resource.service.as_str();
            names.path(&Series {
                name: &self.name,
                shape: match self.kind() {
                    Kind::Counter | Kind::Gauge => Shape::Number,
                    Kind::Histogram => Shape::Histogram,
                    Kind::Summary => Shape::Summary,
                },
                service: (!service.is_empty()).then_some(service),
                resource: &self.resource.tags,
                attributes: &attributes,
            })
        });
        (labels, path)
    }
}

/// A point's attribute makes way for the target's label of the same name, as in a scrape by Prometheus; and
/// for the metric's name, which to Prometheus is a label too and for which it would refuse the whole scrape.
fn exported(key: &str) -> &str {
    match key {
        "job" => "exported_job",
        "instance" => "exported_instance",
        key => key,
    }
}

pub(super) fn resource_key(resource: &[Attribute<'_>], key: &mut Vec<u8>) -> Result<(), &'static str> {
    write_key(0, resource, key);
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
    metrics: &Metrics<'_>,
    metric: &Metric<'_>,
    kind: Kind,
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if metric.name.len() + metric.unit.len() > MAX_NAME {
        return Err(TOO_LONG);
    }
    let scope = metrics.scopes[metric.scope];
    write_key(resource.id, metrics.attributes(scope.attributes), key);
    for part in [scope.name, scope.version, metric.name, metric.unit, kind.as_str()] {
        push(part, key);
    }
    within(key, MAX_KEY)
}

/// The key of a name's type: within one service, as Graphite tells services apart.
pub(super) fn type_key(resource: &Resource, metric: &Metric<'_>, key: &mut Vec<u8>) {
    key.clear();
    push(metric.name, key);
    push(&resource.service, key);
    for (tag, value) in &resource.tags {
        push(tag, key);
        push(value, key);
    }
}

/// The key of a series: its descriptor and its attributes, sorted, as text.
pub(super) fn attribute_key(
    id: u32,
    attributes: &[Attribute<'_>],
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    write_key(id, attributes, key);
    within(key, MAX_KEY)
}

/// What a series is found by: 128 bits of what it is told by, so that this is not kept a second time.
pub(super) type Key = [u8; 16];

/// Makes the [`Key`]s of one table. Nobody else knows by which secrets, so that no sender can make two series that are
/// taken for one, and none are by chance.
#[derive(Debug)]
pub(super) struct Keys(SipHasher13);

impl Default for Keys {
    fn default() -> Self {
        let [first, second] = [(); 2].map(|()| RandomState::new().hash_one(()));
        Self(SipHasher13::new_with_keys(first, second))
    }
}

impl Keys {
    pub(super) fn of(&self, key: &[u8]) -> Key {
        self.0.hash(key).as_bytes()
    }
}

/// What a key without its id, under something of the identity `under`, is known by beyond this process.
fn stable(under: u128, key: &[u8]) -> u128 {
    spool::identity(&[&under.to_le_bytes(), &key[size_of::<u32>()..]])
}

fn write_key(id: u32, attributes: &[Attribute<'_>], key: &mut Vec<u8>) {
    key.clear();
    key.extend(id.to_le_bytes());
    if attributes.is_sorted_by(|a, b| a.key <= b.key) {
        attributes.iter().for_each(|attribute| push_attribute(attribute, key));
    } else {
        let mut sorted: Vec<&Attribute<'_>> = attributes.iter().collect();
        sorted.sort_by_key(|attribute| attribute.key);
        sorted.into_iter().for_each(|attribute| push_attribute(attribute, key));
    }
}

fn push_attribute(attribute: &Attribute<'_>, key: &mut Vec<u8>) {
    push(attribute.key, key);
    push(&attribute.value.text(), key);
}

/// A part with its length before it: one byte where that is enough, since there is a key for each series.
fn push(part: &str, key: &mut Vec<u8>) {
    match u8::try_from(part.len()) {
        Ok(length) if length < u8::MAX => key.push(length),
        _ => {
            key.push(u8::MAX);
            key.extend((part.len() as u64).to_le_bytes());
        }
    }
    key.extend(part.as_bytes());
}

/// An attribute's value as text: "Mapping to non-OTLP formats" of the OpenTelemetry specification (strings
/// as they are, bytes in base64, lists and maps as JSON).
pub(crate) fn text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Cow::Borrowed(""),
        Some(Any::StringValue(text)) => Cow::Borrowed(text),
        Some(Any::BoolValue(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Some(Any::IntValue(value)) => Cow::Owned(value.to_string()),
        Some(Any::DoubleValue(number)) => Cow::Owned(value::double(*number)),
        Some(Any::BytesValue(bytes)) => Cow::Owned(STANDARD.encode(bytes)),
        Some(list_or_map) => {
            let mut text = String::new();
            push_json(Some(list_or_map), &mut text);
            Cow::Owned(text)
        }
    }
}

fn push_json(any: Option<&Any>, json: &mut String) {
    let inner = |any: &AnyValue, json: &mut String| push_json(any.value.as_ref(), json);
    match any {
        Some(Any::StringValue(text)) => value::push_json_text(json, text),
        Some(Any::BoolValue(value)) => json.push_str(if *value { "true" } else { "false" }),
        // Writing to a string cannot fail.
        Some(Any::IntValue(value)) => drop(write!(json, "{value}")),
        Some(Any::DoubleValue(number)) => value::push_json_double(json, *number),
        Some(Any::BytesValue(bytes)) => value::push_json_text(json, &STANDARD.encode(bytes)),
        Some(Any::ArrayValue(list)) => {
            json.push('[');
            for (at, value) in list.values.iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                inner(value, json);
            }
            json.push(']');
        }
        Some(Any::KvlistValue(map)) => {
            // Sorted, as the stock Collector writes them; of a key that is there twice the last one stands.
            let entries: BTreeMap<&str, Option<&Any>> = map
                .values
                .iter()
                .map(|entry| (&*entry.key, entry.value.as_ref().and_then(|value| value.value.as_ref())))
                .collect();
            json.push('{');
            for (at, (key, any)) in entries.into_iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                value::push_json_text(json, key);
                json.push(':');
                push_json(any, json);
            }
            json.push('}');
        }
        _ => json.push_str("null"),
    }
}
