//! Which route a request is counted under, and which routes are not counted.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Router, http::StatusCode, routing::get};
use opentelemetry::trace::Status;

use crate::support::*;

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

/// A router for nesting.
fn inner() -> Router {
    Router::new().route("/", get(async || "root")).route("/leaf/{id}", get(async || "leaf"))
}

/// Asserts that each of the requests, given by method and path, is counted under a route and a status.
async fn assert_routes(telemetry: &Telemetry, server: &Server, sent: &[(&str, &str, Option<&str>, &str)]) {
    let mut done = telemetry.ended();
    for (method, path, route, status) in sent {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let answer = server.send(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        done += 1;
        telemetry.settled(done).await;
        let span = telemetry.server_spans().pop().unwrap();
        let on_span = attributes(span.attributes.iter());
        assert_eq!(on_span.get("http.route").map(String::as_str), *route, "{method} {path}");
        assert_eq!(on_span["http.response.status_code"], *status, "{method} {path}");
        let name = route.map_or((*method).to_owned(), |route| format!("{method} {route}"));
        assert_eq!(span.name, name, "{method} {path}");
    }
    // The metrics have the same series, and none besides them.
    let expected: BTreeSet<_> =
        telemetry.server_spans().iter().map(|span| on_metric(attributes(span.attributes.iter()))).collect();
    let found: BTreeSet<_> =
        telemetry.durations().into_iter().map(|point| on_metric(point.attributes)).collect();
    assert_eq!(found, expected);
}

/// What tells the series of these tests apart.
fn on_metric(mut attributes: BTreeMap<String, String>) -> [Option<String>; 3] {
    ["http.request.method", "http.route", "http.response.status_code"].map(|key| attributes.remove(key))
}

#[tokio::test]
async fn nested_routers_get_their_whole_template_or_none() {
    let telemetry = Telemetry::new();
    let gone = async || StatusCode::GONE;
    let routes = Router::new()
        .nest("/plain", inner())
        .nest("/twice/{a}", Router::new().nest("/{b}", inner()))
        .nest("/fallback", inner().fallback(gone))
        .route("/files/{*path}", get(async || "file"))
        .fallback(async || StatusCode::IM_A_TEAPOT);
    let server = serve(routes, telemetry.layer()).await;
    let sent = [
        ("GET", "/plain", Some("/plain"), "200"),
        ("GET", "/plain/leaf/1", Some("/plain/leaf/{id}"), "200"),
        ("POST", "/plain/leaf/1", Some("/plain/leaf/{id}"), "405"),
        ("GET", "/plain/absent", None, "418"),
        ("GET", "/twice/x/y/leaf/1", Some("/twice/{a}/{b}/leaf/{id}"), "200"),
        ("GET", "/twice/x/y/absent", None, "418"),
        ("GET", "/fallback/leaf/1", Some("/fallback/leaf/{id}"), "200"),
        ("POST", "/fallback/leaf/1", Some("/fallback/leaf/{id}"), "405"),
        ("GET", "/fallback/absent", None, "410"),
        ("GET", "/fallback/leaf/1/absent", None, "410"),
        ("GET", "/files/a/b/c", Some("/files/{*path}"), "200"),
        ("GET", "/absent", None, "418"),
        ("OPTIONS", "*", None, "418"),
        ("CONNECT", "test:80", None, "418"),
    ];
    assert_routes(&telemetry, &server, &sent).await;
}

#[tokio::test]
async fn a_router_nested_as_a_service_is_known_from_inside() {
    let routes = || inner().fallback(async || StatusCode::GONE);
    // From outside, only the place of the service is known.
    let telemetry = Telemetry::new();
    let server = serve(Router::new().nest_service("/service", routes()), telemetry.layer()).await;
    let sent = [
        ("GET", "/service", Some("/service"), "200"),
        ("GET", "/service/", Some("/service/"), "200"),
        ("GET", "/service/leaf/1", None, "200"),
        ("POST", "/service/leaf/1", None, "405"),
        ("GET", "/service/absent", None, "410"),
        ("GET", "/absent", None, "404"),
    ];
    assert_routes(&telemetry, &server, &sent).await;

    let telemetry = Telemetry::new();
    let inside = routes().layer(telemetry.layer());
    let server = Server::start(Router::new().nest_service("/service", inside)).await;
    let sent = [
        ("GET", "/service/leaf/1", Some("/service/leaf/{id}"), "200"),
        ("POST", "/service/leaf/1", Some("/service/leaf/{id}"), "405"),
        ("GET", "/service/absent", None, "410"),
    ];
    assert_routes(&telemetry, &server, &sent).await;
    // Outside of the layer nothing is counted.
    server.get("/absent").await;
    telemetry.settled(3).await;
}

#[tokio::test]
async fn a_layer_inside_of_a_nested_router_knows_the_whole_template() {
    let telemetry = Telemetry::new();
    let gone = async || StatusCode::GONE;
    let nested = inner().fallback(gone).layer(telemetry.layer());
    let server = Server::start(Router::new().nest("/users/{user}", nested)).await;
    let sent = [
        ("GET", "/users/7/leaf/1", Some("/users/{user}/leaf/{id}"), "200"),
        ("DELETE", "/users/7/leaf/1", Some("/users/{user}/leaf/{id}"), "405"),
        ("GET", "/users/7/absent", None, "410"),
    ];
    assert_routes(&telemetry, &server, &sent).await;
}
