//! The judgement of two views of the same series: whether each pushed value lies between the scrapes around it.
//!
//! It must not know where the values came from, and it must be able to say no: its tests show it what is wrong.
//!
//! A bracket is sound because of three orders. The SDK takes a point's time before it reads the point's value, so
//! a scrape that was received before that time is older than the value. A batch arrives after all its values were
//! read, so a scrape that was asked for after the arrival is newer. And the series only grow.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

/// A sample's name (as in `slow_bucket`) and its labels.
pub(crate) type Key = (String, BTreeMap<String, String>);

/// What one scrape showed, between when it was asked for and when it was received.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) asked: Instant,
    pub(crate) received: SystemTime,
    pub(crate) values: BTreeMap<Key, f64>,
}

/// What one batch showed, and when it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) arrived: Instant,
    pub(crate) readings: BTreeMap<Key, Reading>,
}

/// A pushed value with the time of its point, which is at the latest when the value was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) time: SystemTime,
    pub(crate) value: f64,
}

/// What came of all brackets.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Pushed values that had a scrape before them and one after.
    pub(crate) brackets: usize,
    /// Those of them around which the series moved, so that the bracket held something.
    pub(crate) moving: usize,
    /// Those of them that lay strictly between.
    pub(crate) strictly_between: usize,
    pub(crate) violations: Vec<Violation>,
}

/// A pushed value that is not between the scrapes around it. A series that a scrape does not have is NaN there.
#[derive(Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) key: Key,
    pub(crate) before: f64,
    pub(crate) pushed: f64,
    pub(crate) after: f64,
}

/// Judges each pushed value that has scrapes around it; `scrapes` are in the order in which they were made.
pub(crate) fn judge(scrapes: &[Scrape], pushes: &[Push]) -> Verdict {
    let mut verdict = Verdict::default();
    for push in pushes {
        let after = scrapes.partition_point(|scrape| scrape.asked < push.arrived);
        let Some(after) = scrapes.get(after) else { continue };
        for (key, reading) in &push.readings {
            let before = scrapes.partition_point(|scrape| scrape.received <= reading.time);
            let Some(before) = before.checked_sub(1).and_then(|before| scrapes.get(before)) else { continue };
            verdict.add(key, before, reading.value, after);
        }
    }
    verdict
}

impl Verdict {
    fn add(&mut self, key: &Key, before: &Scrape, pushed: f64, after: &Scrape) {
        // A series that begins between the two scrapes stands at zero before.
        let before = before.values.get(key).copied().unwrap_or(0.0);
        let after = after.values.get(key).copied().unwrap_or(f64::NAN);
        self.brackets += 1;
        self.moving += usize::from(before < after);
        self.strictly_between += usize::from(before < pushed && pushed < after);
        if !(before <= pushed && pushed <= after) {
            self.violations.push(Violation { key: key.clone(), before, pushed, after });
        }
    }
}

/// Where two views at rest are not the same, to the bit, in both directions.
pub(crate) fn differences(scraped: &BTreeMap<Key, f64>, pushed: &BTreeMap<Key, f64>) -> Vec<String> {
    let mut keys: Vec<_> = scraped.keys().chain(pushed.keys()).collect();
    keys.sort();
    keys.dedup();
    let differing = keys.into_iter().filter_map(|key| {
        let (scraped, pushed) = (scraped.get(key), pushed.get(key));
        let equal = scraped.map(|value| value.to_bits()) == pushed.map(|value| value.to_bits());
        (!equal).then(|| format!("{key:?}: scraped {scraped:?}, pushed {pushed:?}"))
    });
    differing.collect()
}

mod tests {
    use std::time::Duration;

    use super::*;

    fn key() -> Key {
        ("requests_total".to_owned(), BTreeMap::from([("endpoint".to_owned(), "/".to_owned())]))
    }

    /// Scrapes of 10 at second 0, 20 at 10, 30 at 20 and 40 at 30; each takes two seconds.
    struct Clock {
        instant: Instant,
        time: SystemTime,
    }

    impl Clock {
        fn new() -> Self {
            Self { instant: Instant::now(), time: SystemTime::now() }
        }

        fn scrapes(&self) -> Vec<Scrape> {
            let scrape = |(at, value)| Scrape {
                asked: self.instant + Duration::from_secs(at),
                received: self.time + Duration::from_secs(at + 2),
                values: BTreeMap::from([(key(), value)]),
            };
            [(0, 10.0), (10, 20.0), (20, 30.0), (30, 40.0)].map(scrape).to_vec()
        }

        fn push(&self, collected: u64, arrived: u64, value: f64) -> Push {
            let reading = Reading { time: self.time + Duration::from_secs(collected), value };
            Push {
                arrived: self.instant + Duration::from_secs(arrived),
                readings: BTreeMap::from([(key(), reading)]),
            }
        }
    }

    #[test]
    fn takes_the_scrapes_around_a_value_and_no_other() {
        let clock = Clock::new();
        let between = |collected, arrived, value| {
            let verdict = judge(&clock.scrapes(), &[clock.push(collected, arrived, value)]);
            assert_eq!((verdict.brackets, verdict.moving), (1, 1));
            verdict.violations.is_empty()
        };
        // Read between the second scrape and the third.
        assert!(between(14, 16, 20.0) && between(14, 16, 25.0) && between(14, 16, 30.0));
        assert!(!between(14, 16, 19.0) && !between(14, 16, 31.0));
        // Read while the second scrape was made: it is no bound, its neighbours are.
        assert!(between(11, 11, 10.0) && between(11, 11, 30.0));
        assert!(!between(11, 11, 9.0) && !between(11, 11, 31.0));
        // Arrived after the third scrape was asked for: only the fourth is surely newer.
        assert!(between(14, 21, 35.0) && !between(14, 21, 41.0));
    }

    #[test]
    fn a_value_without_a_scrape_on_each_side_is_no_bracket() {
        let clock = Clock::new();
        for (collected, arrived) in [(1, 5), (33, 34)] {
            let verdict = judge(&clock.scrapes(), &[clock.push(collected, arrived, 1e9)]);
            assert_eq!((verdict.brackets, verdict.violations.len()), (0, 0));
        }
    }

    #[test]
    fn a_pushed_series_that_the_next_scrape_does_not_have_is_a_violation() {
        let clock = Clock::new();
        let mut scrapes = clock.scrapes();
        scrapes[2].values.clear();
        let verdict = judge(&scrapes, &[clock.push(14, 16, 25.0)]);
        assert_eq!(verdict.violations.len(), 1);
        assert!(verdict.violations[0].after.is_nan());
    }

    #[test]
    fn at_rest_the_last_bit_and_a_missing_series_are_seen() {
        let view = |value| BTreeMap::from([(key(), value)]);
        assert_eq!(differences(&view(0.3), &view(0.3)), [""; 0]);
        assert_eq!(differences(&view(0.3), &view(0.1 + 0.2)).len(), 1);
        assert_eq!(differences(&view(0.3), &BTreeMap::new()).len(), 1);
        assert_eq!(differences(&BTreeMap::new(), &view(0.3)).len(), 1);
        assert_eq!(differences(&view(0.0), &view(-0.0)).len(), 1);
    }
}
