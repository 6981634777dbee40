//! What is known of series that nobody sends any more: their totals, the last values of gauges, and when they began; of
//! a name, that its counter fell, or under which other name it is shown.
//!
//! It must not write anything itself: where there is a spool, values go into it with the lines of the same flush, so
//! that a later process knows them too. What is known is bounded, in time and in number; the oldest goes first.
//!
//! A value is a byte that says what it is, when it began, when it was sent last, and then what it stands at; numbers
//! are little endian.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use super::{
    family::Series,
    line::Kind,
    tags,
    total::{Gauge, Histogram, Total},
};
use crate::collector::export::graphite::spool::{self, Entries, Values};

/// A series as the first version wrote it: without the time of the last value, a total as one double.
const FIRST_VERSION: u8 = 16;
const SERIES: u8 = 17;
const NAME: u8 = 18;
/// How long what no series has gone on from is known: a nightly job is to find its counter again.
const EXPIRES_AFTER: u64 = 48 * 3600 * 1_000_000_000;

/// The values that this module wrote into the spool, and those of others.
#[must_use]
pub fn split(values: Values) -> (Values, Values) {
    let is_ours = |value: &[u8]| matches!(value.first(), Some(&(FIRST_VERSION | SERIES | NAME)));
    values.into_iter().partition(|(_, value)| is_ours(value))
}

/// The order in which values go: until when they are known, when they were sent last, whose they are.
type Order = (u64, u64, u128);

/// See the module.
#[derive(Debug)]
pub(super) struct Remembered {
    limit: usize,
    values: HashMap<u128, (Order, Box<[u8]>)>,
    order: BTreeSet<Order>,
    is_spooled: bool,
    /// What is still in the spool, and is not to be.
    forgotten: Vec<u128>,
}

/// What is known of a name as one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// A counter was sent a negative number.
    pub(super) fell: bool,
    /// The other name that it is shown under.
    pub(super) shown: Option<Box<str>>,
}

impl Remembered {
    /// Nothing yet; at most `limit` values at any time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            values: HashMap::new(),
            order: BTreeSet::new(),
            is_spooled: false,
            forgotten: Vec::new(),
        }
    }

    /// With what an earlier process wrote into the spool, at `now` in nanoseconds since 1970; a later one is to find what this one
    /// knows.
    pub(super) fn spooled(mut self, values: Values, now: u64) -> Self {
        self.is_spooled = true;
        for (identity, value) in values {
            let sent = value
                .get(9..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |sent| u64::from_le_bytes(*sent));
            let sent = if value.first() == Some(&FIRST_VERSION) { 0 } else { sent };
            self.insert(identity, value, sent, now);
        }
        self
    }

    /// What is known of a series that is sent again.
    pub(super) fn claim<T: Keep>(
        &mut self,
        kind: Kind,
        name: &str,
        key: &str,
        bounds: &[f64],
    ) -> Option<Series<T>> {
        let value = self.take(|| identity(kind, name, key, bounds))?;
        let (what, rest) = value.split_first()?;
        let (start, rest) = rest.split_first_chunk()?;
        let start = u64::from_le_bytes(*start);
        let state = match *what {
            FIRST_VERSION => T::decoded_first_version(rest)?,
            SERIES => T::decoded(rest.get(8..)?)?,
            _ => return None,
        };
        Some(Series { start, sent: 0, is_fresh: true, is_shown: false, state })
    }

    /// What is known of a name that is sent again.
    pub(super) fn claim_name(&mut self, kind: Kind, name: &str) -> Named {
        let known = self.take(|| identity_of_name(kind, name)).and_then(|value| {
            let [fell, shown @ ..] = value.strip_prefix(&[NAME])?.get(16..)? else { return None };
            let shown = std::str::from_utf8(shown).ok()?;
            Some(Named { fell: *fell != 0, shown: (!shown.is_empty()).then(|| shown.into()) })
        });
        known.unwrap_or_default()
    }

    /// A series has expired at `now`.
    pub(super) fn remember<T: Keep>(
        &mut self,
        (kind, name, key): (Kind, &str, &str),
        series: &Series<T>,
        bounds: &[f64],
        now: u64,
    ) {
        self.insert(identity(kind, name, key, bounds), encoded(series).into(), series.sent, now);
    }

    /// All series of a name have expired at `now`.
    pub(super) fn remember_name(&mut self, kind: Kind, name: &str, named: &Named, now: u64) {
        if *named != Named::default() {
            self.insert(identity_of_name(kind, name), encoded_name(named, now).into(), now, now);
        }
    }

    /// Forgets what is too old at `now`, in `state` too.
    pub(super) fn forget(&mut self, now: u64, state: &mut Entries) {
        while let Some(oldest) = self.order.first().copied().filter(|(until, ..)| *until < now) {
            self.remove(oldest);
        }
        self.forgotten.iter().for_each(|identity| state.put(*identity, &[]));
    }

    /// Where each later process finds what this one knows.
    pub(super) const fn is_spooled(&self) -> bool {
        self.is_spooled
    }

    /// What was forgotten is so in the spool too.
    pub(super) fn end_interval(&mut self) {
        self.forgotten = Vec::new();
    }

    fn insert(&mut self, identity: u128, value: Box<[u8]>, sent: u64, now: u64) {
        let order = (now.saturating_add(EXPIRES_AFTER), sent, identity);
        if let Some((before, _)) = self.values.insert(identity, (order, value)) {
            self.order.remove(&before);
        }
        self.order.insert(order);
        while self.values.len() > self.limit
            && let Some(oldest) = self.order.first().copied()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, order: Order) {
        self.order.remove(&order);
        self.values.remove(&order.2);
        if self.is_spooled {
            self.forgotten.push(order.2);
        }
    }

    /// The value itself; hashing is spared where nothing is known.
    fn take(&mut self, identity: impl FnOnce() -> u128) -> Option<Box<[u8]>> {
        if self.values.is_empty() {
            return None;
        }
        let (order, value) = self.values.remove(&identity())?;
        self.order.remove(&order);
        Some(value)
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

/// A series as bytes.
pub(super) fn encoded<T: Keep>(series: &Series<T>) -> Vec<u8> {
    let mut bytes = vec![SERIES];
    bytes.extend(series.start.to_le_bytes());
    bytes.extend(series.sent.to_le_bytes());
    series.state.encode(&mut bytes);
    bytes
}

/// What is known of a name, as bytes.
pub(super) fn encoded_name(named: &Named, now: u64) -> Vec<u8> {
    let mut bytes = vec![NAME];
    [now, now].into_iter().for_each(|time| bytes.extend(time.to_le_bytes()));
    bytes.push(u8::from(named.fell));
    bytes.extend(named.shown.as_deref().unwrap_or_default().as_bytes());
    bytes
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
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self::of(f64::from_le_bytes(bytes)))
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
