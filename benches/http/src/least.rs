//! The least that any layer can do with the SDK in its path: a span with the attributes that the conventions require,
//! and the four instruments, all bound beforehand.
//!
//! It is no layer that one could use: everything it says of a request is known before the first one, nothing is current
//! while the request is served, no parent is looked for, and the request ends with the response's head.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use axum::{Router, extract::Request, response::Response, routing::Route};
use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, BoundUpDownCounter, Meter},
    trace::{Span as _, SpanBuilder, SpanKind, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tower_service::Service;

/// `app` with it.
pub(crate) fn around(app: Router, meter: &Meter, tracer: SdkTracer) -> Router {
    app.layer(Layer(Arc::new(Known::new(meter, tracer))))
}

#[derive(Clone, Debug)]
struct Layer(Arc<Known>);

#[derive(Debug)]
struct Known {
    tracer: SdkTracer,
    attributes: Vec<KeyValue>,
    active: BoundUpDownCounter<i64>,
    duration: BoundHistogram<f64>,
    request_size: BoundHistogram<u64>,
    response_size: BoundHistogram<u64>,
}

impl Known {
    fn new(meter: &Meter, tracer: SdkTracer) -> Self {
        let attributes = vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("http.route", "/users/{id}"),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("url.path", "/users/42"),
            KeyValue::new("user_agent.original", "bench/1.0"),
            KeyValue::new("http.response.status_code", 200),
        ];
        let measured = &attributes[..4];
        Self {
            active: meter.i64_up_down_counter("http.server.active_requests").build().bind(&attributes[..2]),
            duration: meter.f64_histogram("http.server.request.duration").build().bind(measured),
            request_size: meter.u64_histogram("http.server.request.body.size").build().bind(measured),
            response_size: meter.u64_histogram("http.server.response.body.size").build().bind(measured),
            tracer,
            attributes,
        }
    }
}

impl tower_layer::Layer<Route> for Layer {
    type Service = Least;

    fn layer(&self, inner: Route) -> Least {
        Least { inner, known: Arc::clone(&self.0) }
    }
}

#[derive(Clone, Debug)]
struct Least {
    inner: Route,
    known: Arc<Known>,
}

impl Service<Request> for Least {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request) -> Answer {
        let known = Arc::clone(&self.known);
        let (started, started_at) = (Instant::now(), SystemTime::now());
        known.active.add(1);
        let builder = SpanBuilder {
            span_kind: Some(SpanKind::Server),
            name: "GET /users/{id}".into(),
            start_time: Some(started_at),
            attributes: Some(known.attributes.clone()),
            ..SpanBuilder::default()
        };
        let span = known.tracer.build_with_context(builder, &opentelemetry::Context::new());
        Answer { inner: self.inner.call(request), known, span, started, started_at }
    }
}

struct Answer {
    inner: <Route as Service<Request>>::Future,
    known: Arc<Known>,
    span: Span,
    started: Instant,
    started_at: SystemTime,
}

impl Future for Answer {
    type Output = Result<Response, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.inner).poll(cx);
        if polled.is_ready() {
            let duration = self.started.elapsed();
            self.known.active.add(-1);
            self.known.duration.record(duration.as_secs_f64());
            self.known.request_size.record(0);
            self.known.response_size.record(13);
            let ended_at = self.started_at + duration;
            self.span.end_with_timestamp(ended_at);
        }
        polled
    }
}
