//! Rows by key.
//!
//! It must not keep a key twice; a row is removed without moving more than one other.

use std::{collections::HashMap, sync::Arc};

/// Rows by key, in no order of theirs.
#[derive(Debug)]
pub(super) struct Rows<T> {
    by_key: HashMap<Arc<str>, usize>,
    rows: Vec<(Arc<str>, T)>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), rows: Vec::new() }
    }
}

impl<T> Rows<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows with their keys.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.rows.iter().map(|(key, row)| (key.as_ref(), row))
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut().map(|(_, row)| row)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.rows.iter_mut().map(|(key, row)| (&**key, row))
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The row at a place that was found.
    pub(super) fn at(&mut self, place: usize) -> &mut T {
        &mut self.rows[place].1
    }

    /// Adds a row under a key that is not there yet, and says where it is.
    pub(super) fn insert(&mut self, key: &str, row: T) -> usize {
        let key: Arc<str> = key.into();
        let place = self.rows.len();
        self.by_key.insert(Arc::clone(&key), place);
        self.rows.push((key, row));
        place
    }

    /// Removes each row for which `keep` says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str, &mut T) -> bool) {
        let mut place = 0;
        while let Some((key, row)) = self.rows.get_mut(place) {
            if keep(key, row) {
                place += 1;
                continue;
            }
            let (key, _) = self.rows.swap_remove(place);
            self.by_key.remove(&key);
            if let Some((moved, _)) = self.rows.get(place)
                && let Some(index) = self.by_key.get_mut(moved)
            {
                *index = place;
            }
        }
        // Room of the most rows that there ever were is given back.
        if self.rows.capacity() > 4 * self.rows.len().max(16) {
            self.rows.shrink_to(2 * self.rows.len());
            self.by_key.shrink_to(2 * self.by_key.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_leaves_the_others_where_they_are_found() {
        let mut rows = Rows::default();
        for number in 0..1000_u32 {
            rows.insert(&number.to_string(), number);
        }
        rows.retain(|_, number| *number % 7 == 0);
        assert_eq!(rows.iter().len(), 143);
        for number in 0..1000_u32 {
            let found = rows.find(&number.to_string()).map(|place| *rows.at(place));
            assert_eq!(found, (number % 7 == 0).then_some(number));
        }
        rows.retain(|_, _| false);
        assert!(rows.is_empty() && rows.find("7").is_none());
    }
}
