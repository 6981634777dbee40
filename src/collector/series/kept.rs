//! What is kept of series beyond this process: what an earlier one left, and what a later one is to find.
//!
//! It must not write anything itself: values go into the spool with the lines of the same batch.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    Plan, STALE_AFTER, Table,
    beginning::{self, Written},
    identity::attribute_key,
    state::State,
};
use crate::collector::{
    export::graphite::spool::{Entries, GROWTH, Values},
    wire::{Attribute, Point},
};

/// The value of a beginning that was written; that of a total is longer.
const BEGINNING: [u8; 1] = [0];
/// The bytes of a beginning as it is kept.
const BEGINNING_BYTES: usize = Entries::bytes_of(BEGINNING.len());
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
    /// The bytes that may be kept of series that nothing is kept of yet.
    room: usize,
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
        Self { totals, loaded: now, gone: HashSet::new(), room: usize::MAX }
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

impl Table {
    /// The same with what an earlier process kept of series, and told to keep what a later one needs: totals of
    /// delta points, and which beginnings were written.
    #[must_use]
    pub fn with_kept(mut self, values: Values, now: Instant) -> Self {
        self.kept = Some(Kept::of(values, &mut self.beginnings, now));
        self
    }

    /// Forgets beyond this process too what is not needed any more: `commit` is given some of it at a time, and says
    /// whether that is kept; what is not is tried again at the next call.
    pub fn forget_kept(&mut self, commit: impl FnMut(&Entries) -> bool) {
        if let Some(kept) = &mut self.kept {
            kept.forget(commit);
        }
    }

    /// The most bytes that are kept of a point's series beyond this process.
    pub(super) fn most_state(&self, slot: usize, point: &Point<'_>, delta: bool) -> usize {
        if self.kept.is_none() {
            return 0;
        }
        let begins = self.streams[slot].may_begin(point, delta);
        let total =
            delta.then(|| Entries::bytes_of(State::encoded_bytes(point, self.histogram_bounds.len())));
        total.unwrap_or_default() + if begins { BEGINNING_BYTES } else { 0 }
    }

    /// Of series that nothing is kept of yet, that many bytes may be.
    pub fn set_kept_room(&mut self, bytes: usize) {
        if let Some(kept) = &mut self.kept {
            kept.room = bytes;
        }
    }

    /// Plans what is kept of a point's series beyond this process.
    ///
    /// # Errors
    /// The reason why a series is refused that is new, where there is no room to keep what it stands at.
    pub(super) fn plan_state(
        &mut self,
        slot: usize,
        point: &Point<'_>,
        delta: bool,
        attributes: &[Attribute<'_>],
        plan: &mut Plan,
    ) -> Result<(), &'static str> {
        let Some(room) = self.kept.as_ref().map(|kept| kept.room) else { return Ok(()) };
        let bytes = self.most_state(slot, point, delta);
        let stream = &self.streams[slot];
        let is_new = !stream.begun;
        let mut new = match is_new {
            true => bytes + 2 * GROWTH,
            false if stream.may_begin(point, delta) => BEGINNING_BYTES + GROWTH,
            false => 0,
        };
        if is_new && plan.new_state_bytes + new > room {
            new = self.new_state(slot, point, delta, attributes);
            if new > 0 && plan.new_state_bytes + new > room {
                return Err("spool_state");
            }
        }
        plan.state_bytes += bytes;
        plan.new_state_bytes += new;
        Ok(())
    }

    /// What a point adds to what is kept, less what an earlier process kept of its series.
    fn new_state(
        &mut self,
        slot: usize,
        point: &Point<'_>,
        delta: bool,
        attributes: &[Attribute<'_>],
    ) -> usize {
        let (Some(kept), Some(stream)) = (&self.kept, self.streams.get(slot)) else { return 0 };
        let begins = stream.path.as_ref().is_some_and(|path| {
            let second = beginning::zero_second(true, point.start, point.time, 0);
            second.is_some_and(|second| !self.beginnings.knows(path.as_str(), second))
        });
        let is_kept = attribute_key(0, attributes, &mut self.key)
            .is_ok_and(|()| kept.totals.contains_key(&stream.descriptor.series_identity(&self.key)));
        let total = Entries::bytes_of(State::encoded_bytes(point, self.histogram_bounds.len())) + GROWTH;
        (if delta && !is_kept { total } else { 0 }) + if begins { BEGINNING_BYTES + GROWTH } else { 0 }
    }

    /// A stream of delta points goes on from the total that an earlier process kept of it.
    pub(super) fn claim(&mut self, slot: usize, attributes: &[Attribute<'_>]) {
        let (Some(kept), Some(stream)) = (&mut self.kept, self.streams.get_mut(slot)) else { return };
        // Its key was not too long when it was planned.
        if stream.identity.is_some() || attribute_key(0, attributes, &mut self.key).is_err() {
            return;
        }
        let identity = stream.descriptor.series_identity(&self.key);
        stream.identity = Some(Box::new(identity));
        let total = kept.claim(identity);
        if let Some(total) = total.filter(|_| !stream.begun) {
            stream.state = total;
            stream.begun = true;
        }
    }

    /// Puts the totals of these streams into `state`.
    pub(super) fn keep(&mut self, mut slots: Vec<usize>, state: &mut Entries) {
        let Some(kept) = &mut self.kept else { return };
        slots.sort_unstable();
        slots.dedup();
        for stream in slots.into_iter().filter_map(|slot| self.streams.get(slot)) {
            if let Some(identity) = &stream.identity {
                kept.put(**identity, &stream.state.encoded(), state);
            }
        }
    }
}
