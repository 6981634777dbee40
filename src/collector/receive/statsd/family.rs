//! All series of one name and type, and the name that they are shown under.
//!
//! statsd keeps a name as each type that it is sent as. Two of them may not be one series to Prometheus or write one
//! path of Graphite, so where they would, the later one gets the word for its type behind its name.

use std::collections::{HashMap, HashSet};

use super::{
    line::Kind,
    remembered::Named,
    rows::Rows,
    total::{Gauge, Histogram, Total},
};

/// What the values of one name, one type and one set of tags add up to.
#[derive(Debug)]
pub(super) struct Series<T> {
    /// When the first value arrived, in nanoseconds of the Unix epoch.
    pub(super) start: u64,
    /// When the last one did.
    pub(super) sent: u64,
    /// No flush that was taken had its last value.
    pub(super) is_fresh: bool,
    /// A flush that was taken had it, as the type that it is.
    pub(super) is_shown: bool,
    pub(super) state: T,
}

impl<T> Series<T> {
    /// A flush was taken.
    pub(super) const fn end_interval(&mut self) {
        (self.is_fresh, self.is_shown) = (false, true);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) named: Named,
    /// When the spool was given `named` last, in nanoseconds since 1970; 0 where it has something else.
    pub(super) written: u64,
    pub(super) data: Data,
}

/// The series of a family, by tags.
#[derive(Debug)]
pub(super) enum Data {
    Counters(Rows<Series<Total>>),
    Gauges(Rows<Series<Gauge>>),
    /// In seconds.
    Timers(Rows<Series<Histogram>>),
    /// In whatever unit was sent.
    Distributions(Rows<Series<Histogram>>),
    /// Hashes of the distinct values of this interval. Two of 100,000 values are taken for one in one case
    /// of three billion.
    Sets(Rows<Series<HashSet<u64>>>),
}

impl Data {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counters(Rows::default()),
            Kind::Gauge => Self::Gauges(Rows::default()),
            Kind::Timer => Self::Timers(Rows::default()),
            Kind::Distribution => Self::Distributions(Rows::default()),
            Kind::Set => Self::Sets(Rows::default()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Counters(rows) => rows.is_empty(),
            Self::Gauges(rows) => rows.is_empty(),
            Self::Timers(rows) | Self::Distributions(rows) => rows.is_empty(),
            Self::Sets(rows) => rows.is_empty(),
        }
    }
}

impl Family {
    /// The name that it is shown under.
    pub(super) fn shown<'a>(&'a self, name: &'a str) -> &'a str {
        self.named.shown.as_deref().unwrap_or(name)
    }
}

/// Which names are shown as which types.
#[derive(Debug)]
pub(super) struct Shown {
    names: HashMap<Box<str>, u8>,
    /// Whether the sum of a histogram has the bare name in Graphite.
    bare_sums: bool,
}

impl Shown {
    pub(super) fn new(bare_sums: bool) -> Self {
        Self { names: HashMap::new(), bare_sums }
    }

    /// The name to show `name` under as this type, if that is another one; `known` is the one it had earlier, and
    /// `reserved` are the types, as bits, that had the name itself and may come back.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        name: &str,
        known: Option<Box<str>>,
        reserved: u8,
    ) -> Option<Box<str>> {
        let clashing = self.clashing(kind);
        let is_free = |names: &HashMap<Box<str>, u8>, shown: &str| {
            let reserved = if shown == name { reserved } else { 0 };
            (names.get(shown).copied().unwrap_or(0) | reserved) & clashing == 0
        };
        let mut shown =
            known.filter(|known| is_free(&self.names, known)).map_or_else(|| name.to_owned(), String::from);
        while !is_free(&self.names, &shown) {
            shown.push('.');
            shown.push_str(kind.as_str());
        }
        let is_other = shown != name;
        let shown: Box<str> = shown.into();
        *self.names.entry(shown.clone()).or_default() |= kind.bit();
        is_other.then_some(shown)
    }

    /// The counter of that name is shown as a gauge from now on; says whether a distribution has the name too, which a
    /// gauge cannot share.
    pub(super) fn show_as_gauge(&mut self, shown: &str) -> bool {
        let Some(kinds) = self.names.get_mut(shown) else { return false };
        *kinds |= Kind::Gauge.bit();
        *kinds & Kind::Distribution.bit() != 0
    }

    /// A family has no series any more, or another name.
    pub(super) fn give_back(&mut self, kind: Kind, shown: &str, was_decremented: bool) {
        let Some(kinds) = self.names.get_mut(shown) else { return };
        *kinds &= !(kind.bit() | if was_decremented { Kind::Gauge.bit() } else { 0 });
        if *kinds == 0 {
            self.names.remove(shown);
        }
    }

    /// The types that a name cannot have together with this one: numbers have one path, so have two histograms, and a gauge
    /// is shown to Prometheus under the name of a distribution.
    fn clashing(&self, kind: Kind) -> u8 {
        const NUMBERS: u8 = Kind::Counter.bit() | Kind::Gauge.bit() | Kind::Set.bit();
        const HISTOGRAMS: u8 = Kind::Timer.bit() | Kind::Distribution.bit();
        let all = if self.bare_sums { NUMBERS | HISTOGRAMS } else { 0 };
        all | match kind {
            Kind::Counter => NUMBERS,
            Kind::Gauge | Kind::Set => NUMBERS | Kind::Distribution.bit(),
            Kind::Timer => HISTOGRAMS,
            Kind::Distribution => HISTOGRAMS | Kind::Gauge.bit() | Kind::Set.bit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_one_series_is_shown_under_another_name() {
        let mut shown = Shown::new(false);
        let mut take = |kind, name: &str| shown.take(kind, name, None, 0);
        assert_eq!([Kind::Counter, Kind::Timer].map(|kind| take(kind, "a")), [None, None]);
        assert_eq!(take(Kind::Gauge, "a").as_deref(), Some("a.gauge"));
        assert_eq!(take(Kind::Set, "a").as_deref(), Some("a.set"));
        assert_eq!(take(Kind::Distribution, "a").as_deref(), Some("a.distribution"));
        assert_eq!(
            take(Kind::Gauge, "a.gauge").as_deref(),
            Some("a.gauge.gauge"),
            "another may be called so"
        );
        assert_eq!([Kind::Counter, Kind::Distribution].map(|kind| take(kind, "b")), [None, None]);
        assert_eq!([Kind::Gauge, Kind::Timer].map(|kind| take(kind, "c")), [None, None]);
    }

    #[test]
    fn a_name_is_free_again_and_what_was_renamed_stays_so() {
        let mut shown = Shown::new(false);
        assert_eq!(shown.take(Kind::Counter, "a", None, 0), None);
        assert!(!shown.show_as_gauge("a"));
        assert!(shown.take(Kind::Distribution, "a", None, 0).is_some());
        shown.give_back(Kind::Counter, "a", true);
        assert_eq!(shown.take(Kind::Gauge, "a", None, 0), None);
        shown.give_back(Kind::Gauge, "a", false);
        assert_eq!(shown.take(Kind::Gauge, "a", Some("a.gauge".into()), 0).as_deref(), Some("a.gauge"));
        let mut bare = Shown::new(true);
        assert_eq!(bare.take(Kind::Counter, "a", None, 0), None);
        assert_eq!(bare.take(Kind::Timer, "a", None, 0).as_deref(), Some("a.timer"));
    }
}
