//! What the answers of a `--forward` peer mean, what the log says of them, and which peer gets what.

use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use pushpull::{
    collector::{batch::Signal, stats::Event},
    console::Source as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    forward::{Answer, Endpoint, logs, metrics, traces},
    support::*,
};

const PAGE: &[u8] = b"<html>\n<title>Sign in</title>";

fn page() -> Answer {
    (StatusCode::OK, vec![("content-type", "text/html; charset=utf-8")], PAGE.to_vec())
}

fn moved(status: StatusCode, to: &str) -> Answer {
    (status, vec![("location", to.to_owned().leak())], Vec::new())
}

async fn sent(collector: &Running, sink: &str, items: u64) {
    eventually("it is counted as sent", async || {
        (collector.count(Event::Sent, sink, "") == items).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_page_instead_of_an_answer_is_named_and_the_request_sent_again() {
    for protocol in ["http", "grpc"] {
        let (log, _guard) = Logs::capture();
        // By gRPC the endpoint never has an answer of OTLP.
        let endpoint = Endpoint::start(vec![page(), page()]).await;
        let collector = Running::start(&format!("--forward {protocol}://{}", endpoint.address));
        assert_eq!(collector.post(Signal::Traces, &traces()).await.status(), 200);
        let heard = endpoint.heard(3).await;
        assert!(heard.iter().all(|(_, path, ..)| *path == heard[0].1), "the same request again: {heard:?}");
        if protocol == "http" {
            sent(&collector, &endpoint.sink(), 1).await;
        }
        assert_eq!(collector.pipeline.losses(), [], "{protocol}");
        let said = log.lines_with("is gone");
        assert_eq!(said.len(), 1, "{said:?}");
        for part in ["traces", "200 OK", "text/html", "<title>Sign in</title>", &format!("{protocol}://")] {
            assert!(said[0].contains(part), "{part} in {said:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_moved_on_its_own_host_is_followed() {
    let elsewhere = Endpoint::start(Vec::new()).await;
    let other_port: &'static str = format!("http://{}/last/v1/metrics", elsewhere.address).leak();
    let endpoint = Endpoint::start(vec![
        moved(StatusCode::TEMPORARY_REDIRECT, "/other?token=1"),
        moved(StatusCode::PERMANENT_REDIRECT, "/new/v1/metrics"),
        moved(StatusCode::PERMANENT_REDIRECT, other_port),
    ])
    .await;
    let collector = Running::start(&format!("--forward http://{}", endpoint.address));
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    let heard = endpoint.heard(3).await;
    let paths: Vec<_> = heard.iter().map(|(_, path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/metrics", "/other", "/new/v1/metrics"]);
    let there = elsewhere.heard(1).await;
    assert_eq!(there[0].1, "/last/v1/metrics");
    let body = prost::Message::encode_to_vec(&metrics());
    assert!(heard.iter().chain(&there).all(|(.., received)| *received == body));
    sent(&collector, &endpoint.sink(), 3).await;
}

#[tokio::test]
async fn any_other_redirection_is_named_as_a_wrong_setting_and_nothing_is_lost() {
    let elsewhere = Endpoint::start(Vec::new()).await;
    let other_host = format!("http://localhost:{}/v1/metrics?token=secret", elsewhere.address.port());
    for answer in [
        moved(StatusCode::TEMPORARY_REDIRECT, &other_host),
        moved(StatusCode::PERMANENT_REDIRECT, "//127.0.0.2:1/secret#secret"),
        moved(StatusCode::PERMANENT_REDIRECT, "http://user:secret@127.0.0.1:1/"),
        moved(StatusCode::FOUND, "/login?secret"),
        (StatusCode::PERMANENT_REDIRECT, vec![], Vec::new()),
    ] {
        let (log, _guard) = Logs::capture();
        let endpoint = Endpoint::start(vec![answer.clone()]).await;
        let collector = Running::start(&format!("--forward http://{}", endpoint.address));
        assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
        sent(&collector, &endpoint.sink(), 3).await;
        assert_eq!(collector.pipeline.losses(), []);
        let said = log.lines_with("wrong setting");
        assert!(said.len() == 1 && said[0].contains(answer.0.as_str()), "{said:?}");
        assert!(!said[0].contains("secret"), "{said:?}");
    }
    assert!(
        Endpoint::start(Vec::new()).await.heard(0).await.is_empty() && elsewhere.heard(0).await.is_empty()
    );
}

#[tokio::test]
async fn a_pause_may_be_given_as_a_date() {
    let until = SystemTime::now() + Duration::from_secs(3);
    let date: &'static str = httpdate::fmt_http_date(until).leak();
    let endpoint =
        Endpoint::start(vec![(StatusCode::SERVICE_UNAVAILABLE, vec![("retry-after", date)], Vec::new())])
            .await;
    let collector = Running::start(&format!("--forward http://{}", endpoint.address));
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    let heard = endpoint.heard(2).await;
    let pause = heard[1].0 - heard[0].0;
    assert!(pause > Duration::from_millis(1_500) && pause < Duration::from_secs(10), "{pause:?}");
}

#[tokio::test]
async fn a_refusal_names_the_signal_and_the_words_of_the_peer() {
    let (log, _guard) = Logs::capture();
    let refuses = |words: &str| {
        (StatusCode::BAD_REQUEST, vec![("content-type", "text/plain")], words.as_bytes().to_vec())
    };
    let endpoint = Endpoint::start(vec![
        refuses("otlp: delta temporality\nis not supported\n"),
        refuses("too many attributes"),
        refuses("the same again"),
    ])
    .await;
    let collector = Running::start(&format!("--forward http://{}", endpoint.address));
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    eventually("all are refused", async || {
        (collector.count(Event::Dropped, &endpoint.sink(), "refused") == 5).then_some(())
    })
    .await;
    let said = log.lines_with("refuses what it is sent");
    assert_eq!(said.len(), 2, "once for each signal: {said:?}");
    assert!(
        said[0].contains("metrics") && said[0].contains("delta temporality is not supported"),
        "{said:?}"
    );
    assert!(said[1].contains("logs") && said[1].contains("too many attributes"), "{said:?}");
    assert!(said[0].contains(&endpoint.sink()), "{said:?}");
}

#[tokio::test]
async fn a_grpc_peer_is_quoted_likewise() {
    let (log, _guard) = Logs::capture();
    let answers = |status, message| -> Answer {
        let headers =
            vec![("content-type", "application/grpc"), ("grpc-status", status), ("grpc-message", message)];
        (StatusCode::OK, headers, Vec::new())
    };
    let endpoint = Endpoint::start(vec![
        answers("14", "come%20again"),
        answers("3", "no%20deltas%0Ahere"),
        (StatusCode::FORBIDDEN, vec![("content-type", "text/plain")], b"no such tenant".to_vec()),
        answers("0", ""),
    ])
    .await;
    let collector = Running::start(&format!("--forward grpc://{}", endpoint.address));
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    assert_eq!(collector.post(Signal::Traces, &traces()).await.status(), 200);
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    let sink = format!("grpc://{}", endpoint.address);
    sent(&collector, &sink, 1).await;
    assert_eq!(collector.count(Event::Dropped, &sink, "refused"), 4);
    let said = log.lines_with("refuses what it is sent");
    assert_eq!(said.len(), 2, "{said:?}");
    for part in ["metrics", "InvalidArgument", "no deltas here", &sink] {
        assert!(said[0].contains(part), "{part} in {said:?}");
    }
    assert!(
        said[1].contains("traces") && said[1].contains("403") && said[1].contains("no such tenant"),
        "{said:?}"
    );
    assert_eq!(log.lines_with("come again").len(), 1);
}

#[tokio::test]
async fn sinks_of_one_host_are_told_apart_and_show_no_path() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let address = endpoint.address;
    let collector = Running::start(&format!(
        "--forward http://{address}/token-of-one --forward http://{address}/token-of-two --forward traces=grpc://{address}"
    ));
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    endpoint.heard(2).await;
    sent(&collector, &format!("http://{address}"), 3).await;
    sent(&collector, &format!("http://{address}#2"), 3).await;
    let (_, page) = collector.get("/metrics").await;
    assert!(page.contains(&format!("sink=\"grpc://{address}\"")), "{page}");
    assert!(page.contains(&format!("sink=\"http://{address}#2\"")) && !page.contains("token-of"), "{page}");
    assert!(!collector.get("/readyz").await.1.contains("token-of"));
}

#[tokio::test]
async fn a_peer_gets_the_signals_that_it_is_set_for() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let collector = Running::start(&format!("--forward metrics+logs=http://{}", endpoint.address));
    assert_eq!(collector.post(Signal::Traces, &traces()).await.status(), 200);
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    let paths: Vec<_> = endpoint.heard(2).await.into_iter().map(|(_, path, ..)| path).collect();
    assert_eq!(paths, ["/v1/metrics", "/v1/logs"]);
}

#[tokio::test]
async fn json_that_is_no_answer_is_named_and_the_request_sent_again() {
    for words in [r#"{"error":"please log in"}"#, r#"{"partialSuccess":{},"error":"please log in"}"#] {
        let (log, _guard) = Logs::capture();
        let headers = vec![("content-type", "application/json")];
        let endpoint = Endpoint::start(vec![(StatusCode::OK, headers, words.into())]).await;
        let collector = Running::start(&format!("--forward http://{}", endpoint.address));
        assert_eq!(collector.post(Signal::Traces, &traces()).await.status(), 200);
        endpoint.heard(2).await;
        sent(&collector, &endpoint.sink(), 1).await;
        let said = log.lines_with("please log in");
        assert_eq!(said.len(), 1, "{said:?}");
    }
}

/// A peer that answers every request by its head alone, and resets the connection, until `at` requests came; then it
/// takes them.
async fn resets(answer: &'static str, at: usize) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            if number < at {
                stream.write_all(answer.as_bytes()).await.unwrap();
                // What was sent and not read makes it a reset.
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                continue;
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let length = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let (_, length) = length.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_peer_that_resets_after_an_early_refusal_blocks_no_queue() {
    let large = {
        let mut request = logs();
        request.resource_logs[0].scope_logs[0].log_records[0].severity_text = "x".repeat(12 << 20);
        request
    };
    for answer in [
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9\r\n\r\ntoo large",
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9000\r\n\r\ntoo large",
        "HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\n\r\n",
    ] {
        let (log, _guard) = Logs::capture();
        // The first may be lost with the connection; the one to the head alone is not.
        let address = resets(answer, 2).await;
        let collector = Running::start(&format!("--forward http://{address}"));
        assert_eq!(collector.post(Signal::Logs, &large).await.status(), 200);
        let sink = format!("http://{address}");
        eventually("it is refused", async || {
            (collector.count(Event::Dropped, &sink, "refused") == 1
                || collector.count(Event::Sent, &sink, "") == 1)
                .then_some(())
        })
        .await;
        assert_eq!(collector.count(Event::Dropped, &sink, "refused"), 1);
        assert!(log.lines_with("refuses what it is sent")[0].contains("413"), "{answer}");
    }
}

#[tokio::test]
async fn a_grpc_peer_that_never_ends_its_answer_is_asked_again() {
    let (log, _guard) = Logs::capture();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let handler = {
        let asked = std::sync::Arc::clone(&asked);
        async move |_: axum::body::Bytes| {
            let ends = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
            let head = axum::http::Response::builder().header("content-type", "application/grpc");
            match ends {
                true => head.header("grpc-status", "0").body(axum::body::Body::empty()).unwrap(),
                false => head.body(axum::body::Body::new(Endless)).unwrap(),
            }
        }
    };
    let stop = pushpull::net::Stop::default();
    let router = axum::Router::new().fallback(handler);
    tokio::spawn(pushpull::net::serve(listener, router, stop.clone()));
    let collector = Running::start(&format!("--forward grpc://{address}"));
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
    sent(&collector, &format!("grpc://{address}"), 1).await;
    assert_eq!(log.lines_with("the answer does not end within 10s").len(), 1);
    stop.cut();
}

/// A body without an end.
struct Endless;

impl axum::body::HttpBody for Endless {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
