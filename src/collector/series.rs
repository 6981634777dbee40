//! The series table: which streams there are, what they stand at, and how many there may be.
//!
//! It must not do I/O: the pipeline asks it for a plan, reserves room in the sinks, and then lets it apply
//! the points.

mod apply;
mod beginning;
mod collision;
mod cumulative;
mod ended;
mod exposed;
mod identity;
mod kept;
mod order;
mod owners;
mod paths;
mod plan;
mod point;
mod quantile;
mod rivals;
mod share;
mod state;
mod stream;
mod target;
mod text;
mod times;

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use foldhash::fast::RandomState;
use slab::Slab;

pub(crate) use self::text::text;
pub use self::times::AHEAD;
pub use self::{
    apply::Applied,
    collision::{Collision, Hidden},
    cumulative::Rewritten,
    exposed::{Exposed, OWN_PREFIX, Snapshot},
    plan::Plan,
    target::Resource,
};
use self::{
    beginning::Written,
    cumulative::Starts,
    identity::{Descriptor, Key, Keys, NamedType, Shown, attribute_key},
    kept::Kept,
    owners::Owners,
    paths::{Paths, Turn},
    rivals::Rivals,
    share::Shares,
    state::State,
    stream::{Stream, forget},
    target::{SCOPE_NAME, SCOPE_VERSION, Scope},
    times::Times,
};
use super::{
    export::{self, graphite::lines::line_bytes},
    refusals::{self, Named},
    wire::{Attribute, Metric, Metrics, Point, Receiver},
};
use crate::{
    config::{ExpositionLabels, GraphiteLines},
    exposition::family::{Kind, Origin},
    naming::graphite::Names,
};

/// How long a series stays after its last point, as in the stock Collector's `metric_expiration`.
pub const STALE_AFTER: Duration = Duration::from_secs(300);

/// Bytes of names and labels that one series may have in the exposition, in all of its lines.
const MAX_PAGE_TEXT: usize = 1024 * 1024;

/// How many points' streams are looked up together.
const TOGETHER: usize = 1_024;

/// A metric's descriptor, or why its points are refused.
type Described = Result<Arc<Descriptor>, &'static str>;

/// All streams that points were heard of in the last [`STALE_AFTER`].
#[derive(Debug)]
pub struct Table {
    max_series: usize,
    /// Of the streams.
    shares: Shares,
    /// Of the descriptors, of which some may have no stream any more.
    described: Shares,
    histogram_bounds: Arc<[f64]>,
    exposition: ExpositionLabels,
    graphite: GraphiteLines,
    names: Names,
    /// Whether lines are written, so that what carbon cannot take is refused.
    written: bool,
    resources: HashMap<Arc<[u8]>, Arc<Resource>>,
    scopes: HashMap<Vec<u8>, Arc<Scope>>,
    /// The keys of series' attributes, which many have in common.
    origins: HashSet<Arc<Origin>>,
    descriptors: HashMap<Vec<u8>, Arc<Descriptor>>,
    types: HashMap<Vec<u8>, Arc<NamedType>>,
    keys: Keys,
    index: HashMap<Key, usize, RandomState>,
    streams: Slab<Stream>,
    paths: Paths,
    beginnings: Written,
    /// What is kept beyond this process; nothing without a spool.
    kept: Option<Kept>,
    next_id: u32,
    key: Vec<u8>,
    /// Refusals that were named in the log.
    named: Named,
    /// When totals began, where deltas are sent on as totals.
    starts: Option<Starts>,
    /// How many streams came or went.
    changes: u64,
    /// When the first request was planned, with the clock at that time, and the time that passed since until the last.
    planned: Option<(Instant, SystemTime, Duration)>,
}

impl Table {
    /// An empty table for at most `max_series` streams; exponential histograms are kept by `histogram_bounds`.
    #[must_use]
    pub fn new(max_series: usize, histogram_bounds: &[f64]) -> Self {
        Self {
            max_series,
            shares: Shares::new(max_series, false),
            described: Shares::new(2 * max_series, false),
            histogram_bounds: histogram_bounds.into(),
            exposition: ExpositionLabels::default(),
            graphite: GraphiteLines::default(),
            names: Names::default(),
            written: false,
            resources: HashMap::new(),
            scopes: HashMap::new(),
            origins: HashSet::new(),
            descriptors: HashMap::new(),
            types: HashMap::new(),
            keys: Keys::default(),
            index: HashMap::default(),
            streams: Slab::new(),
            paths: Paths::default(),
            beginnings: Written::default(),
            kept: None,
            next_id: 0,
            key: Vec::new(),
            named: Named::default(),
            starts: None,
            changes: 0,
            planned: None,
        }
    }

    /// Adds these labels to those of the points, in the exposition.
    #[must_use]
    pub fn with_exposition(mut self, labels: &ExpositionLabels) -> Self {
        self.exposition = labels.clone();
        self
    }

    /// The same with these paths; where lines are `written`, what carbon cannot take is refused.
    #[must_use]
    pub fn with_graphite(mut self, graphite: &GraphiteLines, written: bool) -> Self {
        self.names = export::graphite::names(graphite);
        self.graphite = graphite.clone();
        self.written = written;
        self
    }

    /// The same, told to keep at hand what deltas add up to: see [`Applied::rewritten`].
    #[must_use]
    pub fn with_totals_of_deltas(mut self) -> Self {
        self.starts = Some(Starts::default());
        self
    }

    /// How many streams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// How many streams came or went since the start.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Finds the stream of every point, making new ones while there is room, and what the points would take.
    /// `clock` is the time of day.
    #[must_use]
    pub fn plan(&mut self, metrics: &Metrics<'_>, now: Instant, clock: SystemTime) -> Plan {
        let mut plan = Plan { receiver: metrics.receiver, ..Plan::default() };
        plan.slots.reserve_exact(metrics.len());
        let (first, ..) = *self.planned.get_or_insert((now, clock, Duration::ZERO));
        self.planned.iter_mut().for_each(|(.., passed)| *passed = now.saturating_duration_since(first));
        let times = self.written.then(|| Times::at(clock, self.steady(), self.graphite.max_age));
        let (mut owners, mut rivals) = (Owners::new(metrics), Rivals::default());
        let descriptor = |metric| self.descriptor(metrics, metric, &mut owners, &mut rivals, &mut plan);
        let descriptors: Vec<_> = metrics.metrics.iter().map(descriptor).collect();
        let mut points = metrics.metrics.iter().zip(&descriptors).flat_map(|(metric, descriptor)| {
            metrics.points(metric).iter().map(move |point| (metric, descriptor, point))
        });
        loop {
            let batch: Vec<_> = points.by_ref().take(TOGETHER).collect();
            if batch.is_empty() {
                break;
            }
            let key = |(metric, descriptor, point): &(&Metric<'_>, &Described, &Point<'_>)| {
                let descriptor = descriptor.as_ref().map_err(|reason| *reason)?;
                self.key(metrics, metric, descriptor, point, times)
            };
            let keys: Vec<_> = batch.iter().map(key).collect();
            let known = self.known(&keys, now);
            for (((metric, descriptor, point), key), known) in batch.into_iter().zip(keys).zip(known) {
                let ends = metrics.receiver == Receiver::Statsd && point::no_recorded_value(point);
                let made = plan.made.len();
                let slot = match (known, descriptor) {
                    (Some(slot), _) => {
                        plan.leaving += usize::from(ends);
                        Ok(slot)
                    }
                    (None, _) if ends => {
                        plan.slots.push(None);
                        continue;
                    }
                    (None, Ok(descriptor)) => key.and_then(|key| {
                        let attributes = metrics.attributes(point.attributes);
                        self.stream(descriptor, key, attributes, now, &mut plan)
                    }),
                    (None, Err(reason)) => Err(*reason),
                };
                let delta = point::is_delta(metric);
                let attributes = metrics.attributes(point.attributes);
                let slot = slot.and_then(|slot| {
                    self.fits_on_page(slot, point)
                        .and_then(|()| self.plan_state(slot, point, delta, attributes, &mut plan))
                        .inspect_err(|_| self.unmake(&mut plan, made))
                        .map(|()| slot)
                });
                match slot {
                    Ok(slot) => {
                        plan.line_bytes += self.most_bytes(slot, point, delta);
                        plan.slots.push(Some(slot));
                    }
                    Err(reason) => {
                        plan.reject(plan.slots.len(), reason, metric.name);
                        plan.notices.extend(self.refusal(metrics, metric, point, reason, clock));
                    }
                }
            }
        }
        if self.starts.is_some() {
            plan.total_bytes = cumulative::more_bytes(metrics, self.histogram_bounds.len());
        }
        plan.line_bytes = plan.line_bytes.min(stream::MAX_LINES);
        // Of a series that comes again and again in a request, only its last total is kept.
        plan.state_bytes = plan.state_bytes.min(stream::MAX_LINES);
        plan.new_state_bytes = plan.new_state_bytes.min(plan.state_bytes);
        plan
    }

    /// The time of the last plan by a clock that nobody sets.
    fn steady(&self) -> SystemTime {
        self.planned.map_or(SystemTime::UNIX_EPOCH, |(_, clock, passed)| clock + passed)
    }

    /// The key of a point's stream, or why the point is refused.
    fn key(
        &mut self,
        metrics: &Metrics<'_>,
        metric: &Metric<'_>,
        descriptor: &Descriptor,
        point: &Point<'_>,
        times: Option<Times>,
    ) -> Result<Key, &'static str> {
        point::check(point, metric)?;
        if let Some(times) = times.filter(|_| descriptor.written && !point::no_recorded_value(point)) {
            times.second(point.time)?;
        }
        attribute_key(descriptor.id, metrics.attributes(point.attributes), &mut self.key)?;
        Ok(self.keys.of(&self.key))
    }

    /// The streams that are there already. They are looked up one behind the other with nothing between them, so that
    /// among a million of them the processor waits for the memory of many at a time.
    fn known(&mut self, keys: &[Result<Key, &'static str>], now: Instant) -> Vec<Option<usize>> {
        let known: Vec<_> = keys.iter().map(|key| self.index.get(key.as_ref().ok()?).copied()).collect();
        for slot in known.iter().flatten() {
            self.streams[*slot].heard = now;
        }
        for slot in known.iter().flatten() {
            // Its lines begin with this.
            black_box(self.streams[*slot].path.as_ref().and_then(|path| path.as_str().bytes().next()));
        }
        known
    }

    /// Refuses a point with which its series would have too much text in the exposition: its labels stand in each line.
    fn fits_on_page(&self, slot: usize, point: &Point<'_>) -> Result<(), &'static str> {
        let stream = &self.streams[slot];
        let line = stream.descriptor.family.len() + stream.labels.as_str().len();
        match line * point::lines(point, self.histogram_bounds.len(), 0) > MAX_PAGE_TEXT {
            true => Err(identity::TOO_LONG),
            false => Ok(()),
        }
    }

    /// The most bytes of carbon lines that a point may become.
    fn most_bytes(&self, slot: usize, point: &Point<'_>, delta: bool) -> usize {
        let stream = &self.streams[slot];
        let Some(path) = &stream.path else { return 0 };
        let lines = point::lines(point, self.histogram_bounds.len(), self.graphite.quantiles.len());
        // A beginning has lines of its own.
        (lines << usize::from(stream.may_begin(point, delta))) * line_bytes(path, self.names.style())
    }

    /// Forgets the streams that were made for `plan`: its points are not taken.
    pub fn abandon(&mut self, mut plan: Plan) {
        self.unmake(&mut plan, 0);
    }

    /// Forgets all but the first `kept` of those streams.
    fn unmake(&mut self, plan: &mut Plan, kept: usize) {
        for key in plan.made.split_off(kept) {
            if let Some(slot) = self.index.remove(&key) {
                self.changes += 1;
                forget(&self.streams.remove(slot), &mut self.paths);
                self.shares.remove(plan.receiver);
            }
        }
    }

    /// Counts a point under a path that others write too, and says so once; the stream had `begun` before it.
    fn note_sharing(&mut self, slot: usize, point: &Point<'_>, begun: bool, applied: &mut Applied) {
        let Some(stream) = self.streams.get(slot) else { return };
        let Some(group) = stream.shares else { return };
        match self.paths.write(group, slot, point.time, begun) {
            Turn::Alone => {}
            Turn::Overlap { other, first } => {
                applied.shared += 1;
                if let Some(other) = self.streams.get(other).filter(|_| first) {
                    applied.notices.push(collision::sharing(stream, other, &self.graphite));
                }
            }
        }
    }

    /// Forgets streams that were not heard of for [`STALE_AFTER`], and what only they needed.
    pub fn sweep(&mut self, now: Instant) {
        let (streams, paths, beginnings) = (&mut self.streams, &mut self.paths, &mut self.beginnings);
        let (shares, changes) = (&mut self.shares, &mut self.changes);
        let mut kept = self.kept.as_mut();
        beginnings.sweep(now, |identity| kept.iter_mut().for_each(|kept| kept.is_gone(identity)));
        kept.iter_mut().for_each(|kept| kept.sweep(now));
        self.index.retain(|_, slot| {
            let stream = &streams[*slot];
            // Those of StatsD end when its receiver says so, however seldom it flushes.
            let is_ended_by_receiver = stream.descriptor.receiver == Receiver::Statsd;
            let fresh = is_ended_by_receiver || now.saturating_duration_since(stream.heard) < STALE_AFTER;
            if !fresh {
                *changes += 1;
                let stream = streams.remove(*slot);
                if let (Some(path), Some(second)) = (&stream.path, stream.beginning) {
                    beginnings.remember(beginning::identity(path.as_str(), second.get()), now);
                }
                if let (Some(kept), Some(identity)) = (&mut kept, &stream.identity) {
                    kept.is_gone(**identity);
                }
                forget(&stream, paths);
                shares.remove(stream.descriptor.receiver);
            }
            fresh
        });
        self.tidy();
    }

    fn descriptor<'m>(
        &mut self,
        metrics: &'m Metrics<'m>,
        metric: &Metric<'_>,
        owners: &mut Owners,
        rivals: &mut Rivals<'m>,
        plan: &mut Plan,
    ) -> Described {
        if metric.name.is_empty() {
            return Err("no_name");
        }
        let kind = point::kind(metric)?;
        let owner = owners.of(self, metrics, metric)?;
        identity::descriptor_key(owner, metric, kind, &mut self.key)?;
        if metrics.receiver == Receiver::Statsd {
            identity::push("StatsD", &mut self.key);
        }
        if let Some(descriptor) = self.descriptors.get(&self.key) {
            plan.note_end(metrics, metric, descriptor);
            return Ok(Arc::clone(descriptor));
        }
        if !self.described.has_room(metrics.receiver, 0) {
            return Err("max_series");
        }
        let descriptor_key = std::mem::take(&mut self.key);
        identity::type_key(owner, metric, &mut self.key);
        // Where scopes are tags, each has a type of its own.
        let apart = metrics.receiver == Receiver::Statsd
            || self.graphite.tags.iter().any(|tag| [SCOPE_NAME, SCOPE_VERSION].contains(&tag.as_str()));
        let first = || if apart { kind } else { rivals.first_kind(metrics, metric, kind) };
        let named = self.named_type(&owner.resource.service, metric, kind, first, plan)?;
        self.key = descriptor_key;
        let written = self.graphite.writes(metric.name);
        let made = Descriptor::new(self.next_id, owner, named, metric, metrics.receiver, written);
        let made = Arc::new(made);
        self.described.add(metrics.receiver);
        self.next_id = self.next_id.wrapping_add(1);
        self.descriptors.insert(self.key.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn stream(
        &mut self,
        descriptor: &Arc<Descriptor>,
        key: Key,
        attributes: &[Attribute<'_>],
        now: Instant,
        plan: &mut Plan,
    ) -> Result<usize, &'static str> {
        // A point before it may have made it.
        if let Some(slot) = self.index.get(&key) {
            return Ok(*slot);
        }
        if !self.shares.has_room(plan.receiver, plan.leaving) {
            return Err("max_series");
        }
        self.shares.add(plan.receiver);
        let Shown { labels, origin, path } = descriptor.series(attributes, &self.names, &self.exposition);
        let stream = Stream {
            descriptor: Arc::clone(descriptor),
            labels,
            origin: self.origin(origin),
            path,
            state: State::default(),
            heard: now,
            shares: None,
            begun: false,
            beginning: None,
            identity: None,
        };
        let slot = self.streams.insert(stream);
        self.changes += 1;
        self.starts.iter_mut().for_each(|starts| starts.forget(slot));
        self.index.insert(key, slot);
        if self.written {
            self.join(slot);
        }
        plan.made.push(key);
        Ok(slot)
    }

    /// Notes who writes the path of a new stream.
    fn join(&mut self, slot: usize) {
        let Some(path) = self.streams[slot].shared_path() else { return };
        let joined = self.paths.join(&path, slot);
        self.streams[slot].shares = joined.group;
        if let Some(first) = joined.first.and_then(|first| self.streams.get_mut(first)) {
            first.shares = joined.group;
        }
    }

    /// The type that a name has for one service, by the key that was made of them; of two, the one that came first.
    fn named_type(
        &mut self,
        service: &str,
        metric: &Metric<'_>,
        kind: Kind,
        first: impl FnOnce() -> Kind,
        plan: &mut Plan,
    ) -> Result<Arc<NamedType>, &'static str> {
        if plan.receiver == Receiver::Statsd {
            // Its receiver sees to it that two types of one name can stand side by side.
            identity::push(kind.as_str(), &mut self.key);
        }
        self.free_type(kind, plan);
        let named = match self.types.get(&self.key) {
            Some(named) => Arc::clone(named),
            None => {
                let made = Arc::new(NamedType::new(first()));
                self.types.insert(self.key.clone(), Arc::clone(&made));
                made
            }
        };
        if named.kind == kind {
            return Ok(named);
        }
        if named.first_conflict() {
            plan.notices.push(format!(
                "the metric {:?} of service {:?} is a {} already: points of it as a {} are refused; give one of the \
                 two another name",
                refusals::shortened(metric.name),
                refusals::shortened(service),
                named.kind.as_str(),
                kind.as_str()
            ));
        }
        Err("type_conflict")
    }
}
