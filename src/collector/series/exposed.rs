//! What the table shows: families for a scrape, and series for a person.
//!
//! Of series that come to one name with one set of labels, the one that sorts first by scope, resource, name and
//! attributes is shown, so that it changes only when such a one comes or ends.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Resource, Table,
    collision::{self, Hidden, Reason},
    identity::Descriptor,
    stream::Stream,
};
use crate::{
    collector::export::graphite::lines::part_path,
    config::ExpositionLabels,
    exposition::family::{Family, Kind, Labels, Number, Origin, Sample, Value, distinct},
};

/// What the names of the collector's own families begin with; no other family is shown under such a name.
pub const OWN_PREFIX: &str = "pushpull_collector_";
/// The family of what is known of each target; a metric of that name makes way for it.
const TARGET_INFO: &str = "target_info";
/// How many series that have one label set are compared for what would separate them, and how many such label sets of one
/// family.
const COMPARED: usize = 16;

/// What a scrape shows of the table.
#[derive(Debug, Default)]
pub struct Exposed {
    /// Families by name, `target_info` before all others.
    pub families: Vec<Family>,
    /// What is not shown.
    pub hidden: Hidden,
    /// Series, and targets, that have a label with the values of several attributes.
    pub joined: usize,
}

/// One series, for a person to look at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Who it is from.
    pub resource: Arc<Resource>,
    /// The exposition's sample name.
    pub name: String,
    /// The exposition's labels.
    pub labels: Labels,
    /// Its newest value.
    pub value: f64,
    /// The newest point's own time, in nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The path in Graphite; none where the metric is not written there.
    pub path: Option<String>,
}

impl Exposed {
    /// Leaves out families whose names clash with those of others, or with the collector's own.
    #[must_use]
    pub fn distinct(mut self) -> Self {
        let (own, families) =
            self.families.into_iter().partition(|family| family.name.starts_with(OWN_PREFIX));
        let (families, clashing) = distinct(families);
        self.families = families;
        for (reason, families) in [(Reason::Reserved, own), (Reason::Name, clashing)] {
            for family in families {
                let reason = if family.name == TARGET_INFO { Reason::Reserved } else { reason };
                let remedy = || match family.name == TARGET_INFO {
                    true => format!("{TARGET_INFO} is reserved: give the metric another name"),
                    false => collision::of_family(reason),
                };
                self.hidden.add(&family.name, reason, family.samples.len(), remedy);
            }
        }
        self
    }
}

impl Table {
    /// Every series as families by name, samples by labels, `target_info` of each target that has any included.
    #[must_use]
    pub fn families(&self) -> Exposed {
        let mut exposed = Exposed::default();
        let mut families: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
        let mut resources = HashMap::new();
        for (_, stream) in self.streams.iter().filter(|(_, stream)| stream.state.time().is_some()) {
            let resource = &stream.descriptor.resource;
            resources.insert(resource.id, resource);
            exposed.joined += usize::from(stream.origin.is_joined());
            families.entry(&stream.descriptor.family).or_default().push(stream);
        }
        let targets = target_info(resources.into_values(), &mut exposed.joined);
        let (shown, hidden) = (&self.exposition, &mut exposed.hidden);
        let families =
            families.into_iter().filter_map(|(name, streams)| family(name, streams, shown, hidden));
        exposed.families = targets.into_iter().chain(families).collect();
        exposed
    }

    /// Every series as a person compares it: numbers by themselves, histograms by their count and sum. Of those that
    /// come to one name and labels, the one that a scrape shows is the first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut streams: Vec<&Stream> = self.streams.iter().map(|(_, stream)| stream).collect();
        streams.sort_by(|a, b| {
            (&a.descriptor.family, &a.labels)
                .cmp(&(&b.descriptor.family, &b.labels))
                .then_with(|| in_order(a, b))
        });
        let mut snapshots = Vec::new();
        for stream in streams {
            let (Some(value), Some(time)) = (stream.state.value(), stream.state.time()) else { continue };
            let mut add = |suffix: &str, part: &str, value: Number| {
                snapshots.push(Snapshot {
                    resource: Arc::clone(&stream.descriptor.resource),
                    name: format!("{}{suffix}", stream.descriptor.family),
                    labels: stream.labels.clone(),
                    value: value.as_f64(),
                    time_unix_nano: time,
                    path: stream.path.as_ref().map(|path| part_path(path, part)),
                });
            };
            match &*value {
                Value::Number(number) => add("", "", *number),
                Value::Histogram(histogram) => {
                    add("_count", ".count", Number::Uint(histogram.count));
                    histogram.sum.into_iter().for_each(|sum| add("_sum", ".sum", sum));
                }
                Value::Summary(summary) => {
                    add("_count", ".count", Number::Uint(summary.count));
                    add("_sum", ".sum", Number::Float(summary.sum));
                }
            }
        }
        // The order of those that are alike stays.
        snapshots.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        snapshots
    }
}

/// The order in which series of one name with the same labels are shown: the first one is.
fn in_order(a: &Stream, b: &Stream) -> Ordering {
    a.descriptor.compare(&b.descriptor).then_with(|| a.origin.cmp(&b.origin))
}

/// One family of these series, and what is not shown of them.
fn family(
    name: &str,
    mut streams: Vec<&Stream>,
    exposition: &ExpositionLabels,
    hidden: &mut Hidden,
) -> Option<Family> {
    let first = first_of(streams.iter().copied())?;
    let kind = first.descriptor.kind();
    let others = || streams.iter().filter(|stream| stream.descriptor.kind() != kind).copied();
    if let Some(other) = others().next() {
        let remedy = || collision::remedy(Reason::Type, &[vec![first, other]], exposition);
        hidden.add(name, Reason::Type, others().count(), remedy);
        streams.retain(|stream| stream.descriptor.kind() == kind);
    }
    let described = streams.iter().filter(|stream| !stream.descriptor.help.is_empty()).copied();
    let help = first_of(described).map(|stream| stream.descriptor.help.clone()).unwrap_or_default();
    streams.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
    let mut others: BTreeMap<Reason, Others<'_>> = BTreeMap::new();
    let mut samples = Vec::with_capacity(streams.len());
    for alike in streams.chunk_by(|a, b| a.labels == b.labels) {
        let Some(shown) = alike.iter().copied().min_by(|a, b| in_order(a, b)) else { continue };
        let hidden = alike.iter().copied().filter(|other| !std::ptr::eq(*other, shown));
        let mut groups: BTreeMap<Reason, Vec<&Stream>> = BTreeMap::new();
        for other in hidden {
            let reason = Reason::of(shown, other, exposition);
            others.entry(reason).or_default().series += 1;
            let group = groups.entry(reason).or_insert_with(|| vec![shown]);
            if group.len() < COMPARED {
                group.push(other);
            }
        }
        groups.into_iter().for_each(|(reason, group)| others.entry(reason).or_default().add(group));
        let Some(value) = shown.state.value() else { continue };
        samples.push(Sample { labels: shown.labels.clone(), value: value.into_owned() });
    }
    for (reason, Others { series, groups, .. }) in others {
        hidden.add(name, reason, series, || collision::remedy(reason, &groups, exposition));
    }
    Some(Family { name: name.to_owned(), help, kind, samples })
}

/// What is not shown of a family for one reason.
#[derive(Default)]
struct Others<'a> {
    series: usize,
    /// Series with one label set, the one that is shown first; of label sets that differ in nothing but values of the
    /// same metrics, one stands for all.
    groups: Vec<Vec<&'a Stream>>,
    known: HashSet<Vec<(*const Descriptor, *const Origin)>>,
}

impl<'a> Others<'a> {
    fn add(&mut self, group: Vec<&'a Stream>) {
        if self.groups.len() == COMPARED {
            return;
        }
        let what = group.iter().map(|stream| (Arc::as_ptr(&stream.descriptor), Arc::as_ptr(&stream.origin)));
        if self.known.insert(what.collect()) {
            self.groups.push(group);
        }
    }
}

/// The series whose metric sorts first. Most have the metric of the one before them.
fn first_of<'a>(streams: impl Iterator<Item = &'a Stream>) -> Option<&'a Stream> {
    let mut seen: Option<&Descriptor> = None;
    let new = streams.filter(|stream| {
        let descriptor: &Descriptor = &stream.descriptor;
        !seen.replace(descriptor).is_some_and(|seen| std::ptr::eq(seen, descriptor))
    });
    new.min_by(|a, b| a.descriptor.compare(&b.descriptor))
}

/// One for each job and instance: that of the resource that came last.
fn target_info<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>, joined: &mut usize) -> Option<Family> {
    let mut targets: HashMap<(&str, &str), &Resource> = HashMap::new();
    for resource in resources.filter(|resource| resource.target_info.is_some()) {
        let newest = targets.entry((&resource.job, &resource.instance)).or_insert(resource);
        if newest.id < resource.id {
            *newest = resource;
        }
    }
    if targets.is_empty() {
        return None;
    }
    *joined += targets.values().filter(|resource| resource.joined).count();
    let mut labels: Vec<_> =
        targets.into_values().filter_map(|resource| resource.target_info.clone()).collect();
    labels.sort_unstable();
    Some(Family {
        name: TARGET_INFO.to_owned(),
        help: "Target metadata".to_owned(),
        kind: Kind::Gauge,
        samples: labels
            .into_iter()
            .map(|labels| Sample { labels, value: Value::Number(Number::Int(1)) })
            .collect(),
    })
}
