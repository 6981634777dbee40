//! What the tests of the HTTP layer stand on: providers of their own, a server on a real socket, a client that writes
//! bytes, and a body that does as it is told. It must know nothing of the layer's inside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http_body::{Body, Frame};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData},
    },
    trace::{InMemorySpanExporter, SdkTracer, SdkTracerProvider, SpanData},
};
use pushpull::http::Layer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Providers of one test, read from memory.
pub(crate) struct Telemetry {
    meters: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
    tracers: SdkTracerProvider,
    spans: InMemorySpanExporter,
}

/// One attribute set of a histogram.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) bounds: Vec<f64>,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let metrics = InMemoryMetricExporter::default();
        let spans = InMemorySpanExporter::default();
        Self {
            meters: SdkMeterProvider::builder()
                .with_reader(PeriodicReader::builder(metrics.clone()).build())
                .build(),
            metrics,
            tracers: SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build(),
            spans,
        }
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.tracers.tracer("test")
    }

    pub(crate) fn layer(&self) -> Layer<SdkTracer> {
        self.layer_with(self.tracer())
    }

    pub(crate) fn layer_with<T>(&self, tracer: T) -> Layer<T> {
        Layer::new(&self.meters.meter("test"), tracer)
    }

    /// Calls `read` with each metric's name and data, as they are now.
    fn read(&self, mut read: impl FnMut(&str, &str, &AggregatedMetrics)) {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        for resource in self.metrics.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                read(metric.name(), metric.unit(), metric.data());
            }
        }
    }

    /// The points of a histogram whose name and unit are these.
    pub(crate) fn histogram(&self, name: &str, unit: &str) -> Vec<Point> {
        let mut points = Vec::new();
        self.read(|found, found_unit, data| {
            if found != name {
                return;
            }
            assert_eq!(found_unit, unit);
            match data {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    points.extend(histogram.data_points().map(|point| Point {
                        attributes: attributes(point.attributes()),
                        count: point.count(),
                        sum: point.sum(),
                        bounds: point.bounds().collect(),
                    }));
                }
                AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                    points.extend(histogram.data_points().map(|point| Point {
                        attributes: attributes(point.attributes()),
                        count: point.count(),
                        sum: point.sum() as f64,
                        bounds: point.bounds().collect(),
                    }));
                }
                other => panic!("{name} is not a histogram: {other:?}"),
            }
        });
        points
    }

    pub(crate) fn durations(&self) -> Vec<Point> {
        self.histogram("http.server.request.duration", "s")
    }

    pub(crate) fn response_sizes(&self) -> Vec<Point> {
        self.histogram("http.server.response.body.size", "By")
    }

    pub(crate) fn request_sizes(&self) -> Vec<Point> {
        self.histogram("http.server.request.body.size", "By")
    }

    /// How many requests have ended by the duration's count.
    pub(crate) fn ended(&self) -> u64 {
        self.durations().iter().map(|point| point.count).sum()
    }

    /// The attribute sets of all metrics, without repetitions.
    pub(crate) fn series(&self) -> BTreeSet<BTreeMap<String, String>> {
        let histograms = [self.durations(), self.request_sizes(), self.response_sizes()];
        let active = self.active().into_keys().map(BTreeMap::from_iter);
        histograms.into_iter().flatten().map(|point| point.attributes).chain(active).collect()
    }

    /// The active requests by attributes.
    pub(crate) fn active(&self) -> BTreeMap<Vec<(String, String)>, i64> {
        let mut active = BTreeMap::new();
        self.read(|name, unit, data| {
            if name != "http.server.active_requests" {
                return;
            }
            assert_eq!(unit, "{request}");
            let AggregatedMetrics::I64(MetricData::Sum(sum)) = data else {
                panic!("{name} is not a sum of integers: {data:?}");
            };
            assert!(!sum.is_monotonic());
            for point in sum.data_points() {
                let key = attributes(point.attributes()).into_iter().collect();
                active.insert(key, point.value());
            }
        });
        active
    }

    pub(crate) fn active_now(&self) -> i64 {
        self.active().values().sum()
    }

    /// The server spans that have ended.
    pub(crate) fn server_spans(&self) -> Vec<SpanData> {
        let mut spans = self.spans();
        spans.retain(|span| span.span_kind == opentelemetry::trace::SpanKind::Server);
        spans
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Waits until `count` requests have ended and asserts that none is active then.
    pub(crate) async fn settled(&self, count: u64) {
        eventually("all requests have ended", || self.ended() >= count).await;
        assert_eq!(self.ended(), count, "{:?}", self.durations());
        assert_eq!(self.active_now(), 0);
    }

    /// The metric's and the span's attributes of the only request, after asserting that both ended alike.
    pub(crate) async fn only_request(&self) -> (BTreeMap<String, String>, SpanData) {
        self.settled(1).await;
        let durations = self.durations();
        let spans = self.server_spans();
        let ([point], [span]) = (&durations[..], &spans[..]) else {
            panic!("not one request: {durations:?} {spans:?}");
        };
        let lasted = span.end_time.duration_since(span.start_time).unwrap();
        assert_eq!(lasted.as_secs_f64(), point.sum);
        let on_span = attributes(span.attributes.iter());
        for (name, value) in &point.attributes {
            assert_eq!(on_span.get(name), Some(value), "{name} on the span");
        }
        assert_eq!(on_span.get("error.type"), point.attributes.get("error.type"));
        let is_error = matches!(span.status, opentelemetry::trace::Status::Error { .. });
        let failed = on_span.get("error.type").is_some_and(|kind| kind != "cancelled");
        assert_eq!(is_error, failed, "a client that goes away is no failure of the server");
        (point.attributes.clone(), span.clone())
    }

    /// Asserts the status code and the error type of the only request.
    pub(crate) async fn assert_only(&self, status: Option<&str>, error_type: Option<&str>) {
        let (attributes, _) = self.only_request().await;
        let found = |name: &str| attributes.get(name).map(String::as_str);
        assert_eq!(found("http.response.status_code"), status);
        assert_eq!(found("error.type"), error_type);
    }
}

pub(crate) fn attributes<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for KeyValue { key, value, .. } in attributes {
        let twice = map.insert(key.to_string(), value.to_string());
        assert_eq!(twice, None, "{key} is there twice");
    }
    map
}

/// Lets other tasks run until `condition` holds; panics after a deadline.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::task::yield_now().await;
    }
}

/// A server of an axum application, stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(app: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, task }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Writes `request` on a connection of its own and reads all that comes back until it is closed.
    pub(crate) async fn send(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client of HTTP/2 on a connection of its own, which lasts as long as the client.
pub(crate) async fn http2_client(
    address: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<axum::body::Body> {
    let connection = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (client, connection) = hyper::client::conn::http2::handshake(executor, connection).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A request of HTTP/2 without a body.
pub(crate) fn http2_request(method: &str, uri: &str) -> http::Request<axum::body::Body> {
    http::Request::builder().method(method).uri(uri).body(axum::body::Body::empty()).unwrap()
}

/// Reads from `connection` until `text` has come.
pub(crate) async fn read_until(connection: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let mut buffer = [0; 1024];
    while !all.contains(text) {
        let read = connection.read(&mut buffer);
        let count = tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
        assert!(count > 0, "closed after {all:?}");
        all.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    all
}

/// What a scripted body does when it is asked for the next frame.
pub(crate) enum Step {
    Data(&'static str),
    /// Trailers, behind which there is nothing more.
    Trailers,
    /// Runs, then goes on with the next step.
    Do(Box<dyn FnOnce() + Send>),
    /// Stays pending for ever.
    Hang,
    Fail,
    Panic,
}

/// A body of unknown length that follows a script; its end is only known by asking.
pub(crate) struct Scripted(VecDeque<Step>);

impl Scripted {
    pub(crate) fn body(steps: impl IntoIterator<Item = Step>) -> axum::body::Body {
        axum::body::Body::new(Self(steps.into_iter().collect()))
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            return match self.0.pop_front() {
                Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
                Some(Step::Trailers) => {
                    let trailers = [(http::HeaderName::from_static("checksum"), http::HeaderValue::from(7))];
                    Poll::Ready(Some(Ok(Frame::trailers(trailers.into_iter().collect()))))
                }
                Some(Step::Do(act)) => {
                    act();
                    continue;
                }
                Some(Step::Hang) => {
                    self.0.push_front(Step::Hang);
                    Poll::Pending
                }
                Some(Step::Fail) => Poll::Ready(Some(Err(std::io::Error::other("scripted")))),
                Some(Step::Panic) => panic!("scripted"),
                None => Poll::Ready(None),
            };
        }
    }
}

/// A service that always fails.
#[derive(Clone)]
pub(crate) struct Failing;

impl<B> tower_service::Service<http::Request<B>> for Failing {
    type Response = http::Response<http_body_util::Empty<Bytes>>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        std::future::ready(Err(std::io::Error::other("scripted")))
    }
}

/// A service that panics before it returns a future.
#[derive(Clone)]
pub(crate) struct PanicsInCall;

impl<B> tower_service::Service<http::Request<B>> for PanicsInCall {
    type Response = http::Response<http_body_util::Empty<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        panic!("scripted")
    }
}

/// An application with one layer around `routes`.
pub(crate) async fn serve<T>(routes: Router, layer: Layer<T>) -> Server
where
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    Server::start(routes.layer(layer)).await
}

/// An application whose only route answers with a scripted body.
pub(crate) async fn serve_script(telemetry: &Telemetry, script: fn() -> Vec<Step>) -> Server {
    let routes = Router::new().route("/", get(async move || Scripted::body(script())));
    serve(routes, telemetry.layer()).await
}
