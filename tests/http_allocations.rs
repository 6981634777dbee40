//! What the HTTP layer allocates for a request whose attributes were seen before: counted, against a layer that does
//! nothing, at the same place of the same application.
//!
//! It is a test binary of its own, since the allocator that counts is the whole program's.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    alloc::System,
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::{Route, any},
};
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::{metrics::MeterProvider as _, trace::noop::NoopTracer};
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_service::Service as _;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests in one measurement.
const REQUESTS: usize = 1_000;

/// Layers that do nothing: with a body type of their own, as a layer needs that sees the body's end, or without.
#[derive(Clone, Copy)]
struct Nothing {
    wraps_body: bool,
}

impl<S> tower_layer::Layer<S> for Nothing {
    type Service = NothingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        NothingService { inner, wraps_body: self.wraps_body }
    }
}

#[derive(Clone)]
struct NothingService<S> {
    inner: S,
    wraps_body: bool,
}

impl tower_service::Service<Request> for NothingService<Route> {
    type Response = Response;
    type Error = Infallible;
    type Future = NothingFuture<<Route as tower_service::Service<Request>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower_service::Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        NothingFuture { inner: self.inner.call(request), wraps_body: self.wraps_body }
    }
}

pin_project_lite::pin_project! {
    struct NothingFuture<F> {
        #[pin]
        inner: F,
        wraps_body: bool,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for NothingFuture<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map_ok(|response| match this.wraps_body {
            // The box of a body that is not axum's own is axum's.
            true => response.map(|body| Body::new(NothingBody(body))),
            false => response,
        })
    }
}

struct NothingBody(Body);

impl http_body::Body for NothingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A body of one frame whose length is not told.
struct Unsized(Option<Bytes>);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

/// A request of the kinds that are measured.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Without a body; the answer's length is known.
    Plain,
    /// The answer's length is not known.
    Streamed,
    /// With a body of known length.
    Upload,
    /// With a body whose length is not told.
    UnsizedUpload,
    /// A server error.
    Fails,
}

impl Kind {
    fn request(self) -> Request {
        let data = Bytes::from_static(b"hello");
        let (path, body) = match self {
            Self::Plain => ("/plain", Body::empty()),
            Self::Streamed => ("/streamed", Body::empty()),
            Self::Upload => ("/reads", Body::from(data)),
            Self::UnsizedUpload => ("/reads", Body::new(Unsized(Some(data)))),
            Self::Fails => ("/fails", Body::empty()),
        };
        Request::builder().uri(path).body(body).unwrap()
    }
}

fn routes() -> Router {
    let streamed = async || Body::new(Unsized(Some(Bytes::from_static(b"hello"))));
    let reads = async |request: Request| {
        read(request.into_body());
        "read"
    };
    Router::new()
        .route("/plain", any(async || "plain"))
        .route("/streamed", any(streamed))
        .route("/reads", any(reads))
        .route("/fails", any(async || axum::http::StatusCode::SERVICE_UNAVAILABLE))
}

/// Reads a body that is never pending to its end; returns its length.
fn read(mut body: Body) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(frame)) => bytes += frame.unwrap().data_ref().unwrap().len(),
            Poll::Ready(None) => return bytes,
            Poll::Pending => panic!("nothing here waits"),
        }
    }
}

/// Serves one request in this thread, to the end of its body.
fn serve(router: &mut Router, kind: Kind) -> usize {
    let future = pin!(router.call(kind.request()));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => read(response.into_body()),
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// The allocations of one request once all before it were like it.
fn allocations(mut router: Router, kind: Kind) -> f64 {
    for _ in 0..10 {
        serve(&mut router, kind);
    }
    let rounds = (0..5).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..REQUESTS {
            serve(&mut router, kind);
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    // The harness has a thread of its own, which can only add to what is counted.
    rounds.min().unwrap() as f64 / REQUESTS as f64
}

/// What the layer allocates for one request beyond a layer that does nothing but wrap the body, as every layer
/// must that sees the end of it.
const EXPECTED: [(Kind, f64); 5] = [
    (Kind::Plain, 0.0),
    (Kind::Streamed, 0.0),
    (Kind::Fails, 0.0),
    // The counter that the request's body shares with the guard, and axum's box of the body that counts. A length that the
    // head announces spares neither: it is the client's word.
    (Kind::Upload, 2.0),
    (Kind::UnsizedUpload, 2.0),
];

/// What every layer with a body type of its own costs in axum, which boxes it.
const BOX_OF_THE_BODY: f64 = 1.0;

#[test]
fn a_request_like_those_before_it_allocates_nothing_in_the_layer() {
    let meters = SdkMeterProvider::builder().with_reader(ManualReader::builder().build()).build();
    let layer = pushpull::http::Layer::new(&meters.meter("test"), NoopTracer::new());
    let layer = layer.without_traces_for(&["/plain", "/streamed", "/reads", "/fails"]);
    for (kind, expected) in EXPECTED {
        let with = allocations(routes().layer(layer.clone()), kind);
        let wrapped = allocations(routes().layer(Nothing { wraps_body: true }), kind);
        let bare = allocations(routes().layer(Nothing { wraps_body: false }), kind);
        println!("{kind:?}: {with} with the layer, {wrapped} and {bare} with one that does nothing");
        assert_eq!(with - wrapped, expected, "{kind:?}");
        assert_eq!(wrapped - bare, BOX_OF_THE_BODY, "{kind:?}");
    }
}
