//! Whether a stream's beginning is written: one line of zero at its start time, so that `perSecond` sees what the
//! first point added.

use std::time::Duration;

/// How long after its start a stream may be heard of first.
pub(super) const LATEST: Duration = Duration::from_secs(600);
const NANOSECONDS: u64 = 1_000_000_000;

/// The second of the zero line of a stream that only grows, if it gets one. `begins`: this is the first point that
/// was ever heard of the stream, or of what it is since a reset; whoever remembers streams from before says no.
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

#[cfg(test)]
mod tests {
    use super::*;

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
