//! The series table: which streams there are, what they stand at, and how many there may be.
//!
//! It must not do I/O: the pipeline asks it for a plan, reserves room in the sinks, and then lets it apply
//! the points.

mod identity;
mod point;
mod state;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest, common::v1::InstrumentationScope,
    metrics::v1::Metric,
};
use slab::Slab;

pub use self::identity::Resource;
pub(crate) use self::identity::text;
use self::{
    identity::{Descriptor, attribute_key},
    point::Point,
    state::State,
};
use super::export::graphite::lines::Template;
use crate::exposition::family::{Family, Kind, Labels, Number, Sample, Value};

/// How long a series stays after its last point, as in the stock Collector's `metric_expiration`.
pub const STALE_AFTER: Duration = Duration::from_secs(300);

/// Bytes of carbon lines that one request may become. Its size on the wire is no bound of them: each bucket
/// of a histogram repeats the path.
const MAX_LINES: usize = 256 * 1024 * 1024;
/// Characters of a metric's name that go into an answer.
const NAME_LENGTH: usize = 80;

/// All streams that points were heard of in the last [`STALE_AFTER`].
#[derive(Debug)]
pub struct Table {
    max_series: usize,
    histogram_bounds: Arc<[f64]>,
    resources: HashMap<Vec<u8>, Arc<Resource>>,
    descriptors: HashMap<Vec<u8>, Arc<Descriptor>>,
    index: HashMap<Vec<u8>, usize>,
    streams: Slab<Stream>,
    next_id: u32,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    descriptor: Arc<Descriptor>,
    labels: Labels,
    template: Template,
    state: State,
    heard: Instant,
}

/// What would happen to each point of a request, in the order of its points.
#[derive(Debug, Default)]
pub struct Plan {
    slots: Vec<Option<usize>>,
    /// The keys of streams that were made for it.
    made: Vec<Vec<u8>>,
    /// At most so many bytes of carbon lines.
    pub line_bytes: usize,
    /// Points that are refused for good, by reason, each with the beginning of the name of one of the metrics.
    pub rejected: BTreeMap<&'static str, (u64, String)>,
}

impl Plan {
    /// How many points the request holds.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many points are refused for good.
    #[must_use]
    pub fn rejected_points(&self) -> u64 {
        self.rejected.values().map(|(points, _)| points).sum()
    }

    fn reject(&mut self, reason: &'static str, metric: &str) {
        self.slots.push(None);
        let shortened = || metric.chars().take(NAME_LENGTH).collect();
        let (points, _) = self.rejected.entry(reason).or_insert_with(|| (0, shortened()));
        *points += 1;
    }
}

/// What became of applied points.
#[derive(Debug, Default)]
pub struct Applied {
    /// Carbon lines, where they were asked for.
    pub lines: Vec<u8>,
    /// Points for which lines were written.
    pub points: u64,
    /// Points without a line, by reason.
    pub unwritten: BTreeMap<&'static str, u64>,
}

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
    /// The path in Graphite.
    pub path: String,
}

impl Table {
    /// An empty table for at most `max_series` streams; exponential histograms are kept by `histogram_bounds`.
    #[must_use]
    pub fn new(max_series: usize, histogram_bounds: &[f64]) -> Self {
        Self {
            max_series,
            histogram_bounds: histogram_bounds.into(),
            resources: HashMap::new(),
            descriptors: HashMap::new(),
            index: HashMap::new(),
            streams: Slab::new(),
            next_id: 0,
            key: Vec::new(),
        }
    }

    /// How many streams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Finds the stream of every point, making new ones while there is room, and what the points would take.
    #[must_use]
    pub fn plan(&mut self, request: &ExportMetricsServiceRequest, now: Instant) -> Plan {
        let mut plan = Plan::default();
        for_each_metric(request, |resource, scope, metric| {
            let descriptor = self.descriptor(resource, scope, metric);
            point::for_each(metric, |point| {
                let checked = match &descriptor {
                    Ok(descriptor) => point.check(metric).map(|()| descriptor),
                    Err(reason) => Err(*reason),
                };
                match checked.and_then(|descriptor| self.stream(descriptor, &point, now, &mut plan.made)) {
                    Ok(slot) => {
                        let lines = point.lines(self.histogram_bounds.len());
                        plan.line_bytes += lines * self.streams[slot].template.line_bytes();
                        plan.slots.push(Some(slot));
                    }
                    Err(reason) => plan.reject(reason, &metric.name),
                }
            });
        });
        plan.line_bytes = plan.line_bytes.min(MAX_LINES);
        plan
    }

    /// Forgets the streams that were made for `plan`: its points are not taken.
    pub fn abandon(&mut self, plan: Plan) {
        for key in plan.made {
            if let Some(slot) = self.index.remove(&key) {
                self.streams.remove(slot);
            }
        }
    }

    /// Takes the points of `request` as `plan` says; writes carbon lines if `lines` asks for them.
    #[must_use]
    pub fn apply(
        &mut self,
        request: &ExportMetricsServiceRequest,
        plan: &Plan,
        lines: bool,
        now: SystemTime,
    ) -> Applied {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let horizon = u64::try_from((since + STALE_AFTER).as_nanos()).unwrap_or(u64::MAX);
        let mut applied = Applied::default();
        let mut slots = plan.slots.iter();
        for_each_metric(request, |_, _, metric| {
            let delta = point::is_delta(metric);
            point::for_each(metric, |point| {
                let Some(stream) =
                    slots.next().copied().flatten().and_then(|slot| self.streams.get_mut(slot))
                else {
                    return;
                };
                if point.no_recorded_value() {
                    stream.state.end();
                    return;
                }
                let (value, time) = stream.state.take(&point, delta, &self.histogram_bounds, horizon);
                if lines {
                    let bytes = point.lines(self.histogram_bounds.len()) * stream.template.line_bytes();
                    let written = if applied.lines.len() + bytes > MAX_LINES {
                        Err("too_many_lines")
                    } else {
                        stream.template.write(&value, time, &mut applied.lines)
                    };
                    match written {
                        Ok(()) => applied.points += 1,
                        Err(reason) => *applied.unwritten.entry(reason).or_default() += 1,
                    }
                }
            });
        });
        applied
    }

    /// Forgets streams that were not heard of for [`STALE_AFTER`], and what only they needed.
    pub fn sweep(&mut self, now: Instant) {
        let streams = &mut self.streams;
        self.index.retain(|_, slot| {
            let fresh = now.saturating_duration_since(streams[*slot].heard) < STALE_AFTER;
            if !fresh {
                streams.remove(*slot);
            }
            fresh
        });
        self.descriptors.retain(|_, descriptor| Arc::strong_count(descriptor) > 1);
        self.resources.retain(|_, resource| Arc::strong_count(resource) > 1);
    }

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
            if first.kind == stream.descriptor.kind {
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
                Some(Sample { labels: stream.labels.clone(), value: stream.state.value()?.clone() })
            });
            let samples = samples.collect();
            Family { name: name.to_owned(), help: descriptor.help.clone(), kind: descriptor.kind, samples }
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
                    path: stream.template.path(part),
                });
            };
            match value {
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

    fn descriptor(
        &mut self,
        resource: Option<&opentelemetry_proto::tonic::resource::v1::Resource>,
        scope: Option<&InstrumentationScope>,
        metric: &Metric,
    ) -> Result<Arc<Descriptor>, &'static str> {
        if metric.name.is_empty() {
            return Err("no_name");
        }
        let kind = point::kind(metric)?;
        identity::resource_key(resource, &mut self.key)?;
        if !self.resources.contains_key(&self.key) {
            if self.resources.len() >= self.max_series {
                return Err("max_series");
            }
            let made = Arc::new(Resource::new(self.next_id, resource));
            self.next_id = self.next_id.wrapping_add(1);
            self.resources.insert(self.key.clone(), made);
        }
        let resource = Arc::clone(&self.resources[&self.key]);
        identity::descriptor_key(&resource, scope, metric, kind, &mut self.key)?;
        if let Some(descriptor) = self.descriptors.get(&self.key) {
            return Ok(Arc::clone(descriptor));
        }
        if self.descriptors.len() >= self.max_series {
            return Err("max_series");
        }
        let made = Arc::new(Descriptor::new(self.next_id, resource, metric, kind));
        self.next_id = self.next_id.wrapping_add(1);
        self.descriptors.insert(self.key.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn stream(
        &mut self,
        descriptor: &Arc<Descriptor>,
        point: &Point<'_>,
        now: Instant,
        made: &mut Vec<Vec<u8>>,
    ) -> Result<usize, &'static str> {
        attribute_key(descriptor.id, point.attributes(), &mut self.key)?;
        if let Some(slot) = self.index.get(&self.key) {
            self.streams[*slot].heard = now;
            return Ok(*slot);
        }
        if self.streams.len() >= self.max_series {
            return Err("max_series");
        }
        let (labels, template) = descriptor.series(point.attributes());
        let stream = Stream {
            descriptor: Arc::clone(descriptor),
            labels,
            template,
            state: State::default(),
            heard: now,
        };
        let slot = self.streams.insert(stream);
        self.index.insert(self.key.clone(), slot);
        made.push(self.key.clone());
        Ok(slot)
    }
}

/// Leaves out of `request` the points that `plan` refuses, and their places out of `plan`, so that both
/// still go together.
pub fn retain_planned(request: &mut ExportMetricsServiceRequest, plan: &mut Plan) {
    let mut slots = plan.slots.iter();
    for resource in &mut request.resource_metrics {
        for scope in &mut resource.scope_metrics {
            for metric in &mut scope.metrics {
                point::retain(metric, || slots.next().is_some_and(Option::is_some));
            }
        }
    }
    plan.slots.retain(Option::is_some);
}

fn for_each_metric<'a>(
    request: &'a ExportMetricsServiceRequest,
    mut f: impl FnMut(
        Option<&'a opentelemetry_proto::tonic::resource::v1::Resource>,
        Option<&'a InstrumentationScope>,
        &'a Metric,
    ),
) {
    for resource in &request.resource_metrics {
        for scope in &resource.scope_metrics {
            for metric in &scope.metrics {
                f(resource.resource.as_ref(), scope.scope.as_ref(), metric);
            }
        }
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
