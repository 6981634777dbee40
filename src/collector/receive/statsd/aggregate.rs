//! Every series that `StatsD` has told of, and what its values add up to.
//!
//! It must not read a clock nor a socket: bytes and times come in as arguments, so that the same bytes give
//! the same totals. A known series is found and added to without allocating.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::{
    encode,
    kept::{self, Keep, Kept},
    line::{Kind, Line, Tag},
    tally::{Reason, Tally},
};
use crate::collector::export::graphite::spool::Entries;

/// Distinct values that one set keeps of an interval.
const MAX_SET_VALUES: usize = 100_000;
/// Distinct values that all sets together keep of an interval: eight bytes and the table's share each.
const MAX_VALUES_OF_ALL_SETS: usize = 1_000_000;

/// What every datagram so far adds up to.
#[derive(Debug)]
pub(super) struct Aggregate {
    bounds: Box<[f64]>,
    max_series: usize,
    /// Series under all names.
    series: usize,
    /// Distinct values in all sets.
    set_values: usize,
    families: Table<Family>,
    /// What an earlier process kept of series, and this one is to keep; nothing without a spool.
    kept: Option<Kept>,
    /// Hashes the values of sets, with a key of its own so that no sender can make two of them meet.
    hasher: RandomState,
    /// The identity of the line in hand among the series of its name; kept for its capacity.
    key: String,
    /// The numbers of the line in hand; kept for its capacity.
    numbers: Vec<Number>,
}

impl Aggregate {
    pub(super) fn new(bounds: Vec<f64>, max_series: usize) -> Self {
        Self {
            bounds: bounds.into(),
            max_series,
            series: 0,
            set_values: 0,
            families: Table::default(),
            kept: None,
            hasher: RandomState::new(),
            key: String::new(),
            numbers: Vec::new(),
        }
    }

    /// The same with what an earlier process kept; series go on from there when they are heard of.
    pub(super) fn with_kept(mut self, kept: Option<Kept>) -> Self {
        self.kept = kept;
        self
    }

    /// What a later process needs to go on, at time `now`.
    pub(super) fn state(&mut self, now: u64) -> Entries {
        let mut state = Entries::default();
        let Some(kept) = &mut self.kept else { return state };
        kept.expire(now, &mut state);
        for (name, family) in self.families.rows() {
            match family {
                Family::Counters { series, .. } => {
                    keep(Kind::Counter, name, series, &self.bounds, &mut state)
                }
                Family::Gauges(series) => keep(Kind::Gauge, name, series, &self.bounds, &mut state),
                Family::Timers(series) => keep(Kind::Timer, name, series, &self.bounds, &mut state),
                Family::Distributions(series) => {
                    keep(Kind::Distribution, name, series, &self.bounds, &mut state);
                }
                // They are of one interval.
                Family::Sets(_) => {}
            }
        }
        state
    }

    /// Adds every line of a datagram that arrived at `now` (nanoseconds of the Unix epoch).
    pub(super) fn add(&mut self, datagram: &[u8], now: u64, tally: &mut Tally) {
        let mut tags = Vec::new();
        for line in datagram.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            match Line::parse(line, &mut tags) {
                Ok(line) => self.add_line(line, &mut tags, now, tally),
                Err(reason) => tally.refuse(reason, 1),
            }
        }
    }

    /// All series as one request at time `now`; `None` where there are none.
    pub(super) fn request(&self, now: u64) -> Option<ExportMetricsServiceRequest> {
        (self.series > 0).then(|| encode::request(self.families.rows(), &self.bounds, now))
    }

    /// The request was taken: sets begin again, as those of `StatsD` do at each flush.
    pub(super) fn end_interval(&mut self) {
        for (_, family) in &mut self.families.rows {
            if let Family::Sets(sets) = family {
                for (_, set) in &mut sets.rows {
                    // Clearing would keep the room of the fullest interval there ever was.
                    set.state = HashSet::default();
                }
            }
        }
        self.set_values = 0;
    }

    fn add_line(&mut self, line: Line<'_>, tags: &mut [Tag<'_>], now: u64, tally: &mut Tally) {
        self.numbers.clear();
        let mut values = 0;
        for value in line.values() {
            // What makes no sense is found before a series is made for it.
            match Number::of(line, value) {
                Some(number) => {
                    values += 1;
                    self.numbers.push(number);
                }
                None => tally.refuse(Reason::BadValue, 1),
            }
        }
        if values == 0 {
            return;
        }
        write_key(tags, &mut self.key);
        if let Err(reason) = self.add_numbers(line, now, tally) {
            tally.refuse(reason, values);
        }
    }

    /// Adds the numbers in hand to the series in hand; an error refuses them all.
    fn add_numbers(&mut self, line: Line<'_>, now: u64, tally: &mut Tally) -> Result<(), Reason> {
        let family = match self.families.find(line.name) {
            Some(row) => row,
            None if self.series < self.max_series => self.families.insert(line.name, Family::new(line.kind)),
            None => return Err(Reason::MaxSeries),
        };
        let (kept, bounds) = (&mut self.kept, &self.bounds);
        let mut shelf = Shelf {
            key: &self.key,
            line,
            now,
            series: &mut self.series,
            max_series: self.max_series,
            kept,
            bounds,
        };
        let (_, family) = &mut self.families.rows[family];
        match (family, line.kind) {
            (Family::Counters { monotonic, series }, Kind::Counter) => {
                let total = shelf.state(series, f64::default)?;
                for number in &self.numbers {
                    let outcome = add_finite(total, number.value);
                    // A total that ever fell is no counter to those who compute rates of it.
                    *monotonic &= outcome.is_err() || number.value >= 0.0;
                    tally.note(outcome);
                }
            }
            (Family::Gauges(series), Kind::Gauge) => {
                let gauge = shelf.state(series, f64::default)?;
                for number in &self.numbers {
                    let outcome = if number.relative {
                        add_finite(gauge, number.value)
                    } else {
                        *gauge = number.value;
                        Ok(())
                    };
                    tally.note(outcome);
                }
            }
            (Family::Timers(series), Kind::Timer) | (Family::Distributions(series), Kind::Distribution) => {
                let histogram = shelf.state(series, || Histogram::new(self.bounds.len()))?;
                for number in &self.numbers {
                    tally.note(histogram.record(number.value, line.weight(), &self.bounds));
                }
            }
            (Family::Sets(series), Kind::Set) => {
                let set = shelf.fresh(series, HashSet::default)?;
                for value in line.values() {
                    let hash = self.hasher.hash_one(value);
                    let full = set.len() >= MAX_SET_VALUES || self.set_values >= MAX_VALUES_OF_ALL_SETS;
                    if full && !set.contains(&hash) {
                        tally.refuse(Reason::MaxSetValues, 1);
                        continue;
                    }
                    self.set_values += usize::from(set.insert(hash));
                    tally.accept();
                }
            }
            _ => return Err(Reason::TypeConflict),
        }
        Ok(())
    }
}

/// One value of a line, ready to be added.
#[derive(Clone, Copy, Debug)]
struct Number {
    /// In the unit of the series; for a counter times what the sample rate makes it stand for.
    value: f64,
    /// Whether a gauge moves by it.
    relative: bool,
}

impl Number {
    /// `None` where `text` is no value of the line's type. A set's value is no number; it only must be
    /// there.
    fn of(line: Line<'_>, text: &str) -> Option<Self> {
        if line.kind == Kind::Set {
            return (!text.is_empty()).then_some(Self { value: 0.0, relative: false });
        }
        let value: f64 = text.parse().ok()?;
        let value = match line.kind {
            Kind::Counter => value * (1.0 / line.rate),
            Kind::Timer if value < 0.0 => return None,
            Kind::Timer => value / 1000.0,
            Kind::Gauge | Kind::Distribution | Kind::Set => value,
        };
        // What adds to a sum must be finite with its weight, or a new series would begin with a refusal.
        let added = match line.kind {
            Kind::Timer | Kind::Distribution => value * line.weight() as f64,
            Kind::Counter | Kind::Gauge | Kind::Set => value,
        };
        added.is_finite().then_some(Self { value, relative: text.starts_with(['+', '-']) })
    }
}

/// All series of one name: they have one meaning, and so one type.
#[derive(Debug)]
pub(super) enum Family {
    Counters {
        /// Whether no value below zero was ever added under this name.
        monotonic: bool,
        series: Table<Series<f64>>,
    },
    Gauges(Table<Series<f64>>),
    /// In seconds.
    Timers(Table<Series<Histogram>>),
    /// In whatever unit was sent.
    Distributions(Table<Series<Histogram>>),
    /// Hashes of the distinct values of this interval. Two of 100,000 values are taken for one in one case
    /// of three billion.
    Sets(Table<Series<HashSet<u64>>>),
}

impl Family {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counters { monotonic: true, series: Table::default() },
            Kind::Gauge => Self::Gauges(Table::default()),
            Kind::Timer => Self::Timers(Table::default()),
            Kind::Distribution => Self::Distributions(Table::default()),
            Kind::Set => Self::Sets(Table::default()),
        }
    }
}

/// What the values of one name and one set of tags add up to.
#[derive(Debug)]
pub(super) struct Series<T> {
    /// When the first value arrived, in nanoseconds of the Unix epoch.
    pub(super) start: u64,
    pub(super) state: T,
}

/// Counts of values by bucket, and their sum.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) count: u64,
    /// `None` once a value was below zero: OTLP has a sum only of what never falls.
    pub(super) sum: Option<f64>,
    /// One more than there are bounds; bucket `i` holds what is above bound `i - 1` and up to bound `i`.
    pub(super) buckets: Box<[u64]>,
}

impl Histogram {
    fn new(bounds: usize) -> Self {
        Self { count: 0, sum: Some(0.0), buckets: vec![0; bounds + 1].into() }
    }

    fn record(&mut self, value: f64, weight: u64, bounds: &[f64]) -> Result<(), Reason> {
        let count = self.count.checked_add(weight).ok_or(Reason::Overflow)?;
        if value < 0.0 {
            self.sum = None;
        } else if let Some(sum) = &mut self.sum {
            add_finite(sum, value * weight as f64)?;
        }
        self.count = count;
        self.buckets[bounds.partition_point(|bound| *bound < value)] += weight;
        Ok(())
    }
}

/// Adds unless the total would not be finite any more. Doubles hold whole numbers up to 2⁵³ exactly.
fn add_finite(total: &mut f64, value: f64) -> Result<(), Reason> {
    let sum = *total + value;
    if !sum.is_finite() {
        return Err(Reason::Overflow);
    }
    *total = sum;
    Ok(())
}

/// Writes what tells a series from others of its name: its tags as they would be sent, sorted by key. Of two
/// tags with one key the last one counts, since an attribute has one value.
fn write_key(tags: &mut [Tag<'_>], key: &mut String) {
    key.clear();
    tags.sort_by(|left, right| left.0.cmp(right.0));
    for (index, tag) in tags.iter().enumerate() {
        if tags.get(index + 1).is_some_and(|next| next.0 == tag.0) {
            continue;
        }
        if !key.is_empty() {
            key.push(',');
        }
        key.push_str(tag.0);
        key.push(':');
        key.push_str(tag.1);
    }
}

/// The tags in a key that [`write_key`] wrote. A comma ends a tag and the first colon its key in a datagram
/// too, so neither can be in what they separate.
pub(super) fn tags_of_key(key: &str) -> impl Iterator<Item = Tag<'_>> {
    key.split(',').filter_map(|tag| tag.split_once(':'))
}

fn keep<T: Keep>(kind: Kind, name: &str, table: &Table<Series<T>>, bounds: &[f64], state: &mut Entries) {
    for (key, series) in table.rows() {
        state.put(kept::identity(kind, name, key, bounds), &kept::encoded(series));
    }
}

/// Where the series in hand stands, or is put if there is room.
struct Shelf<'a> {
    key: &'a str,
    line: Line<'a>,
    now: u64,
    series: &'a mut usize,
    max_series: usize,
    kept: &'a mut Option<Kept>,
    bounds: &'a [f64],
}

impl Shelf<'_> {
    /// Goes on from what an earlier process kept of a series that is new to this one.
    fn state<'a, T: Keep>(
        &mut self,
        table: &'a mut Table<Series<T>>,
        new: impl FnOnce() -> T,
    ) -> Result<&'a mut T, Reason> {
        self.find(table, |shelf| {
            let (kind, name, key) = (shelf.line.kind, shelf.line.name, shelf.key);
            let kept = shelf.kept.as_mut().and_then(|kept| kept.claim(kind, name, key, shelf.bounds));
            kept.unwrap_or_else(|| Series { start: shelf.now, state: new() })
        })
    }

    /// Of what nothing is kept.
    fn fresh<'a, T>(
        &mut self,
        table: &'a mut Table<Series<T>>,
        new: impl FnOnce() -> T,
    ) -> Result<&'a mut T, Reason> {
        self.find(table, |shelf| Series { start: shelf.now, state: new() })
    }

    fn find<'a, T>(
        &mut self,
        table: &'a mut Table<Series<T>>,
        series: impl FnOnce(&mut Self) -> Series<T>,
    ) -> Result<&'a mut T, Reason> {
        let row = match table.find(self.key) {
            Some(row) => row,
            None if *self.series < self.max_series => {
                *self.series += 1;
                let series = series(self);
                table.insert(self.key, series)
            }
            None => return Err(Reason::MaxSeries),
        };
        Ok(&mut table.rows[row].1.state)
    }
}

/// Rows by key, in the order in which they came.
#[derive(Debug)]
pub(super) struct Table<T> {
    by_key: HashMap<Arc<str>, usize>,
    rows: Vec<(Arc<str>, T)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), rows: Vec::new() }
    }
}

impl<T> Table<T> {
    /// All rows with their keys.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.rows.iter().map(|(key, row)| (key.as_ref(), row))
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Adds a row under a key that is not there yet, and says where it is.
    fn insert(&mut self, key: &str, row: T) -> usize {
        let key: Arc<str> = key.into();
        let index = self.rows.len();
        self.by_key.insert(Arc::clone(&key), index);
        self.rows.push((key, row));
        index
    }
}

#[cfg(test)]
mod tests;
