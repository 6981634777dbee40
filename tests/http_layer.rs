//! The HTTP layer over real connections: each way in which a request can end, what is measured of it, and the ids of
//! spans and logs inside it.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "http_layer/support.rs"]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header::CONTENT_LENGTH},
    routing::{get, post},
};
use opentelemetry::{
    logs::AnyValue,
    trace::{FutureExt, SpanContext, Status},
};
use opentelemetry_sdk::{
    logs::{InMemoryLogExporter, SdkLoggerProvider},
    propagation::TraceContextPropagator,
};
use pushpull::http::{Layer, Scheme};
use tokio::io::AsyncWriteExt;
use tower_layer::Layer as _;
use tracing_subscriber::layer::SubscriberExt;

use support::{Failing, PanicsInCall, Scripted, Server, Step, Telemetry, attributes, eventually, read_until};

/// An application with one layer around `routes`.
async fn serve<T>(routes: Router, layer: Layer<T>) -> Server
where
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    Server::start(routes.layer(layer)).await
}

/// An application whose only route answers with a scripted body.
async fn serve_script(telemetry: &Telemetry, script: fn() -> Vec<Step>) -> Server {
    let routes = Router::new().route("/", get(async move || Scripted::body(script())));
    serve(routes, telemetry.layer()).await
}

#[tokio::test]
async fn a_whole_request_has_all_attributes_and_one_clock() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/users/{id}", post(async |body: Bytes| body));
    let server = serve(routes, telemetry.layer()).await;
    let agent = "x".repeat(300);
    let answer = server
        .send(&format!(
            "POST /users/7?q=1 HTTP/1.1\r\nHost: test\r\nUser-Agent: {agent}\r\nConnection: close\r\n\
             Content-Length: 5\r\n\r\nhello"
        ))
        .await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");

    let (on_metric, span) = telemetry.only_request().await;
    let expected = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/users/{id}"),
        ("network.protocol.version", "1.1"),
        ("url.scheme", "http"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert!(on_metric.into_iter().eq(expected));

    let on_span = attributes(span.attributes.iter());
    assert_eq!(span.name, "POST /users/{id}");
    assert_eq!(span.status, Status::Unset);
    assert_eq!(span.dropped_attributes_count, 0);
    assert_eq!(on_span["url.path"], "/users/7");
    assert_eq!(on_span["url.query"], "q=1");
    assert_eq!(on_span["client.address"], "127.0.0.1");
    assert_eq!(on_span["user_agent.original"], "x".repeat(256));

    assert_eq!(
        telemetry.durations()[0].bounds,
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
    );
    for sizes in [telemetry.request_sizes(), telemetry.response_sizes()] {
        assert_eq!((sizes.len(), sizes[0].count, sizes[0].sum), (1, 1, 5.0));
    }
}

#[tokio::test]
async fn a_request_is_active_until_its_body_ends() {
    let telemetry = Telemetry::new();
    let go_on = Arc::new(tokio::sync::Notify::new());
    let wait = Arc::clone(&go_on);
    let handler = get(async move || {
        wait.notified().await;
        "done"
    });
    let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
    let mut connection = server.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    eventually("the request is active", || telemetry.active_now() == 1).await;
    let active = telemetry.active().into_keys().next().unwrap();
    let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(active, [of("http.request.method", "GET"), of("url.scheme", "http")]);
    assert_eq!(telemetry.ended(), 0);

    go_on.notify_one();
    read_until(&mut connection, "done").await;
    telemetry.assert_only(Some("200"), None).await;
}

#[tokio::test]
async fn a_chunked_request_body_is_counted_as_it_is_read() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/", post(async |body: Bytes| body.len().to_string()));
    let server = serve(routes, telemetry.layer()).await;
    let answer = server
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
             6\r\nchunk-\r\n3\r\nend\r\n0\r\n\r\n",
        )
        .await;
    assert!(answer.ends_with("\r\n\r\n9"), "{answer}");
    telemetry.assert_only(Some("200"), None).await;
    assert_eq!(telemetry.request_sizes()[0].sum, 9.0);
}

#[tokio::test]
async fn statuses_and_routes_are_those_that_matched() {
    let telemetry = Telemetry::new();
    let nested = Router::new().route("/b/{id}", get(async || "b"));
    let routes = Router::new()
        .route("/a", get(async || "a"))
        .route("/fails", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .nest("/nested", nested)
        .nest_service("/inner", Router::new().route("/c", get(async || "c")));
    let server = serve(routes, telemetry.layer()).await;
    let sent = [
        ("GET", "/a", "GET /a", Some("/a"), "200"),
        ("POST", "/a", "POST /a", Some("/a"), "405"),
        ("BREW", "/a", "HTTP /a", Some("/a"), "405"),
        ("GET", "/absent/1234", "GET", None, "404"),
        ("get", "/absent/1234", "HTTP", None, "404"),
        ("GET", "/nested/b/9", "GET /nested/b/{id}", Some("/nested/b/{id}"), "200"),
        ("GET", "/nested/absent", "GET", None, "404"),
        ("GET", "/inner/c", "GET", None, "200"),
        ("GET", "/fails", "GET /fails", Some("/fails"), "503"),
    ];
    for (done, (method, path, name, route, status)) in sent.into_iter().enumerate() {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        server.send(&request).await;
        telemetry.settled(done as u64 + 1).await;
        let span = telemetry.server_spans().pop().unwrap();
        assert_eq!(span.name, name);
        let on_span = attributes(span.attributes.iter());
        let found = |key: &str| on_span.get(key).map(String::as_str);
        let label = if name.starts_with("HTTP") { "_OTHER" } else { method };
        assert_eq!(found("http.request.method"), Some(label));
        let original = (label == "_OTHER").then_some(method);
        assert_eq!(found("http.request.method_original"), original);
        assert_eq!(found("http.route"), route, "{path}");
        assert_eq!(found("http.response.status_code"), Some(status));
        let failed = status.starts_with('5');
        assert_eq!(found("error.type"), failed.then_some(status));
        assert_eq!(span.status != Status::Unset, failed);
        assert!(telemetry.durations().iter().any(|point| {
            let on_metric = |key: &str| point.attributes.get(key).map(String::as_str);
            on_metric("http.request.method") == Some(label)
                && on_metric("http.route") == route
                && on_metric("http.response.status_code") == Some(status)
                && on_metric("error.type") == failed.then_some(status)
        }));
    }
}

#[tokio::test]
async fn head_has_no_body_and_is_complete() {
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, || vec![Step::Data("never sent"), Step::Hang]).await;
    let answer = server.send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    telemetry.assert_only(Some("200"), None).await;
    assert_eq!(telemetry.response_sizes()[0].sum, 0.0);
}

#[tokio::test]
async fn a_status_without_body_is_complete() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let telemetry = Telemetry::new();
        let handler = get(async move || (status, Scripted::body([Step::Hang])));
        let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
        server.get("/").await;
        telemetry.assert_only(Some(status.as_str()), None).await;
    }
}

#[tokio::test]
async fn an_empty_body_is_complete() {
    let telemetry = Telemetry::new();
    let server = serve(Router::new().route("/", get(async || ())), telemetry.layer()).await;
    server.get("/").await;
    telemetry.assert_only(Some("200"), None).await;
    assert_eq!(telemetry.response_sizes()[0].sum, 0.0);
    assert_eq!(telemetry.request_sizes()[0].sum, 0.0);
}

#[tokio::test]
async fn a_streamed_body_is_complete_at_its_end_on_every_version() {
    for version in ["1.0", "1.1"] {
        let telemetry = Telemetry::new();
        let server = serve_script(&telemetry, || vec![Step::Data("one,"), Step::Data("two")]).await;
        let answer =
            server.send(&format!("GET / HTTP/{version}\r\nHost: test\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains("one,") && answer.contains("two"), "{answer}");
        telemetry.assert_only(Some("200"), None).await;
        let (on_metric, _) = telemetry.only_request().await;
        assert_eq!(on_metric["network.protocol.version"], version);
        assert_eq!(telemetry.response_sizes()[0].sum, 7.0);
    }
}

#[tokio::test]
async fn a_body_that_met_its_content_length_is_complete() {
    let telemetry = Telemetry::new();
    let handler = get(async || {
        let body = Scripted::body([Step::Data("12345"), Step::Hang]);
        ([(CONTENT_LENGTH, "5")], body)
    });
    let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
    let answer = server.get("/").await;
    assert!(answer.ends_with("12345"), "{answer}");
    telemetry.assert_only(Some("200"), None).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_headers_has_cancelled() {
    let telemetry = Telemetry::new();
    let handler = get(async || std::future::pending::<()>().await);
    let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
    let mut connection = server.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    eventually("the request is active", || telemetry.active_now() == 1).await;
    drop(connection);
    telemetry.assert_only(None, Some("cancelled")).await;
    assert!(telemetry.response_sizes().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_body_has_cancelled() {
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, || vec![Step::Data("begin"), Step::Hang]).await;
    let mut connection = server.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut connection, "begin").await;
    assert_eq!((telemetry.ended(), telemetry.active_now()), (0, 1));
    drop(connection);
    telemetry.assert_only(Some("200"), Some("cancelled")).await;
    assert_eq!(telemetry.response_sizes()[0].sum, 5.0);
}

#[tokio::test]
async fn a_handler_that_panics_is_a_panic() {
    let telemetry = Telemetry::new();
    let handler = get(async || {
        if true {
            panic!("scripted");
        }
    });
    let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
    assert_eq!(server.get("/").await, "");
    telemetry.assert_only(None, Some("panic")).await;
}

#[tokio::test]
async fn a_body_that_panics_is_a_panic() {
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, || vec![Step::Data("begin"), Step::Panic]).await;
    server.get("/").await;
    telemetry.assert_only(Some("200"), Some("panic")).await;
}

#[tokio::test]
async fn a_body_that_fails_is_a_body_error() {
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, || vec![Step::Data("begin"), Step::Fail]).await;
    server.get("/").await;
    telemetry.assert_only(Some("200"), Some("body_error")).await;
}

#[tokio::test]
async fn a_request_that_a_time_out_outside_drops_is_cancelled() {
    let telemetry = Telemetry::new();
    let handler = get(async || std::future::pending::<()>().await);
    let timed_out = async |request, next: axum::middleware::Next| {
        let limit = std::time::Duration::from_millis(1);
        let result = tokio::time::timeout(limit, next.run(request)).await;
        result.map_err(|_| StatusCode::GATEWAY_TIMEOUT)
    };
    let routes = Router::new()
        .route("/", handler)
        .layer(telemetry.layer())
        .layer(axum::middleware::from_fn(timed_out));
    let server = Server::start(routes).await;
    assert!(server.get("/").await.starts_with("HTTP/1.1 504"));
    telemetry.assert_only(None, Some("cancelled")).await;
}

#[tokio::test]
async fn pipelined_requests_are_counted_one_by_one() {
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, || vec![Step::Data("x"), Step::Data("y")]).await;
    let keep = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answer = server.send(&format!("{keep}{keep}{close}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3);
    telemetry.settled(3).await;
    assert_eq!(telemetry.server_spans().len(), 3);
    assert_eq!(telemetry.durations().len(), 1);
}

/// Serves one HTTP/1 connection with a service that is not axum's; returns what the client was answered.
async fn answer_of<S>(service: S) -> String
where
    S: tower_service::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<pushpull::http::ResponseBody<http_body_util::Empty<Bytes>>>,
        > + Clone
        + Send
        + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
{
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(service);
        let connection = hyper_util::rt::TokioIo::new(connection);
        let server = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ = server.serve_connection(connection, service).await;
    });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut client, &mut answer);
    tokio::time::timeout(support::DEADLINE, read).await.unwrap().unwrap();
    let _ = served.await;
    answer
}

#[tokio::test]
async fn a_handler_that_fails_is_a_handler_error() {
    let telemetry = Telemetry::new();
    assert_eq!(answer_of(telemetry.layer().layer(Failing)).await, "");
    telemetry.assert_only(None, Some("handler_error")).await;
}

#[tokio::test]
async fn a_service_that_panics_in_its_call_is_a_panic() {
    let telemetry = Telemetry::new();
    assert_eq!(answer_of(telemetry.layer().layer(PanicsInCall)).await, "");
    telemetry.assert_only(None, Some("panic")).await;
}

#[tokio::test]
async fn http2_streams_end_by_themselves() {
    let telemetry = Telemetry::new();
    let routes = Router::new()
        .route("/whole", get(async || "whole"))
        .route("/hangs", get(async || Scripted::body([Step::Data("begin"), Step::Hang])))
        .route("/panics", get(async || Scripted::body([Step::Panic])))
        .route("/upload", post(async |body: Bytes| body.len().to_string()));
    let server = serve(routes, telemetry.layer()).await;
    let connection = hyper_util::rt::TokioIo::new(server.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, connection).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |method: &str, path: &str, body: Body| {
        let uri = format!("http://test{path}");
        http::Request::builder().method(method).uri(uri).body(body).unwrap()
    };

    // The stream that hangs is reset when the client drops the response; the others are not touched by it.
    let hangs = client.send_request(request("GET", "/hangs", Body::empty())).await.unwrap();
    let whole = client.send_request(request("GET", "/whole", Body::empty())).await.unwrap();
    let whole = http_body_util::BodyExt::collect(whole.into_body()).await.unwrap();
    assert_eq!(whole.to_bytes(), "whole");
    eventually("the whole one has ended", || telemetry.ended() == 1).await;
    assert_eq!(telemetry.active_now(), 1);
    drop(hangs);
    eventually("the reset has ended its request", || telemetry.ended() == 2).await;
    let panics = client.send_request(request("GET", "/panics", Body::empty())).await;
    assert!(match panics {
        Ok(response) => http_body_util::BodyExt::collect(response.into_body()).await.is_err(),
        Err(_) => true,
    });
    let upload = Scripted::body([Step::Data("four"), Step::Data("five.")]);
    let upload = client.send_request(request("POST", "/upload", upload)).await.unwrap();
    assert_eq!(upload.status(), 200);
    telemetry.settled(4).await;

    let ended_as = |route: &str| {
        let durations = telemetry.durations();
        let mut points = durations.into_iter().filter(|point| point.attributes["http.route"] == route);
        points.next().unwrap().attributes.remove("error.type")
    };
    assert_eq!(ended_as("/hangs").as_deref(), Some("cancelled"));
    assert_eq!(ended_as("/panics").as_deref(), Some("panic"));
    assert_eq!(ended_as("/upload"), None);
    assert!(telemetry.durations().iter().all(|point| point.attributes["network.protocol.version"] == "2"));
    let sizes = telemetry.request_sizes();
    assert!(sizes.iter().any(|point| point.sum == 9.0), "{sizes:?}");
    connection.abort();
}

#[tokio::test]
async fn routes_are_left_out_of_metrics_and_of_traces_apart() {
    let telemetry = Telemetry::new();
    let routes = || {
        Router::new()
            .route("/", get(async || "counted"))
            .route("/metrics", get(async || "scrape"))
            .route("/metrics/", get(async || "scrape"))
            .route("/health", get(async || "well"))
    };
    let server = serve(routes(), telemetry.layer()).await;
    for path in ["/metrics", "/metrics/", "/"] {
        server.get(path).await;
    }
    telemetry.settled(1).await;
    assert_eq!(telemetry.durations()[0].attributes["http.route"], "/");
    let names = |telemetry: &Telemetry| -> Vec<_> {
        telemetry.server_spans().into_iter().map(|span| span.name.into_owned()).collect()
    };
    assert_eq!(names(&telemetry), ["GET /metrics", "GET /metrics/", "GET /"]);

    let telemetry = Telemetry::new();
    let layer =
        telemetry.layer().without_metrics_for(&["/health"]).without_traces_for(&["/metrics", "/health"]);
    let server = serve(routes(), layer).await;
    for path in ["/metrics", "/health", "/"] {
        server.get(path).await;
    }
    telemetry.settled(2).await;
    assert_eq!(names(&telemetry), ["GET /"]);
    let counted: Vec<_> = telemetry
        .durations()
        .into_iter()
        .map(|mut point| point.attributes.remove("http.route").unwrap())
        .collect();
    assert!(counted.contains(&"/".to_owned()) && counted.contains(&"/metrics".to_owned()), "{counted:?}");
}

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

#[tokio::test]
async fn more_routes_than_are_remembered_are_still_counted() {
    let telemetry = Telemetry::new();
    let mut routes = Router::new();
    for n in 0..1_100 {
        routes = routes.route(&format!("/{n}"), get(async || "x"));
    }
    let server = serve(routes, telemetry.layer()).await;
    for round in 1..=2 {
        let mut requests = String::new();
        for n in 0..1_100 {
            let close = if n == 1_099 { "Connection: close\r\n" } else { "" };
            requests.push_str(&format!("GET /{n} HTTP/1.1\r\nHost: test\r\n{close}\r\n"));
        }
        let answer = server.send(&requests).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1_100);
        telemetry.settled(1_100 * round).await;
    }
    let durations = telemetry.durations();
    assert_eq!(durations.len(), 1_100);
    assert!(durations.iter().all(|point| point.count == 2));
    assert_eq!(telemetry.server_spans().len(), 2_200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_connections_lose_no_count() {
    let telemetry = Telemetry::new();
    let routes =
        Router::new().route("/a", get(async || "a")).route("/b/{id}", get(async || StatusCode::BAD_GATEWAY));
    let server = Arc::new(serve(routes, telemetry.layer()).await);
    let clients: Vec<_> = (0..20)
        .map(|n| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                for path in ["/a", "/b/1", "/absent"].repeat(5) {
                    assert!(server.get(path).await.starts_with("HTTP/1.1"), "{n}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    telemetry.settled(300).await;
    let durations = telemetry.durations();
    assert_eq!(durations.len(), 3);
    assert!(durations.iter().all(|point| point.count == 100), "{durations:?}");
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

#[tokio::test]
async fn credentials_in_a_query_stay_out_of_the_span() {
    let telemetry = Telemetry::new();
    let server = serve(Router::new().route("/", get(async || "")), telemetry.layer()).await;
    server.get("/?q=1&sig=secret&X-Amz-Signature=secret").await;
    let (_, span) = telemetry.only_request().await;
    let query = &attributes(span.attributes.iter())["url.query"];
    assert_eq!(query, "q=1&sig=REDACTED&X-Amz-Signature=REDACTED");
}

/// A request in absolute form and with every header in which a proxy tells for whom it forwards.
const FORWARDED: &str = "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\
    Forwarded: for=192.0.2.7;proto=https\r\nX-Forwarded-For: 192.0.2.8\r\nX-Forwarded-Proto: https\r\n\r\n";

#[tokio::test]
async fn no_header_makes_a_scheme_or_an_address_unless_a_proxy_is_trusted() {
    for (trusted, scheme, client) in [(false, "http", "127.0.0.1"), (true, "https", "192.0.2.7")] {
        let telemetry = Telemetry::new();
        let layer = telemetry.layer().trusting_proxies(move |address| trusted && address.is_loopback());
        let server = serve(Router::new().route("/", get(async || "")), layer).await;
        server.send(FORWARDED).await;
        let (on_metric, span) = telemetry.only_request().await;
        assert_eq!(on_metric["url.scheme"], scheme);
        assert_eq!(attributes(span.attributes.iter())["client.address"], client);
    }
}

#[tokio::test]
async fn the_scheme_is_that_of_the_connection() {
    let telemetry = Telemetry::new();
    let layer = telemetry.layer().with_scheme(Scheme::Https);
    let server = serve(Router::new().route("/", get(async || "")), layer).await;
    server.get("/").await;
    assert_eq!(telemetry.only_request().await.0["url.scheme"], "https");
}

#[tokio::test]
async fn baggage_reaches_the_handler_and_no_metric() {
    use opentelemetry::{Context, baggage::BaggageExt as _, propagation::TextMapCompositePropagator};
    use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

    let telemetry = Telemetry::new();
    let propagator = TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]);
    let tenant =
        async || Context::map_current(|context| context.baggage().get("tenant").map(ToString::to_string));
    let handler = get(async move || tenant().await.unwrap_or_default());
    let layer = telemetry.layer().with_propagator(Arc::new(propagator));
    let server = serve(Router::new().route("/", handler), layer).await;
    let answer = server
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nBaggage: tenant=blue\r\n\r\n")
        .await;
    assert!(answer.ends_with("\r\n\r\nblue"), "{answer}");
    assert!(telemetry.only_request().await.0.values().all(|value| value != "blue"));
}
