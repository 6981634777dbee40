//! Which name was not sent for longest.
//!
//! Values are numbered as they come. A name is noted once, with the number of its first value. When the longest idle name is
//! looked for, one that was sent since is noted anew with its last number; so a value costs no more than writing down its
//! number.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Names of one type, with what they stand at.
pub(super) type Table<T> = HashMap<Arc<str>, Slot<T>>;

/// What a name stands at, and when it was sent.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) sent: u64,
    pub(super) value: T,
}

impl<T> Slot<T> {
    /// One of the daemon itself, which makes no room.
    pub(super) const fn own(value: T) -> Self {
        Self { sent: 0, value }
    }
}

/// The table that a name is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Counter,
    Gauge,
    Timer,
    Set,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Idle {
    order: BTreeMap<u64, (Which, Arc<str>)>,
    /// Values so far.
    values: u64,
    /// How many of them had come when the interval before ended.
    ended: u64,
}

impl Idle {
    /// Changes what a name stands at that is sent now.
    pub(super) fn touch<T: Default, R>(
        &mut self,
        table: &mut Table<T>,
        which: Which,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.values += 1;
        let sent = self.values;
        if let Some(slot) = table.get_mut(key) {
            slot.sent = sent;
            return change(&mut slot.value);
        }
        let mut value = T::default();
        let changed = change(&mut value);
        let key: Arc<str> = key.into();
        self.order.insert(sent, (which, Arc::clone(&key)));
        table.insert(key, Slot { sent, value });
        changed
    }

    /// Takes out the name that was not sent for longest, if that is one of an interval before; `sent` says when it was.
    pub(super) fn longest(&mut self, sent: impl Fn(Which, &str) -> Option<u64>) -> Option<(Which, Arc<str>)> {
        while let Some((noted, (which, key))) = self.order.pop_first() {
            match sent(which, &key) {
                Some(sent) if sent == noted && sent <= self.ended => return Some((which, key)),
                Some(sent) => {
                    self.order.insert(sent, (which, key));
                    if sent == noted {
                        return None;
                    }
                }
                None => {}
            }
        }
        None
    }

    /// How many names there are, without the daemon's own.
    pub(super) fn names(&self) -> usize {
        self.order.len()
    }

    pub(super) const fn end_interval(&mut self) {
        self.ended = self.values;
    }
}
