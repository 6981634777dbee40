//! Counts what any client can cause, for a log line a minute with the number.

use std::time::{Duration, Instant};

/// How far two log lines are apart.
const APART: Duration = Duration::from_secs(60);

/// What happened since the last log line, and when that was.
#[derive(Debug, Default)]
pub(crate) struct Unlogged {
    count: u64,
    logged: Option<Instant>,
}

impl Unlogged {
    /// Counts one more at `now`. Where a log line is due, returns the number that it stands for, and counts anew.
    pub(crate) fn add(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < APART) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_has_the_number_since_the_last_one() {
        let (mut unlogged, start) = (Unlogged::default(), Instant::now());
        assert_eq!(
            [0, 1, 59, 60].map(|second| unlogged.add(start + Duration::from_secs(second))),
            [Some(1), None, None, Some(3)]
        );
    }
}
