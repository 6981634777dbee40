//! Who series are from: a resource, and a scope within it.
//!
//! It must not know a metric.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{
    Table,
    identity::{parts, service_identity, stable, types},
};
use crate::{
    collector::wire::{Attribute, Metric, Metrics},
    config::ExpositionLabels,
    exposition::family::{Kind, Labels, Origin, scope_labels},
};

/// Keys and values, sorted.
pub(super) type Tags = Vec<(String, String)>;

/// What the scope's name and version are called among the keys of `--graphite-tags`, as the specification calls them
/// where there is no scope.
pub(super) const SCOPE_NAME: &str = "otel.scope.name";
pub(super) const SCOPE_VERSION: &str = "otel.scope.version";

/// The entity that points, spans and log records are from.
#[derive(Debug)]
pub struct Resource {
    /// A later one has a higher number.
    pub(super) id: u32,
    /// The same in every process; `id` is this one's.
    pub(super) identity: u128,
    /// `service.name`, or empty.
    pub service: String,
    /// `service.version`, or empty.
    pub version: String,
    /// `service.instance.id`, or empty.
    pub instance: String,
    /// `service.namespace/service.name`, as Prometheus's `job`.
    pub(super) job: String,
    /// The labels of its `target_info`, if it has any.
    pub(super) target_info: Option<Labels>,
    /// Two of its attributes are one label there.
    pub(super) joined: bool,
    /// The attributes that become labels of each of its series.
    pub(super) labels: Tags,
    /// The attributes that become tags in Graphite.
    pub(super) tags: Tags,
    /// The identity of the service with these tags.
    pub(super) in_graphite: u128,
    /// The key that it is found by; its attributes are in it.
    key: Arc<[u8]>,
}

impl Resource {
    /// `key` is its [`super::identity::resource_key`].
    pub(super) fn new(
        id: u32,
        resource: &[Attribute<'_>],
        key: Arc<[u8]>,
        graphite_tags: &[String],
        exposition: &ExpositionLabels,
    ) -> Self {
        let identity = stable(0, &key);
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
            let rest: Vec<_> = rest.map(|(key, value)| (*key, value.as_ref())).collect();
            Labels::with_added(Kind::Gauge, &rest, &[("job", job.as_str()), ("instance", instance.as_str())])
        });
        let (target_info, joined) =
            target_info.map_or((None, false), |(labels, joined)| (Some(labels), joined));
        let of = |keys: &[String]| -> Tags {
            let of = |key: &String| Some((key.clone(), attributes.get(key.as_str())?.to_string()));
            keys.iter().filter_map(of).collect()
        };
        let labels = of(&exposition.resource).into_iter().filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(key, value)| (makes_way(&key).to_owned(), value)).collect();
        let tags = of(graphite_tags);
        let tags: Tags =
            tags.into_iter().map(|(key, value)| (makes_way_in_graphite(&key).to_owned(), value)).collect();
        let in_graphite = service_identity(&service, &tags);
        Self {
            id,
            identity,
            version: attribute("service.version"),
            service,
            instance,
            job,
            target_info,
            joined,
            labels,
            tags,
            in_graphite,
            key,
        }
    }

    /// Its attributes, sorted by key, their values as text.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = parts(&self.key);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match self.id == other.id {
            true => Ordering::Equal,
            // Behind the texts there are the types.
            false => self.attributes().cmp(other.attributes()).then_with(|| self.key.cmp(&other.key)),
        }
    }
}

/// An attribute makes way for the target's label of the same name, as in a scrape by Prometheus.
fn makes_way(key: &str) -> &str {
    match key {
        "job" => "exported_job",
        "instance" => "exported_instance",
        key => key,
    }
}

/// A tag in Graphite makes way for those that a line has of its own, and a key that carbon takes for the name.
fn makes_way_in_graphite(key: &str) -> &str {
    match key {
        "le" => "exported_le",
        "quantile" => "exported_quantile",
        "__name__" => "exported_name",
        key => key,
    }
}

/// The instrumentation scope of metrics.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema_url: String,
    /// Sorted.
    pub(super) attributes: Tags,
    /// The types of their values, a letter each, where one is no string.
    pub(super) types: Option<String>,
    /// What becomes labels of its series, where scopes are shown; nothing that is empty.
    pub(super) labels: Tags,
    /// These as labels by themselves.
    pub(super) shown: Labels,
}

impl Scope {
    pub(super) fn new(id: u32, metrics: &Metrics<'_>, metric: &Metric<'_>) -> Self {
        let scope = metrics.scopes[metric.scope];
        let attributes = metrics.attributes(scope.attributes).iter();
        let mut attributes: Tags = attributes
            .map(|attribute| (attribute.key.to_owned(), attribute.value.text().into_owned()))
            .collect();
        attributes.sort();
        let types = types(metrics.attributes(scope.attributes));
        let of_scope = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let labels = scope_labels(scope.name, scope.version, scope.schema_url, of_scope);
        let shown = Labels::new(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        Self {
            id,
            name: scope.name.to_owned(),
            version: scope.version.to_owned(),
            schema_url: scope.schema_url.to_owned(),
            attributes,
            types,
            labels,
            shown,
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        self.name
            .cmp(&other.name)
            .then_with(|| self.version.cmp(&other.version))
            .then_with(|| self.schema_url.cmp(&other.schema_url))
            .then_with(|| self.attributes.cmp(&other.attributes))
            .then_with(|| self.types.cmp(&other.types))
    }

    /// The tags of a series in Graphite: those of its resource, and those of its scope that are among `wanted`; nothing
    /// where there is none of the latter.
    pub(super) fn tags(&self, resource: &Resource, wanted: &[String]) -> Option<Tags> {
        let own: Tags = [(SCOPE_NAME, &self.name), (SCOPE_VERSION, &self.version)]
            .into_iter()
            .filter(|(key, value)| !value.is_empty() && wanted.iter().any(|wanted| wanted == key))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        if own.is_empty() {
            return None;
        }
        let of_resource = resource.tags.iter().filter(|(key, _)| own.iter().all(|(own, _)| own != key));
        let mut tags: Tags = of_resource.cloned().collect();
        tags.extend(own);
        tags.sort();
        Some(tags)
    }
}

impl Table {
    /// The one of these keys that all series with them have.
    pub(super) fn origin(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.origins.get(&origin) {
            return Arc::clone(known);
        }
        let made = Arc::new(origin);
        // Those of series that were given up again go with the next sweep.
        if self.origins.len() < self.max_series {
            self.origins.insert(Arc::clone(&made));
        }
        made
    }
}
