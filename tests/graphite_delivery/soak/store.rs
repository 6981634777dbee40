//! What a carbon has of each series: which numbers, as ranges, so that hours of points fit in little memory.
//!
//! Like carbon-cache, it has what it took lately in a cache, which is lost with it.

use std::{
    collections::HashMap,
    mem,
    ops::Range,
    time::{Duration, Instant},
};

/// A series beyond this is none that was sent.
const MOST_SERIES: usize = 10_000_000;
/// The beginning of the lines that the collector tells of itself.
const OWN: &[u8] = b"pushpull.collector.";

/// Numbers, as ranges that neither overlap nor touch, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Vec<Range<u64>>);

impl Numbers {
    pub(super) fn insert(&mut self, mut new: Range<u64>) {
        let first = self.0.partition_point(|range| range.end < new.start);
        let behind = self.0.partition_point(|range| range.start <= new.end);
        for range in &self.0[first..behind] {
            new = new.start.min(range.start)..new.end.max(range.end);
        }
        self.0.splice(first..behind, [new]);
    }

    pub(super) fn contains(&self, wanted: &Range<u64>) -> bool {
        wanted.is_empty() || self.0.iter().any(|range| range.start <= wanted.start && wanted.end <= range.end)
    }
}

/// These numbers were acknowledged, of each of these series.
pub(super) type Acknowledged = (Range<usize>, Range<u64>);

/// What the carbons of one store have, by series.
pub(super) struct Store {
    kept: Vec<Numbers>,
    cache: Vec<Numbers>,
    cached_for: Duration,
    cached_since: Instant,
    /// Whole lines that were read, each as often as it came.
    pub(super) lines: u64,
    pub(super) connections: u64,
    /// The first thing that is not as it has to be.
    pub(super) wrong: Option<String>,
}

impl Store {
    /// Nothing stays in its cache for longer than that.
    pub(super) fn new(cached_for: Duration) -> Self {
        Self {
            kept: Vec::new(),
            cache: Vec::new(),
            cached_for,
            cached_since: Instant::now(),
            lines: 0,
            connections: 0,
            wrong: None,
        }
    }

    /// Takes whole lines of one connection, and holds each to be one that was sent and each series to go forward;
    /// `newest` is the last number of each series on that connection.
    pub(super) fn take(&mut self, lines: &[u8], newest: &mut HashMap<usize, u64>) {
        if self.cached_since.elapsed() >= self.cached_for {
            self.flush();
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(OWN) {
                continue;
            }
            self.lines += 1;
            let Some((series, number)) = std::str::from_utf8(line).ok().and_then(point) else {
                self.wrong(format!("no line of what was sent: {:?}", String::from_utf8_lossy(line)));
                continue;
            };
            if let Some(before) = newest.insert(series, number).filter(|before| *before > number) {
                self.wrong(format!("series {series}: {number} after {before} on one connection"));
            }
            if self.cache.len() <= series {
                self.cache.resize_with(series + 1, Numbers::default);
            }
            self.cache[series].insert(number..number + 1);
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn flush(&mut self) {
        self.cached_since = Instant::now();
        if self.kept.len() < self.cache.len() {
            self.kept.resize_with(self.cache.len(), Numbers::default);
        }
        for (kept, cache) in self.kept.iter_mut().zip(&mut self.cache) {
            mem::take(cache).0.into_iter().for_each(|range| kept.insert(range));
        }
    }

    /// Loses what is in the cache.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
        self.cached_since = Instant::now();
    }

    /// How many of these series lack any of these numbers, and the first such with what is there of it; `None` where
    /// all of it is there.
    pub(super) fn lacks(&self, acknowledged: &[Acknowledged]) -> Option<String> {
        let mut lacking = Vec::new();
        for (series, numbers) in acknowledged {
            for series in series.clone() {
                let mut all = self.kept.get(series).cloned().unwrap_or_default();
                let cache = self.cache.get(series).into_iter().flat_map(|cache| &cache.0);
                cache.for_each(|range| all.insert(range.clone()));
                if !all.contains(numbers) {
                    lacking.push((series, numbers, all));
                }
            }
        }
        let (series, numbers, all) = lacking.first()?;
        Some(format!(
            "{} series lack points; of series {series}, {numbers:?} were acknowledged and {:?} came",
            lacking.len(),
            all.0
        ))
    }
}

/// The series and the number of a line of a [`Batch`](crate::points::Batch), where it is one.
fn point(line: &str) -> Option<(usize, u64)> {
    let line = line.strip_prefix("level;k=path")?.strip_suffix('\n')?;
    let (series, rest) = line.split_once(";service.name=shop ")?;
    let (number, second) = rest.split_once(' ')?;
    let (series, number) = (series.parse().ok()?, number.parse().ok()?);
    (second.parse() == Ok(crate::points::T + number) && series < MOST_SERIES).then_some((series, number))
}

#[test]
fn a_store_tells_what_it_lacks() {
    let line = |series: usize, number: u64| {
        format!("level;k=path{series:05};service.name=shop {number} {}\n", crate::points::T + number)
    };
    let (mut store, mut newest) = (Store::new(Duration::MAX), HashMap::new());
    for number in [0, 1, 2, 4, 5] {
        store.take(line(1, number).as_bytes(), &mut newest);
    }
    assert_eq!(store.lacks(&[(1..2, 0..3), (1..2, 4..6), (0..1, 0..0)]), None);
    assert!(store.lacks(&[(1..2, 0..6)]).is_some_and(|lacks| lacks.contains("[0..3, 4..6] came")));
    assert!(store.lacks(&[(0..2, 0..1)]).is_some_and(|lacks| lacks.contains("of series 0")));
    assert_eq!((store.wrong.take(), store.lines), (None, 5));

    store.take(line(1, 3).as_bytes(), &mut newest);
    assert!(store.wrong.take().is_some_and(|wrong| wrong.contains("3 after 5")));
    assert_eq!(store.lacks(&[(1..2, 0..6)]), None);
    store.flush();
    store.take(line(1, 6).as_bytes(), &mut newest);
    store.forget();
    assert_eq!(store.lacks(&[(1..2, 0..6)]), None);
    assert!(store.lacks(&[(1..2, 0..7)]).is_some());

    for wrong in
        ["level;k=path00001;service.name=shop 7 1700000008\n", "th00001;service.name=shop 7 1700000007\n"]
    {
        store.take(wrong.as_bytes(), &mut newest);
        assert!(store.wrong.take().is_some_and(|what| what.contains("no line")), "{wrong}");
    }
}
