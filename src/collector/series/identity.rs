//! What makes two points belong to one series: resource, scope, name, type, attributes.
//!
//! Keys are byte strings, so that a point of a known series is found without an allocation.

use std::{
    cmp::Ordering,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{self, AtomicBool, AtomicUsize},
    },
};

use siphasher::sip128::SipHasher13;

use super::{
    owners::Owner,
    target::{Resource, Scope, Tags},
};
use crate::{
    collector::{
        export::graphite::spool::{self, Identity},
        wire::{Attribute, Metric, Metrics, Receiver, Value as AttributeValue},
    },
    config::ExpositionLabels,
    exposition::family::{Kind, Labels, Origin},
    naming::{
        graphite::{Names, Path, Series, Shape},
        prometheus::{Suffix, family_name},
    },
};

/// Bytes of a metric's name with its unit.
const MAX_NAME: usize = 1024;
/// Bytes of the attributes of one series; and of a scope with a metric's name and unit.
pub(super) const MAX_KEY: usize = 16 * 1024;
/// Bytes of the attributes of a resource: a command line may be among them.
pub(super) const MAX_RESOURCE: usize = 64 * 1024;
/// Characters of a description that are kept.
const MAX_HELP: usize = 1024;

/// What a series is told by is longer than what is kept for one: a table of many such series would have no
/// bound in bytes.
pub(super) const TOO_LONG: &str = "too_long";

/// The type that a metric's name has for one service.
#[derive(Debug)]
pub(super) struct NamedType {
    pub(super) kind: Kind,
    conflict_named: AtomicBool,
    /// How many series that have it have a value.
    live: AtomicUsize,
    /// Whether there ever was one.
    was_live: AtomicBool,
}

impl NamedType {
    pub(super) const fn new(kind: Kind) -> Self {
        let [conflict_named, was_live] = [AtomicBool::new(false), AtomicBool::new(false)];
        Self { kind, conflict_named, live: AtomicUsize::new(0), was_live }
    }

    /// Whether no other type was refused for the name before.
    pub(super) fn first_conflict(&self) -> bool {
        !self.conflict_named.swap(true, atomic::Ordering::Relaxed)
    }

    /// A series that has it has a value now.
    pub(super) fn add_live(&self) {
        self.live.fetch_add(1, atomic::Ordering::Relaxed);
        self.was_live.store(true, atomic::Ordering::Relaxed);
    }

    /// A series that has it has ended, or is forgotten.
    pub(super) fn remove_live(&self) {
        self.live.fetch_sub(1, atomic::Ordering::Relaxed);
    }

    /// Whether all series that had it have ended, once `ending` more have.
    pub(super) fn has_ended(&self, ending: usize) -> bool {
        let had_any = ending > 0 || self.was_live.load(atomic::Ordering::Relaxed);
        had_any && self.live.load(atomic::Ordering::Relaxed) <= ending
    }
}

/// What all series of one metric from one scope of one resource share.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) id: u32,
    /// By which receiver it came.
    pub(super) receiver: Receiver,
    /// The same in every process; `id` is this one's.
    identity: u128,
    pub(super) resource: Arc<Resource>,
    pub(super) scope: Arc<Scope>,
    /// The metric's name and unit as they were sent.
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) family: String,
    pub(super) help: String,
    /// Whether the metric goes to Graphite.
    pub(super) written: bool,
    pub(super) named: Arc<NamedType>,
    /// The tags of its scope in Graphite, with those of its resource; nothing where it has the latter alone.
    tags: Option<Arc<Tags>>,
}

/// One series as its sinks know it.
pub(super) struct Shown {
    pub(super) labels: Labels,
    pub(super) origin: Origin,
    pub(super) path: Option<Path>,
}

impl Descriptor {
    pub(super) fn new(
        id: u32,
        owner: &Owner,
        named: Arc<NamedType>,
        metric: &Metric<'_>,
        receiver: Receiver,
        written: bool,
    ) -> Self {
        let suffix = match named.kind {
            Kind::Counter => Suffix::Total,
            Kind::Gauge => Suffix::Gauge,
            Kind::Histogram | Kind::Summary => Suffix::Distribution,
        };
        Self {
            id,
            receiver,
            identity: of_metric(owner, metric, named.kind, receiver),
            resource: Arc::clone(&owner.resource),
            scope: Arc::clone(&owner.scope),
            name: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            family: family_name(metric.name, metric.unit, suffix),
            help: metric.description.chars().take(MAX_HELP).collect(),
            written,
            named,
            tags: owner.tags.clone(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.named.kind
    }

    /// The identity of the series with this [`attribute_key`]: the same in every process.
    pub(super) fn series_identity(&self, key: &[u8]) -> u128 {
        stable(self.identity, key)
    }

    /// The order in which those that share a family are shown: by scope, resource, name and unit.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        self.scope
            .compare(&other.scope)
            .then_with(|| self.resource.compare(&other.resource))
            .then_with(|| (&self.name, &self.unit).cmp(&(&other.name, &other.unit)))
    }

    /// The labels of its scope that are shown, by the attributes that they are made of.
    pub(super) fn scope_labels(&self, exposition: &ExpositionLabels) -> &[(String, String)] {
        match exposition.scope && self.receiver == Receiver::Otlp {
            true => &self.scope.labels,
            false => &[],
        }
    }

    /// The exposition's labels and Graphite's path of the series with these attributes.
    pub(super) fn series(
        &self,
        attributes: &[Attribute<'_>],
        names: &Names,
        exposition: &ExpositionLabels,
    ) -> Shown {
        let values: Vec<_> =
            attributes.iter().map(|attribute| (attribute.key, attribute.value.text())).collect();
        let types = types(attributes);
        let attributes: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_ref())).collect();
        let target = [("job", self.resource.job.as_str()), ("instance", self.resource.instance.as_str())];
        let added = self.resource.labels.iter().chain(self.scope_labels(exposition));
        let added: Vec<_> = added.map(|(key, value)| (key.as_str(), value.as_str())).chain(target).collect();
        let (labels, joined) = Labels::with_added(self.kind(), &attributes, &added);
        let path = self.written.then(|| {
            let service = self.resource.service.as_str();
            names.path(&Series {
                name: &self.name,
                shape: match self.kind() {
                    Kind::Counter | Kind::Gauge => Shape::Number,
                    Kind::Histogram => Shape::Histogram,
                    Kind::Summary => Shape::Summary,
                },
                service: (!service.is_empty()).then_some(service),
                resource: self.tags.as_deref().unwrap_or(&self.resource.tags),
                attributes: &attributes,
            })
        });
        let mut sorted = attributes;
        sorted.sort_by_key(|(key, _)| *key);
        Shown { labels, origin: Origin::new(&sorted, joined).with_types(types), path }
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

/// The key of a metric of `owner`.
pub(super) fn descriptor_key(
    owner: &Owner,
    metric: &Metric<'_>,
    kind: Kind,
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if metric.name.len() + metric.unit.len() > MAX_NAME {
        return Err(TOO_LONG);
    }
    key.clear();
    key.extend(owner.resource.id.to_le_bytes());
    key.extend(owner.scope.id.to_le_bytes());
    for part in [metric.name, metric.unit, kind.as_str()] {
        push(part, key);
    }
    Ok(())
}

/// The identity of a resource with a scope, from which that of each metric goes on.
pub(super) fn of_owner(resource: &Resource, scope: &Scope) -> Identity {
    let mut key = Vec::new();
    for (name, value) in &scope.attributes {
        push(name, &mut key);
        push(value, &mut key);
    }
    scope.types.iter().for_each(|types| push(types, &mut key));
    push(&scope.name, &mut key);
    push(&scope.version, &mut key);
    Identity::new(&[&resource.identity.to_le_bytes(), &key])
}

/// The identity of a metric beyond this process: of a kind, and of `receiver`.
fn of_metric(owner: &Owner, metric: &Metric<'_>, kind: Kind, receiver: Receiver) -> u128 {
    let mut key = Vec::new();
    for part in [metric.name, metric.unit, kind.as_str()] {
        push(part, &mut key);
    }
    // Left out where it is empty, so that state which was spooled without it is found again.
    if !owner.scope.schema_url.is_empty() {
        push(&owner.scope.schema_url, &mut key);
    }
    if receiver == Receiver::Statsd {
        push("StatsD", &mut key);
    }
    owner.identity.with(&[&key])
}

/// The key of a scope.
pub(super) fn scope_key(
    metrics: &Metrics<'_>,
    metric: &Metric<'_>,
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let scope = metrics.scopes[metric.scope];
    if [scope.name, scope.version, scope.schema_url].map(str::len).iter().sum::<usize>() > MAX_KEY {
        return Err(TOO_LONG);
    }
    write_key(0, metrics.attributes(scope.attributes), key);
    for part in [scope.name, scope.version, scope.schema_url] {
        push(part, key);
    }
    within(key, MAX_KEY)
}

/// The identity of a service with its tags in Graphite, which tell services apart there.
pub(super) fn service_identity(service: &str, tags: &Tags) -> u128 {
    let mut key = Vec::new();
    push(service, &mut key);
    for (tag, value) in tags {
        push(tag, &mut key);
        push(value, &mut key);
    }
    spool::identity(&[&key])
}

/// The key of a name's type: within one service.
pub(super) fn type_key(owner: &Owner, metric: &Metric<'_>, key: &mut Vec<u8>) {
    key.clear();
    push(metric.name, key);
    key.extend(owner.service.to_le_bytes());
}

/// What the key of these attributes has at the least, in bytes: of lists and maps it is known only once they are text.
pub(super) fn least_length(attributes: &[Attribute<'_>]) -> usize {
    let lengths = attributes.iter().map(|attribute| {
        attribute.key.len()
            + match attribute.value {
                AttributeValue::Text(text) => text.len(),
                AttributeValue::Bytes(bytes) => bytes.len(),
                _ => 0,
            }
    });
    lengths.sum()
}

/// The key of a series: its descriptor and its attributes, sorted, as text.
pub(super) fn attribute_key(
    id: u32,
    attributes: &[Attribute<'_>],
    key: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if least_length(attributes) > MAX_KEY {
        return Err(TOO_LONG);
    }
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
pub(super) fn stable(under: u128, key: &[u8]) -> u128 {
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
    // Behind all keys and values, so that those are found as they were before there were types.
    types(attributes).into_iter().for_each(|types| push(&types, key));
}

/// The types of these attributes in the order of their keys, a letter each, where one is no string: `1` and `"1"` are two
/// values with one text.
pub(super) fn types(attributes: &[Attribute<'_>]) -> Option<String> {
    let letter = |attribute: &Attribute<'_>| match attribute.value {
        AttributeValue::Empty | AttributeValue::Text(_) => 's',
        AttributeValue::Bool(_) => 'b',
        AttributeValue::Int(_) => 'i',
        AttributeValue::Double(_) => 'd',
        AttributeValue::Bytes(_) => 'y',
        AttributeValue::Nested(_) => 'n',
    };
    attributes.iter().any(|attribute| letter(attribute) != 's').then(|| {
        let mut sorted: Vec<&Attribute<'_>> = attributes.iter().collect();
        sorted.sort_by_key(|attribute| attribute.key);
        sorted.into_iter().map(letter).collect()
    })
}

fn push_attribute(attribute: &Attribute<'_>, key: &mut Vec<u8>) {
    push(attribute.key, key);
    push(&attribute.value.text(), key);
}

/// A part with its length before it: one byte where that is enough, since there is a key for each series.
pub(super) fn push(part: &str, key: &mut Vec<u8>) {
    match u8::try_from(part.len()) {
        Ok(length) if length < u8::MAX => key.push(length),
        _ => {
            key.push(u8::MAX);
            key.extend((part.len() as u64).to_le_bytes());
        }
    }
    key.extend(part.as_bytes());
}

/// The parts of a key behind its id, as they were [`push`]ed.
pub(super) fn parts(key: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = key.get(size_of::<u32>()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, behind) = match rest.split_first()? {
            (&u8::MAX, behind) => {
                let (length, behind) = behind.split_first_chunk()?;
                (usize::try_from(u64::from_le_bytes(*length)).ok()?, behind)
            }
            (length, behind) => (usize::from(*length), behind),
        };
        let (part, behind) = behind.split_at_checked(length)?;
        rest = behind;
        str::from_utf8(part).ok()
    })
}
