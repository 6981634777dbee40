//! `grpc.health.v1` on the port of OTLP over gRPC, and web pages on that of OTLP over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use pushpull::collector::batch::Signal;
use reqwest::Method;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower_service::Service as _;

use crate::{forward::metrics, support::*};

/// Calls a method with a service's name, and returns the answer once its headers are there.
async fn call(collector: &Running, method: &str, service: &str) -> http::Response<Body> {
    let endpoint = Channel::from_shared(format!("http://{}", collector.grpc)).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    let length = u8::try_from(service.len()).unwrap();
    let message = match length {
        0 => vec![0, 0, 0, 0, 0],
        _ => [&[0, 0, 0, 0, length + 2, 0x0a, length][..], service.as_bytes()].concat(),
    };
    let request = http::Request::post(format!("/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from(message))))
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    tokio::time::timeout(PATIENCE, channel.call(request)).await.unwrap().unwrap()
}

/// The code of a check, and its message.
async fn check(collector: &Running, service: &str) -> (Code, Vec<u8>) {
    let (head, body) = call(collector, "Check", service).await.into_parts();
    let body = body.collect().await.unwrap();
    let status = Status::from_header_map(&body.trailers().cloned().unwrap_or_default())
        .or_else(|| Status::from_header_map(&head.headers));
    (status.unwrap().code(), body.to_bytes().to_vec())
}

const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

#[tokio::test]
async fn who_asks_over_grpc_is_told_that_it_serves() {
    let collector = Running::start("");
    for service in ["", "opentelemetry.proto.collector.metrics.v1.MetricsService"] {
        assert_eq!(check(&collector, service).await, (Code::Ok, SERVING.to_vec()), "{service}");
    }
    assert_eq!(check(&collector, "shop.Orders").await.0, Code::NotFound);
}

#[tokio::test]
async fn who_watches_is_told_that_it_stops_and_does_not_hold_it_up() {
    let collector = Running::start("");
    let mut watched = call(&collector, "Watch", "").await.into_body();
    let mut unknown = call(&collector, "Watch", "shop.Orders").await.into_body();
    let frame = watched.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap(), SERVING);
    assert_eq!(unknown.frame().await.unwrap().unwrap().data_ref().unwrap(), &[0, 0, 0, 0, 2, 8, 3][..]);
    let began = std::time::Instant::now();
    let ((), frames) = tokio::join!(collector.stop(PATIENCE), async {
        let last = watched.frame().await.unwrap().unwrap();
        (last, watched.frame().await.unwrap().unwrap())
    });
    assert_eq!(frames.0.data_ref().unwrap(), NOT_SERVING);
    assert_eq!(frames.1.trailers_ref().unwrap()["grpc-status"], "14");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

async fn ask(collector: &Running, method: Method, origin: &str, preflight: bool) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let request =
        client.request(method, format!("http://{}/v1/metrics", collector.http)).header("origin", origin);
    let request = match preflight {
        true => request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-token")
            .header("access-control-request-private-network", "true"),
        false => request
            .header("content-type", "application/x-protobuf")
            .body(prost::Message::encode_to_vec(&metrics())),
    };
    request.send().await.unwrap()
}

fn header<'r>(answer: &'r reqwest::Response, name: &str) -> Option<&'r str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn web_pages_of_the_named_origins_may_send() {
    let shop = "https://shop.example";
    let collector = Running::start(&format!("--otlp-cors {shop},http://localhost:3000"));
    for origin in [shop, "http://localhost:3000"] {
        let answer = ask(&collector, Method::OPTIONS, origin, true).await;
        assert_eq!((answer.status().as_u16(), header(&answer, ALLOWED)), (200, Some(origin)));
        assert_eq!(header(&answer, "access-control-allow-methods"), Some("POST"));
        assert_eq!(header(&answer, "access-control-allow-headers"), Some("content-type,x-token"));
        assert_eq!(header(&answer, "access-control-allow-private-network"), Some("true"));
        let answer = ask(&collector, Method::POST, origin, false).await;
        assert_eq!((answer.status().as_u16(), header(&answer, ALLOWED)), (200, Some(origin)));
        assert!(header(&answer, "vary").unwrap().contains("origin"));
    }
    let answer = ask(&collector, Method::OPTIONS, "https://other.example", true).await;
    assert_eq!(header(&answer, ALLOWED), None);
    // What is refused can be read too.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer =
        client.post(format!("http://{}/v1/nothing", collector.http)).header("origin", shop).send().await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, ALLOWED)), (404, Some(shop)));

    let any = Running::start("--otlp-cors *");
    assert_eq!(header(&ask(&any, Method::OPTIONS, "https://other.example", true).await, ALLOWED), Some("*"));
    let off = Running::start("");
    let answer = ask(&off, Method::OPTIONS, shop, true).await;
    assert_eq!((answer.status().as_u16(), header(&answer, ALLOWED)), (405, None));
    assert_eq!(header(&ask(&off, Method::POST, shop, false).await, ALLOWED), None);
    assert_eq!(off.post(Signal::Metrics, &metrics()).await.status(), 200);
}
