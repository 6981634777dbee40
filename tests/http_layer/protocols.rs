//! The versions of HTTP and what is particular to each.

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};

use tokio::io::AsyncWriteExt;

use crate::support::*;

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

#[tokio::test]
async fn http2_streams_end_by_themselves() {
    let telemetry = Telemetry::new();
    let routes = Router::new()
        .route("/whole", get(async || "whole"))
        .route("/hangs", get(async || Scripted::body([Step::Data("begin"), Step::Hang])))
        .route("/panics", get(async || Scripted::body([Step::Panic])))
        .route("/upload", post(async |body: Bytes| body.len().to_string()));
    let server = serve(routes, telemetry.layer()).await;
    let mut client = http2_client(server.address).await;
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
}

/// Routes for HEAD, and what each request must be counted as: its method, path, route and status.
const HEADS: [(&str, Option<&str>, u16); 5] = [
    ("/whole", Some("/whole"), 200),
    ("/streamed", Some("/streamed"), 200),
    ("/endless", Some("/endless"), 200),
    ("/post-only", Some("/post-only"), 405),
    ("/absent", None, 404),
];

#[tokio::test]
async fn head_is_complete_without_a_body_whatever_the_handler_made() {
    for version in ["1.0", "1.1", "2"] {
        let telemetry = Telemetry::new();
        let routes = Router::new()
            .route("/whole", get(async || "whole"))
            .route("/streamed", get(async || Scripted::body([Step::Data("one"), Step::Data("two")])))
            .route("/endless", get(async || Scripted::body([Step::Hang])))
            .route("/post-only", post(async || "posted"));
        let server = serve(routes, telemetry.layer()).await;
        for (path, _, status) in HEADS {
            if version == "2" {
                let mut client = http2_client(server.address).await;
                let request = http2_request("HEAD", &format!("http://test{path}"));
                let response = client.send_request(request).await.unwrap();
                assert_eq!(response.status(), status);
                let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
                assert!(body.to_bytes().is_empty());
            } else {
                let request =
                    format!("HEAD {path} HTTP/{version}\r\nHost: test\r\nConnection: close\r\n\r\n");
                let answer = server.send(&request).await;
                assert!(answer.starts_with(&format!("HTTP/{version} {status}")), "{answer}");
                assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            }
        }
        telemetry.settled(HEADS.len() as u64).await;
        let sizes = telemetry.response_sizes();
        assert_eq!(sizes.len(), HEADS.len());
        for (_, route, status) in HEADS {
            let point = sizes.iter().find(|point| {
                point.attributes.get("http.route").map(String::as_str) == route
                    && point.attributes["http.response.status_code"] == status.to_string()
            });
            let point = point.expect("a series");
            assert_eq!((point.count, point.sum), (1, 0.0), "{point:?}");
            assert_eq!(point.attributes["http.request.method"], "HEAD");
            assert_eq!(point.attributes.get("error.type"), None);
        }
    }
}

#[tokio::test]
async fn requests_of_http_1_0_are_counted_with_and_without_keep_alive() {
    let telemetry = Telemetry::new();
    let routes = Router::new()
        .route("/whole", get(async || "whole"))
        .route("/streamed", get(async || Scripted::body([Step::Data("one,"), Step::Data("two")])));
    let server = serve(routes, telemetry.layer()).await;
    let mut connection = server.connect().await;
    for _ in 0..2 {
        let request = "GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut connection, "whole").await;
    }
    telemetry.settled(2).await;
    // Without a length, the end of the connection is the end of the body.
    let answer = server.send("GET /streamed HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\none,two"), "{answer}");
    telemetry.settled(3).await;
    let durations = telemetry.durations();
    assert!(durations.iter().all(|point| point.attributes["network.protocol.version"] == "1.0"));
    assert!(durations.iter().all(|point| !point.attributes.contains_key("error.type")), "{durations:?}");
}

#[tokio::test]
async fn a_pipeline_is_counted_as_far_as_it_came() {
    let telemetry = Telemetry::new();
    let routes = Router::new()
        .route("/whole", get(async || "whole"))
        .route("/streamed", get(async || Scripted::body([Step::Data("one"), Step::Data("two")])))
        .route("/upload", post(async |body: Bytes| body.len().to_string()))
        .route("/panics", get(async || Scripted::body([Step::Data("begin"), Step::Panic])));
    let server = serve(routes, telemetry.layer()).await;
    let plain = |line: &str| format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n");
    let pipeline = [
        plain("GET /whole"),
        plain("HEAD /whole"),
        plain("GET /streamed"),
        plain("GET /absent"),
        "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nfour".to_owned(),
        plain("POST /whole"),
        plain("GET /panics"),
        plain("GET /whole"),
    ];
    let answer = server.send(&pipeline.concat()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 4, "{answer}");
    telemetry.settled(7).await;
    let counted: std::collections::BTreeSet<_> = telemetry
        .durations()
        .iter()
        .map(|point| {
            assert_eq!(point.count, 1, "{point:?}");
            let of = |key: &str| point.attributes.get(key).map_or("", String::as_str);
            format!(
                "{} {} {} {}",
                of("http.request.method"),
                of("http.route"),
                of("http.response.status_code"),
                of("error.type")
            )
        })
        .collect();
    let expected = [
        "GET  404 ",
        "GET /panics 200 panic",
        "GET /streamed 200 ",
        "GET /whole 200 ",
        "HEAD /whole 200 ",
        "POST /upload 200 ",
        "POST /whole 405 ",
    ];
    assert!(counted.iter().eq(expected), "{counted:?}");
}

/// A server need not ask for more behind the trailers, since there can be none.
#[tokio::test]
async fn a_body_that_ends_with_trailers_is_complete() {
    let script = || vec![Step::Data("data"), Step::Trailers];
    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, script).await;
    let request = "GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: close\r\n\r\n";
    let answer = server.send(request).await;
    assert!(answer.contains("data"), "{answer}");
    telemetry.assert_only(Some("200"), None).await;

    let telemetry = Telemetry::new();
    let server = serve_script(&telemetry, script).await;
    let mut client = http2_client(server.address).await;
    let response = client.send_request(http2_request("GET", "http://test/")).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["checksum"], "7");
    telemetry.assert_only(Some("200"), None).await;
}
