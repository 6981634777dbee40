//! The usual set, as tutorials put it together: tower-http's `TraceLayer` with tracing-opentelemetry, a middleware
//! that records three instruments, and two readers, one for the scrape and one for the push.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Response},
    middleware::{Next, from_fn_with_state},
};
use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, MeterProvider as _, UpDownCounter},
    propagation::Extractor,
};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::SdkTracerProvider,
};
use prometheus::{Registry, TextEncoder};
use tower_http::trace::TraceLayer;
use tracing::{Level, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::pipeline;

/// `app` with all of it; metrics are pushed to `sink`.
pub(crate) fn around(app: Router, tracers: &SdkTracerProvider, sink: SocketAddr) -> Router {
    let _entered = pipeline::runtime().enter();
    let exporter = MetricExporter::builder().with_tonic().with_endpoint(format!("http://{sink}")).build();
    let push = PeriodicReader::builder(exporter.unwrap()).with_interval(Duration::from_secs(2)).build();
    let registry = Registry::new();
    let pull = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build();
    let meters = SdkMeterProvider::builder().with_reader(push).with_reader(pull.unwrap()).build();
    let instruments = Instruments::new(&meters);
    global::set_meter_provider(meters);
    pipeline::scrape_each_second(move || TextEncoder::new().encode_to_string(&registry.gather()).unwrap());

    pipeline::trace_by_tracing(tracers, "http_bench", Level::INFO);
    let trace = TraceLayer::new_for_http().make_span_with(span).on_response(
        |response: &Response<_>, _: Duration, span: &Span| {
            span.record("http.response.status_code", i64::from(response.status().as_u16()));
        },
    );
    app.layer(from_fn_with_state(instruments, measure)).layer(trace)
}

#[derive(Clone, Debug)]
struct Instruments {
    active: UpDownCounter<i64>,
    duration: Histogram<f64>,
    response_size: Histogram<u64>,
}

impl Instruments {
    fn new(meters: &SdkMeterProvider) -> Self {
        let meter = meters.meter("usual");
        Self {
            active: meter.i64_up_down_counter("http.server.active_requests").build(),
            duration: meter.f64_histogram("http.server.request.duration").with_unit("s").build(),
            response_size: meter.u64_histogram("http.server.response.body.size").with_unit("By").build(),
        }
    }
}

async fn measure(
    State(instruments): State<Instruments>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    let start = Instant::now();
    let method = KeyValue::new("http.request.method", request.method().to_string());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    instruments.active.add(1, std::slice::from_ref(&method));
    let response = next.run(request).await;
    instruments.active.add(-1, std::slice::from_ref(&method));
    let attributes = [
        method,
        KeyValue::new("http.route", route.unwrap_or_default()),
        KeyValue::new("http.response.status_code", i64::from(response.status().as_u16())),
    ];
    instruments.duration.record(start.elapsed().as_secs_f64(), &attributes);
    if let Some(bytes) = axum::body::HttpBody::size_hint(response.body()).exact() {
        instruments.response_size.record(bytes, &attributes);
    }
    response
}

fn span<B>(request: &axum::http::Request<B>) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = info_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route,
        url.path = request.uri().path(),
        http.response.status_code = Empty,
    );
    let parent =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(request.headers())));
    // Refused only where the span was entered before or is not traced.
    let _ = span.set_parent(parent);
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
