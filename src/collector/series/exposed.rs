//! What the table shows: families for a scrape, and series for a person.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Resource, Stream, Table};
use crate::{
    collector::export::graphite::lines::part_path,
    exposition::family::{Family, Kind, Labels, Number, Sample, Value},
};

/// What a scrape shows of the table.
#[derive(Debug, Default)]
pub struct Exposed {
    /// Families by name, `target_info` before all others.
    pub families: Vec<Family>,
    /// Series that are not shown, since another type has their family's name.
    pub hidden: usize,
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

impl Table {
    /// Every series as families by name, samples by labels, `target_info` of each resource that has any
    /// included. Where
    /// streams share a family and its labels, the newest point is shown; of two types, the first.
    #[must_use]
    pub fn families(&self) -> Exposed {
        let mut hidden = 0;
        let mut families = BTreeMap::new();
        let mut targets = HashMap::new();
        for (_, stream) in &self.streams {
            let Some(time) = stream.state.time() else { continue };
            let resource = &stream.descriptor.resource;
            targets.insert(resource.id, resource);
            let (first, streams) = families
                .entry(&stream.descriptor.family)
                .or_insert_with(|| (&*stream.descriptor, Vec::new()));
            if first.kind() == stream.descriptor.kind() {
                streams.push((stream, time));
            } else {
                hidden += 1;
            }
        }
        let targets = target_info(targets.into_values());
        let families = families.into_iter().map(|(name, (descriptor, mut streams))| {
            streams.sort_by(|(a, a_time): &(&Stream, u64), (b, b_time)| {
                a.labels.cmp(&b.labels).then(b_time.cmp(a_time))
            });
            streams.dedup_by(|(later, _), (first, _)| later.labels == first.labels);
            let samples = streams.into_iter().filter_map(|(stream, _)| {
                Some(Sample { labels: stream.labels.clone(), value: stream.state.value()?.into_owned() })
            });
            let samples = samples.collect();
            Family { name: name.to_owned(), help: descriptor.help.clone(), kind: descriptor.kind(), samples }
        });
        Exposed { families: targets.into_iter().chain(families).collect(), hidden }
    }

    /// Every series as a person compares it: numbers by themselves, histograms by their count and sum.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        for (_, stream) in &self.streams {
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
        snapshots.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        snapshots
    }
}

fn target_info<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> Option<Family> {
    let mut labels: Vec<_> = resources.filter_map(|resource| resource.target_info.clone()).collect();
    if labels.is_empty() {
        return None;
    }
    labels.sort_unstable();
    labels.dedup();
    Some(Family {
        name: "target_info".to_owned(),
        help: "Target metadata".to_owned(),
        kind: Kind::Gauge,
        samples: labels
            .into_iter()
            .map(|labels| Sample { labels, value: Value::Number(Number::Int(1)) })
            .collect(),
    })
}
