//! What is remembered of series that nobody sends any more: their totals, the last values of gauges, and when they
//! started; and of each name, as which type it has the name itself, or which other name.
//!
//! It must not write anything itself: where there is a spool, values go into it with the lines of the same flush, so that a
//! later process restores them.
//!
//! What is remembered is bounded in time and in number: the series that expired longest ago are forgotten first.
//! Series that were alive when a process ended have a limit of their own once they are restored, so that no expired series
//! and no name evicts one.
//!
//! A value in the spool is a byte for its type, the time of the series' start, the time when it was last seen, and its
//! state; numbers are little endian.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    family::Series,
    line::Kind,
    tags,
    total::{Gauge, Histogram, Total},
};
use crate::collector::export::graphite::spool::{self, Entries, Values};

/// A series as the first version wrote it: without the time when it was last seen, a total as one double.
const FIRST_VERSION: u8 = 16;
/// A series that was alive.
const SERIES: u8 = 17;
const NAME: u8 = 18;
/// A series that had expired.
const EXPIRED: u8 = 19;
/// How long a series is remembered: a nightly job is to find its counter again.
const EXPIRES_AFTER: u64 = 48 * 3600 * 1_000_000_000;
/// How long a name in the spool is not written again: far shorter than it is remembered.
pub(super) const NAME_WRITTEN: u64 = 3600 * 1_000_000_000;

/// The values that this module wrote into the spool, and those of others.
#[must_use]
pub fn split(values: Values) -> (Values, Values) {
    let is_of_statsd =
        |value: &[u8]| matches!(value.first(), Some(&(FIRST_VERSION | SERIES | NAME | EXPIRED)));
    values.into_iter().partition(|(_, value)| is_of_statsd(value))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Remembered {
    /// Series that expired.
    expired: Store,
    /// Series that were alive when an earlier process ended.
    restored: Store,
    names: Store,
    is_spooled: bool,
    /// Identities that are still in the spool, and are to be removed.
    forgotten: Vec<u128>,
    /// Identities of expired series that the spool still has as alive.
    unwritten: Vec<u128>,
}

/// What is remembered of a name as one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// A counter was sent a negative number, and is a gauge since.
    pub(super) was_decremented: bool,
    /// The other name that it is shown under.
    pub(super) shown: Option<Box<str>>,
}

impl Named {
    /// The types that it is shown as, as bits.
    const fn types(&self, kind: Kind) -> u8 {
        kind.bit() | if self.was_decremented { Kind::Gauge.bit() } else { 0 }
    }
}

impl Remembered {
    /// Nothing yet; at most `limit` expired series at any time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            expired: Store::new(limit),
            restored: Store::new(2 * limit),
            // One for each series that is remembered.
            names: Store::new(3 * limit),
            is_spooled: false,
            forgotten: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    /// With what an earlier process wrote into the spool, restored at `now` in nanoseconds since 1970; what is remembered
    /// goes into the spool from now on. A series that was last seen as long ago as `expiry` says may have been alive until
    /// now, so that the time for which it is remembered begins behind that.
    pub(super) fn spooled(mut self, values: Values, expiry: Duration, now: u64) -> Self {
        self.is_spooled = true;
        let expiry = u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX);
        for (identity, value) in values {
            let seen = value
                .get(9..)
                .and_then(|rest| rest.first_chunk())
                .map_or(now, |seen| u64::from_le_bytes(*seen));
            let (store, seen, lag) = match value.first() {
                Some(&FIRST_VERSION) => (&mut self.restored, now, 0),
                Some(&SERIES) => (&mut self.restored, seen, 0),
                // It is written seldom, and needed for as long as the last of its series.
                Some(&NAME) => (&mut self.names, seen, NAME_WRITTEN),
                _ => (&mut self.expired, seen, 0),
            };
            let until = seen.saturating_add(EXPIRES_AFTER).saturating_add(expiry).saturating_add(lag);
            if until < now {
                self.forgotten.push(identity);
            } else {
                store.insert(identity, value, Order { until, seen, identity }, &mut self.forgotten);
            }
        }
        self
    }

    /// The series to go on from where one is sent again at `now`.
    pub(super) fn claim<T: Keep>(
        &mut self,
        (kind, name, key): (Kind, &str, &str),
        bounds: &[f64],
        now: u64,
    ) -> Option<Series<T>> {
        if self.expired.is_empty() && self.restored.is_empty() {
            return None;
        }
        let identity = identity(kind, name, key, bounds);
        let value = self.restored.take(identity, now).or_else(|| self.expired.take(identity, now))?;
        let (what, rest) = value.split_first()?;
        let (start, rest) = rest.split_first_chunk()?;
        let start = u64::from_le_bytes(*start);
        let state = match *what {
            FIRST_VERSION => T::decoded_first_version(rest)?,
            SERIES | EXPIRED => T::decoded(rest.get(8..)?)?,
            _ => return None,
        };
        Some(Series { start, sent: 0, is_fresh: true, is_shown: false, state })
    }

    /// What is remembered of a name that is sent again at `now`; nothing is remembered of it from here on.
    pub(super) fn claim_name(&mut self, kind: Kind, name: &str, now: u64) -> Named {
        if self.names.is_empty() {
            return Named::default();
        }
        let value = self.names.take(identity_of_name(kind, name), now);
        value.and_then(|value| decoded_name(&value)).unwrap_or_default()
    }

    /// The types, as bits, that had this very name, and are remembered at `now`.
    pub(super) fn types_of_name(&self, name: &str, now: u64) -> u8 {
        if self.names.is_empty() {
            return 0;
        }
        let types = |kind: Kind| {
            let named = self.names.get(identity_of_name(kind, name), now).and_then(decoded_name);
            named.filter(|named| named.shown.is_none()).map_or(0, |named| named.types(kind))
        };
        Kind::ALL.into_iter().fold(0, |all, kind| all | types(kind))
    }

    /// A series has expired at `now`.
    pub(super) fn remember<T: Keep>(
        &mut self,
        (kind, name, key): (Kind, &str, &str),
        series: &Series<T>,
        bounds: &[f64],
        now: u64,
    ) {
        let identity = identity(kind, name, key, bounds);
        let order = Order { until: now.saturating_add(EXPIRES_AFTER), seen: series.sent, identity };
        self.expired.insert(identity, encoded_as(EXPIRED, series).into(), order, &mut self.forgotten);
        if self.is_spooled {
            self.unwritten.push(identity);
        }
    }

    /// All series of a name have expired at `now`.
    pub(super) fn remember_name(&mut self, kind: Kind, name: &str, named: &Named, now: u64) {
        let identity = identity_of_name(kind, name);
        let order = Order { until: now.saturating_add(EXPIRES_AFTER), seen: now, identity };
        self.names.insert(identity, encoded_name(named, now).into(), order, &mut self.forgotten);
    }

    /// Forgets what is too old at `now`.
    pub(super) fn forget(&mut self, now: u64) {
        for store in [&mut self.expired, &mut self.restored, &mut self.names] {
            store.forget(now, &mut self.forgotten);
        }
        if !self.is_spooled {
            self.forgotten = Vec::new();
        }
    }

    /// What the spool is to have of it from the next flush on, for which nothing of it was alive.
    pub(super) fn write(&self, state: &mut Entries) {
        self.forgotten.iter().for_each(|identity| state.put(*identity, &[]));
        for identity in &self.unwritten {
            if let Some((_, value)) = self.expired.values.get(identity) {
                state.put(*identity, value);
            }
        }
    }

    /// Where each later process restores what this one remembers.
    pub(super) const fn is_spooled(&self) -> bool {
        self.is_spooled
    }

    /// What was to be written is in the spool.
    pub(super) fn end_interval(&mut self) {
        (self.forgotten, self.unwritten) = (Vec::new(), Vec::new());
    }
}

/// Values in the order in which they are forgotten.
#[derive(Debug)]
struct Store {
    limit: usize,
    values: HashMap<u128, (Order, Box<[u8]>)>,
    order: BTreeSet<Order>,
}

/// When a value is forgotten: the least first, where there are too many, and after `until` at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    until: u64,
    seen: u64,
    identity: u128,
}

impl Store {
    fn new(limit: usize) -> Self {
        Self { limit, values: HashMap::new(), order: BTreeSet::new() }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn insert(&mut self, identity: u128, value: Box<[u8]>, order: Order, forgotten: &mut Vec<u128>) {
        if let Some((before, _)) = self.values.insert(identity, (order, value)) {
            self.order.remove(&before);
        }
        self.order.insert(order);
        while self.values.len() > self.limit
            && let Some(oldest) = self.order.pop_first()
        {
            self.values.remove(&oldest.identity);
            forgotten.push(oldest.identity);
        }
    }

    fn get(&self, identity: u128, now: u64) -> Option<&[u8]> {
        self.values.get(&identity).filter(|(order, _)| order.until >= now).map(|(_, value)| &**value)
    }

    fn take(&mut self, identity: u128, now: u64) -> Option<Box<[u8]>> {
        let (order, value) = self.values.remove(&identity)?;
        self.order.remove(&order);
        (order.until >= now).then_some(value)
    }

    fn forget(&mut self, now: u64, forgotten: &mut Vec<u128>) {
        while let Some(oldest) = self.order.first().copied().filter(|oldest| oldest.until < now) {
            self.order.remove(&oldest);
            self.values.remove(&oldest.identity);
            forgotten.push(oldest.identity);
        }
    }
}

/// The identity that a series is remembered under: another one where its buckets have other bounds.
pub(super) fn identity(kind: Kind, name: &str, key: &str, bounds: &[f64]) -> u128 {
    let is_histogram = matches!(kind, Kind::Timer | Kind::Distribution);
    let bounds = if is_histogram { bounds } else { &[] };
    let bounds: Vec<u8> = bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
    let [bounds_length, name_length] = [bounds.len(), name.len()].map(|length| (length as u64).to_le_bytes());
    let key = of_first_version(key);
    let parts: [&[u8]; 7] =
        [b"statsd", letter(kind), &bounds_length, &bounds, &name_length, name.as_bytes(), key.as_bytes()];
    spool::identity(&parts)
}

/// The identity that a name is remembered under.
pub(super) fn identity_of_name(kind: Kind, name: &str) -> u128 {
    spool::identity(&[b"statsd name", letter(kind), name.as_bytes()])
}

const fn letter(kind: Kind) -> &'static [u8; 1] {
    match kind {
        Kind::Counter => b"c",
        Kind::Gauge => b"g",
        Kind::Timer => b"t",
        Kind::Distribution => b"d",
        Kind::Set => b"s",
    }
}

/// A key as the first version wrote it, for whom no tag had a comma and no key of a tag a colon; so what it wrote is
/// found.
fn of_first_version(key: &str) -> Cow<'_, str> {
    let is_new = |(key, value): (&str, &str)| key.contains([',', ':']) || value.contains(',');
    if key.is_empty() || tags::of_key(key).any(is_new) {
        return key.into();
    }
    let tags: Vec<String> = tags::of_key(key).map(|(key, value)| format!("{key}:{value}")).collect();
    tags.join(",").into()
}

/// A series that is alive as bytes.
pub(super) fn encoded<T: Keep>(series: &Series<T>) -> Vec<u8> {
    encoded_as(SERIES, series)
}

fn encoded_as<T: Keep>(what: u8, series: &Series<T>) -> Vec<u8> {
    let mut bytes = vec![what];
    bytes.extend(series.start.to_le_bytes());
    bytes.extend(series.sent.to_le_bytes());
    series.state.encode(&mut bytes);
    bytes
}

/// What is known of a name, as bytes.
pub(super) fn encoded_name(named: &Named, now: u64) -> Vec<u8> {
    let mut bytes = vec![NAME];
    [now, now].into_iter().for_each(|time| bytes.extend(time.to_le_bytes()));
    bytes.push(u8::from(named.was_decremented));
    bytes.extend(named.shown.as_deref().unwrap_or_default().as_bytes());
    bytes
}

fn decoded_name(value: &[u8]) -> Option<Named> {
    let [was_decremented, shown @ ..] = value.strip_prefix(&[NAME])?.get(16..)? else { return None };
    let shown = std::str::from_utf8(shown).ok()?;
    let shown = (!shown.is_empty()).then(|| shown.into());
    Some(Named { was_decremented: *was_decremented != 0, shown })
}

/// What a series can stand at.
pub(super) trait Keep: Sized {
    fn encode(&self, bytes: &mut Vec<u8>);
    /// `None` where these bytes are none.
    fn decoded(bytes: &[u8]) -> Option<Self>;
    /// The same of what the first version wrote.
    fn decoded_first_version(bytes: &[u8]) -> Option<Self>;
}

impl Keep for Total {
    fn encode(&self, bytes: &mut Vec<u8>) {
        [self.rounded, self.rest].into_iter().for_each(|part| bytes.extend(part.to_le_bytes()));
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let [rounded, rest] = numbers(bytes)? else { return None };
        Some(Self { rounded: f64::from_le_bytes(*rounded), rest: f64::from_le_bytes(*rest) })
    }

    fn decoded_first_version(bytes: &[u8]) -> Option<Self> {
        Some(Self { rounded: f64::from_le_bytes(bytes.try_into().ok()?), rest: 0.0 })
    }
}

impl Keep for Gauge {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.value.to_le_bytes());
        bytes.extend(self.as_of().to_le_bytes());
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        // An earlier version wrote the value alone.
        let (value, as_of) = match numbers(bytes)? {
            [value] => (value, 0),
            [value, as_of] => (value, u64::from_le_bytes(*as_of)),
            _ => return None,
        };
        Some(Self::restored(f64::from_le_bytes(*value), as_of))
    }

    fn decoded_first_version(bytes: &[u8]) -> Option<Self> {
        Self::decoded(bytes)
    }
}

impl Keep for Histogram {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.count.to_le_bytes());
        // One that is not there any more is no number.
        let Total { rounded, rest } = self.sum.unwrap_or(Total { rounded: f64::NAN, rest: 0.0 });
        [rounded, rest, self.owed].into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(self.buckets.iter().flat_map(|bucket| bucket.to_le_bytes()));
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let [count, rounded, rest, owed, buckets @ ..] = numbers(bytes)? else { return None };
        let [rounded, rest, owed] = [rounded, rest, owed].map(|number| f64::from_le_bytes(*number));
        Some(Self {
            count: u64::from_le_bytes(*count),
            sum: (!rounded.is_nan()).then_some(Total { rounded, rest }),
            buckets: buckets.iter().map(|bucket| u64::from_le_bytes(*bucket)).collect(),
            owed,
        })
    }

    fn decoded_first_version(bytes: &[u8]) -> Option<Self> {
        let [count, sum, buckets @ ..] = numbers(bytes)? else { return None };
        let rounded = f64::from_le_bytes(*sum);
        Some(Self {
            count: u64::from_le_bytes(*count),
            sum: (!rounded.is_nan()).then_some(Total { rounded, rest: 0.0 }),
            buckets: buckets.iter().map(|bucket| u64::from_le_bytes(*bucket)).collect(),
            owed: 0.0,
        })
    }
}

fn numbers(bytes: &[u8]) -> Option<&[[u8; 8]]> {
    match bytes.as_chunks() {
        (numbers, []) => Some(numbers),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
