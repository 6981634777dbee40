//! What a connection is doing, as far as its bounds and its place depend on it.
//!
//! Socket, requests and answers write it; the task of the connection reads from it when it is overdue, and
//! [`super::Places`] which connection has been without a complete request for longest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Bounds;

/// What a client of HTTP/2 says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client that takes nothing of an answer counts as taking it, and how long one answer may take, where places
/// are short.
const TAKING: Duration = Duration::from_secs(1);
const LONGEST_TAKING: Duration = Duration::from_secs(10);

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
    /// Bodies of requests that are not here to their end.
    partial: usize,
    /// Answers that the client is to take.
    sending: usize,
    /// When the client last took some of an answer.
    taken: Instant,
    /// Since when the socket takes nothing more, since its client reads nothing.
    blocked: Option<Instant>,
    /// When the connection came.
    came: Instant,
    /// When the last complete request came, or was answered.
    complete: Option<Instant>,
    /// When the connection was last without a request.
    since: Instant,
    /// The first byte of a head that is not here to its end.
    head: Option<Instant>,
    spoken: Spoken,
    /// When a connection that was asked to end is cut.
    cut: Option<Instant>,
}

/// What the first bytes of a connection said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
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

/// Why a connection's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has no request: it can be asked to end.
    Idle,
    /// It is in the middle of something.
    Stuck,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Self::since(Instant::now())
    }

    /// A connection that came at this time.
    pub(super) fn since(now: Instant) -> Arc<Self> {
        let state = State {
            handled: 0,
            waiting: 0,
            partial: 0,
            sending: 0,
            taken: now,
            blocked: None,
            came: now,
            complete: None,
            since: now,
            head: None,
            spoken: Spoken::Preface(0),
            cut: None,
        };
        Arc::new(Self { state: Mutex::new(state), evict: Notify::new() })
    }

    /// The TLS handshake is over: the first byte may come.
    pub(super) fn shook_hands(&self) {
        self.state.lock().since = Instant::now();
    }

    /// Takes note of bytes that the client sent.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if let Spoken::Preface(known) = state.spoken {
            let more = &PREFACE[known..][..bytes.len().min(PREFACE.len() - known)];
            state.spoken = match known + more.len() {
                _ if !bytes.starts_with(more) => Spoken::Http1,
                whole if whole == PREFACE.len() => {
                    (state.head, state.since) = (None, Instant::now());
                    Spoken::Http2
                }
                part => Spoken::Preface(part),
            };
        }
        let begins = state.head.is_none() && !state.has_request();
        if begins && state.spoken != Spoken::Http2 {
            state.head = Some(Instant::now());
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

    /// Where it stands among those that can be evicted; `None` where a complete request of it is being answered.
    pub(super) fn standing(&self) -> Option<Standing> {
        let state = self.state.lock();
        match state.complete {
            _ if state.handled > state.partial || state.takes_an_answer() => None,
            None => Some(Standing::Silent(state.came)),
            Some(complete) => Some(Standing::Asked(complete)),
        }
    }

    /// Asks the connection's task to end it, for another one's sake.
    pub(super) fn evict(&self) {
        self.evict.notify_one();
    }

    /// Resolves once that was asked.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl State {
    /// Whether the client takes an answer, of which there is more: it took some of it a moment ago.
    fn takes_an_answer(&self) -> bool {
        let is_new = |moment: Instant| moment.elapsed() < TAKING;
        // A client that takes a little now and then is no better than one that takes nothing.
        let is_recent = self.complete.is_some_and(|complete| complete.elapsed() < LONGEST_TAKING);
        is_recent && (self.blocked.is_some_and(is_new) || (self.sending > 0 && is_new(self.taken)))
    }

    const fn has_request(&self) -> bool {
        self.handled > 0 || self.waiting > 0 || self.sending > 0
    }

    fn due(&self, bounds: &Bounds) -> Option<(Instant, Overdue)> {
        if let Some(cut) = self.cut {
            return Some((cut, Overdue::Stuck));
        }
        if self.sending > 0 {
            return Some((self.taken + bounds.stalled, Overdue::Stuck));
        }
        if self.has_request() {
            return None;
        }
        let due = match (self.head, self.spoken) {
            (Some(head), _) => (head + bounds.head, Overdue::Stuck),
            (None, Spoken::Preface(_)) => (self.since + bounds.first_byte, Overdue::Stuck),
            (None, Spoken::Http1 | Spoken::Http2) => (self.since + bounds.idle, Overdue::Idle),
        };
        // An answer that was made to its end, of which the client takes nothing more.
        let stalled = self.blocked.map(|blocked| (blocked + bounds.stalled, Overdue::Stuck));
        Some(stalled.filter(|stalled| stalled.0 < due.0).unwrap_or(due))
    }
}

/// A request from the end of its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    step: Step,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The handler.
    Handled,
    /// More of the answer's body.
    Waiting,
    /// The client: it is to take what there is of the answer.
    Sending,
}

impl State {
    const fn count(&mut self, step: Step) -> &mut usize {
        match step {
            Step::Handled => &mut self.handled,
            Step::Waiting => &mut self.waiting,
            Step::Sending => &mut self.sending,
        }
    }

    const fn move_to(&mut self, from: &mut Step, to: Step) {
        *self.count(*from) -= 1;
        *self.count(to) += 1;
        *from = to;
    }
}

impl Exchange {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        let mut state = activity.state.lock();
        state.handled += 1;
        state.head = None;
        drop(state);
        Self { activity: Arc::clone(activity), step: Step::Handled }
    }

    /// The answer waits for more of its body.
    pub(super) fn waits_for_answer(&mut self) {
        self.activity.state.lock().move_to(&mut self.step, Step::Waiting);
    }

    /// There is something of an answer for the client to take, which took all that was there before.
    pub(super) fn has_answer_to_send(&mut self) {
        let mut state = self.activity.state.lock();
        state.taken = Instant::now();
        // The handler is done, and the request was complete but for a body that it did not want.
        if self.step == Step::Handled && state.handled > state.partial {
            state.complete = Some(state.taken);
        }
        state.move_to(&mut self.step, Step::Sending);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        *state.count(self.step) -= 1;
        if !state.has_request() {
            state.since = Instant::now();
        }
    }
}

/// The body of a request, until it is here to its end.
#[derive(Debug)]
pub(super) struct Partial(Arc<Activity>);

impl Partial {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.state.lock().partial += 1;
        Self(Arc::clone(activity))
    }

    /// The body has come to its end.
    pub(super) fn is_complete(&self) {
        self.0.state.lock().complete = Some(Instant::now());
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.0.state.lock().partial -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        first_byte: Duration::from_secs(1),
        handshake: Duration::from_secs(2),
        head: Duration::from_secs(3),
        body: Duration::from_secs(4),
        idle: Duration::from_secs(5),
        stalled: Duration::from_secs(6),
        ping: Duration::from_secs(7),
        pong: Duration::from_secs(8),
        parting: Duration::from_secs(9),
    };

    /// Seconds until it is due, counted from its own clock.
    fn bound(activity: &Activity) -> Option<u64> {
        let state = activity.state.lock();
        let from = if state.sending > 0 { state.taken } else { state.head.unwrap_or(state.since) };
        state.due(&BOUNDS).map(|(due, _)| (due - from).as_secs())
    }

    #[test]
    fn each_step_has_a_bound_of_its_own() {
        let activity = Activity::new();
        assert_eq!(bound(&activity), Some(1), "a first byte");
        activity.read(b"P");
        assert_eq!(bound(&activity), Some(3), "a head, or a preface");
        activity.read(b"OST / HTTP/1.1\r\n");
        assert_eq!(bound(&activity), Some(3), "the same head");
        let mut exchange = Exchange::begin(&activity);
        assert_eq!(bound(&activity), None, "the handler");
        activity.read(b"body");
        exchange.has_answer_to_send();
        assert_eq!(bound(&activity), Some(6), "an answer that the client is to take");
        exchange.waits_for_answer();
        assert_eq!(bound(&activity), None, "an answer that is being made");
        exchange.has_answer_to_send();
        drop(exchange);
        assert_eq!(bound(&activity), Some(5), "no request");
        activity.read(b"G");
        assert_eq!(bound(&activity), Some(3), "the next head");
    }

    #[test]
    fn the_preface_of_http2_is_no_head() {
        for at in 0..PREFACE.len() {
            let activity = Activity::new();
            activity.read(&PREFACE[..at]);
            assert_eq!(activity.overdue(&BOUNDS), None);
            activity.read(&PREFACE[at..]);
            activity.read(b"settings");
            assert_eq!(bound(&activity), Some(5), "cut at {at}");
        }
    }

    #[test]
    fn a_complete_request_that_is_being_answered_keeps_its_place() {
        let activity = Activity::new();
        let began = activity.standing();
        assert!(matches!(began, Some(Standing::Silent(_))));
        let mut exchange = Exchange::begin(&activity);
        let partial = Partial::begin(&activity);
        assert_eq!(activity.standing(), began, "its body is not here");
        partial.is_complete();
        drop(partial);
        assert_eq!(activity.standing(), None);
        exchange.has_answer_to_send();
        assert_eq!(activity.standing(), None, "it takes the answer");
        exchange.waits_for_answer();
        let answered = activity.standing();
        assert!(matches!(answered, Some(Standing::Asked(_))), "a stream that waits keeps no place by that");
        drop(exchange);
        assert_eq!(activity.standing(), answered);
    }
}
