//! A Tower layer that gives an HTTP server the metrics and the spans of OpenTelemetry's HTTP semantic conventions.
//!
//! It must depend on OpenTelemetry's API crate only, install no global, read no configuration, and make no metric
//! attribute of what a client wrote: methods are a closed set, routes are templates.
//!
//! Every request that reaches the layer ends exactly once, where it truly ends: at the end of the response's body, at
//! an error of handler or body, at a panic, or where the client goes away. One guard ends its metrics and its span
//! together, from one reading of the clock.
//!
//! # Metrics
//!
//! | name | kind | unit | attributes |
//! |---|---|---|---|
//! | `http.server.request.duration` | histogram | s | all below |
//! | `http.server.active_requests` | up-down counter | {request} | method and scheme |
//! | `http.server.request.body.size` | histogram | By | all below; left out where the size cannot be known |
//! | `http.server.response.body.size` | histogram | By | all below; left out where no response was made |
//!
//! The attributes: `http.request.method` (`_OTHER` for one that is not known), `url.scheme`, `http.route` (only where
//! a route matched), `network.protocol.version`, `http.response.status_code` (only where there was a response) and,
//! where something went wrong, `error.type`:
//!
//! | `error.type` | what happened |
//! |---|---|
//! | `500` to `599` | a response with this status was sent to its end |
//! | `cancelled` | the request was dropped: before a response was made, or in the middle of the response's body |
//! | `panic` | the handler or the response's body panicked |
//! | `handler_error` | the inner service returned an error instead of a response |
//! | `body_error` | the response's body returned an error |
//!
//! # Spans
//!
//! A server span named `METHOD route`, with the same attributes and `url.path`, `url.query`, `client.address`,
//! `user_agent.original` and `http.request.method_original`; what a client wrote is cut to a bounded length. Its
//! status is Error exactly where `error.type` is set. It is OpenTelemetry's current span whenever the handler or the
//! response's body runs.
//!
//! ```
//! use axum::{Router, routing::get};
//! use opentelemetry::global;
//! use pushpull::http::Layer;
//!
//! let app: Router = Router::new()
//!     .route("/users/{id}", get(async || "hello"))
//!     .layer(Layer::new(&global::meter("example"), global::tracer("example")));
//! # drop(app);
//! ```
//!
//! Put it outside of other layers (with axum: call `Router::layer` with it last), so that it sees the whole request.

mod adapter;
mod body;
mod exchange;
mod future;
mod instruments;
mod labels;
mod outcome;
mod span;
mod target;

use std::{fmt, sync::Arc, task};

use ::http::{Request, Response};
use opentelemetry::{
    metrics::Meter,
    propagation::TextMapPropagator,
    trace::{Span, Tracer},
};

pub use self::{body::ResponseBody, future::ResponseFuture};
use self::{exchange::Exchange, instruments::Instruments, target::Targets};

/// The route templates that [`Layer::new`] leaves out of `http.server.*`, so that a scrape moves no series.
const WITHOUT_METRICS: [&str; 2] = ["/metrics", "/metrics/"];

/// What all requests through one [`Layer`] share.
struct Shared<T> {
    tracer: Arc<T>,
    propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
    targets: Targets,
}

/// Instruments every request to the services it wraps; `T` is the tracer.
///
/// Clones share their instruments and what they learned of the routes. Configure before cloning: a method that
/// configures starts with nothing learned.
pub struct Layer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Layer<T> {
    /// A layer whose instruments come from `meter` and whose spans come from `tracer`.
    ///
    /// Routes `/metrics` and `/metrics/` are left out of the metrics, none is left out of the traces, and no parent
    /// is taken from a request's headers.
    pub fn new(meter: &Meter, tracer: T) -> Self {
        let targets = Targets::new(Arc::new(Instruments::new(meter))).without_metrics_for(&WITHOUT_METRICS);
        Self { shared: Arc::new(Shared { tracer: Arc::new(tracer), propagator: None, targets }) }
    }

    /// Replaces the list of route templates (as in `/users/{id}`) that are left out of `http.server.*`.
    ///
    /// Their spans stay.
    #[must_use]
    pub fn without_metrics_for(self, routes: &[&str]) -> Self {
        self.with(|shared| shared.targets = shared.targets.without_metrics_for(routes))
    }

    /// Replaces the list of route templates for whose requests no server span is made.
    ///
    /// Spans that the handler makes itself then have no parent from this layer. Their metrics stay.
    #[must_use]
    pub fn without_traces_for(self, routes: &[&str]) -> Self {
        self.with(|shared| shared.targets = shared.targets.without_traces_for(routes))
    }

    /// Takes the parent of each server span (and what else the propagator carries) from the request's headers.
    ///
    /// The W3C propagators are in `opentelemetry_sdk::propagation`.
    #[must_use]
    pub fn with_propagator(self, propagator: Arc<dyn TextMapPropagator + Send + Sync>) -> Self {
        self.with(|shared| shared.propagator = Some(propagator))
    }

    fn with(self, change: impl FnOnce(&mut Shared<T>)) -> Self {
        let mut shared = Shared {
            tracer: Arc::clone(&self.shared.tracer),
            propagator: self.shared.propagator.clone(),
            targets: self.shared.targets.unlearned(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }
}

impl<T> Clone for Layer<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Layer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}

impl<S, T> tower_layer::Layer<S> for Layer<T> {
    type Service = Service<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        Service { inner, shared: Arc::clone(&self.shared) }
    }
}

/// A service `S` whose requests are instrumented; made by [`Layer`].
pub struct Service<S, T> {
    inner: S,
    shared: Arc<Shared<T>>,
}

impl<S: Clone, T> Clone for Service<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for Service<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, T, ReqB, ResB> tower_service::Service<Request<ReqB>> for Service<S, T>
where
    S: tower_service::Service<Request<ReqB>, Response = Response<ResB>>,
    T: Tracer,
    T::Span: Span + Send + Sync + 'static,
    ReqB: http_body::Body + 'static,
    ResB: http_body::Body,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let mut exchange = Exchange::start(&self.shared, &mut request);
        let inner = exchange.run(|| self.inner.call(request));
        ResponseFuture::new(inner, exchange)
    }
}
