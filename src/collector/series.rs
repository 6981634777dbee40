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
mod registry;
mod rivals;
mod share;
mod state;
mod stream;
mod target;
mod text;
mod times;

use std::{
    collections::{HashMap, HashSet},
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
    identity::{Descriptor, Key, Keys, NamedType},
    kept::Kept,
    paths::{Paths, Turn},
    share::Shares,
    stream::{Stream, forget},
    target::Scope,
};
use super::{
    export,
    refusals::Named,
    wire::{Point, Receiver},
};
use crate::{
    config::{ExpositionLabels, GraphiteLines},
    exposition::family::Origin,
    naming::graphite::Names,
};

/// How long a series stays after its last point, as in the stock Collector's `metric_expiration`.
pub const STALE_AFTER: Duration = Duration::from_secs(300);

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

    /// The time of the last plan by a clock that nobody sets.
    fn steady(&self) -> SystemTime {
        self.planned.map_or(SystemTime::UNIX_EPOCH, |(_, clock, passed)| clock + passed)
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
}
