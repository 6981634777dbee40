//! Series that are different here and the same to a sink: why, and what would distinguish them there.
//!
//! It must not choose between them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Resource,
    stream::Stream,
    target::{SCOPE_NAME, SCOPE_VERSION, Scope},
};
use crate::{
    collector::{export::graphite::lines::part_path, refusals::shortened},
    config::{ExpositionLabels, GraphiteLines, GraphiteNames},
    exposition::family::Kind,
};

/// Families that are named with what is not shown of them; of others it is counted only.
const MAX_NAMED: usize = 100;
/// Remedies for one family and reason: more would say nothing new.
const MAX_REMEDIES: usize = 3;
/// Keys that say best which of several resources one is; those further ahead are tried first.
const TELLING: [&str; 9] = [
    "service.instance.id",
    "host.name",
    "k8s.pod.name",
    "container.id",
    "host.id",
    "k8s.pod.uid",
    "k8s.node.name",
    "service.namespace",
    "deployment.environment.name",
];
/// Keys that change with each start, or say what all processes have in common.
const FLEETING: [&str; 4] = ["process.", "telemetry.", "os.", "container."];

/// Why a series is not shown in the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It differs from the one that is shown in its scope.
    Scope,
    /// In an attribute of its resource.
    Resource,
    /// In its name or unit.
    Name,
    /// In its own attributes.
    Attributes,
    /// Its family has another type.
    Type,
    /// Its name is one of the collector's own.
    Reserved,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Resource => "resource",
            Self::Name => "name",
            Self::Attributes => "attributes",
            Self::Type => "type",
            Self::Reserved => "reserved",
        }
    }

    /// The reason why `shown` hides `other`, which has the same labels: of several differences, one that a setting
    /// would show.
    pub(super) fn of(shown: &Stream, other: &Stream, exposition: &ExpositionLabels) -> Self {
        let (a, b) = (&*shown.descriptor, &*other.descriptor);
        let scopes = a.scope.compare(&b.scope) != Ordering::Equal;
        if scopes && !exposition.scope && a.scope.shown != b.scope.shown {
            Self::Scope
        } else if a.resource.id != b.resource.id {
            Self::Resource
        } else if (&a.name, &a.unit) != (&b.name, &b.unit) {
            Self::Name
        } else if scopes {
            Self::Scope
        } else {
            Self::Attributes
        }
    }
}

/// What the exposition does not show.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// Series by reason: `scope`, `resource`, `name`, `attributes`, `type`, `reserved`.
    pub counts: BTreeMap<&'static str, usize>,
    /// The first families of which something is not shown, each with what to do about it.
    pub named: Vec<Collision>,
}

/// What is not shown of one family for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The family's name.
    pub family: String,
    /// As in [`Hidden::counts`].
    pub reason: &'static str,
    /// How many series.
    pub series: usize,
    /// Why, and what would show them.
    pub remedy: String,
}

impl Hidden {
    /// Adds series of a family.
    pub(super) fn add(
        &mut self,
        family: &str,
        reason: Reason,
        series: usize,
        remedy: impl FnOnce() -> String,
    ) {
        *self.counts.entry(reason.as_str()).or_default() += series;
        if self.named.len() < MAX_NAMED {
            let (family, reason) = (shortened(family).to_owned(), reason.as_str());
            self.named.push(Collision { family, reason, series, remedy: remedy() });
        }
    }
}

/// Why a whole family is not shown, and what would show it.
pub(super) fn of_family(reason: Reason) -> String {
    match reason {
        Reason::Reserved => "such names are the collector's own: give the metric another name",
        _ => "samples of another family have its name: give one of the two metrics another name",
    }
    .to_owned()
}

/// Why series are not shown, and what would show them. Each of the `groups` are series with one label set, the one that is
/// shown first.
pub(super) fn remedy(reason: Reason, groups: &[Vec<&Stream>], exposition: &ExpositionLabels) -> String {
    if reason == Reason::Resource {
        return of_resources(groups, exposition);
    }
    let mut remedies: Vec<String> = Vec::new();
    for group in groups {
        let [shown, others @ ..] = group.as_slice() else { continue };
        let of_each = others.iter().map(|other| of_two(reason, shown, other, exposition));
        let of_group = match reason {
            Reason::Name | Reason::Reserved => vec![of_names(group)],
            _ => of_each.collect(),
        };
        for remedy in of_group {
            if remedies.len() < MAX_REMEDIES && !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
    }
    if remedies.is_empty() { of_family(reason) } else { remedies.join("; and ") }
}

fn of_two(reason: Reason, shown: &Stream, other: &Stream, exposition: &ExpositionLabels) -> String {
    match reason {
        Reason::Scope => of_scopes(&shown.descriptor.scope, &other.descriptor.scope, exposition.scope),
        Reason::Type => {
            let [a, b] = [shown, other].map(|stream| {
                let descriptor = &stream.descriptor;
                let kind = descriptor.kind().as_str();
                let (name, service) = (shortened(&descriptor.name), shortened(&descriptor.resource.service));
                format!("a {kind} {name:?} of the service {service:?}")
            });
            format!("{a} is shown, and {b} is of another type: give one of the two another name")
        }
        _ => of_attributes(shown, other),
    }
}

fn of_scopes(a: &Scope, b: &Scope, shows_scopes: bool) -> String {
    let what = scopes(a, b);
    match shows_scopes || a.shown == b.shown {
        true if !shows_scopes => format!(
            "they differ in {what}, of which the labels are the same: give one of the scopes another name or version, \
             and set --exposition-scope on"
        ),
        true => format!(
            "they differ in {what}, of which the labels are the same: give one of the scopes another name or version"
        ),
        false => format!("they differ in {what}, and scopes are not shown: set --exposition-scope on"),
    }
}

/// In what two scopes differ.
fn scopes(a: &Scope, b: &Scope) -> String {
    let named = |what: &str, a: &str, b: &str| format!("{what}, {:?} and {:?}", shortened(a), shortened(b));
    if a.name != b.name {
        named("the names of their scopes", &a.name, &b.name)
    } else if a.version != b.version {
        named("the versions of their scope", &a.version, &b.version)
    } else if a.schema_url != b.schema_url {
        named("the schemas of their scope", &a.schema_url, &b.schema_url)
    } else {
        format!("the attributes of their scope {:?}", shortened(&a.name))
    }
}

fn of_resources(groups: &[Vec<&Stream>], exposition: &ExpositionLabels) -> String {
    let groups: Vec<Vec<&Resource>> = groups
        .iter()
        .map(|group| group.iter().map(|stream| &*stream.descriptor.resource).collect())
        .collect();
    let keys = separating(&groups, &exposition.resource);
    let example = groups.iter().find_map(|group| match group.as_slice() {
        [first, second, ..] => Some((first, second)),
        _ => None,
    });
    let Some((first, second)) = example.filter(|_| !keys.is_empty()) else {
        return "their resources differ in nothing of which a label can be made: give each a service.instance.id \
                of its own"
            .to_owned();
    };
    let wanted = exposition.resource.iter().map(String::as_str).chain(keys.iter().copied());
    format!(
        "their resources differ in {}: set --exposition-labels {}, or give each a service.instance.id of its own",
        difference(first, second, &keys),
        wanted.collect::<Vec<_>>().join(",")
    )
}

fn of_names(among: &[&Stream]) -> String {
    let names: BTreeSet<&str> = among.iter().map(|stream| stream.descriptor.name.as_str()).collect();
    let units: BTreeSet<&str> = among.iter().map(|stream| stream.descriptor.unit.as_str()).collect();
    let listed = |texts: &BTreeSet<&str>| {
        let texts: Vec<_> = texts.iter().map(|text| format!("{:?}", shortened(text))).collect();
        match texts.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => texts.concat(),
        }
    };
    match names.len() {
        1 => format!(
            "the units {} of {} come to one name: give all the same unit, or all but one another name",
            listed(&units),
            listed(&names)
        ),
        2 => format!("the names {} come to one: give one of the two another name", listed(&names)),
        _ => format!("the names {} come to one: give all but one another name", listed(&names)),
    }
}

fn of_attributes(a: &Stream, b: &Stream) -> String {
    if a.descriptor.receiver != b.descriptor.receiver {
        return "one is StatsD's, and the other is from a sender without service.name: give that one a service.name"
            .to_owned();
    }
    if a.origin.keys().eq(b.origin.keys()) && a.origin.types() != b.origin.types() {
        let keys: Vec<_> = a.origin.keys().map(|key| format!("{:?}", shortened(key))).collect();
        return format!(
            "an attribute ({}) has the same text as values of two types, such as 1 and \"1\": send one type",
            keys.join(", ")
        );
    }
    let keys = |stream: &Stream| -> BTreeSet<String> {
        stream.origin.keys().map(|key| shortened(key).to_owned()).collect()
    };
    let (a, b) = (keys(a), keys(b));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
        one.difference(other).map(|key| format!("{key:?}")).collect()
    };
    match (only(&a, &b), only(&b, &a)) {
        (of_one, of_other) if !of_one.is_empty() && !of_other.is_empty() => format!(
            "their attributes {} and {} come to one label: give one another key",
            of_one.join(", "),
            of_other.join(", ")
        ),
        (of_one, of_other) if of_one.len() + of_other.len() > 0 => format!(
            "the attribute {} is empty, which is no label: give it a value, or leave it out of both",
            [of_one, of_other].concat().join(", ")
        ),
        _ => "the values of attributes that come to one label are the same together: give one attribute another key"
            .to_owned(),
    }
}

/// What is said of two series that share a path in Graphite.
pub(super) fn sharing(stream: &Stream, other: &Stream, graphite: &GraphiteLines) -> String {
    let path = stream.path.as_ref().map(|path| part_path(path, "")).unwrap_or_default();
    let (a, b) = (&stream.descriptor, &other.descriptor);
    let with = |keys: &[&str]| {
        let tags = graphite.tags.iter().map(String::as_str).chain(keys.iter().copied());
        format!("set --graphite-tags {}", tags.collect::<Vec<_>>().join(","))
    };
    let keys = separating(&[vec![&*a.resource, &*b.resource]], &graphite.tags);
    let scope_key =
        [(SCOPE_NAME, a.scope.name != b.scope.name), (SCOPE_VERSION, a.scope.version != b.scope.version)];
    let scope_key =
        scope_key.into_iter().find(|(key, differ)| *differ && graphite.tags.iter().all(|tag| tag != key));
    let (why, remedy) = if !keys.is_empty() {
        (format!("their resources differ in {}", difference(&b.resource, &a.resource, &keys)), with(&keys))
    } else if let Some((key, _)) = scope_key {
        (format!("they differ in {}", scopes(&b.scope, &a.scope)), with(&[key]))
    } else if a.name == b.name && a.scope.compare(&b.scope) != Ordering::Equal {
        let why = format!("they differ in {}, of which no tag is made", scopes(&b.scope, &a.scope));
        (why, "give one of the scopes another name or version".to_owned())
    } else {
        let [name, other_name] = [stream, other].map(|stream| {
            let part = match stream.descriptor.kind() {
                Kind::Counter | Kind::Gauge => "",
                Kind::Histogram | Kind::Summary => ".count",
            };
            (format!("{}{part}", stream.descriptor.name), &stream.labels, &stream.origin)
        });
        let why = if a.receiver != b.receiver {
            format!("{:?} is StatsD's, and a sender's without service.name", shortened(&a.name))
        } else if (&a.name, a.kind()) == (&b.name, b.kind()) && a.unit != b.unit {
            format!(
                "the units of {:?} are {:?} and {:?}",
                shortened(&a.name),
                shortened(&b.unit),
                shortened(&a.unit)
            )
        } else {
            format!("the metrics are {:?} and {:?}", shortened(&b.name), shortened(&a.name))
        };
        let tagged = graphite.names == GraphiteNames::Tagged;
        let remedy = match !tagged && name != other_name {
            true => "give one of the two another name, or set --graphite-names tagged",
            false => "give one of the two another name",
        };
        (why, remedy.to_owned())
    };
    format!(
        "two series write the Graphite path {path} at the same time, and both are written: {why}; {remedy}"
    )
}

/// The attributes that distinguish the resources of each group, the most telling ones; none of those in `used`.
fn separating<'a>(groups: &[Vec<&'a Resource>], used: &[String]) -> Vec<&'a str> {
    let mut keys: Vec<&str> = Vec::new();
    for resources in groups {
        for (at, one) in resources.iter().enumerate() {
            for other in resources.iter().skip(at + 1).filter(|other| other.id != one.id) {
                let different = different(one, other);
                if different.iter().any(|key| keys.contains(key)) {
                    continue;
                }
                // A list of keys has no key with a comma, or with a blank at its end.
                let can_be_listed = |key: &str| !key.contains(',') && key.trim() == key;
                let unused = different
                    .into_iter()
                    .filter(|key| can_be_listed(key) && used.iter().all(|used| used != key));
                keys.extend(unused.min_by_key(|key| rank(key)));
            }
        }
    }
    keys
}

fn rank(key: &str) -> (usize, &str) {
    let fleeting = FLEETING.iter().any(|beginning| key.starts_with(beginning));
    let telling = TELLING.iter().position(|telling| *telling == key);
    (telling.unwrap_or(TELLING.len() + usize::from(fleeting)), key)
}

/// The keys of attributes that two resources do not have alike.
fn different<'a>(one: &'a Resource, other: &'a Resource) -> Vec<&'a str> {
    let [a, b] = [one, other].map(|resource| -> BTreeMap<&str, &str> {
        resource.attributes().filter(|(_, value)| !value.is_empty()).collect()
    });
    let keys: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
    keys.into_iter().filter(|key| a.get(key) != b.get(key)).collect()
}

/// `host.name, "a" and "b"`.
fn difference(one: &Resource, other: &Resource, keys: &[&str]) -> String {
    let value = |resource: &Resource, key: &str| {
        let value = resource.attributes().filter(|(other, _)| *other == key).map(|(_, value)| value).last();
        shortened(value.unwrap_or_default()).to_owned()
    };
    let of = |key: &&str| match [one, other].map(|resource| value(resource, key)) {
        [one, other] if one == other => shortened(key).to_owned(),
        [one, other] => format!("{}, {one:?} and {other:?}", shortened(key)),
    };
    keys.iter().map(of).collect::<Vec<_>>().join("; ")
}
