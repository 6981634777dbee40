//! Where a series stands, or is put if there is room; and where it is remembered once it has expired.

use super::super::{
    family::Series,
    line::Kind,
    remembered::{Keep, Remembered},
    rows::Rows,
    tally::Reason,
};

/// The place of the series in hand.
pub(super) struct Shelf<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) key: &'a str,
    pub(super) now: u64,
    /// How many series there are.
    pub(super) count: &'a mut usize,
    pub(super) max_series: usize,
    pub(super) remembered: &'a mut Remembered,
    pub(super) bounds: &'a [f64],
}

impl Shelf<'_> {
    /// Goes on from what is known of a series that is not there.
    pub(super) fn known<'a, T: Keep>(
        &mut self,
        rows: &'a mut Rows<Series<T>>,
        new: impl FnOnce() -> T,
    ) -> Result<&'a mut T, Reason> {
        self.find(
            rows,
            |shelf| shelf.remembered.claim((shelf.kind, shelf.name, shelf.key), shelf.bounds, shelf.now),
            new,
        )
    }

    /// Of what nothing is remembered.
    pub(super) fn fresh<'a, T>(
        &mut self,
        rows: &'a mut Rows<Series<T>>,
        new: impl FnOnce() -> T,
    ) -> Result<&'a mut T, Reason> {
        self.find(rows, |_| None, new)
    }

    fn find<'a, T>(
        &mut self,
        rows: &'a mut Rows<Series<T>>,
        known: impl FnOnce(&mut Self) -> Option<Series<T>>,
        new: impl FnOnce() -> T,
    ) -> Result<&'a mut T, Reason> {
        let now = self.now;
        let place = match rows.find(self.key) {
            Some(place) => place,
            None if *self.count < self.max_series => {
                *self.count += 1;
                let series = known(self).unwrap_or_else(|| Series {
                    start: now,
                    sent: now,
                    is_fresh: true,
                    is_shown: false,
                    state: new(),
                });
                rows.insert(self.key, series)
            }
            None => return Err(Reason::MaxSeries),
        };
        let series = rows.at(place);
        (series.sent, series.is_fresh) = (now, true);
        Ok(&mut series.state)
    }
}

/// Where series of one name and type are remembered.
pub(super) struct Remember<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) bounds: &'a [f64],
    pub(super) remembered: &'a mut Remembered,
    pub(super) now: u64,
}

impl Remember<'_> {
    /// Removes and remembers each series for which `is_over`, and calls `end` with its key.
    pub(super) fn retain<T: Keep>(
        &mut self,
        rows: &mut Rows<Series<T>>,
        is_over: impl Fn(&Series<T>) -> bool,
        end: &mut impl FnMut(&str),
    ) {
        rows.retain(|key, series| {
            let is_over = is_over(series);
            if is_over {
                self.remembered.remember((self.kind, self.name, key), series, self.bounds, self.now);
                end(key);
            }
            !is_over
        });
    }
}
