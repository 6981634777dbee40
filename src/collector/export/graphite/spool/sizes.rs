//! How large the next snapshot of the state may become, by the sizes of its entries.
//!
//! It must never say less than a snapshot takes that ends anywhere between the last one and the end of the log.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::state::{Entries, FRAME};

/// What the value of a series may grow by: a double gets what rounding took from it as eight bytes more.
pub const GROWTH: usize = 8;

/// The entries of state by their hashes.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    live: HashMap<u128, u32, RandomState>,
    bytes: u64,
    /// What entries lost since the last snapshot, each with where the segment begins that says so: a snapshot of
    /// the segments before has the larger ones.
    lost: VecDeque<(u64, u64)>,
    lost_bytes: u64,
}

impl Sizes {
    /// Notes an entry of the segment that begins at `base`; an empty one forgets the earlier one.
    pub(super) fn note(&mut self, hash: u128, value: usize, base: u64) {
        let size = |value: u32| (Entries::bytes_of(value as usize) + GROWTH) as u64;
        let length = u32::try_from(value).unwrap_or(u32::MAX);
        let before = if length == 0 { self.live.remove(&hash) } else { self.live.insert(hash, length) };
        let (before, after) = (before.map_or(0, size), if length == 0 { 0 } else { size(length) });
        self.bytes = self.bytes + after - before;
        let lost = before.saturating_sub(after);
        if lost == 0 {
            return;
        }
        self.lost_bytes += lost;
        match self.lost.back_mut() {
            Some((of, bytes)) if *of == base => *bytes += lost,
            _ => self.lost.push_back((base, lost)),
        }
    }

    /// What `entries` may add.
    pub(super) fn added(&self, entries: &Entries) -> usize {
        let mut added = 0;
        entries.each_value(|hash, value| {
            let value = value.len();
            if value > 0 && !self.live.contains_key(&hash) {
                added += Entries::bytes_of(value) + GROWTH;
            }
        });
        added
    }

    /// The entries whose series are there already, and as many others as `room` bytes have room for; the bytes of the latter,
    /// and how many are left out.
    pub(super) fn fitting(&self, entries: &Entries, room: usize) -> (Entries, usize, u64) {
        let (mut fitting, mut added, mut left_out) = (Entries::default(), 0, 0);
        entries.each_value(|hash, value| {
            let bytes = match value.is_empty() || self.live.contains_key(&hash) {
                true => 0,
                false => Entries::bytes_of(value.len()) + GROWTH,
            };
            if added + bytes <= room {
                added += bytes;
                fitting.put(hash, value);
            } else {
                left_out += 1;
            }
        });
        (fitting, added, left_out)
    }

    /// A snapshot has everything before `end`.
    pub(super) fn covered(&mut self, end: u64) {
        while let Some((_, bytes)) = self.lost.pop_front_if(|(base, _)| *base < end) {
            self.lost_bytes -= bytes;
        }
    }

    /// The most bytes of the next snapshot; 0 where there is nothing to keep.
    pub(super) fn most(&self) -> u64 {
        match self.bytes + self.lost_bytes {
            0 => 0,
            entries => entries + FRAME as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is noted, and wherever snapshots end, none is larger than what was said.
        #[test]
        fn no_snapshot_is_larger_than_what_was_said(
            notes in prop::collection::vec((0..5_u128, 0..40_usize, any::<bool>()), 0..60),
        ) {
            let mut sizes = Sizes::default();
            let mut segments: Vec<HashMap<u128, usize>> = vec![HashMap::new()];
            let mut snapshot = 0;
            for (hash, value, ends) in notes {
                let base = segments.len() as u64 - 1;
                sizes.note(hash, value, base);
                segments.last_mut().unwrap().insert(hash, value);
                for end in snapshot..=segments.len() {
                    let mut live = HashMap::new();
                    segments[..end].iter().for_each(|segment| live.extend(segment.clone()));
                    live.retain(|_, value| *value > 0);
                    let size: usize = live.values().map(|value| Entries::bytes_of(*value)).sum();
                    prop_assert!(size as u64 <= sizes.most());
                }
                if ends {
                    snapshot = segments.len();
                    segments.push(HashMap::new());
                    sizes.covered(snapshot as u64);
                }
            }
        }
    }

    #[test]
    fn what_was_forgotten_is_free_once_a_snapshot_has_it() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.most(), 0);
        sizes.note(1, 10, 0);
        let one = sizes.most();
        sizes.note(1, 0, 100);
        assert_eq!(sizes.most(), one, "a snapshot of the first segment still has it");
        sizes.covered(100);
        assert_eq!(sizes.most(), one);
        sizes.covered(200);
        assert_eq!(sizes.most(), 0);
    }
}
