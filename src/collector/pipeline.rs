//! From a batch to every sink: admission first, then commit to all or to none, so that a retry never
//! counts twice.
//!
//! It must not wait: a sink without room refuses at once, and the sender keeps the batch.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    batch::{Accepted, Batch, Refused, Request, Signal},
    export::{
        graphite::{
            self, Backlog, Buffers, Lines, Room,
            spool::{Entries, Held, Need},
        },
        otlp::{self, Export},
    },
    queue::{Queue, Reservation},
    recent::Recent,
    refusals,
    series::{Collision, Exposed, Plan, Snapshot, Table},
    stats::{Event, Stats},
    view::{Hidden, Log, Series, Service, Source, Span},
    wire::Metrics,
};
use crate::config::ForwardSignals;

/// What a sender without a hint of its own should wait: long enough for a queue to make room.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The place of the series table in counts.
const TABLE: &str = "series";
/// Families of which it is logged that not all is shown; of more it would say nothing new.
const MAX_LOGGED: usize = 100;

/// The way from the receivers to the sinks. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    recent: Recent,
    graphite: Option<Backlog>,
    /// What lines are written into.
    buffers: Arc<Buffers>,
    forwards: Vec<Forward>,
    stats: Arc<Stats>,
    looked: Mutex<Looked>,
}

/// What was found when it was looked for series that are not shown.
#[derive(Debug, Default)]
struct Looked {
    /// How many changes the table had then.
    changes: Option<u64>,
    hidden: Vec<Collision>,
    /// Families with what was logged of them.
    logged: HashSet<(String, String)>,
}

impl Looked {
    fn log(&mut self, hidden: &[Collision]) {
        for Collision { family, reason, series, remedy } in hidden {
            // The remedy names one of many resources or scopes by chance; only its advice tells log lines apart.
            let advice = match *reason {
                "resource" | "scope" => remedy.rsplit(": ").next().unwrap_or_default(),
                _ => remedy,
            };
            if self.logged.len() < MAX_LOGGED && self.logged.insert((family.clone(), advice.to_owned())) {
                tracing::warn!(
                    reason,
                    series,
                    "the exposition does not show all series of {family}: {remedy}"
                );
            }
        }
    }
}

/// Room in each forwarding queue.
type Reserved = Vec<Reservation<Export>>;

/// A forwarding sink.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The sink's name: the peer's scheme, host and port.
    pub name: String,
    /// What it gets.
    pub signals: ForwardSignals,
    /// What waits for the peer.
    pub queue: Arc<Queue<Export>>,
}

impl Pipeline {
    /// A pipeline into a series table, and to Graphite and OTLP peers where they are given.
    #[must_use]
    pub fn new(table: Table, graphite: Option<Backlog>, forwards: Vec<Forward>, stats: Arc<Stats>) -> Self {
        let table = Mutex::new(table);
        let (recent, buffers) = (Recent::default(), Arc::default());
        Self {
            inner: Arc::new(Inner {
                table,
                recent,
                graphite,
                buffers,
                forwards,
                stats,
                looked: Mutex::default(),
            }),
        }
    }

    /// Takes a batch into every sink, or into none.
    ///
    /// # Errors
    /// [`Refused`] where a sink has no room: the sender may try again.
    pub fn accept(&self, batch: Batch<'_>) -> Result<Accepted, Refused> {
        self.accept_with(batch, &Entries::default())
    }

    /// Takes a batch likewise, and with its points, or not at all, what its receiver is to find after a restart.
    ///
    /// # Errors
    /// [`Refused`], likewise.
    pub fn accept_with(&self, batch: Batch<'_>, state: &Entries) -> Result<Accepted, Refused> {
        let items = batch.request.items();
        match batch.request {
            Request::Metrics(metrics) => self.accept_metrics(&metrics, batch.wire, state),
            Request::Traces(spans) => {
                let forwards = self.reserve_forwards(Signal::Traces, items, batch.wire.len())?;
                commit(forwards, &Export { signal: Signal::Traces, wire: batch.wire, items });
                self.inner.recent.add_spans(&spans);
                Ok(Accepted::default())
            }
            Request::Logs(records) => {
                let forwards = self.reserve_forwards(Signal::Logs, items, batch.wire.len())?;
                commit(forwards, &Export { signal: Signal::Logs, wire: batch.wire, items });
                self.inner.recent.add_logs(&records);
                Ok(Accepted::default())
            }
        }
    }

    /// Takes lines for Graphite that are no series of the table.
    ///
    /// # Errors
    /// [`Refused`] where Graphite's queue has no room for them.
    pub fn accept_lines(&self, lines: &Lines) -> Result<(), Refused> {
        let Some(backlog) = &self.inner.graphite else { return Ok(()) };
        // A backlog has one reservation at a time, which whoever holds the table may have.
        let _table = self.inner.table.lock();
        let need = Need { lines: lines.text.len(), ..Need::default() };
        let room = backlog.reserve(need).ok_or_else(|| no_room(graphite::PLACE))?;
        room.commit(lines.clone(), &Entries::default());
        Ok(())
    }

    /// The newest spans, log records and services.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.inner.recent
    }

    /// The collector's counts of itself.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.inner.stats
    }

    /// Every series as families; what is not shown of them is logged once.
    #[must_use]
    pub fn families(&self) -> Exposed {
        let (exposed, changes) = {
            let table = self.inner.table.lock();
            (table.families(), table.changes())
        };
        let exposed = exposed.distinct();
        let mut looked = self.inner.looked.lock();
        looked.log(&exposed.hidden.named);
        (looked.changes, looked.hidden) = (Some(changes), exposed.hidden.named.clone());
        exposed
    }

    /// Looks for series that are not shown where any came or went since it was looked for them.
    fn look_for_hidden(&self) {
        let changes = self.inner.table.lock().changes();
        if self.inner.looked.lock().changes != Some(changes) {
            drop(self.families());
        }
    }

    /// Every series for a person to look at.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.inner.table.lock().snapshots()
    }

    /// How many series of `StatsD` there may be beside those of OTLP that there are.
    #[must_use]
    pub fn max_statsd_series(&self) -> usize {
        self.inner.table.lock().max_statsd_series()
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.inner.table.lock().len()
    }

    /// Forgets series that were not heard of for long.
    pub fn sweep(&self) {
        self.look_for_hidden();
        let mut table = self.inner.table.lock();
        table.sweep(Instant::now());
        // What is full refuses more than these few bytes, and must go on saying so.
        let Some(backlog) = self.inner.graphite.as_ref().filter(|backlog| !backlog.is_full()) else { return };
        table.forget_kept(|entries| {
            match backlog.reserve(Need { state: entries.len(), ..Need::default() }) {
                Some(room) => {
                    room.commit(Lines::default(), entries);
                    true
                }
                None => false,
            }
        });
    }

    /// The sinks' queues: name, bytes held, bytes at most.
    #[must_use]
    pub fn queues(&self) -> Vec<(&str, usize, usize)> {
        let graphite = self.inner.graphite.iter();
        let graphite = graphite.map(|backlog| (graphite::PLACE, backlog.bytes(), backlog.limit()));
        let forwards = self.inner.forwards.iter();
        graphite
            .chain(forwards.map(|sink| (sink.name.as_str(), sink.queue.bytes(), sink.queue.limit())))
            .collect()
    }

    /// What is held on disk for Graphite; `None` without a spool.
    #[must_use]
    pub fn spooled(&self) -> Option<Held> {
        self.inner.graphite.as_ref().and_then(Backlog::spooled)
    }

    /// Why the spool refuses what comes, where it does.
    #[must_use]
    pub fn why_refused(&self) -> Option<String> {
        self.inner.graphite.as_ref().and_then(Backlog::why_refused)
    }

    /// Whether a sink has no room, as far as its last batch showed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.graphite.iter().any(Backlog::is_full)
            || self.inner.forwards.iter().any(|sink| sink.queue.is_full())
    }

    fn accept_metrics(
        &self,
        metrics: &Metrics<'_>,
        wire: Bytes,
        state: &Entries,
    ) -> Result<Accepted, Refused> {
        let inner = &*self.inner;
        // Planned, admitted and applied under one lock: what is admitted is what was planned.
        let mut table = inner.table.lock();
        let (of_receiver, state) = self.kept_room(&mut table, state);
        let mut plan = table.plan(metrics, Instant::now(), SystemTime::now());
        plan.state_bytes += state.len();
        plan.new_state_bytes += of_receiver;
        let (room, forwards) = match self.reserve(&plan, wire.len()) {
            Ok(reserved) => reserved,
            Err(refused) => {
                let notices = std::mem::take(&mut plan.notices);
                table.abandon(plan);
                drop(table);
                say(&notices);
                return Err(refused);
            }
        };
        let lines = inner.graphite.is_some().then(|| inner.buffers.take(plan.line_bytes));
        let mut applied = table.apply(metrics, &mut plan, lines, SystemTime::now());
        applied.state.append(&state);
        if let Some(room) = room.filter(|_| !applied.lines.is_empty() || !applied.state.is_empty()) {
            let lines = Lines {
                text: inner.buffers.lend(std::mem::take(&mut applied.lines)),
                points: applied.points,
            };
            room.commit(lines, &applied.state);
        }
        drop(table);
        if !forwards.is_empty() {
            let rewritten = applied.rewritten(&wire, &plan).map_err(|error| {
                tracing::error!(%error, "failed to write a request anew for --forward: its sender is to send it again");
                no_room(&inner.forwards[0].name)
            })?;
            let (wire, points) = rewritten.map_or((wire, plan.points()), |new| (new.wire, new.points));
            if points > 0 {
                // That a series of StatsD ended is no value that anybody sent.
                let items = points.saturating_sub(metrics.ended_by_receiver());
                commit(forwards, &Export { signal: Signal::Metrics, wire, items });
            }
        }
        for (reason, points) in applied.unwritten {
            inner.stats.add(Event::Dropped, graphite::PLACE, Signal::Metrics, reason, points);
        }
        if applied.shared > 0 {
            inner.stats.add(Event::Shared, graphite::PLACE, Signal::Metrics, "", applied.shared);
        }
        say(&plan.notices);
        say(&applied.notices);
        inner.recent.add_points(metrics);
        Ok(self.partial(&plan))
    }

    /// Tells the table how many bytes of state its new series may add. Returns the bytes that `state` adds, and `state`
    /// without the new entries that do not fit.
    fn kept_room<'a>(&self, table: &mut Table, state: &'a Entries) -> (usize, Cow<'a, Entries>) {
        let Some(backlog) = &self.inner.graphite else { return (0, Cow::Borrowed(state)) };
        let (room, new) = (backlog.state_room(), backlog.new_state(state));
        table.set_kept_room(room.saturating_sub(new));
        if new <= room {
            return (new, Cow::Borrowed(state));
        }
        let (fitting, new, left_out) = backlog.fitting_state(state, room);
        self.inner.stats.add(Event::Dropped, graphite::PLACE, Signal::Metrics, "spool_state", left_out);
        (new, Cow::Owned(fitting))
    }

    /// Room in every sink for what is planned.
    fn reserve(&self, plan: &Plan, wire: usize) -> Result<(Option<Room>, Reserved), Refused> {
        let need = Need { lines: plan.line_bytes, state: plan.state_bytes, new_state: plan.new_state_bytes };
        let room = match &self.inner.graphite {
            Some(backlog) if need.lines + need.state > 0 => {
                Some(backlog.reserve(need).ok_or_else(|| no_room(graphite::PLACE))?)
            }
            _ => None,
        };
        let items = plan.points() - plan.rejected_points();
        let forwards = self.reserve_forwards(Signal::Metrics, items, wire + plan.total_bytes)?;
        Ok((room, forwards))
    }

    fn partial(&self, plan: &Plan) -> Accepted {
        let mut message = String::new();
        for (reason, (points, metric)) in &plan.rejected {
            self.inner.stats.add(Event::Refused, TABLE, Signal::Metrics, reason, *points);
            let separator = if message.is_empty() { "" } else { "; " };
            message.push_str(&format!(
                "{separator}{points} points ({metric:?} among them) refused: {}",
                refusals::explain(reason)
            ));
        }
        Accepted { rejected: plan.rejected_points(), message }
    }

    /// Room for a request in every forwarding sink that gets its signal.
    fn reserve_forwards(&self, signal: Signal, items: u64, bytes: usize) -> Result<Reserved, Refused> {
        if items == 0 {
            return Ok(Reserved::new());
        }
        let reserve = |sink: &Forward| sink.queue.reserve(bytes).ok_or_else(|| no_room(&sink.name));
        self.inner.forwards.iter().filter(|sink| otlp::gets(sink.signals, signal)).map(reserve).collect()
    }
}

impl Source for Pipeline {
    fn series(&self) -> Vec<Series> {
        let snapshots = self.snapshots().into_iter();
        snapshots
            .map(|series| Series {
                service: series.resource.service.clone(),
                instance: series.resource.instance.clone(),
                sample: series.name,
                labels: series.labels.pairs(),
                value: series.value,
                at: SystemTime::UNIX_EPOCH + Duration::from_nanos(series.time_unix_nano),
                graphite: series.path,
            })
            .collect()
    }

    fn hidden(&self) -> Vec<Hidden> {
        self.look_for_hidden();
        let hidden = self.inner.looked.lock().hidden.clone().into_iter();
        hidden
            .map(|Collision { family, reason, series, remedy }| Hidden { family, reason, series, remedy })
            .collect()
    }

    fn spans(&self) -> Vec<Arc<Span>> {
        self.recent().spans()
    }

    fn logs(&self) -> Vec<Arc<Log>> {
        self.recent().logs()
    }

    fn losses(&self) -> Vec<(String, String, String, u64)> {
        let counts = self.stats().snapshot().into_iter();
        counts
            .filter(|(count, _)| match count.event {
                Event::Refused | Event::Dropped => true,
                // What is torn was never acknowledged.
                Event::Damaged => count.reason != "torn",
                Event::Accepted | Event::Sent | Event::Shared | Event::Replayed | Event::Reconnected => false,
            })
            .map(|(count, items)| {
                (count.place, count.signal.as_str().to_owned(), count.reason.to_owned(), items)
            })
            .collect()
    }

    fn services(&self) -> Vec<Service> {
        self.recent().services()
    }
}

fn commit(forwards: Reserved, export: &Export) {
    for room in forwards {
        room.commit(export.clone(), export.wire.len());
    }
}

/// What the table found that a person should know; without its lock, since a log may be slow.
fn say(notices: &[String]) {
    for notice in notices {
        tracing::warn!("{notice}");
    }
}

fn no_room(sink: &str) -> Refused {
    Refused { sink: sink.to_owned(), retry_after: RETRY_AFTER }
}
