//! Each way in which a request can end, and what is measured of it.

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_LENGTH},
    routing::{get, post},
};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tower_layer::Layer as _;

use crate::support::*;

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

/// The client cannot tell it from a connection that broke, and so it is no answer.
#[tokio::test]
async fn a_body_that_is_short_of_its_content_length_is_a_body_error() {
    for (script, sent) in [
        ((|| vec![Step::Data("12"), Step::Data("34")]) as fn() -> Vec<Step>, 4.0),
        (|| vec![Step::Data("12"), Step::Trailers], 2.0),
        (Vec::new, 0.0),
    ] {
        let telemetry = Telemetry::new();
        let handler = get(async move || ([(CONTENT_LENGTH, "5")], Scripted::body(script())));
        let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
        server.get("/").await;
        telemetry.assert_only(Some("200"), Some("body_error")).await;
        assert_eq!(telemetry.response_sizes()[0].sum, sent);
    }
    for status in [StatusCode::OK, StatusCode::NOT_MODIFIED] {
        let telemetry = Telemetry::new();
        let handler = get(async move || (status, [(CONTENT_LENGTH, "5")], axum::body::Body::empty()));
        let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
        let answer = server.get("/").await;
        let failed = (status == StatusCode::OK).then_some("body_error");
        telemetry.assert_only(Some(status.as_str()), failed).await;
        assert!(!answer.ends_with("12345"), "{answer}");
        // What has no body is not short of it.
        let telemetry = Telemetry::new();
        let handler =
            axum::routing::any(async move || (status, [(CONTENT_LENGTH, "5")], axum::body::Body::empty()));
        let server = serve(Router::new().route("/", handler), telemetry.layer()).await;
        server.send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
        telemetry.assert_only(Some(status.as_str()), None).await;
    }
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
    tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
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

/// Panics when dropped.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("scripted");
    }
}

#[tokio::test]
async fn a_drop_that_panics_is_a_panic() {
    let telemetry = Telemetry::new();
    let handler = get(async || {
        let _dropped = PanicsInDrop;
        std::future::pending::<()>().await;
    });
    let body = get(async || {
        let dropped = PanicsInDrop;
        Scripted::body([Step::Data("begin"), Step::Hang, Step::Do(Box::new(move || drop(dropped)))])
    });
    let server =
        serve(Router::new().route("/handler", handler).route("/body", body), telemetry.layer()).await;
    for (path, ended) in [("/handler", 1), ("/body", 2)] {
        let mut connection = server.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        eventually("the request is active", || telemetry.active_now() == 1).await;
        if path == "/body" {
            read_until(&mut connection, "begin").await;
        }
        drop(connection);
        telemetry.settled(ended).await;
    }
    let durations = telemetry.durations();
    assert_eq!(durations.len(), 2);
    assert!(durations.iter().all(|point| point.attributes["error.type"] == "panic"), "{durations:?}");
}

/// The future of a request that waits for ever, polled once.
fn waiting(telemetry: &Telemetry) -> std::pin::Pin<Box<impl Future<Output = ()> + use<>>> {
    let routes = Router::new().route("/", get(async || std::future::pending::<()>().await));
    let mut router = routes.layer(telemetry.layer());
    let mut future = Box::pin(async move {
        let request = http::Request::new(axum::body::Body::empty());
        tower_service::Service::call(&mut router, request).await.unwrap();
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    future
}

#[tokio::test]
async fn a_request_that_anothers_panic_drops_is_cancelled() {
    let telemetry = Telemetry::new();
    let future = waiting(&telemetry);
    assert_eq!(telemetry.active_now(), 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _dropped_by_the_unwinding = future;
        panic!("scripted");
    }));
    assert!(panicked.is_err());
    telemetry.assert_only(None, Some("cancelled")).await;
}

#[tokio::test]
async fn a_panic_that_is_caught_outside_is_still_a_panic() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route(
        "/",
        get(async || {
            if true {
                panic!("scripted");
            }
        }),
    );
    let mut router = routes.layer(telemetry.layer());
    let mut future = Box::pin(async move {
        let request = http::Request::new(axum::body::Body::empty());
        tower_service::Service::call(&mut router, request).await.map(drop)
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        future.as_mut().poll(&mut context).is_ready()
    }));
    assert!(polled.is_err());
    drop(future);
    telemetry.assert_only(None, Some("panic")).await;
}

/// A meter and a tracer whose exporters panic, as an overflow in a debug build does.
#[derive(Debug)]
struct PanicsAtTheEnd;

impl opentelemetry_sdk::trace::SpanProcessor for PanicsAtTheEnd {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, _: opentelemetry_sdk::trace::SpanData) {
        panic!("scripted");
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

/// Where the handler panics too, a panic out of the guard's drop would end the process.
#[tokio::test]
async fn a_tracer_that_panics_at_the_end_takes_nothing_with_it() {
    let telemetry = Telemetry::new();
    let provider =
        opentelemetry_sdk::trace::SdkTracerProvider::builder().with_span_processor(PanicsAtTheEnd).build();
    let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "test");
    let routes = Router::new().route("/fine", get(async || "fine")).route(
        "/panics",
        get(async || {
            if true {
                panic!("scripted");
            }
        }),
    );
    let server = serve(routes, telemetry.layer_with(tracer)).await;
    assert_eq!(server.get("/panics").await, "");
    assert!(server.get("/fine").await.ends_with("fine"));
    telemetry.settled(2).await;
}
