//! Where a request came from, and what of its address is told.

use axum::{Router, routing::get};
use pushpull::http::Scheme;

use crate::support::*;

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
