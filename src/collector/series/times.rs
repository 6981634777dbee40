//! Which times carbon can write.

use std::time::{Duration, SystemTime};

/// How far a sender's clock may be ahead: a point of the future erases a slot of the present.
pub const AHEAD: Duration = Duration::from_secs(600);
const NANOSECONDS: u64 = 1_000_000_000;

/// The seconds that are written, from the first to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) oldest: u32,
    newest: u32,
}

impl Times {
    /// Those at a moment that is `now` by the clock, and `steady` by the clock as it was once and the time that passed
    /// since; nothing older than `max_age` by both. A clock that is set refuses nothing.
    pub(super) fn at(now: SystemTime, steady: SystemTime, max_age: Option<Duration>) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (first, last) = (since(now.min(steady)), since(now.max(steady)));
        let second = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let oldest = max_age.map_or(0, |age| second(first.saturating_sub(age)));
        Self { oldest: oldest.max(1), newest: second(last + AHEAD) }
    }

    /// The second of a time in nanoseconds since 1970.
    ///
    /// # Errors
    /// The reason why nothing is written at that time.
    pub(super) fn second(self, time_unix_nano: u64) -> Result<u32, &'static str> {
        match u32::try_from(time_unix_nano / NANOSECONDS) {
            // A time, though in another unit or since another beginning.
            Ok(0) if time_unix_nano > 0 => Err("timestamp_old"),
            Ok(0) | Err(_) => Err("timestamp"),
            Ok(second) if second > self.newest => Err("timestamp_ahead"),
            Ok(second) if second < self.oldest => Err("timestamp_old"),
            Ok(second) => Ok(second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_carbon_would_lose_or_misplace_are_not_written() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let of = |max_age, seconds: u64| Times::at(now, now, max_age).second(seconds * NANOSECONDS);
        assert_eq!(of(None, 1), Ok(1));
        assert_eq!(of(None, 1_000_600), Ok(1_000_600));
        assert_eq!(of(None, 0), Err("timestamp"));
        assert_eq!(of(None, 1 << 32), Err("timestamp"));
        assert_eq!(of(None, 1_000_601), Err("timestamp_ahead"));
        let minute = Some(Duration::from_secs(60));
        assert_eq!((of(minute, 999_940), of(minute, 999_939)), (Ok(999_940), Err("timestamp_old")));
        // A clock that was set back or on by an hour.
        for other in [now - Duration::from_secs(3600), now + Duration::from_secs(3600)] {
            let times = Times::at(other, now, minute);
            assert_eq!(times.second(1_000_000 * NANOSECONDS), Ok(1_000_000));
        }
        let negative = (-1_i64).cast_unsigned();
        assert_eq!(Times::at(now, now, None).second(negative), Err("timestamp"));
        assert_eq!(Times::at(now, now, None).second(999_999_999), Err("timestamp_old"));
    }
}
