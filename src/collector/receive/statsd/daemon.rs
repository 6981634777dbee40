//! The carbon lines that statsd's own daemon would write at each flush, so that what an estate draws from them goes on.
//!
//! It must not read a clock nor a socket, and must not know OpenTelemetry's series: it reads the same datagrams by the
//! daemon's own rules, which are other and laxer ones (statsd 0.9.0, `stats.js`, `lib/process_metrics.js` and
//! `backends/graphite.js` with their default settings).
//!
//! Three things differ, each for carbon's sake: a name whose tags carbon would not take is not written, since it would
//! spoil what is beside it; neither is what is no finite number; and what a flush holds is bounded.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

mod number;
mod timer;

use self::timer::Timer;
use super::super::super::export::graphite::Lines;
use crate::config::StatsdNames;

/// Values of timers, and of sets, that are held until the next flush.
const MAX_VALUES: usize = 1_000_000;
/// The longest name with its tags: carbon takes lines of 16,384 bytes.
const MAX_KEY: usize = 16_000;
const BAD_LINES: &str = "statsd.bad_lines_seen";
const PACKETS: &str = "statsd.packets_received";
const METRICS: &str = "statsd.metrics_received";
const TIMESTAMP_LAG: &str = "statsd.timestamp_lag";

/// What the daemon would hold.
#[derive(Debug)]
pub(super) struct Daemon {
    names: StatsdNames,
    interval: Duration,
    max_series: usize,
    counters: HashMap<Box<str>, f64>,
    gauges: HashMap<Box<str>, f64>,
    timers: HashMap<Box<str>, Timer>,
    /// Hashes of the distinct values.
    sets: HashMap<Box<str>, HashSet<u64>>,
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
    /// There are as many names, or values of this interval, as are kept.
    Limit,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::BadName, Self::Limit];

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
    pub(super) fn new(names: StatsdNames, interval: Duration, max_series: usize, now: u64) -> Self {
        let own = [BAD_LINES, PACKETS, METRICS].map(|key| (Box::from(key), 0.0));
        Self {
            names,
            interval,
            max_series,
            counters: HashMap::from(own),
            gauges: HashMap::new(),
            timers: HashMap::new(),
            sets: HashMap::new(),
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
            self.gauges.insert(TIMESTAMP_LAG.into(), lag);
        }
        let names = Names::of(self.names);
        let mut writer = Writer { text: String::new(), points: 0, seconds };
        for (key, total) in &mut self.counters {
            writer.line(names.rate, key, names.rate_part, total.to_owned() / interval);
            writer.line(names.count, key, names.count_part, *total);
            *total = 0.0;
        }
        for (key, timer) in &mut self.timers {
            timer.figures(interval, |figure, value| writer.line(names.timers, key, figure, value));
            timer.begin_anew();
        }
        for (key, value) in &self.gauges {
            writer.line(names.gauges, key, "", *value);
        }
        for (key, set) in &mut self.sets {
            writer.line(names.sets, key, "count", set.len() as f64);
            // Clearing would keep the room of the fullest interval there ever was.
            *set = HashSet::default();
        }
        self.values = 0;
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
        self.counters.get_mut(key).into_iter().for_each(|count| *count += 1.0);
    }

    fn add_line(&mut self, line: &str) {
        // What follows a second mark is left out, as the daemon does.
        let mut sections = line.split("|#");
        let said = sections.next().unwrap_or_default();
        let tags = sections.next().filter(|tags| !tags.is_empty());
        let mut pieces = said.split(':');
        let key = key(pieces.next().unwrap_or_default(), tags);
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return self.count(BAD_LINES);
        }
        for piece in pieces {
            match Event::of(piece) {
                None => self.count(BAD_LINES),
                Some(_) if !is_taken_by_carbon(&key) => self.refuse(Refusal::BadName),
                Some(event) => self.add_event(&key, event),
            }
        }
    }

    fn add_event(&mut self, key: &str, event: Event<'_>) {
        let series = self.counters.len() + self.gauges.len() + self.timers.len() + self.sets.len();
        let free = series < self.max_series;
        let room = self.values < MAX_VALUES;
        let taken = match event {
            Event::Counter(value) => {
                slot(&mut self.counters, key, free, f64::default).map(|total| *total += value)
            }
            Event::Gauge { value, relative } => {
                slot(&mut self.gauges, key, free, f64::default).map(|gauge| {
                    *gauge = if relative && *gauge != 0.0 { *gauge + value } else { value };
                })
            }
            Event::Timer { value, weight } if room => {
                slot(&mut self.timers, key, free, Timer::default).map(|timer| {
                    timer.add(value, weight);
                    self.values += 1;
                })
            }
            Event::Set(value) if room => slot(&mut self.sets, key, free, HashSet::default).map(|set| {
                let value = if value.is_empty() { "0" } else { value };
                self.values += usize::from(set.insert(self.hasher.hash_one(value)));
            }),
            Event::Timer { .. } | Event::Set(_) => None,
        };
        if taken.is_none() {
            self.refuse(Refusal::Limit);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
    }
}

/// What is under a key, made there if there is room for another.
fn slot<'a, T>(
    table: &'a mut HashMap<Box<str>, T>,
    key: &str,
    free: bool,
    new: fn() -> T,
) -> Option<&'a mut T> {
    if !table.contains_key(key) {
        if !free {
            return None;
        }
        table.insert(key.into(), new());
    }
    table.get_mut(key)
}

/// One value, as the daemon understands it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event<'a> {
    /// Already times what the sample rate makes it stand for.
    Counter(f64),
    Gauge {
        value: f64,
        relative: bool,
    },
    /// In whatever unit was sent, and how many it stands for.
    Timer {
        value: f64,
        weight: f64,
    },
    Set(&'a str),
}

impl<'a> Event<'a> {
    /// `None` for what the daemon calls a bad line.
    fn of(piece: &'a str) -> Option<Self> {
        let mut fields = piece.split('|');
        let text = fields.next().unwrap_or_default();
        let kind = fields.next()?;
        let weight = match fields.next() {
            Some(rate) => 1.0 / sample_rate(rate)?,
            None => 1.0,
        };
        if kind == "s" {
            return Some(Self::Set(text));
        }
        let value = number::parse(text).filter(|_| !text.is_empty()).filter(|value| value.is_finite())?;
        Some(match kind.trim() {
            "ms" if kind == "ms" && value < 0.0 => return None,
            "ms" => Self::Timer { value, weight },
            "g" => Self::Gauge { value, relative: text.starts_with(['+', '-']) },
            "s" => Self::Set(text),
            // Whatever else it is, `h` and `d` too.
            _ => Self::Counter(value * weight),
        })
    }
}

fn sample_rate(text: &str) -> Option<f64> {
    let text = text.strip_prefix('@').filter(|text| !text.is_empty() && !text.starts_with('-'))?;
    number::parse(text)?;
    // The daemon judges the whole of it, and then reads digits and points alone.
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text, |end| &text[..end]);
    digits.parse().ok().filter(|rate: &f64| *rate > 0.0 && (1.0 / rate).is_finite())
}

/// A name and its tags as the daemon makes one key of them.
fn key(name: &str, tags: Option<&str>) -> String {
    let mut raw = name.to_owned();
    for tag in tags.into_iter().flat_map(|tags| tags.split(',')) {
        raw.push(';');
        raw.push_str(&tag.replacen(';', "_", 1).replacen(':', "=", 1));
    }
    let mut key = String::with_capacity(raw.len());
    let mut in_space = false;
    for c in raw.chars() {
        let is_space = c == '\u{feff}' || c.is_whitespace() && c != '\u{85}';
        match c {
            _ if is_space => key.extend((!in_space).then_some('_')),
            '/' => key.push('-'),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' | ';' | '=' => key.push(c),
            _ => {}
        }
        in_space = is_space;
    }
    key
}

/// Whether carbon takes a path with this name and these tags, of the characters that are left in a key.
fn is_taken_by_carbon(key: &str) -> bool {
    let mut parts = key.split(';');
    let name = parts.next().unwrap_or_default();
    let is_tag = |tag: &str| {
        tag.split_once('=').is_some_and(|(key, value)| !matches!(key, "" | "name") && !value.is_empty())
    };
    !name.is_empty() && key.len() <= MAX_KEY && parts.all(is_tag)
}

/// Where each kind of value is written.
struct Names {
    rate: &'static str,
    rate_part: &'static str,
    count: &'static str,
    count_part: &'static str,
    timers: &'static str,
    gauges: &'static str,
    sets: &'static str,
    own: &'static str,
}

impl Names {
    const fn of(names: StatsdNames) -> Self {
        match names {
            StatsdNames::Legacy => Self {
                rate: "stats.",
                rate_part: "",
                count: "stats_counts.",
                count_part: "",
                timers: "stats.timers.",
                gauges: "stats.gauges.",
                sets: "stats.sets.",
                own: "",
            },
            StatsdNames::New => Self {
                rate: "stats.counters.",
                rate_part: "rate",
                count: "stats.counters.",
                count_part: "count",
                timers: "stats.timers.",
                gauges: "stats.gauges.",
                sets: "stats.sets.",
                own: "stats.",
            },
        }
    }
}

struct Writer {
    text: String,
    points: u64,
    seconds: u64,
}

impl Writer {
    /// One line; the tags of the key come behind its part.
    fn line(&mut self, prefix: &str, key: &str, part: impl Display, value: f64) {
        use std::fmt::Write as _;
        if !value.is_finite() {
            return;
        }
        let (name, tags) = key.find(';').map_or((key, ""), |at| key.split_at(at));
        let seconds = self.seconds;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{prefix}{name}");
        let before = self.text.len();
        let _ = write!(self.text, ".{part}");
        if self.text.len() == before + 1 {
            self.text.truncate(before);
        }
        let _ = writeln!(self.text, "{tags} {} {seconds}", number::shown(value));
        self.points += 1;
    }
}

#[cfg(test)]
mod tests;
