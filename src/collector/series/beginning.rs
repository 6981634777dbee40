//! Whether a stream's beginning is written: one line of zero at its start time, so that `perSecond` sees what the
//! first point added.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::collector::export::graphite::spool;

/// How long after its start a stream may be heard of first.
pub(super) const LATEST: Duration = Duration::from_secs(600);
const NANOSECONDS: u64 = 1_000_000_000;

/// The second of the zero line of a stream that only grows, if it gets one. `begins`: this is the first point that
/// was heard of the stream, or of what it is since a reset; [`Written`] tells whether that was written before.
/// `start` and `time` are the point's own, in nanoseconds since 1970, `oldest` the second before which nothing is
/// written.
pub(super) fn zero_second(begins: bool, start: u64, time: u64, oldest: u32) -> Option<u32> {
    let latest = start.saturating_add(LATEST.as_secs() * NANOSECONDS);
    if !begins || start == 0 || time > latest {
        return None;
    }
    let second = u32::try_from(start / NANOSECONDS).ok()?;
    // At the point's own second its value stands.
    (second >= oldest.max(1) && u64::from(second) < time / NANOSECONDS).then_some(second)
}

/// What the beginning of a stream with this path is known by, in every process.
pub(super) fn identity(path: &str, second: u32) -> u128 {
    spool::identity(&[b"beginning", &second.to_le_bytes(), path.as_bytes()])
}

/// Beginnings that were written of streams that are forgotten by now, or that an earlier process knew: one that comes
/// back has begun before.
#[derive(Debug, Default)]
pub(super) struct Written(HashMap<u128, Instant>);

impl Written {
    /// A stream with this beginning is forgotten at `now`.
    pub(super) fn remember(&mut self, identity: u128, now: Instant) {
        self.0.insert(identity, now);
    }

    /// Whether that beginning was written.
    pub(super) fn knows(&self, path: &str, second: u32) -> bool {
        !self.0.is_empty() && self.0.contains_key(&identity(path, second))
    }

    /// Forgets what is too long ago to be written again in any case, and tells `gone` of it.
    pub(super) fn sweep(&mut self, now: Instant, mut gone: impl FnMut(u128)) {
        self.0.retain(|identity, forgotten| {
            let fresh = now.saturating_duration_since(*forgotten) <= LATEST;
            if !fresh {
                gone(*identity);
            }
            fresh
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_comes_back_has_begun_before() {
        let (mut written, now) = (Written::default(), Instant::now());
        written.remember(identity("a", 100), now);
        assert!(written.knows("a", 100) && !written.knows("a", 101) && !written.knows("b", 100));
        let mut gone = Vec::new();
        written.sweep(now + LATEST, |identity| gone.push(identity));
        assert!(written.knows("a", 100) && gone.is_empty());
        written.sweep(now + LATEST + Duration::from_secs(1), |identity| gone.push(identity));
        assert!(!written.knows("a", 100) && gone == [identity("a", 100)]);
    }

    #[test]
    fn only_a_recent_beginning_before_the_point_is_written() {
        let second = |seconds: u64| seconds * NANOSECONDS;
        let zero = |start, time| zero_second(true, start, time, 0);
        assert_eq!(zero(second(100), second(110)), Some(100));
        assert_eq!(zero(second(100) + 7, second(700)), Some(100));
        assert_eq!(zero(second(100), second(700) + 1), None, "more than ten minutes");
        assert_eq!(zero(second(100) + 1, second(100) + 2), None, "the same second");
        assert_eq!(zero(0, second(10)), None, "no start time");
        assert_eq!(zero(5, second(10)), None, "second 0");
        assert_eq!(zero(second(110), second(100)), None, "a start behind the point");
        assert_eq!(zero(second(1 << 32), second((1 << 32) + 10)), None);
        assert_eq!(zero_second(false, second(100), second(110), 0), None);
        assert_eq!(zero_second(true, second(100), second(110), 101), None, "too old to be written");
    }
}
