//! The context in which a request runs: its parent, its baggage, and the ids of spans and logs inside it.

use axum::{Router, routing::get};
use opentelemetry::{
    Context,
    baggage::BaggageExt,
    logs::AnyValue,
    propagation::TextMapCompositePropagator,
    trace::{FutureExt, SpanContext},
};
use opentelemetry_sdk::{
    logs::{InMemoryLogExporter, SdkLoggerProvider},
    propagation::{BaggagePropagator, TraceContextPropagator},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use tokio::io::AsyncWriteExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::*;

#[tokio::test]
async fn the_parent_is_the_callers_span_with_a_propagator_only() {
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                   traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    for propagates in [true, false] {
        let telemetry = Telemetry::new();
        let mut layer = telemetry.layer();
        if propagates {
            layer = layer.with_propagator(Arc::new(TraceContextPropagator::new()));
        }
        let server = serve(Router::new().route("/", get(async || "")), layer).await;
        server.send(request).await;
        let (_, span) = telemetry.only_request().await;
        let trace = span.span_context.trace_id().to_string();
        assert_eq!(trace == "0af7651916cd43dd8448eb211c80319c", propagates);
        assert_eq!(span.parent_span_id.to_string() == "b7ad6b7169203331", propagates);
        assert_eq!(span.parent_span_is_remote, propagates);
    }
}

/// Several headers of a list's name are one list; two parents are none.
#[tokio::test]
async fn lists_of_several_headers_are_one_list() {
    const PARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    for (parents, state, entries) in
        [(PARENT.to_owned(), "a=1,b=2,c=3", "x=1,y=2"), (PARENT.repeat(2), "", "x=1,y=2")]
    {
        let telemetry = Telemetry::new();
        let seen = Arc::new(Mutex::new(String::new()));
        let sees = Arc::clone(&seen);
        let handler = get(async move || *sees.lock().unwrap() = baggage());
        let layer = telemetry.layer().with_propagator(Arc::new(TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ])));
        let server = serve(Router::new().route("/", handler), layer).await;
        let headers = format!(
            "{parents}tracestate: a=1\r\nbaggage: x=1\r\ntracestate: \r\ntracestate: b=2,c=3\r\nbaggage: y=2\r\n"
        );
        server.send(&format!("GET / HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n")).await;
        let (_, span) = telemetry.only_request().await;
        assert_eq!(span.span_context.trace_state().header(), state);
        assert_eq!(span.parent_span_is_remote, !state.is_empty());
        assert_eq!(*seen.lock().unwrap(), entries);
    }
}

/// Where the tests of ids put a span and a log: each is named after the place.
fn span_and_log(place: &'static str) {
    let span = tracing::info_span!("work", otel.name = place);
    span.in_scope(|| tracing::info!(name: "done", "{place}"));
    tracing::info!(name: "beside", "beside {place}");
}

/// Reports on drop, as the drop of a handler's or a body's state may.
struct ReportsDrop(&'static str);

impl Drop for ReportsDrop {
    fn drop(&mut self) {
        span_and_log(self.0);
    }
}

#[tokio::test]
async fn spans_and_logs_inside_carry_the_requests_ids() {
    let telemetry = Telemetry::new();
    let logs = InMemoryLogExporter::default();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(logs.clone()).build();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(telemetry.tracer()))
        .with(opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge::new(&loggers));
    let _installed = tracing::subscriber::set_default(subscriber);

    let handler = get(async || {
        span_and_log("handler");
        let dropped = ReportsDrop("handler's drop");
        tokio::task::yield_now().await;
        span_and_log("handler, resumed");
        drop(dropped);
        let spawned = async { span_and_log("spawned") }.with_current_context();
        tokio::spawn(spawned).await.unwrap();
        let held = ReportsDrop("body's drop");
        Scripted::body([
            Step::Data("one"),
            Step::Do(Box::new(|| span_and_log("body"))),
            Step::Data("two"),
            Step::Do(Box::new(move || drop(held))),
        ])
    });
    let left = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&left);
    let cancelled = get(async move || {
        let _dropped = ReportsDrop("cancelled handler");
        waits.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await
    });
    let hangs = get(async || {
        let held = ReportsDrop("cancelled body");
        let never = Step::Do(Box::new(move || drop(held)));
        Scripted::body([Step::Data("begin"), Step::Hang, never])
    });
    let routes = Router::new().route("/", handler).route("/cancelled", cancelled).route("/hangs", hangs);
    let server = serve(routes, telemetry.layer()).await;
    server.get("/").await;
    telemetry.settled(1).await;

    let mut connection = server.connect().await;
    let request = "GET /cancelled HTTP/1.1\r\nHost: test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    eventually("the handler waits", || left.load(Ordering::Relaxed)).await;
    drop(connection);
    telemetry.settled(2).await;
    let mut connection = server.connect().await;
    let request = "GET /hangs HTTP/1.1\r\nHost: test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut connection, "begin").await;
    drop(connection);
    telemetry.settled(3).await;

    let spans = telemetry.spans();
    let request_of = |route: &str| -> SpanContext {
        let name = format!("GET {route}");
        let span = spans.iter().find(|span| span.name == name).unwrap();
        span.span_context.clone()
    };
    let logs = logs.get_emitted_logs().unwrap();
    let ids_of_log = |text: &str| {
        let has_text = |body: &AnyValue| matches!(body, AnyValue::String(body) if body.as_str() == text);
        let log = logs.iter().find(|log| log.record.body().is_some_and(has_text));
        let context = log.unwrap().record.trace_context().expect(text);
        (context.trace_id, context.span_id)
    };
    let places = [
        ("/", "handler"),
        ("/", "handler, resumed"),
        ("/", "handler's drop"),
        ("/", "spawned"),
        ("/", "body"),
        ("/", "body's drop"),
        ("/cancelled", "cancelled handler"),
        ("/hangs", "cancelled body"),
    ];
    for (route, place) in places {
        let request = request_of(route);
        let span = spans.iter().find(|span| span.name == place).expect(place);
        assert_eq!(span.span_context.trace_id(), request.trace_id(), "{place}");
        assert_eq!(span.parent_span_id, request.span_id(), "{place}");
        let inside = (request.trace_id(), span.span_context.span_id());
        assert_eq!(ids_of_log(place), inside, "{place}");
        let beside = (request.trace_id(), request.span_id());
        assert_eq!(ids_of_log(&format!("beside {place}")), beside, "{place}");
    }
    assert_eq!(spans.len(), places.len() + 3);
}

/// The baggage that is current, as one text.
fn baggage() -> String {
    let mut entries: Vec<_> = Context::map_current(|context| {
        context.baggage().iter().map(|(key, (value, _))| format!("{key}={value}")).collect()
    });
    entries.sort();
    entries.join(",")
}

#[tokio::test]
async fn baggage_reaches_the_handler_and_the_body_with_a_propagator_only() {
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                   traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                   baggage: tenant=blue,region=eu%20west;ttl=3,plan=free\r\n\r\n";
    for propagates in [true, false] {
        let telemetry = Telemetry::new();
        let mut layer = telemetry.layer();
        if propagates {
            layer = layer.with_propagator(Arc::new(TextMapCompositePropagator::new(vec![
                Box::new(TraceContextPropagator::new()),
                Box::new(BaggagePropagator::new()),
            ])));
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let handler = get(async move || {
            sees.lock().unwrap().push(baggage());
            tokio::task::yield_now().await;
            sees.lock().unwrap().push(baggage());
            let spawned = async { baggage() }.with_current_context();
            let spawned = tokio::spawn(spawned).await.unwrap();
            sees.lock().unwrap().push(spawned);
            let sees = Arc::clone(&sees);
            let in_body = Step::Do(Box::new(move || sees.lock().unwrap().push(baggage())));
            Scripted::body([Step::Data("begin"), in_body])
        });
        let server = serve(Router::new().route("/", handler), layer).await;
        server.send(request).await;
        let (on_metric, span) = telemetry.only_request().await;
        let expected = if propagates { "plan=free,region=eu west,tenant=blue" } else { "" };
        assert_eq!(*seen.lock().unwrap(), [expected; 4]);
        let trace = span.span_context.trace_id().to_string();
        assert_eq!(trace == "0af7651916cd43dd8448eb211c80319c", propagates);
        // Baggage is for the handler; it is no attribute of anything by itself.
        let of_baggage = |key: &str| ["tenant", "region", "plan"].iter().any(|name| key.contains(name));
        let on_span = attributes(span.attributes.iter());
        assert!(
            on_metric.keys().chain(on_span.keys()).all(|key| !of_baggage(key)),
            "{on_metric:?} {on_span:?}"
        );
    }
}
