//! The state of a connection, as far as its bounds and its place depend on it.
//!
//! Socket, requests and answers write it. The task of the connection reads when it is overdue, and [`super::Places`]
//! whether it can be evicted, and before which others.

mod exchange;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(super) use self::exchange::{Exchange, Partial, Unsent};
use super::{Bounds, framing::Framing};

/// What a client of HTTP/2 says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection that sent nothing yet cannot be evicted: a client may send its request after it has connected.
pub(super) const FIRST_BYTE: Duration = Duration::from_millis(100);
/// How long a connection cannot be evicted that has begun a request or a TLS handshake, or has an answer to take.
const BEGUN: Duration = Duration::from_millis(250);
/// How long a connection cannot be evicted after its client took a [`PORTION`] of an answer, or its first bytes.
const TAKING: Duration = Duration::from_millis(500);
/// A client that takes less than this of an answer within [`TAKING`] counts as one that takes nothing, where places are
/// short: otherwise one byte now and then would keep a place for ever.
const PORTION: usize = 8 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    evict: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose handler is at work.
    handled: usize,
    /// Answers that wait for more of their own body, as a stream does that says what changes.
    waiting: usize,
    /// Requests whose body is not here to its end.
    partial: usize,
    /// Answers of which there is a part that the client has not taken.
    sending: usize,
    /// Parts of answers that HTTP has and the socket has not: an answer of one part is made to its end long before its
    /// client took it.
    unsent: usize,
    /// When the client last took some of an answer.
    taken: Instant,
    /// When it had last taken a [`PORTION`], and how much it took since.
    portion: (Instant, usize),
    /// Whether the client took some of the newest answer.
    took: bool,
    /// Since when the socket takes nothing more, since its client reads nothing.
    blocked: Option<Instant>,
    /// When the connection got its place.
    came: Instant,
    /// Whether the connection's task ran: what the client sent before is read only then.
    started: bool,
    /// When the first request that is not complete began.
    begun: Option<Instant>,
    /// When the last complete request came, or was answered.
    complete: Option<Instant>,
    /// When the connection became idle: it got its place, shook hands, or its last request ended.
    idle: Instant,
    /// The first byte of a head that is not here to its end; it may have come while a request before it was answered.
    head: Option<Instant>,
    framing: Framing,
    protocol: Protocol,
    /// When a connection that was asked to end is cut, where it makes no request meanwhile.
    cut: Option<Instant>,
    /// By how much its time is divided, once it is evicted: it is cut as soon as that is over and its complete requests are
    /// answered.
    evicted: Option<u32>,
}

/// The protocol, as far as the first bytes of a connection show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// This many bytes of the preface of HTTP/2.
    Preface(usize),
    Http1,
    Http2,
}

/// The order in which connections are evicted: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It came then, and made no complete request.
    Silent(Instant),
    /// It made its last complete request then.
    Asked(Instant),
}

/// Whether a connection can be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    Now(Standing),
    /// Not before then, unless something happens: it has time to go on with what it has begun.
    From(Instant, Standing),
    /// Not while a complete request of it is being handled.
    Never,
}

/// How a connection is ended that is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// By asking the client to: the connection is idle.
    Idle,
    /// At once: the client stopped in the middle of a step.
    Stuck,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            handled: 0,
            waiting: 0,
            partial: 0,
            sending: 0,
            unsent: 0,
            taken: now,
            portion: (now, 0),
            took: false,
            blocked: None,
            came: now,
            started: false,
            begun: None,
            complete: None,
            idle: now,
            head: None,
            framing: Framing::default(),
            protocol: Protocol::Preface(0),
            cut: None,
            evicted: None,
        };
        Arc::new(Self { state: Mutex::new(state), evict: Notify::new() })
    }

    /// The connection has a place; it may have waited for it.
    pub(super) fn got_place(&self) {
        let mut state = self.state.lock();
        state.came = Instant::now();
        state.idle = state.came;
    }

    /// The connection's task runs.
    pub(super) fn start(&self, tls: bool) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.started = true;
        state.begun = tls.then_some(now);
        // The time until the first byte counts from here, even where the machine was busy.
        state.idle = now;
    }

    /// The TLS handshake is over: the first byte may come.
    pub(super) fn shook_hands(&self) {
        self.state.lock().idle = Instant::now();
    }

    /// Takes note of bytes that the client sent.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if let Protocol::Preface(known) = state.protocol {
            let more = &PREFACE[known..][..bytes.len().min(PREFACE.len() - known)];
            state.protocol = match known + more.len() {
                _ if !bytes.starts_with(more) => Protocol::Http1,
                whole if whole == PREFACE.len() => {
                    (state.head, state.idle) = (None, Instant::now());
                    Protocol::Http2
                }
                part => Protocol::Preface(part),
            };
        }
        let now = Instant::now();
        state.begun.get_or_insert(now);
        match state.protocol {
            Protocol::Http2 => {}
            Protocol::Preface(_) => {
                state.head.get_or_insert(now);
                state.framing.read(bytes);
            }
            Protocol::Http1 => {
                state.framing.read(bytes);
                let is_in_head = state.framing.is_in_head();
                // A head that ended is the library's, and one behind it began just now.
                state.head = is_in_head.then(|| state.head.unwrap_or(now));
            }
        }
    }

    /// Takes note of a write: whether the socket took some of it.
    pub(super) fn wrote(&self, some: bool) {
        let mut state = self.state.lock();
        if some {
            state.blocked = None;
        } else if state.blocked.is_none() {
            state.blocked = Some(Instant::now());
        }
    }

    /// When it is overdue if nothing happens until then; `None` while the client owes nothing.
    pub(super) fn due(&self, bounds: &Bounds) -> Option<Instant> {
        self.state.lock().due(bounds).map(|(due, _)| due)
    }

    /// Whether it is overdue.
    pub(super) fn overdue(&self, bounds: &Bounds) -> Option<Overdue> {
        let (due, why) = self.state.lock().due(bounds)?;
        (due <= Instant::now()).then_some(why)
    }

    /// It was asked to end, and is cut after this time.
    pub(super) fn cut_after(&self, time: Duration) {
        self.state.lock().cut = Some(Instant::now() + time);
    }

    /// Whether it can be evicted, where it has its time for what it has begun divided by `hurry`.
    pub(super) fn eviction(&self, now: Instant, hurry: u32) -> Eviction {
        self.state.lock().eviction(now, hurry)
    }

    /// Asks the connection's task to end it, for another one's sake, as soon as its time divided by `hurry` is over.
    pub(super) fn evict(&self, hurry: u32) {
        self.state.lock().evicted = Some(hurry);
        self.evict.notify_one();
    }

    /// Resolves once that was asked.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl State {
    fn eviction(&self, now: Instant, hurry: u32) -> Eviction {
        if self.handled > self.partial {
            return Eviction::Never;
        }
        let begun = self.begun.map(|begun| begun + BEGUN / hurry);
        let (standing, from) = match self.complete {
            // Whatever else it does, it has had its time.
            None if self.started => {
                let first_byte = self.came + FIRST_BYTE / hurry;
                (Standing::Silent(self.came), Some(begun.unwrap_or(first_byte)))
            }
            None => (Standing::Silent(self.came), Some(now + FIRST_BYTE)),
            Some(complete) => {
                let time = if self.took { TAKING } else { BEGUN / hurry };
                let taking = (self.sending > 0 || self.unsent > 0).then(|| self.portion.0 + time);
                let flushing = self.blocked.map(|blocked| blocked + TAKING);
                (Standing::Asked(complete), begun.max(taking).max(flushing))
            }
        };
        match from {
            Some(from) if from > now => Eviction::From(from, standing),
            _ => Eviction::Now(standing),
        }
    }

    const fn has_request(&self) -> bool {
        self.handled > 0 || self.waiting > 0 || self.sending > 0 || self.unsent > 0
    }

    fn due(&self, bounds: &Bounds) -> Option<(Instant, Overdue)> {
        if let Some(hurry) = self.evicted {
            let now = Instant::now();
            return match self.eviction(now, hurry) {
                Eviction::Never => None,
                Eviction::From(from, _) => Some((from, Overdue::Stuck)),
                Eviction::Now(_) => Some((now, Overdue::Stuck)),
            };
        }
        // The bounds of steps that go on side by side: of an answer, or of the rest of one that was made to its end, of
        // which the client takes nothing; of what it does else.
        let taking =
            (self.sending > 0 || self.unsent > 0).then_some((self.taken + bounds.stalled, Overdue::Stuck));
        let blocked = self.blocked.map(|blocked| (blocked + bounds.stalled, Overdue::Stuck));
        let other = (!self.has_request()).then(|| match (self.cut, self.head, self.protocol) {
            (Some(cut), ..) => (cut, Overdue::Stuck),
            (None, Some(head), _) => (head.max(self.idle) + bounds.head, Overdue::Stuck),
            (None, None, Protocol::Preface(_)) => (self.idle + bounds.first_byte, Overdue::Stuck),
            (None, None, Protocol::Http1 | Protocol::Http2) => (self.idle + bounds.idle, Overdue::Idle),
        });
        [taking, blocked, other].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn complete(&mut self, now: Instant) {
        self.complete = Some(now);
        self.begun = None;
    }

    fn note_end(&mut self) {
        if !self.has_request() {
            self.idle = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
