//! OTLP/gRPC: the generated clients, and calls whose every byte is chosen.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_client::LogsServiceClient,
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceResponse, trace_service_client::TraceServiceClient},
};
use proptest::{prelude::*, test_runner::TestRunner};
use prost::Message as _;
use pushpull::collector::{
    batch::{Accepted, Refused, Signal},
    receive::otlp::Limits,
    stats::Event,
};
use tokio::time::timeout;
use tonic::{Code, Status, codec::CompressionEncoding, transport::Channel};
use tonic_types::StatusExt as _;
use tower_service::Service as _;

use crate::support::*;

pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(crate) async fn channel(receiver: &Receiver) -> Channel {
    Channel::from_shared(format!("http://{}", receiver.address)).unwrap().connect().await.unwrap()
}

/// A unary call with that body; the answer is the status and the message.
pub(crate) async fn call(
    channel: &mut Channel,
    path: &str,
    headers: Headers<'_>,
    body: Vec<u8>,
) -> (Status, Vec<u8>) {
    let mut request =
        http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(tonic::body::Body::new(Full::new(Bytes::from(body)))).unwrap();
    let answered = async {
        std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
        let response = channel.call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&head.headers));
        (status.expect("no grpc-status"), body.to_bytes().to_vec())
    };
    timeout(PATIENCE, answered).await.expect("no answer in time")
}

/// The body of a client that has sent its headers and then nothing.
struct NeverEnds;

impl http_body::Body for NeverEnds {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

#[tokio::test]
async fn every_signal_is_taken_plain_and_gzipped() {
    let receiver = Receiver::grpc(Limits::default()).await;
    let channel = channel(&receiver).await;
    for compressed in [false, true] {
        let (mut m, mut t, mut l) = (
            MetricsServiceClient::new(channel.clone()),
            TraceServiceClient::new(channel.clone()),
            LogsServiceClient::new(channel.clone()),
        );
        if compressed {
            m = m.send_compressed(CompressionEncoding::Gzip);
            t = t.send_compressed(CompressionEncoding::Gzip);
            l = l.send_compressed(CompressionEncoding::Gzip);
        }
        for signal in Signal::ALL {
            let partial = match request(signal) {
                Request::Metrics(request) => {
                    m.export(request).await.unwrap().into_inner().partial_success.is_some()
                }
                Request::Traces(request) => {
                    t.export(request).await.unwrap().into_inner().partial_success.is_some()
                }
                Request::Logs(request) => {
                    l.export(request).await.unwrap().into_inner().partial_success.is_some()
                }
            };
            assert!(!partial);
            let batch = receiver.batch();
            assert_same(&batch.request, &request(signal));
            assert_eq!(batch.wire, wire(&request(signal)));
        }
    }
    let taken = |signal, items| (Event::Accepted, "otlp_grpc".to_owned(), signal, "", items);
    assert_eq!(
        receiver.counts(),
        [taken(Signal::Metrics, 10), taken(Signal::Traces, 2), taken(Signal::Logs, 2)]
    );
}

#[tokio::test]
async fn what_the_pipeline_has_no_room_for_may_come_again() {
    let receiver = Receiver::grpc(Limits::default()).await;
    let delay = Duration::from_millis(1500);
    receiver.answer(Err(Refused { sink: "http://127.0.0.1:4319".to_owned(), retry_after: delay }));
    let Request::Logs(request) = logs() else { unreachable!() };
    let status = LogsServiceClient::new(channel(&receiver).await).export(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("http://127.0.0.1:4319"), "{}", status.message());
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(delay));
    assert_eq!(receiver.counts(), [(Event::Refused, "otlp_grpc".to_owned(), Signal::Logs, "no_room", 1)]);
}

#[tokio::test]
async fn what_is_refused_for_good_is_named_in_the_answer() {
    let receiver = Receiver::grpc(Limits::default()).await;
    receiver.answer(Ok(Accepted { rejected: 1, message: "one span is too old".to_owned() }));
    let mut spans: Vec<_> = ["good", "old", "bad"].map(span).into();
    spans[2].span_id.push(1);
    let (status, body) =
        call(&mut channel(&receiver).await, TRACES, &[], framed(0, &wire(&traces_of(spans)))).await;
    assert_eq!(status.code(), Code::Ok);
    let partial = ExportTraceServiceResponse::decode(&body[5..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert_eq!(
        partial.error_message,
        "resourceSpans[0].scopeSpans[0].spans[2] \"bad\": spanId has 9 bytes, not 8; one span is too old"
    );
    assert_eq!(
        receiver.counts(),
        [
            (Event::Accepted, "otlp_grpc".to_owned(), Signal::Traces, "", 1),
            (Event::Refused, "otlp_grpc".to_owned(), Signal::Traces, "rejected", 1)
        ],
        "what the pipeline refuses is counted by the pipeline, by its reason"
    );
}

#[tokio::test]
async fn what_is_too_large_by_default_is_refused_and_not_to_be_sent_again() {
    let receiver = Receiver::grpc(Limits::default()).await;
    let mut channel = channel(&receiver).await;
    let large = vec![0; 16 * 1024 * 1024 + 1];
    let gzip_header = [("grpc-encoding", "gzip")];
    let cases: [(Headers<'_>, Vec<u8>); 3] = [
        (&[], framed(0, &large)),
        // The length alone is enough.
        (&[], [&[0][..], &u32::MAX.to_be_bytes()].concat()),
        (&gzip_header, framed(1, &gzip(&large))),
    ];
    for (headers, body) in cases {
        let (status, _) = call(&mut channel, METRICS, headers, body).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("16777216"), "{status}");
        assert!(status.get_details_retry_info().is_none());
    }
    receiver.no_batch();
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_grpc".to_owned(), Signal::Metrics, "too_large", 3)]
    );
}

#[tokio::test]
async fn broken_calls_are_invalid_arguments() {
    let receiver = Receiver::grpc(Limits::default()).await;
    let mut channel = channel(&receiver).await;
    let bytes = wire(&metrics());
    let gzip_header = [("grpc-encoding", "gzip")];
    let cases: [(&str, Headers<'_>, Vec<u8>); 8] = [
        ("protobuf that is cut", &[], framed(0, &bytes[..bytes.len() - 1])),
        ("no protobuf", &[], framed(0, b"hello, world")),
        ("no message", &[], Vec::new()),
        ("a message that is cut", &[], framed(0, &bytes)[..bytes.len()].to_vec()),
        ("two messages", &[], framed(0, &bytes).repeat(2)),
        ("a flag that is none", &[], framed(2, &bytes)),
        ("compression without its name", &[], framed(1, &gzip(&bytes))),
        ("broken gzip", &gzip_header, framed(1, &bytes)),
    ];
    for (case, headers, body) in cases {
        let (status, _) = call(&mut channel, METRICS, headers, body).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        assert!(!status.message().is_empty(), "{case}");
    }
    receiver.no_batch();
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_grpc".to_owned(), Signal::Metrics, "malformed", 8)]
    );
}

#[tokio::test]
async fn unknown_methods_and_encodings_are_unimplemented() {
    let receiver = Receiver::grpc(Limits::default()).await;
    let mut channel = channel(&receiver).await;
    let body = framed(0, &wire(&metrics()));
    for path in [
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Import",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        let (status, _) = call(&mut channel, path, &[], body.clone()).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    let (status, _) = call(&mut channel, METRICS, &[("grpc-encoding", "snappy")], body).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("snappy"), "{status}");
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip,deflate,zstd");
    receiver.no_batch();
}

#[tokio::test]
async fn a_slow_call_ends_in_a_time_out() {
    let receiver = Receiver::grpc(Limits { body_time: Duration::from_millis(50), ..Limits::default() }).await;
    let mut channel = channel(&receiver).await;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let request = http::Request::post(METRICS)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(NeverEnds))
        .unwrap();
    let response = timeout(PATIENCE, channel.call(request)).await.expect("no answer in time").unwrap();
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn who_speaks_http_to_it_is_told() {
    let receiver = Receiver::grpc(Limits::default()).await;
    for path in ["/v1/metrics", METRICS] {
        let answer = send(&receiver, "POST", path, &[("content-type", "application/json")], b"{}").await;
        assert_eq!(answer.status, 415);
        assert!(answer.text().contains("OTLP/gRPC"), "{}", answer.text());
    }
    let answer = send(&receiver, "GET", METRICS, &[("content-type", "application/grpc")], b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[test]
fn arbitrary_bytes_are_answered_as_they_deserve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let receiver = runtime.block_on(Receiver::grpc(Limits::default()));
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let channel = runtime.block_on(channel(&receiver));
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let result = runner.run(&(bytes, any::<bool>()), |(bytes, as_message)| {
        let body = if as_message { framed(0, &bytes) } else { bytes.clone() };
        let (status, _) = runtime.block_on(call(&mut channel.clone(), METRICS, &[], body));
        let readable = as_message && ExportMetricsServiceRequest::decode(&bytes[..]).is_ok();
        match status.code() {
            Code::Ok => prop_assert!(readable),
            Code::InvalidArgument => {
                prop_assert!(!readable || status.message().contains("is a group"), "{}", status);
            }
            // A length that says too much.
            Code::ResourceExhausted => prop_assert!(!as_message),
            _ => prop_assert!(false, "{}", status),
        }
        Ok(())
    });
    result.unwrap();
}
