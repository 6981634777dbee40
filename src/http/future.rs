//! The future of a response: it hands the request's guard on to the response's body, or ends it.
//!
//! It must poll and drop the inner future with the request's span as the current one, and nothing else with it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{body::ResponseBody, exchange::Exchange, outcome::Ending};

pin_project! {
    /// The future of [`Service`](super::Service); ends the request as cancelled when dropped before it is ready.
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        exchange: Option<Exchange>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(exchange) = this.exchange.as_mut()
                && !exchange.panicked()
            {
                exchange.run(|| this.inner.set(None));
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, exchange: Exchange) -> Self {
        Self { inner: Some(inner), exchange: Some(exchange) }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(exchange) = this.exchange.as_mut() else {
            // Polled again after it was ready, which no caller may do: there is nothing left to wait for.
            return Poll::Pending;
        };
        let polled = exchange.run(|| match this.inner.as_mut().as_pin_mut() {
            Some(inner) => {
                let polled = inner.poll(cx);
                if polled.is_ready() {
                    this.inner.set(None);
                }
                polled
            }
            None => Poll::Pending,
        });
        let Poll::Ready(result) = polled else {
            return Poll::Pending;
        };
        let Some(exchange) = this.exchange.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match result {
            Ok(response) => Ok(ResponseBody::wrap(response, exchange)),
            Err(error) => {
                exchange.finish(Ending::HandlerError);
                Err(error)
            }
        })
    }
}
