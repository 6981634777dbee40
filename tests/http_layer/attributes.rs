//! What a request is told apart by, and that nothing of it is the client's word.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use opentelemetry::trace::Status;

use crate::support::*;

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

/// The only attribute sets of metrics that there may be for `methods` and `scheme` with these ends.
fn closed_list(
    methods: &[&str],
    ends: &[(&str, &str, Option<&str>)],
    version: &str,
) -> BTreeSet<BTreeMap<String, String>> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let at_start = |method| [("http.request.method", method), ("url.scheme", "http")].map(owned);
    let active = methods.iter().map(|method| BTreeMap::from(at_start(method)));
    let ended = ends.iter().map(|(method, status, route)| {
        let mut series = BTreeMap::from(at_start(method));
        series.extend(
            [("http.response.status_code", *status), ("network.protocol.version", version)].map(owned),
        );
        series.extend(route.map(|route| owned(("http.route", route))));
        series
    });
    active.chain(ended).collect()
}

#[tokio::test]
async fn no_attribute_of_a_metric_is_a_word_of_the_client() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/users/{id}", get(async || "user"));
    let server = serve(routes, telemetry.layer()).await;
    let hostile = "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Port: 666\r\nForwarded: for=evil;host=evil.example;proto=https\r\n\
                   User-Agent: evil\r\nX-HTTP-Method-Override: EVIL\r\nX-Original-URL: /evil\r\n\
                   traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                   tracestate: evil=1\r\nbaggage: http.route=evil\r\nX-Request-Id: evil\r\n";
    let long = "E".repeat(300);
    let methods =
        ["GET", "get", "GETT", "EVIL", "_OTHER", "!#$%&'*+-.^_`|~", &long, "POST", "PROPFIND", "HTTP"];
    for method in methods {
        for path in ["/users/evil?evil=evil", "/evil", "http://evil.example:666/users/evil"] {
            for host in ["evil.example", "other.evil.example:666", ""] {
                let request =
                    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{hostile}Connection: close\r\n\r\n");
                let answer = server.send(&request).await;
                assert!(answer.starts_with("HTTP/1.1 "), "{request}{answer}");
            }
        }
    }
    telemetry.settled(methods.len() as u64 * 9).await;
    let user = Some("/users/{id}");
    let ends = [
        ("GET", "200", user),
        ("POST", "405", user),
        ("_OTHER", "405", user),
        ("GET", "404", None),
        ("POST", "404", None),
        ("_OTHER", "404", None),
    ];
    assert_eq!(telemetry.series(), closed_list(&["GET", "POST", "_OTHER"], &ends, "1.1"));
}

#[tokio::test]
async fn no_attribute_of_a_metric_is_a_word_of_a_client_of_http2() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/users/{id}", get(async || "user"));
    let server = serve(routes, telemetry.layer()).await;
    let mut client = http2_client(server.address).await;
    for (method, uri) in [("GET", "http://evil.example:666/users/evil?evil"), ("EVIL", "http://evil/evil")] {
        let mut request = http2_request(method, uri);
        for (name, value) in [("host", "evil"), ("x-forwarded-proto", "https"), ("forwarded", "proto=https")]
        {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        client.send_request(request).await.unwrap();
    }
    telemetry.settled(2).await;
    let ends = [("GET", "200", Some("/users/{id}")), ("_OTHER", "404", None)];
    assert_eq!(telemetry.series(), closed_list(&["GET", "_OTHER"], &ends, "2"));
}

/// The scheme is the connection's, of which the target of a request says nothing.
#[tokio::test]
async fn the_scheme_is_not_what_the_request_line_says() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/", get(async || "here"));
    let server = serve(routes, telemetry.layer()).await;
    let answer = server.send("GET https://test/ HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("here"), "{answer}");
    let mut client = http2_client(server.address).await;
    client.send_request(http2_request("GET", "https://test/")).await.unwrap();
    telemetry.settled(2).await;
    for series in telemetry.series() {
        assert_eq!(series["url.scheme"], "http", "{series:?}");
    }
    for span in telemetry.server_spans() {
        assert_eq!(attributes(span.attributes.iter())["url.scheme"], "http");
    }
}

/// What was read counts; what the head says of the body is the client's word.
#[tokio::test]
async fn a_request_body_counts_as_far_as_it_was_read() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/ignores", post(async || "ignored")).route(
        "/reads",
        post(async |body: axum::body::Body| {
            let read = axum::body::to_bytes(body, usize::MAX).await;
            if read.is_ok() { "read" } else { "broken" }
        }),
    );
    let server = serve(routes, telemetry.layer()).await;
    let head = |path: &str, length: u64| {
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    for _ in 0..3 {
        let answer = server.send(&head("/ignores", 9_000_000_000_000_000_000)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let mut connection = server.connect().await;
    let short = format!("{}hello", head("/reads", 9_000_000_000_000_000_000));
    tokio::io::AsyncWriteExt::write_all(&mut connection, short.as_bytes()).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut connection).await.unwrap();
    read_until(&mut connection, "broken").await;
    server.send(&format!("{}12345678", head("/reads", 8))).await;
    telemetry.settled(5).await;
    let sums: BTreeMap<_, _> = telemetry
        .request_sizes()
        .into_iter()
        .map(|mut point| (point.attributes.remove("http.route").unwrap(), (point.count, point.sum)))
        .collect();
    assert_eq!(sums, BTreeMap::from([("/ignores".to_owned(), (3, 0.0)), ("/reads".to_owned(), (2, 13.0))]));
}

#[tokio::test]
async fn the_known_methods_are_those_that_are_given() {
    let telemetry = Telemetry::new();
    let routes = Router::new().route("/", axum::routing::any(async || Scripted::body([Step::Data("body")])));
    let layer = telemetry.layer().with_known_methods(["GET", "PROPFIND", "get"]);
    let server = serve(routes, layer).await;
    for (ended, method) in (1..).zip(["GET", "get", "PROPFIND", "POST", "HEAD", "Propfind"]) {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert!(server.send(&request).await.starts_with("HTTP/1.1 200 "), "{method}");
        telemetry.settled(ended).await;
    }
    let counts: BTreeMap<_, _> = telemetry
        .durations()
        .into_iter()
        .map(|point| (point.attributes["http.request.method"].clone(), point.count))
        .collect();
    let expected = [("GET", 1), ("PROPFIND", 1), ("_OTHER", 3), ("get", 1)];
    assert_eq!(counts, expected.map(|(method, count)| (method.to_owned(), count)).into());
    // HEAD is told by its name, known or not: its answer has no body, and is whole.
    assert!(telemetry.durations().iter().all(|point| !point.attributes.contains_key("error.type")));
    let names: Vec<_> = telemetry.server_spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["GET /", "get /", "PROPFIND /", "HTTP /", "HTTP /", "HTTP /"]);
}
