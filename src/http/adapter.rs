//! What the layer knows of axum: where it leaves the matched route and the client's address, and its body type.
//!
//! It must be the only file that does, and nothing here may be needed for a server without axum.

use std::{
    any::Any,
    mem,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use ::http::Extensions;
use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath},
};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// The template of the route that matched, as in `/users/{id}`; none where no route did.
pub(super) fn route(extensions: &Extensions) -> Option<&str> {
    extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// The address of the connection's other end, where the server was told to provide it
/// (`Router::into_make_service_with_connect_info::<SocketAddr>`).
pub(super) fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}

/// Makes the handler's reading of an axum body count its bytes; none, and no change, for any other type of body.
pub(super) fn count_body<B: 'static>(body: &mut B) -> Option<Arc<AtomicU64>> {
    let body = (body as &mut dyn Any).downcast_mut::<Body>()?;
    let bytes = Arc::new(AtomicU64::new(0));
    *body = Body::new(CountedBody { inner: mem::take(body), bytes: Arc::clone(&bytes) });
    Some(bytes)
}

/// A request's body that counts the bytes of data it hands on.
struct CountedBody {
    inner: Body,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for CountedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
