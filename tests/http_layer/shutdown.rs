//! A stop of the server in the middle of a request: what is drained is complete, what is cut is cancelled.

use std::sync::Arc;

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt;
use pushpull::net::{Stop, serve as serve_until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::support::*;

/// What a client made of the answer: its body, if all of it came.
type Answer = Option<String>;

/// A body of two frames which hands on the second once the latch lets it.
fn held(latch: Arc<Semaphore>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        sender.send("begin,").await.unwrap();
        // Both fail where the server has cut the body, which drops the receiver.
        latch.acquire().await.unwrap().forget();
        let _ = sender.send("end").await;
    });
    Body::new(Channel(receiver))
}

struct Channel(tokio::sync::mpsc::Receiver<&'static str>);

impl http_body::Body for Channel {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(http_body::Frame::data(data.into()))))
    }
}

async fn get_http1(address: std::net::SocketAddr, path: &str) -> Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body.ends_with("\r\n0\r\n\r\n").then(|| body.lines().skip(1).step_by(2).collect())
    } else {
        Some(body.to_owned())
    }
}

async fn get_http2(address: std::net::SocketAddr, path: &str) -> Answer {
    let mut client = http2_client(address).await;
    let response = client.send_request(http2_request("GET", &format!("http://test{path}"))).await.ok()?;
    let body = response.into_body().collect().await.ok()?;
    Some(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

/// Stops the server while a request of this version waits at `path`; drains or cuts it.
async fn stop_in_the_middle(version: &str, path: &'static str, cut: bool) -> (Telemetry, Answer) {
    let telemetry = Telemetry::new();
    let (reached, latch) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (reaches, waits) = (Arc::clone(&reached), Arc::clone(&latch));
    let handler = async move || {
        reaches.add_permits(1);
        waits.acquire().await.unwrap().forget();
        "begin,end"
    };
    let (reaches, waits) = (Arc::clone(&reached), Arc::clone(&latch));
    let streamed = async move || {
        reaches.add_permits(1);
        held(Arc::clone(&waits))
    };
    let routes = Router::new().route("/handler", get(handler)).route("/body", get(streamed));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), Stop::default());
    let served = tokio::spawn(serve_until(listener, routes.layer(telemetry.layer()), stop.clone()));

    let client = match version {
        "2" => tokio::spawn(get_http2(address, path)),
        _ => tokio::spawn(get_http1(address, path)),
    };
    tokio::time::timeout(DEADLINE, reached.acquire()).await.unwrap().unwrap().forget();
    stop.drain();
    eventually("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
    assert_eq!((telemetry.ended(), telemetry.active_now()), (0, 1), "a drain ends nothing by itself");
    if cut {
        stop.cut();
    } else {
        latch.add_permits(1);
    }
    tokio::time::timeout(DEADLINE, served).await.unwrap().unwrap();
    (telemetry, tokio::time::timeout(DEADLINE, client).await.unwrap().unwrap())
}

#[tokio::test]
async fn what_a_stop_drains_is_complete() {
    for version in ["1.1", "2"] {
        for path in ["/handler", "/body"] {
            let (telemetry, answer) = stop_in_the_middle(version, path, false).await;
            assert_eq!(answer.as_deref(), Some("begin,end"), "{path} over {version}");
            telemetry.assert_only(Some("200"), None).await;
            assert_eq!(telemetry.response_sizes()[0].sum, 9.0);
        }
    }
}

#[tokio::test]
async fn what_a_stop_cuts_is_cancelled() {
    for version in ["1.1", "2"] {
        let (telemetry, answer) = stop_in_the_middle(version, "/handler", true).await;
        assert_eq!(answer, None, "over {version}");
        telemetry.assert_only(None, Some("cancelled")).await;

        let (telemetry, answer) = stop_in_the_middle(version, "/body", true).await;
        assert_eq!(answer, None, "over {version}");
        telemetry.assert_only(Some("200"), Some("cancelled")).await;
    }
}
