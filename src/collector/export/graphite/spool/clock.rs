//! How much time passes, whatever the system's clock is set to: what waits is as old as the time that it waited.
//!
//! It must not follow the clock. Of the time between two processes it counts what is certain, so that a clock that was
//! set meanwhile makes nothing old at once.

use std::time::{Duration, Instant, SystemTime};

/// Bytes of an encoded note.
pub(super) const NOTE: usize = 28;
/// So much of the time between two processes is believed where the system was restarted in between: then nothing tells
/// time that passed from a clock that was set.
const BELIEVED: Duration = Duration::from_secs(3600);
/// A clock that is off by less is not worth a word: it may be corrected in small steps.
const NAMED: Duration = Duration::from_secs(60);

/// Milliseconds since 1970 by the clock as it was when the spool was first used, and the time that passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    millis: u64,
    at: Instant,
}

/// What the clocks said when a process noted it last, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// By a [`Clock`].
    pub(super) passed: u64,
    /// By the system's clock, since 1970.
    pub(super) wall: u64,
    /// Since the system was started, sleep included; 0 where it does not tell.
    pub(super) uptime: u64,
}

impl Clock {
    /// Goes on from what an earlier process noted, when the clocks are as `now` says; and by how much the system's clock
    /// is ahead of the time that is counted, in seconds, where that is to be named.
    pub(super) fn resume(noted: Option<Note>, now: Note, at: Instant) -> (Self, Option<i64>) {
        let Some(noted) = noted else { return (Self { millis: now.wall, at }, None) };
        let by_wall = now.wall.saturating_sub(noted.wall);
        let by_uptime = now.uptime.checked_sub(noted.uptime).filter(|_| now.uptime > 0);
        // The spool may have come to another system, which has been up for longer.
        let passed = by_wall.min(by_uptime.unwrap_or(millis(BELIEVED)));
        let expected = noted.wall.saturating_add(by_uptime.unwrap_or(passed));
        let named = (now.wall.abs_diff(expected) > millis(NAMED))
            .then(|| (now.wall.cast_signed() - expected.cast_signed()) / 1000);
        (Self { millis: noted.passed.saturating_add(passed), at }, named)
    }

    /// Now, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.millis.saturating_add(millis(self.at.elapsed()))
    }

    /// What the next process is to go on from.
    pub(super) fn note(&self) -> Note {
        Note { passed: self.now(), ..Note::of_system() }
    }
}

impl Note {
    /// The system's clocks.
    pub(super) fn of_system() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { passed: 0, wall: millis(wall), uptime: uptime() }
    }

    /// With a checksum behind it.
    pub(super) fn encoded(self) -> [u8; NOTE] {
        let mut bytes = [0; NOTE];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.passed, self.wall, self.uptime]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..NOTE - 4]);
        bytes[NOTE - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` where it is not whole.
    pub(super) fn decoded(bytes: &[u8; NOTE]) -> Option<Self> {
        let (numbers, checksum) = bytes.split_at(NOTE - 4);
        (crc32fast::hash(numbers).to_le_bytes() == checksum).then_some(())?;
        let number = |at: usize| numbers[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        Some(Self { passed: number(0)?, wall: number(8)?, uptime: number(16)? })
    }
}

#[cfg(target_os = "linux")]
fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1000 + nanos.unwrap_or_default() / 1_000_000
}

#[cfg(not(target_os = "linux"))]
const fn uptime() -> u64 {
    0
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOTED: Note = Note { passed: 100 * HOUR, wall: 1000 * HOUR, uptime: 10 * HOUR };

    fn resumed(wall: u64, uptime: u64) -> (u64, Option<i64>) {
        let at = Instant::now();
        let (clock, named) = Clock::resume(Some(NOTED), Note { passed: 0, wall, uptime }, at);
        (clock.millis - NOTED.passed, named)
    }

    #[test]
    fn what_passed_between_two_processes_is_what_the_system_says() {
        assert_eq!(resumed(1003 * HOUR, 13 * HOUR), (3 * HOUR, None));
        let (day, seconds) = (24 * HOUR, 24 * 3600);
        assert_eq!(resumed(1003 * HOUR + day, 13 * HOUR), (3 * HOUR, Some(seconds)));
        assert_eq!(resumed(1003 * HOUR - day, 13 * HOUR), (0, Some(-seconds)), "what is certain");
    }

    #[test]
    fn nothing_is_old_at_once_on_another_system_that_has_been_up_for_longer() {
        let minute = HOUR / 60;
        assert_eq!(resumed(1000 * HOUR + minute, 300 * HOUR).0, minute);
    }

    #[test]
    fn behind_a_restart_of_the_system_no_more_is_believed_than_an_hour() {
        assert_eq!(resumed(1000 * HOUR + HOUR / 2, 1), (HOUR / 2, None));
        assert_eq!(resumed(1011 * HOUR, 1), (HOUR, Some(10 * 3600)));
        assert_eq!(resumed(0, 1), (0, Some(-1000 * 3600)), "a machine without a clock of its own");
    }

    #[test]
    fn a_note_is_read_back_unless_it_is_torn() {
        let mut bytes = NOTED.encoded();
        assert_eq!(Note::decoded(&bytes), Some(NOTED));
        bytes[3] ^= 1;
        assert_eq!(Note::decoded(&bytes), None);
    }
}
