//! What is sent on to other OTLP endpoints: the same, to each, whatever the endpoint answers.

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri},
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        metrics::v1::{
            ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        },
        trace::v1::ExportTraceServiceRequest,
    },
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use pushpull::{
    collector::{
        batch::{Accepted, Refused, Signal},
        receive::{Accept, otlp_grpc},
        stats::{Event, Stats},
        view::Source,
    },
    net::{Stop, serve},
};

use crate::{away::Away, support::*};

fn resource() -> Option<Resource> {
    Some(Resource { attributes: attributes(SHOP), ..Resource::default() })
}

pub(crate) fn metrics() -> ExportMetricsServiceRequest {
    request(
        SHOP,
        vec![
            counter("hits", DELTA, vec![int(&[("k", "1")], T, 3), int(&[("k", "2")], T, 4)]),
            histogram("wait", CUMULATIVE, vec![buckets(T, &[0.5, 1.0], &[1, 2, 3], 9.25)]),
        ],
    )
}

pub(crate) fn traces() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![0x5b; 16],
        span_id: vec![0xee; 8],
        name: "GET /orders".to_owned(),
        kind: 2,
        start_time_unix_nano: seconds(T),
        end_time_unix_nano: seconds(T + 1),
        attributes: attributes(&[("http.route", "/orders")]),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

pub(crate) fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: seconds(T),
        severity_text: "ERROR".to_owned(),
        attributes: attributes(&[("code", "7")]),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

async fn send_all(collector: &Running) {
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    assert_eq!(collector.post(Signal::Traces, &traces()).await.status(), 200);
    assert_eq!(collector.post(Signal::Logs, &logs()).await.status(), 200);
}

/// Waits until `target` has as much, and compares all that it holds.
async fn same(collector: &Running, target: &Running) {
    eventually("all three signals", async || {
        let (spans, logs) = (target.pipeline.spans(), target.pipeline.logs());
        (spans.len() == collector.pipeline.spans().len() && logs.len() == collector.pipeline.logs().len())
            .then_some(())
    })
    .await;
    assert_eq!(target.scrape().await.of_senders(), collector.scrape().await.of_senders());
    assert_eq!(target.pipeline.spans(), collector.pipeline.spans());
    assert_eq!(target.pipeline.logs(), collector.pipeline.logs());
}

#[tokio::test]
async fn a_second_collector_holds_the_same() {
    let (by_grpc, by_http) = (Running::start(""), Running::start(""));
    let flags = format!("--forward grpc://{} --forward http://{}", by_grpc.grpc, by_http.http);
    let collector = Running::start(&flags);
    send_all(&collector).await;
    same(&collector, &by_grpc).await;
    same(&collector, &by_http).await;
    eventually("all is counted as sent", async || {
        let sent = [format!("grpc://{}", by_grpc.grpc), format!("http://{}", by_http.http)]
            .map(|address| collector.count(Event::Sent, &address, ""));
        (sent == [5, 5]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_away_gets_everything_once_it_is_back() {
    for protocol in ["grpc", "http"] {
        let (logs, _guard) = Logs::capture();
        let away = Away::new();
        let address = away.address();
        let collector = Running::start(&format!("--forward {protocol}://{address}"));
        send_all(&collector).await;
        eventually("the endpoint is found to be away", async || {
            collector.get("/readyz").await.1.contains("down").then_some(())
        })
        .await;
        let start = |listener: TcpListener| {
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            match protocol {
                "grpc" => Running::start_on("", listener, other),
                _ => Running::start_on("", other, listener),
            }
        };
        let target = start(away.listen());
        same(&collector, &target).await;

        // It is restarted under load: what it answered for is in it or in the next one, and nothing is lost.
        let began = target.pipeline.stats().clone();
        let sends = async {
            for time in T + 1..T + 60 {
                collector.take(vec![counter("during", DELTA, vec![int(&[], time, 1)])]).await;
            }
        };
        let ((), ()) = tokio::join!(sends, target.stop(Duration::from_secs(5)));
        let taken = |stats: &Stats| -> u64 {
            let counts = stats.snapshot().into_iter();
            counts
                .filter(|(count, _)| count.event == Event::Accepted && count.signal == Signal::Metrics)
                .map(|(_, items)| items)
                .sum()
        };
        let next = start(TcpListener::bind(address).unwrap());
        eventually("the rest arrives", async || {
            (taken(&began) + taken(next.pipeline.stats()) >= 3 + 59).then_some(())
        })
        .await;
        let refused = collector.pipeline.losses();
        assert_eq!(refused, [], "{protocol}");
        assert!((1..=2).contains(&logs.lines_with("is gone").len()), "{:?}", logs.lines_with(""));
        assert!((1..=2).contains(&logs.lines_with("is back").len()), "{:?}", logs.lines_with(""));
    }
}

/// What an endpoint does with a connection instead of an answer.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    Closes,
    /// Something that is neither HTTP/1 nor HTTP/2.
    Babbles,
    /// A frame that ends the stream with the error `PROTOCOL_ERROR`.
    ResetsStream,
}

#[tokio::test]
async fn a_connection_that_breaks_costs_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ways = [Breaks::Closes, Breaks::Babbles, Breaks::ResetsStream];
    for protocol in ["grpc", "http"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Running::start(&format!("--forward {protocol}://{}", listener.local_addr().unwrap()));
        send_all(&collector).await;
        let (theirs, ours) = both(listener);
        for way in ways {
            let (mut stream, _) = tokio::time::timeout(PATIENCE, ours.accept()).await.unwrap().unwrap();
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let mut request = [0; 512];
            // The request follows what a connection begins with.
            if protocol == "grpc" && matches!(way, Breaks::ResetsStream) {
                stream.write_all(&settings).await.unwrap();
                let mut read = 0;
                while read < 200 {
                    let length = stream.read(&mut request).await.unwrap();
                    assert_ne!(length, 0, "the collector closed the connection");
                    read += length;
                }
            } else {
                assert!(stream.read(&mut request).await.unwrap() > 0);
            }
            match way {
                Breaks::Closes => {}
                Breaks::Babbles => stream.write_all(&[b'?'; 100]).await.unwrap(),
                Breaks::ResetsStream => {
                    stream.write_all(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1]).await.unwrap();
                }
            }
        }
        drop(ours);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = match protocol {
            "grpc" => Running::start_on("", theirs, other),
            _ => Running::start_on("", other, theirs),
        };
        same(&collector, &target).await;
        assert_eq!(collector.pipeline.losses(), [], "{protocol}");
    }
}

/// The same listening socket twice: for a test, and for a collector that takes it over.
fn both(listener: TcpListener) -> (TcpListener, tokio::net::TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let ours = tokio::net::TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    (listener, ours)
}

/// What an HTTP endpoint was sent: when, path, content type, body.
pub(crate) type Heard = Vec<(Instant, String, String, Bytes)>;

/// An OTLP/HTTP endpoint that answers as it is told, and then with success.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    stop: Stop,
}

pub(crate) type Answer = (StatusCode, Vec<(&'static str, &'static str)>, Vec<u8>);

impl Endpoint {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let heard = Arc::new(Mutex::new(Heard::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let handler = {
            let heard = Arc::clone(&heard);
            async move |uri: Uri, headers: HeaderMap, body: Bytes| {
                let content_type = headers["content-type"].to_str().unwrap().to_owned();
                heard.lock().unwrap().push((Instant::now(), uri.path().to_owned(), content_type, body));
                let (status, headers, body) = answers.lock().unwrap().pop_front().unwrap_or_default();
                let headers: HeaderMap = headers
                    .into_iter()
                    .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                    .collect();
                (status, headers, body)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        tokio::spawn(serve(listener, Router::new().fallback(handler), stop.clone()));
        Self { address, heard, stop }
    }

    pub(crate) async fn heard(&self, requests: usize) -> Heard {
        eventually("the requests", async || {
            let heard = self.heard.lock().unwrap();
            (heard.len() >= requests).then(|| heard.clone())
        })
        .await
    }

    pub(crate) fn sink(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cut();
    }
}

#[tokio::test]
async fn the_bytes_go_on_as_they_came_and_json_as_protobuf() {
    let endpoint = Endpoint::start(Vec::new()).await;
    let collector = Running::start(&format!("--forward http://{}", endpoint.address));
    send_all(&collector).await;
    let json = serde_json::to_vec(&traces()).unwrap();
    let answer = collector.post_as(Signal::Traces, "application/json", json).await;
    assert_eq!(answer.status(), 200);
    let heard = endpoint.heard(4).await;
    let expected = [
        ("/v1/metrics", metrics().encode_to_vec()),
        ("/v1/traces", traces().encode_to_vec()),
        ("/v1/logs", logs().encode_to_vec()),
        ("/v1/traces", traces().encode_to_vec()),
    ];
    for (at, ((_, path, content_type, body), (expected_path, expected))) in
        heard.into_iter().zip(expected).enumerate()
    {
        assert_eq!((path.as_str(), content_type.as_str()), (expected_path, "application/x-protobuf"));
        // What came as JSON may be another encoding of the same.
        let body = match at {
            3 => ExportTraceServiceRequest::decode(body).unwrap().encode_to_vec(),
            _ => body.to_vec(),
        };
        assert_eq!(body, expected, "{path}");
    }
}

#[tokio::test]
async fn each_answer_of_an_endpoint_is_taken_as_otlp_says() {
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 1,
            error_message: "one is too old".to_owned(),
        }),
    };
    let (logs, _guard) = Logs::capture();
    let endpoint = Endpoint::start(vec![
        (StatusCode::SERVICE_UNAVAILABLE, vec![("retry-after", "1")], Vec::new()),
        (StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "0")], Vec::new()),
        (StatusCode::OK, vec![], Vec::new()),
        (StatusCode::BAD_REQUEST, vec![], Vec::new()),
        (StatusCode::OK, vec![], partial.encode_to_vec()),
        (StatusCode::BAD_REQUEST, vec![], Vec::new()),
    ])
    .await;
    let collector = Running::start(&format!("--forward http://{}", endpoint.address));
    for time in T..T + 5 {
        collector.take(vec![gauge("level", vec![int(&[], time, 1), int(&[("k", "1")], time, 2)])]).await;
    }
    let heard = endpoint.heard(7).await;
    let times: Vec<_> = heard.iter().map(|(_, _, _, body)| time_of(body)).collect();
    assert_eq!(times, [T, T, T, T + 1, T + 2, T + 3, T + 4], "only what is unavailable is sent again");
    let pause = |first: usize| heard[first + 1].0 - heard[first].0;
    assert!(pause(0) >= Duration::from_secs(1), "{:?}", pause(0));
    assert!(pause(1) >= Duration::from_millis(100), "no loop without a pause: {:?}", pause(1));
    let counted = eventually("the last one is counted", async || {
        let count = |event, reason| collector.count(event, &endpoint.sink(), reason);
        let counts =
            [count(Event::Sent, ""), count(Event::Dropped, "refused"), count(Event::Dropped, "rejected")];
        (counts.iter().sum::<u64>() == 10).then_some(counts)
    })
    .await;
    assert_eq!(counted, [5, 4, 1]);
    assert_eq!(logs.lines_with("refuses what it is sent").len(), 1, "{:?}", logs.lines_with(""));
    assert_eq!((logs.lines_with("is gone").len(), logs.lines_with("is back").len()), (1, 1));
}

fn time_of(body: &Bytes) -> u64 {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let request = ExportMetricsServiceRequest::decode(body.clone()).unwrap();
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("no gauge") };
    gauge.data_points[0].time_unix_nano / seconds(1)
}

#[tokio::test]
async fn a_grpc_endpoint_without_room_is_asked_again_after_its_pause() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let accept: Accept = {
        let calls = Arc::clone(&calls);
        Arc::new(move |_| {
            let mut calls = calls.lock().unwrap();
            calls.push(Instant::now());
            let retry_after = Duration::from_millis(700);
            match calls.len() {
                1 => Err(Refused { sink: "test".to_owned(), retry_after }),
                _ => Ok(Accepted { rejected: 2, message: "two of them".to_owned() }),
            }
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::default();
    let router = otlp_grpc::router(accept, Arc::new(Stats::default()));
    tokio::spawn(serve(listener, router, stop.clone()));
    let collector = Running::start(&format!("--forward grpc://{address}"));
    assert_eq!(collector.post(Signal::Metrics, &metrics()).await.status(), 200);
    let losses = eventually("what was rejected is counted", async || {
        let losses = collector.pipeline.losses();
        (!losses.is_empty()).then_some(losses)
    })
    .await;
    let [(_, signal, reason, items)] = &losses[..] else { panic!("{losses:?}") };
    assert_eq!((signal.as_str(), reason.as_str(), *items), ("metrics", "rejected", 2));
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 2);
    assert!(calls[1] - calls[0] >= Duration::from_millis(700), "{:?}", calls[1] - calls[0]);
    stop.cut();
}
