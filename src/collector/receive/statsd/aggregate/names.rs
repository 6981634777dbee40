//! Under which names families are shown, and what is logged of it, once for each name.

use std::collections::HashSet;

use super::{
    super::{
        family::{Data, Family, Series},
        line::Kind,
        rows::Rows,
    },
    Aggregate, Ended,
};

/// Log lines of one flush about names, and names that are remembered as logged.
const NOTICES_AT_ONCE: usize = 10;
const MAX_LOGGED_NAMES: usize = 1_000;

/// What is to be logged at a flush; of many, only some.
#[derive(Debug, Default)]
pub(in super::super) struct Notices {
    pub(in super::super) some: Vec<String>,
    /// How many more there were.
    pub(in super::super) more: u64,
}

impl Notices {
    /// Adds a notice about a name, unless there was one since the start.
    pub(super) fn add(
        &mut self,
        logged: &mut HashSet<Box<str>>,
        name: &str,
        notice: impl FnOnce() -> String,
    ) {
        // Of more names than are remembered as logged, none is logged again and again.
        if logged.len() >= MAX_LOGGED_NAMES || logged.contains(name) {
            return;
        }
        logged.insert(name.into());
        if self.some.len() < NOTICES_AT_ONCE {
            self.some.push(notice());
        } else {
            self.more += 1;
        }
    }
}

impl Aggregate {
    pub(super) fn new_family(&mut self, kind: Kind, name: &str, now: u64) -> usize {
        let mut named = self.remembered.claim_name(kind, name, now);
        let reserved = self.remembered.types_of_name(name, now);
        named.shown = self.shown.take(kind, name, named.shown, reserved);
        self.note_other_name(kind, name, named.shown.as_deref());
        let visible = named.shown.as_deref().unwrap_or(name).to_owned();
        let was_decremented = named.was_decremented;
        let family = Family { named, written: 0, data: Data::new(kind) };
        let place = self.families[kind as usize].insert(name, family);
        if was_decremented {
            self.show_as_gauge(&visible);
        }
        place
    }

    /// The counter that is shown under that name is a gauge from now on. It keeps its name, and its path in Graphite; a
    /// distribution that has the name too gets another one.
    pub(super) fn show_as_gauge(&mut self, visible: &str) {
        const KIND: Kind = Kind::Distribution;
        if !self.shown.show_as_gauge(visible) {
            return;
        }
        let of_that_name = |(name, family): &(&str, &mut Family)| family.shown(name) == visible;
        let Some((name, family)) = self.families[KIND as usize].iter_mut().find(of_that_name) else { return };
        if let Data::Distributions(rows) = &mut family.data {
            end_shown(KIND, visible, rows, &mut self.ended);
        }
        self.shown.give_back(KIND, visible, false);
        family.named.shown = self.shown.take(KIND, name, None, 0);
        family.written = 0;
        let (name, shown) = (name.to_owned(), family.named.shown.clone());
        self.note_other_name(KIND, &name, shown.as_deref());
    }

    fn note_other_name(&mut self, kind: Kind, name: &str, shown: Option<&str>) {
        let Some(shown) = shown else { return };
        self.notices.add(&mut self.logged, shown, || {
            format!(
                "StatsD sends the name {name:?} as a {} and as another type: the {0} is shown, and written to \
                 Graphite, as {shown:?}; give one of the two another name",
                kind.as_str()
            )
        });
    }
}

/// Ends the series of a family under the name that it was shown under.
pub(super) fn end_shown<T>(kind: Kind, visible: &str, rows: &mut Rows<Series<T>>, ended: &mut Vec<Ended>) {
    for (key, series) in rows.iter_mut().filter(|(_, series)| series.is_shown) {
        let (shown, key) = (visible.to_owned(), key.to_owned());
        ended.push(Ended { shown, kind, was_decremented: false, key });
        series.is_shown = false;
    }
}
