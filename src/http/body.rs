//! The body of a response, which keeps the request's guard until the last byte is handed on.
//!
//! It must change nothing of what the inner body sends: frames, errors, sizes and the end pass through.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{Response, StatusCode, header::CONTENT_LENGTH};
use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    exchange::{Asked, Exchange},
    outcome::Ending,
};

pin_project! {
    /// The body of a response from [`Service`](super::Service).
    ///
    /// It ends the request when the inner body ends or fails, or when it is dropped: as cancelled, unless everything
    /// that the response was to carry had been handed on by then.
    pub struct ResponseBody<B>
    where
        B: Body,
    {
        #[pin]
        inner: Option<B>,
        exchange: Option<Exchange>,
        expected: Expected,
    }

    impl<B> PinnedDrop for ResponseBody<B>
    where
        B: Body,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(mut exchange) = this.exchange.take() else {
                return;
            };
            if exchange.panicked() {
                return;
            }
            let ended = this.inner.as_ref().get_ref().as_ref().is_none_or(has_ended);
            let sent = exchange.response_bytes();
            let ending = match (ended, this.expected.is_met(sent)) {
                (true, _) => this.expected.at_end(sent),
                (false, true) => Ending::Complete,
                (false, false) => Ending::Cancelled,
            };
            exchange.run(|| this.inner.set(None));
            exchange.finish(ending);
        }
    }
}

/// How much of the body the server will ask for, as far as the response's head tells.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// None of it: the response to HEAD, and statuses that have no body.
    Nothing,
    /// This many bytes: servers do not ask again once they have what Content-Length says.
    Announced(u64),
    /// All of it, to its end.
    All,
}

impl Expected {
    fn of<B>(asked: Asked, response: &Response<B>) -> Self {
        let status = response.status();
        if asked == Asked::Head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || (asked == Asked::Connect && status.is_success())
        {
            return Self::Nothing;
        }
        let length = response.headers().get(CONTENT_LENGTH);
        match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
            Some(bytes) => Self::Announced(bytes),
            None => Self::All,
        }
    }

    fn is_met(self, sent: u64) -> bool {
        match self {
            Self::Nothing => true,
            Self::Announced(bytes) => sent >= bytes,
            Self::All => false,
        }
    }

    /// How a body ended that has no more to hand on than these bytes: one that is short of its own Content-Length failed,
    /// since the client cannot tell it from a connection that broke.
    fn at_end(self, sent: u64) -> Ending {
        match self {
            Self::Announced(bytes) if sent < bytes => Ending::BodyError,
            Self::Announced(_) | Self::Nothing | Self::All => Ending::Complete,
        }
    }
}

/// What a body came to when it was asked for more.
enum End {
    Reached,
    Failed,
}

/// Whether a body has no more to hand on, without asking it for a frame.
fn has_ended<B: Body>(body: &B) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl<B: Body> ResponseBody<B> {
    /// Ends the request where the response has no body, else leaves that to the body.
    pub(super) fn wrap(response: Response<B>, mut exchange: Exchange) -> Response<Self> {
        exchange.respond(response.status());
        let expected = Expected::of(exchange.asked(), &response);
        let exchange = if response.body().is_end_stream() {
            exchange.finish(expected.at_end(0));
            None
        } else {
            Some(exchange)
        };
        response.map(|inner| Self { inner: Some(inner), exchange, expected })
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(exchange) = this.exchange.as_mut() else {
            return match this.inner.as_pin_mut() {
                Some(inner) => inner.poll_frame(cx),
                None => Poll::Ready(None),
            };
        };
        let (polled, end) = exchange.run(|| {
            let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
                return (Poll::Ready(None), Some(End::Reached));
            };
            let polled = inner.as_mut().poll_frame(cx);
            let end = match &polled {
                Poll::Pending => None,
                Poll::Ready(None) => Some(End::Reached),
                Poll::Ready(Some(Err(_))) => Some(End::Failed),
                // Nothing can follow trailers, so servers do not ask for more.
                Poll::Ready(Some(Ok(frame))) => {
                    (frame.is_trailers() || inner.is_end_stream()).then_some(End::Reached)
                }
            };
            if end.is_some() {
                this.inner.set(None);
            }
            (polled, end)
        });
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            exchange.sent(data.remaining());
        }
        if let Some(end) = end
            && let Some(exchange) = this.exchange.take()
        {
            let ending = match end {
                End::Reached => this.expected.at_end(exchange.response_bytes()),
                End::Failed => Ending::BodyError,
            };
            exchange.finish(ending);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
