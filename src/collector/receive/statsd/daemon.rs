//! The carbon lines that statsd's own daemon would write at each flush, so that what an estate draws from them goes on.
//!
//! It must not read a clock nor a socket, and must not know OpenTelemetry's series: it reads the same datagrams by the
//! daemon's own rules, which are other and laxer ones (statsd 0.9.0, `stats.js`, `lib/process_metrics.js` and
//! `backends/graphite.js` with their default settings).
//!
//! A line of which the grammar of the series takes more values than the daemon would is read by that grammar: where a line
//! adds to a series, it adds to the daemon's lines too. The reverse does not hold: the daemon takes types that it does not
//! know, and more.
//!
//! Three things differ, each for carbon's sake: a name whose tags carbon would not take is not written, since it would
//! spoil the other lines; neither is what is no finite number; and what is held is bounded: where there is no room for
//! another name, the one that was not sent for longest makes it.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

mod event;
mod idle;
mod timer;
mod written;

use self::{
    event::{Event, is_taken_by_carbon, key},
    idle::{Idle, Slot, Table, Which},
    timer::Timer,
    written::{Names, Writer},
};
use super::{super::super::export::graphite::Lines, line::Parts};
use crate::config::{StatsdNames, StatsdTags};

/// Values of timers, and of sets, that are held until the next flush.
const MAX_VALUES: usize = 1_000_000;
const BAD_LINES: &str = "statsd.bad_lines_seen";
const PACKETS: &str = "statsd.packets_received";
const METRICS: &str = "statsd.metrics_received";
const TIMESTAMP_LAG: &str = "statsd.timestamp_lag";

/// What the daemon would hold.
#[derive(Debug)]
pub(super) struct Daemon {
    names: StatsdNames,
    /// Which tags in names the grammar of the series knows: a colon in them ends no name.
    dialects: StatsdTags,
    interval: Duration,
    max_series: usize,
    counters: Table<f64>,
    gauges: Table<f64>,
    timers: Table<Timer>,
    /// Hashes of the distinct values.
    sets: Table<HashSet<u64>>,
    idle: Idle,
    hasher: RandomState,
    /// Values in timers and sets.
    values: usize,
    /// Values that were not taken, by reason.
    refused: [u64; Refusal::ALL.len()],
    graphite: Graphite,
    /// When it flushed last, in seconds.
    flushed: Option<u64>,
}

/// Why a good value is in no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Carbon would not take its name.
    BadName,
    /// There are already as many names, or values of this interval, as there may be.
    Limit,
}

impl Refusal {
    pub(super) const ALL: [Self; 2] = [Self::BadName, Self::Limit];

    /// What the sender, or whoever runs the collector, can do.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::BadName => "carbon would not take their names; send names and tags that it takes",
            Self::Limit => {
                "there are as many names or values as are kept, or a gauge is no finite number; raise --max-series, or \
                 send fewer names"
            }
        }
    }

    /// The reason in the collector's counts.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BadName => "statsd_names_bad_name",
            Self::Limit => "statsd_names_limit",
        }
    }
}

/// What the daemon tells of its connection: of the hand-over to the queue, here.
#[derive(Debug)]
struct Graphite {
    last_flush: u64,
    last_exception: u64,
    flush_length: usize,
}

impl Daemon {
    /// A daemon that began at `now`, in seconds.
    pub(super) fn new(
        names: StatsdNames,
        dialects: StatsdTags,
        interval: Duration,
        max_series: usize,
        now: u64,
    ) -> Self {
        let own = [BAD_LINES, PACKETS, METRICS].map(|key| (key.into(), Slot::own(0.0)));
        Self {
            names,
            dialects,
            interval,
            max_series,
            counters: HashMap::from(own),
            gauges: HashMap::new(),
            timers: HashMap::new(),
            sets: HashMap::new(),
            idle: Idle::default(),
            hasher: RandomState::new(),
            values: 0,
            refused: [0; Refusal::ALL.len()],
            graphite: Graphite { last_flush: now, last_exception: 0, flush_length: 0 },
            flushed: None,
        }
    }

    pub(super) fn add(&mut self, datagram: &[u8]) {
        self.count(PACKETS);
        for line in String::from_utf8_lossy(datagram).split('\n').filter(|line| !line.is_empty()) {
            self.count(METRICS);
            self.add_line(line);
        }
    }

    /// The lines of a flush at `now`, in milliseconds; then the next interval begins.
    pub(super) fn flush(&mut self, now: u64) -> Lines {
        // As the daemon rounds it.
        let seconds = now.saturating_add(500) / 1000;
        let interval = self.interval.as_secs_f64();
        if let Some(before) = self.flushed.replace(seconds) {
            let lag = seconds as f64 - before as f64 - interval;
            self.gauges.insert(TIMESTAMP_LAG.into(), Slot::own(lag));
        }
        let names = Names::of(self.names);
        let mut writer = Writer { text: String::new(), points: 0, seconds };
        for (key, Slot { value: total, .. }) in &mut self.counters {
            writer.line(names.rate, key, names.rate_part, total.to_owned() / interval);
            writer.line(names.count, key, names.count_part, *total);
            *total = 0.0;
        }
        for (key, Slot { value: timer, .. }) in &mut self.timers {
            timer.figures(interval, |figure, value| writer.line(names.timers, key, figure, value));
            timer.begin_anew();
        }
        for (key, gauge) in &self.gauges {
            writer.line(names.gauges, key, "", gauge.value);
        }
        for (key, Slot { value: set, .. }) in &mut self.sets {
            writer.line(names.sets, key, "count", set.len() as f64);
            // Clearing would keep the room of the fullest interval there ever was.
            *set = HashSet::default();
        }
        self.values = 0;
        self.idle.end_interval();
        self.of_itself(&names, &mut writer);
        self.graphite.flush_length = writer.text.len();
        Lines { text: writer.text.into(), points: writer.points }
    }

    /// What became of the flush at `now`, in milliseconds.
    pub(super) fn handed_over(&mut self, now: u64, taken: bool) {
        let last = if taken { &mut self.graphite.last_flush } else { &mut self.graphite.last_exception };
        *last = now.saturating_add(500) / 1000;
    }

    /// Values that were not taken since the last call, by reason.
    pub(super) fn refusals(&mut self) -> impl Iterator<Item = (Refusal, u64)> {
        let refused = std::mem::take(&mut self.refused);
        Refusal::ALL.into_iter().zip(refused).filter(|(_, values)| *values > 0)
    }

    fn of_itself(&self, names: &Names, writer: &mut Writer) {
        let held = self.counters.len() + self.timers.len() + self.gauges.len() + self.sets.len();
        writer.line(names.own, "statsd.numStats", "", held as f64);
        // Both times are below a millisecond here.
        for name in ["statsd.graphiteStats.calculationtime", "statsd.processing_time"] {
            writer.line("stats.", name, "", 0.0);
        }
        let Graphite { last_flush, last_exception, flush_length } = &self.graphite;
        for (name, value) in [
            ("statsd.graphiteStats.last_exception", *last_exception as f64),
            ("statsd.graphiteStats.last_flush", *last_flush as f64),
            ("statsd.graphiteStats.flush_time", 0.0),
            ("statsd.graphiteStats.flush_length", *flush_length as f64),
        ] {
            writer.line("stats.", name, "", value);
        }
    }

    fn count(&mut self, key: &str) {
        // All of these are there from the start.
        self.counters.get_mut(key).into_iter().for_each(|count| count.value += 1.0);
    }

    /// Adds a line as the daemon reads it; where the grammar of the series takes more of its values, as that reads it.
    fn add_line(&mut self, line: &str) {
        // What follows a second mark is left out, as the daemon does.
        let mut sections = line.split("|#");
        let before_tags = sections.next().unwrap_or_default();
        let tags = sections.next().filter(|tags| !tags.is_empty());
        let (name, values) =
            before_tags.split_once(':').map_or((before_tags, None), |(name, values)| (name, Some(values)));
        let key = key(name, tags.into_iter().flat_map(|tags| tags.split(',')));
        let events = || values.into_iter().flat_map(|values| values.split(':')).map(Event::of);
        let is_plain = !tags.is_some_and(|tags| tags.contains('|')) && is_taken_by_carbon(&key);
        let usable = if is_plain { events().flatten().count() } else { 0 };
        let is_good = usable > 0 && events().all(|event| event.is_some());
        if !is_good && self.add_by_grammar(line, name, usable) {
            return;
        }
        if values.is_none() {
            return self.count(BAD_LINES);
        }
        events().for_each(|event| self.add_or_count(&key, event));
    }

    /// Adds a line by the grammar of the series, with its name as it was sent, if that takes all of its values, or more than
    /// the daemon, or any under another name; says whether it does. The daemon takes `usable` of them, under `daemons_name`.
    fn add_by_grammar(&mut self, line: &str, daemons_name: &str, usable: usize) -> bool {
        let mut parts = Parts::default();
        let Ok(name) = parts.parse_as_sent(line.trim_end_matches('\r').as_bytes(), self.dialects) else {
            return false;
        };
        let mut events = Vec::new();
        for piece in &parts.pieces {
            match piece {
                Ok(piece) => events.extend(piece.values().map(|value| Event::from_piece(*piece, value))),
                Err(_) => events.push(None),
            }
        }
        let taken = events.iter().flatten().count();
        if taken == 0 || (taken < events.len() && taken <= usable && name == daemons_name) {
            return false;
        }
        let key = key(name, parts.tags.iter().map(|(key, value)| format!("{key}:{value}")));
        events.into_iter().for_each(|event| self.add_or_count(&key, event));
        true
    }

    /// Adds an event, or counts a bad line for what is none.
    fn add_or_count(&mut self, key: &str, event: Option<Event<'_>>) {
        match event {
            Some(event) => self.add_named(key, event),
            None => self.count(BAD_LINES),
        }
    }

    fn add_named(&mut self, key: &str, event: Event<'_>) {
        match is_taken_by_carbon(key) {
            true => self.add_event(key, event),
            false => self.refuse(Refusal::BadName),
        }
    }

    fn add_event(&mut self, key: &str, event: Event<'_>) {
        let is_there = match event {
            Event::Counter(_) => self.counters.contains_key(key),
            Event::Gauge { .. } => self.gauges.contains_key(key),
            Event::Timer { .. } => self.timers.contains_key(key),
            Event::Set(_) => self.sets.contains_key(key),
        };
        let is_full = matches!(event, Event::Timer { .. } | Event::Set(_)) && self.values >= MAX_VALUES;
        if is_full || !(is_there || self.make_room()) {
            return self.refuse(Refusal::Limit);
        }
        match event {
            Event::Counter(value) => {
                self.idle.touch(&mut self.counters, Which::Counter, key, |total| *total += value);
            }
            Event::Gauge { value, relative } => {
                let is_finite = self.idle.touch(&mut self.gauges, Which::Gauge, key, |gauge| {
                    let moved = if relative && *gauge != 0.0 { *gauge + value } else { value };
                    // What is not finite would stay so.
                    if moved.is_finite() {
                        *gauge = moved;
                    }
                    moved.is_finite()
                });
                if !is_finite {
                    self.refuse(Refusal::Limit);
                }
            }
            Event::Timer { value, weight } => {
                self.idle.touch(&mut self.timers, Which::Timer, key, |timer| timer.add(value, weight));
                self.values += 1;
            }
            Event::Set(value) => {
                let hash = self.hasher.hash_one(if value.is_empty() { "0" } else { value });
                let is_new = self.idle.touch(&mut self.sets, Which::Set, key, |set| set.insert(hash));
                self.values += usize::from(is_new);
            }
        }
    }

    /// Whether there is room for one more name: the one that was not sent for longest makes it, unless it was sent since
    /// the last flush.
    fn make_room(&mut self) -> bool {
        while self.idle.names() >= self.max_series {
            let longest = self.idle.longest(|which, key| match which {
                Which::Counter => self.counters.get(key).map(|slot| slot.sent),
                Which::Gauge => self.gauges.get(key).map(|slot| slot.sent),
                Which::Timer => self.timers.get(key).map(|slot| slot.sent),
                Which::Set => self.sets.get(key).map(|slot| slot.sent),
            });
            let Some((which, key)) = longest else { return false };
            match which {
                Which::Counter => drop(self.counters.remove(&key)),
                Which::Gauge => drop(self.gauges.remove(&key)),
                Which::Timer => drop(self.timers.remove(&key)),
                Which::Set => drop(self.sets.remove(&key)),
            }
        }
        true
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
    }
}

#[cfg(test)]
mod tests;
