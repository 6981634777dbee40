//! How far carbon has been written to, and from where it would be written to again: the replay window.
//!
//! It must not touch a file; positions are bytes of the log.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What is written again at least, however long ago it was written: more than the buffers of both systems and
/// of carbon's own reader hold.
pub(super) const LEAST: u64 = 32 * 1024 * 1024;
/// What is remembered as written at one time.
const SPAN_TIME: Duration = Duration::from_millis(250);
const SPAN_BYTES: u64 = 1024 * 1024;

/// The place in the log of one connection after another.
#[derive(Debug)]
pub(super) struct Window {
    replay: Duration,
    /// Where the next write begins.
    cursor: u64,
    /// How far anything was ever written.
    written: u64,
    /// What was written lately, oldest first, up to the cursor without gaps.
    spans: VecDeque<Span>,
    connected: bool,
    /// When the last connection ended, while there is no other: what it had then does not become older, since
    /// its carbon may have lost it.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Span {
    start: u64,
    began: Instant,
    ended: Instant,
}

impl Window {
    /// A window that begins at `start`, of a log that was written to carbon up to `written`.
    pub(super) fn new(replay: Duration, start: u64, written: u64) -> Self {
        Self {
            replay,
            cursor: start,
            written: written.max(start),
            spans: VecDeque::new(),
            connected: false,
            ended: None,
        }
    }

    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Where a new connection begins; nothing before it is needed any more.
    pub(super) fn start(&self) -> u64 {
        self.spans.front().map_or(self.cursor, |span| span.start)
    }

    /// Everything from the cursor up to `to` was written at `now`.
    pub(super) fn advance(&mut self, to: u64, now: Instant) {
        match self.spans.back_mut() {
            Some(span)
                if now.saturating_duration_since(span.began) < SPAN_TIME
                    && to.saturating_sub(span.start) <= SPAN_BYTES =>
            {
                span.ended = now;
            }
            _ => self.spans.push_back(Span { start: self.cursor, began: now, ended: now }),
        }
        self.cursor = to;
        self.written = self.written.max(to);
    }

    /// Forgets what was written longer than the replay time before `now`, but for the last `least` bytes.
    pub(super) fn forget(&mut self, now: Instant, least: u64) {
        let now = self.ended.unwrap_or(now);
        while let Some(span) = self.spans.front() {
            let end = self.spans.get(1).map_or(self.cursor, |next| next.start);
            let old = now.saturating_duration_since(span.ended) > self.replay;
            if !old || self.cursor - end < least {
                return;
            }
            self.spans.pop_front();
        }
    }

    /// The connection ended at `now`.
    pub(super) fn end(&mut self, now: Instant) {
        self.connected = false;
        self.ended.get_or_insert(now);
    }

    /// A new connection begins: everything in the window is written again.
    pub(super) fn rewind(&mut self, now: Instant) {
        self.forget(now, LEAST);
        self.cursor = self.start();
        self.spans.clear();
        self.connected = true;
        self.ended = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_was_written_lately_is_written_again() {
        let start = Instant::now();
        let mut window = Window::new(60 * SECOND, 0, 0);
        for mib in 1..=100 {
            window.advance(mib * MIB, start + mib as u32 * SECOND);
        }
        let now = start + 100 * SECOND;
        window.forget(now, LEAST);
        assert_eq!(window.start(), 39 * MIB, "what was written 60 s ago begins at 39 MiB");
        window.rewind(now);
        assert_eq!((window.cursor(), window.written()), (39 * MIB, 100 * MIB));

        // A connection that breaks in the middle of it loses nothing of the rest.
        window.advance(50 * MIB, now);
        window.rewind(now + SECOND);
        assert_eq!((window.cursor(), window.written()), (39 * MIB, 100 * MIB));
        // What was written again is in the window for as long as if it were new.
        window.advance(100 * MIB, now + 2 * SECOND);
        window.forget(now + 60 * SECOND, 0);
        assert_eq!(window.start(), 39 * MIB);
    }

    #[test]
    fn nothing_becomes_older_while_there_is_no_connection() {
        let start = Instant::now();
        let mut window = Window::new(60 * SECOND, 0, 0);
        for mib in 1..=100 {
            window.advance(mib * MIB, start + mib as u32 * SECOND);
        }
        window.end(start + 100 * SECOND);
        let later = start + 10_000 * SECOND;
        window.end(later);
        window.forget(later, 0);
        window.rewind(later);
        assert_eq!(window.cursor(), 39 * MIB, "as at the end of the connection");
        window.advance(100 * MIB, later);
        window.forget(later + 61 * SECOND, 0);
        assert_eq!(window.start(), 100 * MIB);
    }

    #[test]
    fn the_last_bytes_are_kept_however_old() {
        let start = Instant::now();
        let mut window = Window::new(SECOND, 0, 0);
        for mib in 1..=40 {
            window.advance(mib * MIB, start + mib as u32 * SECOND);
        }
        let later = start + 1000 * SECOND;
        window.forget(later, LEAST);
        assert_eq!(window.start(), 8 * MIB);
        window.forget(later, 0);
        assert_eq!(window.start(), 40 * MIB);
    }

    #[test]
    fn a_restart_goes_on_at_the_window_that_it_finds() {
        let mut window = Window::new(SECOND, 10, 50);
        assert_eq!((window.start(), window.cursor(), window.written()), (10, 10, 50));
        window.advance(20, Instant::now());
        assert_eq!((window.start(), window.written()), (10, 50));
    }
}
