//! The application under test: one path for each thing that can happen to a request, with the layer around it, and
//! the latches by which a client knows how far its request has come.
//!
//! It must decide nothing about what is counted.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    error_handling::HandleError,
    extract::{Path, Request},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header::CONTENT_LENGTH},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use opentelemetry_sdk::trace::SdkTracer;
use pushpull::http::Layer;
use tokio::sync::Semaphore;
use tower_layer::Layer as _;

use crate::exchange::FRAME;

/// What the application's time-outs allow; whatever they limit never ends by itself.
const LIMIT: Duration = Duration::from_millis(1);

/// The number of a request, which its query carries: `id=17`.
pub(crate) fn id_in(query: &str) -> u64 {
    query.strip_prefix("id=").and_then(|id| id.parse().ok()).expect("a query with a number")
}

fn id_of(uri: &Uri) -> u64 {
    id_in(uri.query().expect("a query"))
}

/// One request's latches.
pub(crate) struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Says that the request is here, and waits until its client lets it go on.
    async fn pass(&self) {
        self.reach();
        self.open.acquire().await.expect("never closed").forget();
    }

    fn reach(&self) {
        self.reached.add_permits(1);
    }

    /// Waits until the request is at its place.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    /// Lets the request go on.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

/// What application and clients share.
#[derive(Default)]
pub(crate) struct Stage {
    gates: Mutex<HashMap<u64, Arc<Gate>>>,
    arrived: Mutex<HashSet<u64>>,
}

impl Stage {
    pub(crate) fn gate(&self, id: u64) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap();
        let gate = || Arc::new(Gate { reached: Semaphore::new(0), open: Semaphore::new(0) });
        Arc::clone(gates.entry(id).or_insert_with(gate))
    }

    /// The requests that were about to enter the layer.
    pub(crate) fn arrived(&self) -> HashSet<u64> {
        self.arrived.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    fn arrive(&self, id: u64) {
        assert!(self.arrived.lock().unwrap().insert(id), "request {id} came twice");
    }
}

/// What a body does when it is asked for the next frame.
enum Step {
    Frame,
    Trailers,
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    Fail,
    Panic,
}

/// A body of unknown length that follows its steps; its end is known by asking only.
struct Steps(VecDeque<Step>);

impl Steps {
    fn of(frames: usize, last: Option<Step>) -> Self {
        Self((0..frames).map(|_| Step::Frame).chain(last).collect())
    }
}

impl http_body::Body for Steps {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(Step::Wait(gate)) = self.0.front_mut() {
            if gate.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.0.pop_front();
        }
        Poll::Ready(match self.0.pop_front() {
            Some(Step::Frame) => Some(Ok(Frame::data(FRAME.into()))),
            Some(Step::Trailers) => {
                let trailers = [(HeaderName::from_static("checksum"), HeaderValue::from(7))];
                Some(Ok(Frame::trailers(trailers.into_iter().collect())))
            }
            Some(Step::Fail) => Some(Err(std::io::Error::other("scripted"))),
            Some(Step::Panic) => unwind(),
            Some(Step::Wait(_)) => panic!("two latches in a row"),
            None => None,
        })
    }
}

/// A body of frames only, whose size hint tells what is left of it.
struct Hinted(Steps);

impl http_body::Body for Hinted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.0.0.len() * FRAME.len()) as u64)
    }
}

/// A body of `frames` frames with what comes then, if anything.
fn streamed(frames: usize, last: Option<Step>) -> Body {
    Body::new(Steps::of(frames, last))
}

/// A body that waits after `before` of its two frames.
fn held(gate: Arc<Gate>, before: usize) -> Body {
    let wait = Step::Wait(Box::pin(async move { gate.pass().await }));
    let mut steps = VecDeque::from([Step::Frame, Step::Frame]);
    steps.insert(before, wait);
    Body::new(Steps(steps))
}

/// A panic like any other, without the report on standard error, of which there would be thousands.
fn unwind() -> ! {
    std::panic::resume_unwind(Box::new("scripted"))
}

/// A service that panics before it has a future.
#[derive(Clone)]
struct CallPanics;

impl tower_service::Service<Request> for CallPanics {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        unwind()
    }
}

/// A service that always fails.
#[derive(Clone)]
struct HandlerFails;

impl tower_service::Service<Request> for HandlerFails {
    type Response = Response;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Response, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        std::future::ready(Err(std::io::Error::other("scripted")))
    }
}

/// The application with `layer` around each of its routes.
pub(crate) fn application(stage: &Arc<Stage>, layer: &Layer<SdkTracer>) -> Router {
    let outside = async |request, next: Next| {
        let result = tokio::time::timeout(LIMIT, next.run(request)).await;
        result.map_err(|_| StatusCode::GATEWAY_TIMEOUT)
    };
    let cut = async |request, next: Next| -> Response {
        let limited = |body| Body::new(Limited::new(body, FRAME.len() + 1));
        next.run(request).await.map(limited)
    };
    let failed = async |_: std::io::Error| StatusCode::INTERNAL_SERVER_ERROR;
    let stages = Arc::clone(stage);
    let arrives = from_fn(move |request: Request, next: Next| {
        stages.arrive(id_of(request.uri()));
        next.run(request)
    });
    plain()
        .merge(nested())
        .merge(held_routes(stage))
        .merge(uploads(stage))
        .layer(layer.clone())
        .route_service("/handler-fails", HandleError::new(layer.layer(HandlerFails), failed))
        .route("/late-outside", any(pending::<()>).layer(layer.clone()).layer(from_fn(outside)))
        .route("/cut-outside", any(async || streamed(3, None)).layer(layer.clone()).layer(from_fn(cut)))
        .layer(arrives)
}

fn plain() -> Router {
    let late = async |Path(code): Path<u16>, request: Request, next: Next| {
        let result = tokio::time::timeout(LIMIT, next.run(request)).await;
        result.map_err(|_| StatusCode::from_u16(code).unwrap())
    };
    let status = async |Path(code): Path<u16>| {
        let status = StatusCode::from_u16(code).unwrap();
        let text = if matches!(code, 204 | 304) { Body::empty() } else { Body::from(FRAME) };
        (status, text)
    };
    let hinted = async |Path(frames): Path<usize>| Body::new(Hinted(Steps::of(frames, None)));
    let panics = async || {
        if true {
            unwind();
        }
    };
    Router::new()
        .route("/whole/{bytes}", any(async |Path(bytes): Path<usize>| vec![b'x'; bytes]))
        .route("/streamed/{frames}", any(async |Path(frames)| streamed(frames, None)))
        .route("/hinted/{frames}", any(hinted))
        .route("/trailers", any(async || streamed(2, Some(Step::Trailers))))
        .route("/status/{code}", any(status))
        .route("/body-fails/{after}", any(async |Path(after)| streamed(after, Some(Step::Fail))))
        .route("/body-panics/{after}", any(async |Path(after)| streamed(after, Some(Step::Panic))))
        .route("/handler-panics", any(panics))
        .route_service("/call-panics", CallPanics)
        .route("/late-inside/{code}", any(pending::<()>).layer(from_fn(late)))
        .route("/only-get", get(async || FRAME))
}

fn nested() -> Router {
    let leaf = || Router::new().route("/leaf/{id}", any(async || FRAME));
    let well = Router::new().fallback(async || (StatusCode::NOT_FOUND, FRAME));
    Router::new()
        .nest("/nested/well", well)
        .nest("/nested", leaf())
        .nest_service("/service", leaf().route("/", any(async || FRAME)))
}

fn held_routes(stage: &Arc<Stage>) -> Router {
    let gate = || {
        let stage = Arc::clone(stage);
        move |request: &Request| stage.gate(id_of(request.uri()))
    };
    let (handler, head, stream, sized) = (gate(), gate(), gate(), gate());
    let handler = async move |request: Request| {
        handler(&request).pass().await;
        FRAME
    };
    Router::new()
        .route("/held/handler", any(handler))
        .route("/held/head", any(async move |request: Request| held(head(&request), 0)))
        .route("/held/stream", any(async move |request: Request| held(stream(&request), 1)))
        .route(
            "/held/sized",
            any(async move |request: Request| {
                ([(CONTENT_LENGTH, (2 * FRAME.len()).to_string())], held(sized(&request), 1))
            }),
        )
}

fn uploads(stage: &Arc<Stage>) -> Router {
    let first = async |request: Request| match request.into_body().frame().await {
        Some(Ok(_)) => FRAME.into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    };
    let stage = Arc::clone(stage);
    let all = async move |request: Request| {
        let gate = stage.gate(id_of(request.uri()));
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return StatusCode::BAD_REQUEST.into_response();
            }
            gate.reach();
        }
        FRAME.into_response()
    };
    Router::new()
        .route("/upload/nothing", any(async || FRAME))
        .route("/upload/first", any(first))
        .route("/upload/all", any(all))
}
