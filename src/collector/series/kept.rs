//! What is kept of series beyond this process: what an earlier one left, and what a later one is to find.
//!
//! It must not write anything itself: values go into the spool with the lines of the same batch.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{STALE_AFTER, beginning::Written, state::State};
use crate::collector::export::graphite::spool::{Entries, Values};

/// The value of a beginning that was written; that of a total is longer.
const BEGINNING: [u8; 1] = [0];
/// The bytes of a beginning as it is kept.
pub(super) const BEGINNING_BYTES: usize = Entries::bytes_of(BEGINNING.len());
/// How many are forgotten in one record.
const FORGOTTEN_AT_ONCE: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Kept {
    /// Totals of an earlier process that no stream has gone on from yet.
    totals: HashMap<u128, Box<[u8]>>,
    loaded: Instant,
    /// What is not needed any more, and still in the spool.
    gone: HashSet<u128>,
}

impl Kept {
    /// What an earlier process kept; beginnings that it wrote go to `written`.
    pub(super) fn of(values: Values, written: &mut Written, now: Instant) -> Self {
        let mut totals = HashMap::new();
        for (identity, value) in values {
            if *value == BEGINNING {
                written.remember(identity, now);
            } else {
                totals.insert(identity, value);
            }
        }
        Self { totals, loaded: now, gone: HashSet::new() }
    }

    /// The total that an earlier process kept of a stream.
    pub(super) fn claim(&mut self, identity: u128) -> Option<State> {
        self.totals.remove(&identity).and_then(|total| State::decoded(&total))
    }

    /// Keeps a value; an empty one forgets what was kept.
    pub(super) fn put(&mut self, identity: u128, value: &[u8], state: &mut Entries) {
        self.gone.remove(&identity);
        state.put(identity, value);
    }

    /// Keeps that a beginning was written.
    pub(super) fn begin(&mut self, identity: u128, state: &mut Entries) {
        self.put(identity, &BEGINNING, state);
    }

    /// That is not needed any more.
    pub(super) fn is_gone(&mut self, identity: u128) {
        self.gone.insert(identity);
    }

    /// Forgets the totals of streams that did not come back: they have as long as any series may be silent, and as
    /// long again for their senders to find this process.
    pub(super) fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.loaded) > 2 * STALE_AFTER {
            self.gone.extend(std::mem::take(&mut self.totals).into_keys());
        }
    }

    /// Forgets in the spool what is not needed any more, as far as `commit` takes it.
    pub(super) fn forget(&mut self, mut commit: impl FnMut(&Entries) -> bool) {
        while !self.gone.is_empty() {
            let some: Vec<u128> = self.gone.iter().take(FORGOTTEN_AT_ONCE).copied().collect();
            let mut entries = Entries::default();
            some.iter().for_each(|identity| entries.put(*identity, &[]));
            if !commit(&entries) {
                return;
            }
            for identity in &some {
                self.gone.remove(identity);
            }
        }
    }
}
