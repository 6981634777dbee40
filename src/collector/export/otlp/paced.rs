//! A body that is sent in parts, with a look at the connection between them, so that an early answer is read.
//!
//! A peer that refuses by the head answers, and resets the connection while the rest is still being written; a sender
//! that writes all at once sees the reset and never the answer.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Bytes of one part.
const PART: usize = 64 * 1024;

/// A body in parts; it may pause before the first one.
#[derive(Debug)]
pub(super) struct Paced {
    left: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
    is_yielding: bool,
}

impl Paced {
    pub(super) fn new(body: Bytes, pause: Duration) -> Self {
        let pause = (!pause.is_zero()).then(|| Box::pin(sleep(pause)));
        Self { left: body, pause, is_yielding: false }
    }

    /// Whether a body has more than one part.
    pub(super) const fn is_sent_in_parts(body: &Bytes) -> bool {
        body.len() > PART
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        // Where there is nothing to write for a moment, what came is read.
        if std::mem::replace(&mut self.is_yielding, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_yielding = true;
        let part = self.left.len().min(PART);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
