//! Every series that `StatsD` has sent of late, and what its values add up to.
//!
//! It must not read a clock nor a socket: bytes and times come in as arguments, so that the same bytes give
//! the same totals. What a known series is sent is added without an allocation of its own.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::{
    Settings, encode,
    family::{Data, Family, Series, Shown},
    line::{Kind, Parts, Piece},
    remembered::{self, Keep, NAME_WRITTEN, Remembered},
    rows::Rows,
    tags,
    tally::{Reason, Tally},
    total::{Gauge, Histogram, Total},
};
use crate::{
    collector::{export::graphite::spool::Entries, series::AHEAD},
    config::{StatsdExpiry, StatsdTags},
};

mod names;
mod shelf;
mod value;

pub(super) use self::names::Notices;
use self::{
    names::end_shown,
    shelf::{Remember, Shelf},
    value::Number,
};

/// Distinct values that one set keeps of an interval.
pub(super) const MAX_SET_VALUES: usize = 100_000;
/// Distinct values that all sets together keep of an interval: eight bytes and the table's share each.
const MAX_VALUES_OF_ALL_SETS: usize = 1_000_000;
/// Points of an interval that gauges have for other seconds than their last value's.
const MAX_OTHER_POINTS: usize = 100_000;
const NANOSECONDS: u64 = 1_000_000_000;

/// What every datagram so far adds up to.
#[derive(Debug)]
pub(super) struct Aggregate {
    bounds: Box<[f64]>,
    max_series: usize,
    expiry: StatsdExpiry,
    dialects: StatsdTags,
    max_age: Option<Duration>,
    /// By kind.
    families: [Rows<Family>; Kind::ALL.len()],
    shown: Shown,
    held: Held,
    remembered: Remembered,
    /// Series that are shown no more, or as another type, and of which no flush that was taken has said so.
    pub(super) ended: Vec<Ended>,
    notices: Notices,
    /// Names of which a notice was logged.
    logged: HashSet<Box<str>>,
    /// Hashes the values of sets, with a key of its own so that no sender can make two of them meet.
    hasher: RandomState,
    /// The identity of the line in hand among the series of its name; its capacity is used again.
    key: String,
    /// The numbers of the piece in hand; its capacity is used again.
    numbers: Vec<Number>,
}

/// What is bounded, of all families.
#[derive(Debug)]
struct Held {
    series: usize,
    /// Distinct values in all sets.
    set_values: usize,
    /// Further points that gauges may have in this interval.
    points_left: usize,
}

/// A series that is shown no more as what it was.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) shown: String,
    pub(super) kind: Kind,
    /// Whether it was a counter that was decremented before.
    pub(super) was_decremented: bool,
    pub(super) key: String,
}

impl Aggregate {
    /// Nothing yet; at most `max_series` series, and `remembered` is what is known of earlier ones.
    pub(super) fn new(settings: &Settings, max_series: usize, remembered: Remembered) -> Self {
        Self {
            bounds: settings.histogram_bounds.as_slice().into(),
            max_series,
            expiry: settings.expiry,
            dialects: settings.tags,
            max_age: settings.max_age,
            families: std::array::from_fn(|_| Rows::default()),
            shown: Shown::new(settings.bare_sums),
            held: Held { series: 0, set_values: 0, points_left: MAX_OTHER_POINTS },
            remembered,
            ended: Vec::new(),
            notices: Notices::default(),
            logged: HashSet::new(),
            hasher: RandomState::new(),
            key: String::new(),
            numbers: Vec::new(),
        }
    }

    /// Adds every line of a datagram that arrived at `now` (nanoseconds of the Unix epoch).
    pub(super) fn add(&mut self, datagram: &[u8], now: u64, tally: &mut Tally) {
        let mut parts = Parts::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            match parts.parse(line, self.dialects) {
                Ok(name) => {
                    tags::write_key(&mut parts.tags, &mut self.key);
                    for piece in &parts.pieces {
                        match piece {
                            Ok(piece) => self.add_piece(&name, *piece, now, tally),
                            Err(reason) => tally.refuse(*reason, 1),
                        }
                    }
                }
                Err(reason) => tally.refuse(reason, 1),
            }
            tally.end_line(line);
        }
    }

    /// Forgets at `now` the series that were not sent for long, and remembers what they stood at.
    pub(super) fn expire(&mut self, now: u64) {
        self.remembered.forget(now);
        let oldest = self.max_age.map_or(0, |age| (now / NANOSECONDS).saturating_sub(age.as_secs()));
        let Self { families, shown, held, remembered, ended, bounds, expiry, .. } = self;
        for (kind, families) in Kind::ALL.into_iter().zip(families) {
            let after = if kind == Kind::Gauge { expiry.gauges } else { expiry.series };
            let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            let is_over = |sent: u64, is_fresh: bool| !is_fresh && now.saturating_sub(sent) >= after;
            families.retain(|name, family| {
                let Family { named, data, .. } = family;
                let visible = named.shown.as_deref().unwrap_or(name);
                let mut end = |key: &str| {
                    held.series -= 1;
                    ended.push(Ended {
                        shown: visible.to_owned(),
                        kind,
                        was_decremented: named.was_decremented,
                        key: key.to_owned(),
                    });
                };
                let mut remember = Remember { kind, name, bounds, remembered, now };
                match data {
                    Data::Counters(rows) => {
                        remember.retain(rows, |series| is_over(series.sent, series.is_fresh), &mut end)
                    }
                    Data::Gauges(rows) => remember.retain(
                        rows,
                        |series| {
                            // Graphite would take its point no more.
                            let is_old = series.state.second.is_some_and(|second| second < oldest);
                            is_over(series.sent, series.is_fresh) || (is_old && !series.is_fresh)
                        },
                        &mut end,
                    ),
                    Data::Timers(rows) | Data::Distributions(rows) => {
                        remember.retain(rows, |series| is_over(series.sent, series.is_fresh), &mut end);
                    }
                    Data::Sets(rows) => rows.retain(|key, series| {
                        let is_over = is_over(series.sent, series.is_fresh);
                        if is_over {
                            held.set_values -= series.state.len();
                            end(key);
                        }
                        !is_over
                    }),
                }
                let is_empty = data.is_empty();
                if is_empty {
                    shown.give_back(kind, visible, named.was_decremented);
                    remembered.remember_name(kind, name, named, now);
                }
                !is_empty
            });
        }
    }

    /// What a later process needs to go on, at time `now`.
    pub(super) fn state(&self, now: u64) -> Entries {
        let mut state = Entries::default();
        if !self.remembered.is_spooled() {
            return state;
        }
        // Before what is alive: it may have come back since it expired.
        self.remembered.write(&mut state);
        for (kind, families) in Kind::ALL.into_iter().zip(&self.families) {
            for (name, Family { named, written, data }) in families.iter() {
                if now.saturating_sub(*written) >= NAME_WRITTEN {
                    let name = remembered::identity_of_name(kind, name);
                    state.put(name, &remembered::encoded_name(named, now));
                }
                let bounds = &self.bounds;
                match data {
                    Data::Counters(rows) => keep(kind, name, rows, bounds, &mut state),
                    Data::Gauges(rows) => keep(kind, name, rows, bounds, &mut state),
                    Data::Timers(rows) | Data::Distributions(rows) => {
                        keep(kind, name, rows, bounds, &mut state)
                    }
                    // They are of one interval.
                    Data::Sets(_) => {}
                }
            }
        }
        state
    }

    /// All series as one request at time `now`, behind those that have ended; `None` where there are none.
    pub(super) fn request(&self, now: u64) -> Option<ExportMetricsServiceRequest> {
        let families = self.families.iter().flat_map(Rows::iter);
        (self.held.series > 0 || !self.ended.is_empty())
            .then(|| encode::request(families, &self.ended, &self.bounds, now))
    }

    /// Sets how many series there may be: those that there are stay.
    pub(super) const fn set_max_series(&mut self, max_series: usize) {
        self.max_series = max_series;
    }

    /// The request of time `now` was taken: sets begin again, as those of `StatsD` do at each flush.
    pub(super) fn end_interval(&mut self, now: u64) {
        for family in self.families.iter_mut().flat_map(Rows::rows_mut) {
            if now.saturating_sub(family.written) >= NAME_WRITTEN {
                family.written = now;
            }
            match &mut family.data {
                Data::Counters(rows) => rows.rows_mut().for_each(Series::end_interval),
                Data::Gauges(rows) => rows.rows_mut().for_each(|series| {
                    series.end_interval();
                    series.state.end_interval(now);
                }),
                Data::Timers(rows) | Data::Distributions(rows) => {
                    rows.rows_mut().for_each(Series::end_interval);
                }
                Data::Sets(rows) => rows.rows_mut().for_each(|series| {
                    series.end_interval();
                    // Clearing would keep the room of the fullest interval there ever was.
                    series.state = HashSet::default();
                }),
            }
        }
        self.held.set_values = 0;
        self.held.points_left = MAX_OTHER_POINTS;
        self.ended = Vec::new();
        self.remembered.end_interval();
    }

    /// What is to be said of names that two types have, once of each.
    pub(super) fn notices(&mut self) -> Notices {
        std::mem::take(&mut self.notices)
    }

    fn add_piece(&mut self, name: &str, piece: Piece<'_>, now: u64, tally: &mut Tally) {
        self.numbers.clear();
        let mut values = 0;
        for value in piece.values() {
            // What makes no sense is found before a series is made for it.
            match Number::of(piece, value).and_then(|number| self.in_time(number, piece, now)) {
                Ok(number) => {
                    values += 1;
                    self.numbers.push(number);
                }
                Err(reason) => tally.refuse(reason, 1),
            }
        }
        if values > 0
            && let Err(reason) = self.add_numbers(name, piece, now, tally)
        {
            tally.refuse(reason, values);
        }
    }

    /// Refuses a gauge's value for a time that no point can have.
    fn in_time(&self, number: Number, piece: Piece<'_>, now: u64) -> Result<Number, Reason> {
        let Some(second) = piece.second.filter(|_| piece.kind == Kind::Gauge && !number.relative) else {
            return Ok(number);
        };
        let now = now / NANOSECONDS;
        let is_old = self.max_age.is_some_and(|age| second < now.saturating_sub(age.as_secs()));
        match second {
            0 => Err(Reason::Timestamp),
            _ if second > now + AHEAD.as_secs() => Err(Reason::TimestampAhead),
            _ if is_old => Err(Reason::TimestampOld),
            _ => Ok(number),
        }
    }

    /// Adds the numbers in hand to the series in hand; an error refuses them all.
    fn add_numbers(
        &mut self,
        name: &str,
        piece: Piece<'_>,
        now: u64,
        tally: &mut Tally,
    ) -> Result<(), Reason> {
        let kind = piece.kind;
        let place = match self.families[kind as usize].find(name) {
            Some(place) => place,
            None if self.held.series < self.max_series => self.new_family(kind, name, now),
            None => return Err(Reason::MaxSeries),
        };
        let Self {
            families,
            held,
            remembered,
            ended,
            bounds,
            key,
            numbers,
            max_series,
            hasher,
            notices,
            logged,
            ..
        } = self;
        let Family { named, data, written } = families[kind as usize].at(place);
        let mut shelf = Shelf {
            kind,
            name,
            key,
            now,
            count: &mut held.series,
            max_series: *max_series,
            remembered,
            bounds,
        };
        match data {
            Data::Counters(rows) => {
                let total = shelf.known(rows, Total::default)?;
                let mut is_decremented = false;
                for number in numbers.iter() {
                    let outcome = total.add(number.value);
                    // A total that was ever decremented is no counter to those who compute rates of it.
                    is_decremented |= outcome.is_ok() && number.value < 0.0;
                    tally.note(outcome);
                }
                if is_decremented && !named.was_decremented {
                    let visible = named.shown.as_deref().unwrap_or(name).to_owned();
                    end_shown(kind, &visible, rows, ended);
                    (named.was_decremented, *written) = (true, 0);
                    self.show_as_gauge(&visible);
                }
            }
            Data::Gauges(rows) => {
                let gauge = shelf.known(rows, Gauge::default)?;
                let now = now / NANOSECONDS;
                for number in numbers.iter() {
                    tally.note(match number.relative {
                        true => gauge.move_by(number.value, now, &mut held.points_left),
                        false => gauge.set(number.value, piece.second, now, &mut held.points_left),
                    });
                }
            }
            Data::Timers(rows) | Data::Distributions(rows) => {
                let histogram = shelf.known(rows, || Histogram::new(bounds.len()))?;
                let had_sum = histogram.sum.is_some();
                for number in numbers.iter() {
                    tally.note(histogram.record(number.value, piece.rate, bounds));
                }
                if had_sum && histogram.sum.is_none() {
                    notices.add(logged, name, || {
                        format!(
                            "StatsD sends {name:?} values below zero: it has buckets and a count, and no sum from now on"
                        )
                    });
                }
            }
            Data::Sets(rows) => {
                let set = shelf.fresh(rows, HashSet::default)?;
                for value in piece.values().filter(|value| !value.is_empty()) {
                    let hash = hasher.hash_one(value);
                    let full = set.len() >= MAX_SET_VALUES || held.set_values >= MAX_VALUES_OF_ALL_SETS;
                    if full && !set.contains(&hash) {
                        tally.refuse(Reason::MaxSetValues, 1);
                        continue;
                    }
                    held.set_values += usize::from(set.insert(hash));
                    tally.accept();
                }
            }
        }
        Ok(())
    }
}

fn keep<T: Keep>(kind: Kind, name: &str, rows: &Rows<Series<T>>, bounds: &[f64], state: &mut Entries) {
    for (key, series) in rows.iter() {
        state.put(remembered::identity(kind, name, key, bounds), &remembered::encoded(series));
    }
}

#[cfg(test)]
mod tests;
