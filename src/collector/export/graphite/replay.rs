//! What was written to carbon lately, to be written again on the next connection.
//!
//! Carbon acknowledges nothing: what a write left in the buffers of the system, or of the network, is lost
//! with the connection, and nobody can tell how much that is. It must not hold more than its window.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

/// More than the buffers of both systems hold (on Linux up to 4 MiB to send and 6 MiB to receive).
const WINDOW: usize = 12 * 1024 * 1024;
/// What was written longer ago was read, or its carbon stands still for so long that it loses more anyway.
const WINDOW_TIME: Duration = Duration::from_secs(300);

/// The batches that were written last, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replay {
    batches: VecDeque<(Bytes, Instant)>,
    bytes: usize,
}

impl Replay {
    /// Remembers a batch that was written at `now`. The newest is kept whatever its size.
    pub(super) fn push(&mut self, text: Bytes, now: Instant) {
        self.bytes += text.len();
        self.batches.push_back((text, now));
        while self.batches.len() > 1 && self.bytes > WINDOW {
            self.pop();
        }
        self.forget(now);
    }

    /// Forgets what was written too long before `now`.
    pub(super) fn forget(&mut self, now: Instant) {
        while self.batches.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > WINDOW_TIME) {
            self.pop();
        }
    }

    /// The batches, oldest first: written in this order, the newest value of each path is the last.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Bytes> {
        self.batches.iter().map(|(text, _)| text)
    }

    fn pop(&mut self) {
        if let Some((text, _)) = self.batches.pop_front() {
            self.bytes -= text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_batches_are_kept_within_size_and_time() {
        let start = Instant::now();
        let mut replay = Replay::default();
        for batch in 0..5_u8 {
            replay.push(vec![batch; WINDOW / 4].into(), start);
        }
        let kept: Vec<u8> = replay.batches().map(|text| text[0]).collect();
        assert_eq!(kept, [1, 2, 3, 4]);

        replay.push(vec![9; WINDOW + 1].into(), start + WINDOW_TIME);
        assert_eq!(replay.batches().count(), 1, "a batch larger than the window is kept alone");
        replay.forget(start + 2 * WINDOW_TIME + Duration::from_secs(1));
        assert_eq!((replay.batches().count(), replay.bytes), (0, 0));
    }
}
