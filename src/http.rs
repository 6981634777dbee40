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
//! | `http.server.request.body.size` | histogram | By | all below; what was read of it; left out where that cannot be seen |
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
//! | `body_error` | the response's body returned an error, or ended before its own Content-Length |
//!
//! # Spans
//!
//! A server span named `METHOD route`, with the same attributes and `url.path`, `url.query`, `client.address`,
//! `user_agent.original` and `http.request.method_original`; what a client wrote is cut to a bounded length, and the
//! credentials that sign a URL are replaced in its query. Its status is Error where the server failed, which is where
//! `error.type` is set but for `cancelled`: that one is the client's doing. It is OpenTelemetry's current span whenever
//! the handler or the response's body runs.
//!
//! `url.scheme` and `client.address` are those of the connection; what a header says of them counts only from a proxy
//! that [`Layer::trusting_proxies`] lets through.
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
mod chain;
mod exchange;
mod forwarded;
mod future;
mod instruments;
mod labels;
mod outcome;
mod query;
mod span;
mod target;
mod words;

use std::{fmt, net::IpAddr, sync::Arc, task};

use ::http::{HeaderMap, HeaderName, Request, Response};
use opentelemetry::{
    Context,
    metrics::Meter,
    propagation::TextMapPropagator,
    trace::{Span, Tracer},
};

pub use self::{body::ResponseBody, forwarded::Scheme, future::ResponseFuture};
use self::{
    exchange::Exchange, forwarded::Trust, instruments::Instruments, labels::Methods, span::Headers,
    target::Targets,
};

/// The route templates that [`Layer::new`] leaves out of `http.server.*`, so that a scrape moves no series.
const WITHOUT_METRICS: [&str; 2] = ["/metrics", "/metrics/"];

/// What all requests through one [`Layer`] share.
struct Shared<T> {
    tracer: Arc<T>,
    propagation: Option<Propagation>,
    scheme: Scheme,
    trust: Option<Trust>,
    methods: Methods,
    targets: Targets,
}

/// A propagator and the headers that it reads.
#[derive(Clone)]
struct Propagation {
    propagator: Arc<dyn TextMapPropagator + Send + Sync>,
    fields: Arc<[HeaderName]>,
}

impl<T> Shared<T> {
    /// The address of the client where it is known, and the scheme by which it came.
    fn origin<B>(&self, request: &Request<B>) -> (Option<IpAddr>, Scheme) {
        let peer = adapter::client_address(request.extensions());
        let scheme = request.extensions().get().copied().unwrap_or(self.scheme);
        match (&self.trust, peer) {
            (Some(trust), Some(peer)) => {
                let (client, forwarded) = trust.client(peer, request.headers());
                (Some(client), forwarded.unwrap_or(scheme))
            }
            _ => (peer, scheme),
        }
    }

    /// What the propagator finds in the headers, on top of what is current. It is not asked where it can find nothing,
    /// which is how most requests come.
    fn parent(&self, headers: &HeaderMap) -> Context {
        let current = Context::current();
        match &self.propagation {
            Some(Propagation { propagator, fields }) if headers.keys().any(|name| fields.contains(name)) => {
                propagator.extract_with_context(&current, &Headers::of(headers))
            }
            _ => current,
        }
    }
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
        let shared = Shared {
            tracer: Arc::new(tracer),
            propagation: None,
            scheme: Scheme::default(),
            trust: None,
            methods: Methods::default(),
            targets,
        };
        Self { shared: Arc::new(shared) }
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

    /// Takes the parent of each server span (and what else the propagator carries, such as baggage) from the request's
    /// headers. It is asked where at least one of the headers that it names as its fields is there.
    ///
    /// The W3C propagators are in `opentelemetry_sdk::propagation`.
    #[must_use]
    pub fn with_propagator(self, propagator: Arc<dyn TextMapPropagator + Send + Sync>) -> Self {
        let fields =
            propagator.fields().filter_map(|field| HeaderName::from_bytes(field.as_bytes()).ok()).collect();
        self.with(|shared| shared.propagation = Some(Propagation { propagator, fields }))
    }

    /// The scheme by which clients come, `http` unless it is given: the layer cannot see whether there is TLS below it.
    ///
    /// A [`Scheme`] among a request's extensions goes before it.
    #[must_use]
    pub fn with_scheme(self, scheme: Scheme) -> Self {
        self.with(|shared| shared.scheme = scheme)
    }

    /// Believes the proxies at the addresses that `trusted` holds for: what they say in `Forwarded` (RFC 7239), or else
    /// in `X-Forwarded-For` and `X-Forwarded-Proto`, becomes `client.address` and `url.scheme`. None is believed unless
    /// this is called.
    ///
    /// It needs the address of the connection's other end
    /// (with axum: `Router::into_make_service_with_connect_info::<SocketAddr>`).
    #[must_use]
    pub fn trusting_proxies(self, trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.trust = Some(Trust(Arc::new(trusted))))
    }

    /// Replaces the list of methods that are known: each is an `http.request.method` of its own, all others are `_OTHER`.
    /// Names are case-sensitive. Without it, those of RFC 9110, PATCH and QUERY are known.
    ///
    /// The conventions want `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` to be such a list; the layer itself reads no
    /// variable.
    #[must_use]
    pub fn with_known_methods(self, methods: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.with(|shared| shared.methods = Methods::new(methods))
    }

    fn with(self, change: impl FnOnce(&mut Shared<T>)) -> Self {
        let mut shared = Shared {
            tracer: Arc::clone(&self.shared.tracer),
            propagation: self.shared.propagation.clone(),
            scheme: self.shared.scheme,
            trust: self.shared.trust.clone(),
            methods: self.shared.methods.clone(),
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
