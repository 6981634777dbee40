//! Who writes which path of Graphite: finds series that share one while their exports overlap.
//!
//! It must not keep anyone from writing: what it finds is counted and named. Paths are known by a hash of 64 bits.

use std::{collections::HashMap, hash::BuildHasher as _, num::NonZeroU32};

use slab::Slab;

/// The series by path.
#[derive(Debug, Default)]
pub(super) struct Paths {
    owners: HashMap<u64, Owner>,
    groups: Slab<Group>,
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    One(u32),
    Group(u32),
}

/// Series that share a path.
#[derive(Debug)]
struct Group {
    members: u32,
    /// Who wrote last, and the time of the point with which it became the last.
    last: u32,
    since: u64,
    named: bool,
}

/// Which group a series belongs to; most belong to none.
pub(super) type Membership = Option<NonZeroU32>;

/// Who shares a path with a new series.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// The group that both belong to now.
    pub(super) group: Membership,
    /// The series that was alone until now.
    pub(super) first: Option<usize>,
}

/// What writing a point meant to those who share the path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: it is the one that wrote last, or takes the place of one that has ended.
    Alone,
    /// Another has written in between. `first` where that was not yet said of this path.
    Overlap { other: usize, first: bool },
}

impl Paths {
    /// A new series at `slot` of the table writes `path`.
    pub(super) fn join(&mut self, path: &str, slot: usize) -> Joined {
        let Ok(slot) = u32::try_from(slot) else { return Joined { group: None, first: None } };
        let hash = self.owners.hasher().hash_one(path);
        match self.owners.get(&hash).copied() {
            None => {
                self.owners.insert(hash, Owner::One(slot));
                Joined { group: None, first: None }
            }
            Some(Owner::One(first)) => {
                let group = self.groups.insert(Group { members: 2, last: first, since: 0, named: false });
                let group = u32::try_from(group).unwrap_or(u32::MAX);
                self.owners.insert(hash, Owner::Group(group));
                Joined { group: membership(group), first: Some(first as usize) }
            }
            Some(Owner::Group(group)) => {
                self.groups[group as usize].members += 1;
                Joined { group: membership(group), first: None }
            }
        }
    }

    /// A series is forgotten.
    pub(super) fn leave(&mut self, path: &str, member: Membership) {
        let hash = self.owners.hasher().hash_one(path);
        let Some(group) = member else {
            self.owners.remove(&hash);
            return;
        };
        let index = group.get() as usize - 1;
        self.groups[index].members -= 1;
        if self.groups[index].members == 0 {
            self.groups.remove(index);
            self.owners.remove(&hash);
        }
    }

    /// The series at `slot` writes a point of `time`; it has `written` before, or not yet. Two exports overlap where
    /// the one comes back after the other began; a process that ends and the one that takes its place do not.
    pub(super) fn write(&mut self, group: NonZeroU32, slot: usize, time: u64, written: bool) -> Turn {
        let Some(group) = self.groups.get_mut(group.get() as usize - 1) else { return Turn::Alone };
        if group.last as usize == slot || time < group.since {
            return Turn::Alone;
        }
        let other = std::mem::replace(&mut group.last, u32::try_from(slot).unwrap_or(u32::MAX)) as usize;
        group.since = time;
        if !written {
            return Turn::Alone;
        }
        Turn::Overlap { other, first: !std::mem::replace(&mut group.named, true) }
    }
}

fn membership(group: u32) -> Membership {
    NonZeroU32::new(group.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_no_overlap_and_two_at_once_are() {
        let mut paths = Paths::default();
        assert_eq!(paths.join("p", 0), Joined { group: None, first: None });
        let joined = paths.join("p", 1);
        assert_eq!(joined.first, Some(0));
        let group = joined.group.unwrap();
        // The new one writes, and what the old one still had comes late.
        assert_eq!(paths.write(group, 1, 20, false), Turn::Alone);
        assert_eq!(paths.write(group, 0, 15, true), Turn::Alone);
        assert_eq!(paths.write(group, 1, 30, true), Turn::Alone);
        // The old one goes on: they overlap.
        assert_eq!(paths.write(group, 0, 35, true), Turn::Overlap { other: 1, first: true });
        assert_eq!(paths.write(group, 1, 40, true), Turn::Overlap { other: 0, first: false });
        assert_eq!(paths.write(group, 1, 50, true), Turn::Alone);

        paths.leave("p", Some(group));
        paths.leave("p", Some(group));
        assert!(paths.owners.is_empty() && paths.groups.is_empty());
        assert_eq!(paths.join("p", 7), Joined { group: None, first: None });
        paths.leave("p", None);
        assert!(paths.owners.is_empty());
    }
}
