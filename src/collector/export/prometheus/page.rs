//! A page of the exposition as its reader takes it: made in pieces, few at a time, and given up where its reader takes
//! nothing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

use crate::exposition::{
    family::Family,
    text::{self, Pieces},
};

/// Pages that are made at the same time. Prometheus asks for one each quarter of a minute.
const AT_ONCE: usize = 4;
/// How long a scrape waits for its turn; Prometheus gives up after 10 s.
const TURN: Duration = Duration::from_secs(5);
/// How long a reader may take nothing of a page.
const STALLED: Duration = Duration::from_secs(10);
/// What a scrape is to wait that had no turn.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// The turns of scrapes; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// The page of these families, which are asked for when it is this one's turn; 503 where no turn comes.
    pub(super) async fn page(&self, families: impl FnOnce() -> Vec<Family>) -> Response {
        let Ok(Ok(turn)) = timeout(TURN, Arc::clone(&self.0).acquire_owned()).await else {
            let text = "As many scrapes as are answered at a time are under way; try again\n";
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], text)
                .into_response();
        };
        let mut pieces = text::pieces(families());
        let first = pieces.next().unwrap_or_default();
        let body = match pieces.next() {
            None => Body::from(first),
            Some(second) => Body::new(Page::new([first, second].map(Bytes::from), pieces, turn)),
        };
        ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], body).into_response()
    }
}

/// The body of a page of several pieces.
struct Page(Arc<Mutex<Option<Left>>>);

/// What is left of a page; nothing once it is at its end, or given up.
struct Left {
    made: std::array::IntoIter<Bytes, 2>,
    pieces: Pieces,
    /// When the reader took a piece last.
    taken: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Page {
    fn new(made: [Bytes; 2], pieces: Pieces, turn: OwnedSemaphorePermit) -> Self {
        let left = Left { made: made.into_iter(), pieces, taken: Instant::now(), _turn: turn };
        let left = Arc::new(Mutex::new(Some(left)));
        tokio::spawn(give_up_where_stalled(Arc::clone(&left)));
        Self(left)
    }
}

async fn give_up_where_stalled(left: Arc<Mutex<Option<Left>>>) {
    loop {
        let Some(due) = left.lock().as_ref().map(|left| left.taken + STALLED) else { return };
        if due <= Instant::now() {
            *left.lock() = None;
            return;
        }
        sleep_until(due).await;
    }
}

/// The page was given up: the connection ends in the middle of it.
#[derive(Debug, thiserror::Error)]
#[error("the reader took nothing of the page for {STALLED:?}")]
struct GivenUp;

impl http_body::Body for Page {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let mut shared = self.0.lock();
        let Some(left) = shared.as_mut() else { return Poll::Ready(Some(Err(GivenUp))) };
        left.taken = Instant::now();
        let piece = left.made.next().or_else(|| left.pieces.next().map(Bytes::from));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}
