//! Requests and answers of a connection, each of which notes in the connection's state how far it has come.

use std::{sync::Arc, time::Instant};

use super::{Activity, PORTION, State};

/// A request from the end of its head to the end of its answer.
#[derive(Debug)]
pub(in crate::net) struct Exchange {
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
    pub(in crate::net) fn begin(activity: &Arc<Activity>) -> Self {
        let mut state = activity.state.lock();
        state.handled += 1;
        let now = Instant::now();
        state.begun.get_or_insert(now);
        drop(state);
        Self { activity: Arc::clone(activity), step: Step::Handled }
    }

    /// The answer waits for more of its body.
    pub(in crate::net) fn waits_for_answer(&mut self) {
        self.activity.state.lock().move_to(&mut self.step, Step::Waiting);
    }

    /// There is something of an answer for the client to take, which took all that was there before.
    pub(in crate::net) fn has_answer_to_send(&mut self) {
        let mut state = self.activity.state.lock();
        let now = Instant::now();
        state.taken = now;
        if self.step == Step::Handled {
            (state.portion, state.took) = ((now, 0), false);
            // The request was complete but for a body that the handler did not want.
            if state.handled > state.partial {
                state.complete(now);
            }
        }
        state.move_to(&mut self.step, Step::Sending);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        *state.count(self.step) -= 1;
        state.note_end();
    }
}

/// A part of an answer that waits for the socket, or for the client's window.
#[derive(Debug)]
pub(in crate::net) struct Unsent(Arc<Activity>);

impl Unsent {
    pub(in crate::net) fn begin(exchange: &Exchange) -> Self {
        exchange.activity.state.lock().unsent += 1;
        Self(Arc::clone(&exchange.activity))
    }

    /// The client took these many bytes.
    pub(in crate::net) fn took(&self, bytes: usize) {
        let mut state = self.0.state.lock();
        let now = Instant::now();
        state.taken = now;
        if !state.took {
            (state.portion.0, state.took) = (now, true);
        }
        state.portion.1 += bytes;
        if state.portion.1 >= PORTION {
            state.portion = (now, 0);
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unsent -= 1;
        state.note_end();
    }
}

/// The body of a request, until it is here to its end.
#[derive(Debug)]
pub(in crate::net) struct Partial(Arc<Activity>);

impl Partial {
    pub(in crate::net) fn begin(activity: &Arc<Activity>) -> Self {
        activity.state.lock().partial += 1;
        Self(Arc::clone(activity))
    }

    /// The body has come to its end.
    pub(in crate::net) fn is_complete(&self) {
        self.0.state.lock().complete(Instant::now());
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.0.state.lock().partial -= 1;
    }
}
