//! OTLP/HTTP: each code and header that a sender meets.

use std::{io::Read as _, time::Duration};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
        trace::v1::ExportTraceServiceResponse,
    },
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data},
};
use proptest::{prelude::*, test_runner::TestRunner};
use prost::Message as _;
use pushpull::collector::{
    batch::{Accepted, Refused, Signal},
    receive::otlp::Limits,
    stats::Event,
};
use tonic::Code;
use tonic_types::RpcStatusExt as _;

use crate::support::*;

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const PATHS: [(Signal, &str); 3] =
    [(Signal::Metrics, "/v1/metrics"), (Signal::Traces, "/v1/traces"), (Signal::Logs, "/v1/logs")];

#[tokio::test]
async fn every_signal_is_taken_in_protobuf_plain_and_gzipped() {
    let receiver = Receiver::http(Limits::default()).await;
    for (signal, path) in PATHS {
        let request = request(signal);
        let bytes = wire(&request);
        let plain = send(&receiver, "POST", path, &[PROTOBUF], &bytes).await;
        assert_eq!((plain.status, plain.body.as_slice()), (200, &b""[..]));
        assert_eq!(plain.header("content-type"), Some("application/x-protobuf"));
        let batch = receiver.batch();
        assert_same(&batch.request, &request);
        assert_eq!(batch.wire, bytes);

        let zipped = send(&receiver, "POST", path, &[PROTOBUF, GZIP], &gzip(&bytes)).await;
        assert_eq!(zipped.status, 200, "{}", zipped.text());
        let batch = receiver.batch();
        assert_same(&batch.request, &request);
        assert_eq!(batch.wire, bytes, "the bytes are the decompressed ones");
    }
    let taken = |signal, items| (Event::Accepted, "otlp_http".to_owned(), signal, "", items);
    assert_eq!(
        receiver.counts(),
        [taken(Signal::Metrics, 10), taken(Signal::Traces, 2), taken(Signal::Logs, 2)]
    );
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another_also_after_a_refusal() {
    let receiver = Receiver::http(Limits { body: 1024, ..Limits::default() }).await;
    let mut client = Client::connect(receiver.address).await;
    for _ in 0..2 {
        let large = vec![0; 100_000];
        client.write(&head("POST", "/v1/logs", &[PROTOBUF], large.len())).await;
        client.write(&large).await;
        assert_eq!(client.answer().await.status, 413);
        let small = wire(&traces_of(vec![span("one")]));
        client.write(&head("POST", "/v1/traces", &[PROTOBUF], small.len())).await;
        client.write(&small).await;
        assert_eq!(client.answer().await.status, 200);
        receiver.batch();
    }
}

#[tokio::test]
async fn an_empty_request_is_a_success_and_reaches_no_sink() {
    let receiver = Receiver::http(Limits::default()).await;
    for (_, path) in PATHS {
        assert_eq!(send(&receiver, "POST", path, &[PROTOBUF], b"").await.status, 200);
        let answer = send(&receiver, "POST", path, &[JSON], b"{}").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    }
    receiver.no_batch();
    assert_eq!(receiver.counts(), []);
}

#[tokio::test]
async fn content_types_are_told_apart() {
    let receiver = Receiver::http(Limits::default()).await;
    for good in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=UTF-8"] {
        let answer = send(&receiver, "POST", "/v1/metrics", &[("content-type", good)], b"{}").await;
        assert_eq!(answer.status, 200, "{good}: {}", answer.text());
    }
    for bad in ["text/plain", "application/protobuff", "application/jsonp", "application/grpc", ""] {
        let answer = send(&receiver, "POST", "/v1/metrics", &[("content-type", bad)], b"{}").await;
        assert_eq!(answer.status, 415, "{bad}");
        assert_eq!(answer.header("accept"), Some("application/x-protobuf, application/json"));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains(&format!("{bad:?}")) && message.contains("application/x-protobuf"),
            "{message}"
        );
    }
    let missing = send(&receiver, "POST", "/v1/metrics", &[], b"{}").await;
    assert_eq!(missing.status, 415);
    assert!(missing.text().contains("no content type"), "{}", missing.text());
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_http".to_owned(), Signal::Metrics, "content_type", 6)]
    );
}

#[tokio::test]
async fn content_encodings_are_told_apart() {
    let receiver = Receiver::http(Limits::default()).await;
    let bytes = wire(&logs());
    for good in ["identity", "Identity", ""] {
        let answer =
            send(&receiver, "POST", "/v1/logs", &[PROTOBUF, ("content-encoding", good)], &bytes).await;
        assert_eq!(answer.status, 200, "{good}");
        receiver.batch();
    }
    for bad in ["br", "lz4", "gzip, gzip"] {
        let answer =
            send(&receiver, "POST", "/v1/logs", &[PROTOBUF, ("content-encoding", bad)], &bytes).await;
        assert_eq!(
            (answer.status, answer.header("accept-encoding")),
            (415, Some("gzip, deflate, zstd")),
            "{bad}"
        );
        assert!(answer.status_message().message.contains(bad));
    }
    let twice = [PROTOBUF, GZIP, ("content-encoding", "br")];
    assert_eq!(send(&receiver, "POST", "/v1/logs", &twice, &bytes).await.status, 415);
    receiver.no_batch();
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let receiver = Receiver::http(Limits::default()).await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = send(&receiver, method, "/v1/traces", &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for path in ["/", "/v1", "/v1/metric", "/v1/metrics/extra", "/v1development/profiles"] {
        let answer = send(&receiver, "POST", path, &[PROTOBUF], b"").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.status_message().message.contains("/v1/metrics"));
    }
}

#[tokio::test]
async fn what_is_too_large_by_default_is_refused() {
    let receiver = Receiver::http(Limits::default()).await;
    let large = vec![0; 16 * 1024 * 1024 + 1];
    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &large).await;
    assert_eq!(answer.status, 413);
    let status = answer.status_message();
    assert_eq!(status.code, Code::ResourceExhausted as i32);
    assert!(status.message.contains("16777216"), "{}", status.message);

    // A gzip bomb: small as sent, too large inside; in both encodings.
    let bomb = gzip(&large);
    assert!(bomb.len() < 50_000);
    for encoding in [PROTOBUF, JSON] {
        let answer = send(&receiver, "POST", "/v1/metrics", &[encoding, GZIP], &bomb).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.text().contains("decompressed"), "{}", answer.text());
    }
    receiver.no_batch();
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_http".to_owned(), Signal::Metrics, "too_large", 3)]
    );
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let bytes = wire(&traces());
    for (limit, status) in [(bytes.len(), 200), (bytes.len() - 1, 413)] {
        let receiver = Receiver::http(Limits { body: limit, ..Limits::default() }).await;
        assert_eq!(send(&receiver, "POST", "/v1/traces", &[PROTOBUF], &bytes).await.status, status);
        let zipped = gzip(&bytes);
        assert!(zipped.len() < limit);
        assert_eq!(send(&receiver, "POST", "/v1/traces", &[PROTOBUF, GZIP], &zipped).await.status, status);
    }
}

#[tokio::test]
async fn an_endless_chunked_body_is_cut_at_the_limit() {
    let receiver = Receiver::http(Limits { body: 10_000, ..Limits::default() }).await;
    let mut client = Client::connect(receiver.address).await;
    let head = "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n";
    client.write(head.as_bytes()).await;
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
    for _ in 0..3 {
        client.write(&chunk).await;
    }
    let answer = client.answer().await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let receiver = Receiver::http(Limits::default()).await;
    let mut client = Client::connect(receiver.address).await;
    let head = "POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-type: application/x-protobuf\r\n\r\n";
    client.write(head.as_bytes()).await;
    let request = logs();
    for part in wire(&request).chunks(10) {
        client.write(format!("{:x}\r\n", part.len()).as_bytes()).await;
        client.write(part).await;
        client.write(b"\r\n").await;
    }
    client.write(b"0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_same(&receiver.batch().request, &request);
}

#[tokio::test]
async fn a_request_that_would_grow_beyond_bounds_when_decoded_is_refused() {
    // Two bytes each, a struct each once decoded.
    let gauge = Metric {
        data: Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); 1_000_000] })),
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: vec![gauge], ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    let tiny_points = ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec();
    let limits = Limits { decoded: 64 * 1024 * 1024, ..Limits::default() };
    let receiver = Receiver::http(limits).await;
    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &tiny_points).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("decoded"), "{}", answer.text());
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{}{{}}]}}}}]}}]}}]}}"#,
        "{},".repeat(1_000_000)
    );
    let answer = send(&receiver, "POST", "/v1/metrics", &[JSON], json.as_bytes()).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    receiver.no_batch();
}

#[tokio::test]
async fn a_slow_body_ends_in_a_time_out() {
    let receiver = Receiver::http(Limits { body_time: Duration::from_millis(50), ..Limits::default() }).await;
    let mut client = Client::connect(receiver.address).await;
    client.write(&head("POST", "/v1/traces", &[PROTOBUF], 100)).await;
    client.write(b"only this").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(answer.status_message().code, Code::DeadlineExceeded as i32);
    assert_eq!(receiver.counts(), [(Event::Refused, "otlp_http".to_owned(), Signal::Traces, "too_slow", 1)]);
}

#[tokio::test]
async fn what_the_pipeline_has_no_room_for_may_come_again() {
    let receiver = Receiver::http(Limits::default()).await;
    let delay = Duration::from_millis(2500);
    receiver.answer(Err(Refused { sink: "graphite".to_owned(), retry_after: delay }));

    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &wire(&metrics())).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    let status = answer.status_message();
    assert_eq!(status.code, Code::Unavailable as i32);
    assert!(status.message.contains("graphite"), "{}", status.message);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(delay));

    let json = serde_json::to_vec(&match metrics() {
        Request::Metrics(request) => request,
        _ => unreachable!(),
    });
    let answer = send(&receiver, "POST", "/v1/metrics", &[JSON], &json.unwrap()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    let status = answer.json();
    assert_eq!(status["code"], 14);
    assert_eq!(status["details"][0]["@type"], "type.googleapis.com/google.rpc.RetryInfo");
    assert_eq!(status["details"][0]["retryDelay"], "2.5s");
    assert_eq!(receiver.counts(), [(Event::Refused, "otlp_http".to_owned(), Signal::Metrics, "no_room", 10)]);
}

#[tokio::test]
async fn what_the_pipeline_refuses_for_good_is_named_in_the_answer() {
    let receiver = Receiver::http(Limits::default()).await;
    receiver.answer(Ok(Accepted { rejected: 2, message: "2 points are out of order".to_owned() }));
    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &wire(&metrics())).await;
    assert_eq!(answer.status, 200);
    let partial = ExportMetricsServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 2);
    assert_eq!(partial.error_message, "2 points are out of order");
    assert_eq!(receiver.counts(), [(Event::Accepted, "otlp_http".to_owned(), Signal::Metrics, "", 3)]);
}

#[tokio::test]
async fn spans_with_invalid_ids_are_refused_one_by_one() {
    let receiver = Receiver::http(Limits::default()).await;
    let mut spans: Vec<_> = ["good", "short trace", "zero trace", "no span", "long parent"].map(span).into();
    spans[1].trace_id.pop();
    spans[2].trace_id = vec![0; 16];
    spans[3].span_id.clear();
    spans[4].parent_span_id = vec![1; 9];
    let answer = send(&receiver, "POST", "/v1/traces", &[PROTOBUF], &wire(&traces_of(spans))).await;
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 4);
    assert_eq!(
        partial.error_message,
        "resourceSpans[0].scopeSpans[0].spans[1] \"short trace\": traceId has 15 bytes, not 16; \
         resourceSpans[0].scopeSpans[0].spans[2] \"zero trace\": traceId is all zero; \
         resourceSpans[0].scopeSpans[0].spans[3] \"no span\": spanId has 0 bytes, not 8; and 1 more"
    );
    let batch = receiver.batch();
    assert_same(&batch.request, &traces_of(vec![span("good")]));
    assert_eq!(batch.wire, wire(&batch.request), "the bytes do not hold what was refused");
    assert_eq!(
        receiver.counts(),
        [
            (Event::Accepted, "otlp_http".to_owned(), Signal::Traces, "", 1),
            (Event::Refused, "otlp_http".to_owned(), Signal::Traces, "rejected", 4)
        ]
    );
}

#[tokio::test]
async fn points_without_a_value_and_metrics_without_data_are_refused_one_by_one_in_protobuf() {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let receiver = Receiver::http(Limits::default()).await;
    let Request::Metrics(mut request) = metrics() else { unreachable!() };
    let sent = &mut request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Sum(sum)) = &mut sent[0].data else { unreachable!() };
    let mut valueless = sum.data_points[0].clone();
    valueless.value = None;
    let mut stale = valueless.clone();
    stale.flags = 1;
    sum.data_points.extend([valueless, stale]);
    sent[2].data = None;
    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &request.encode_to_vec()).await;
    let partial = ExportMetricsServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 1);
    let message = partial.error_message;
    assert!(message.contains(r#"metrics[0] "orders" sum.dataPoints[1]: no value"#), "{message}");
    assert!(message.contains(r#"metrics[2] "latency": no data"#), "{message}");
    assert_eq!(receiver.batch().items, 5, "the good ones and the one marked as without a value");
}

#[tokio::test]
async fn a_log_record_with_an_invalid_id_is_taken_as_one_without() {
    let receiver = Receiver::http(Limits::default()).await;
    let Request::Logs(mut request) = logs() else { unreachable!() };
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.trace_id = vec![0; 16];
    record.span_id = vec![7; 5];
    let answer = send(&receiver, "POST", "/v1/logs", &[PROTOBUF], &request.encode_to_vec()).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b""[..]));
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.trace_id.clear();
    record.span_id.clear();
    assert_same(&receiver.batch().request, &Request::Logs(request));
}

#[tokio::test]
async fn broken_bodies_are_malformed() {
    let receiver = Receiver::http(Limits::default()).await;
    let bytes = wire(&metrics());
    let cut = &bytes[..bytes.len() - 1];
    let zipped = gzip(&bytes);
    let cases: [(Headers<'_>, &[u8]); 6] = [
        (&[PROTOBUF], cut),
        (&[PROTOBUF], b"hello, world"),
        (&[PROTOBUF], b"\x0a\xff\xff\xff\xff\x0f"),
        (&[PROTOBUF, GZIP], &bytes),
        (&[PROTOBUF, GZIP], &zipped[..zipped.len() - 5]),
        (&[PROTOBUF, GZIP], b""),
    ];
    for (headers, body) in cases {
        let answer = send(&receiver, "POST", "/v1/metrics", headers, body).await;
        assert_eq!(answer.status, 400, "{body:?}");
        let status = answer.status_message();
        assert_eq!(status.code, Code::InvalidArgument as i32);
        assert!(status.message.len() > "the request cannot be read: ".len(), "{}", status.message);
    }
    receiver.no_batch();
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_http".to_owned(), Signal::Metrics, "malformed", 6)]
    );
}

#[tokio::test]
async fn a_long_reason_is_cut() {
    let receiver = Receiver::http(Limits::default()).await;
    let body = format!(r#"{{"resourceMetrics":"{}"}}"#, "x".repeat(100_000));
    let answer = send(&receiver, "POST", "/v1/metrics", &[JSON], body.as_bytes()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 1000, "{} bytes", answer.body.len());
}

/// Whether prost takes it, and it has no group: the receiver refuses those, which OTLP never had.
fn is_readable(bytes: &[u8]) -> bool {
    ExportMetricsServiceRequest::decode(bytes).is_ok()
}

#[test]
fn arbitrary_bytes_are_answered_as_they_deserve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let receiver = runtime.block_on(Receiver::http(Limits::default()));
    let valid = wire(&metrics());
    let mutated = (0..valid.len(), any::<u8>(), 0..valid.len()).prop_map(move |(at, byte, cut)| {
        let mut bytes = valid.clone();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut / 4);
        bytes
    });
    let bytes = prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), mutated];
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&(bytes, any::<bool>()), |(bytes, json)| {
        let encoding = if json { JSON } else { PROTOBUF };
        let answer = runtime.block_on(send(&receiver, "POST", "/v1/metrics", &[encoding], &bytes));
        let text = answer.text();
        match answer.status {
            200 => prop_assert!(!json && is_readable(&bytes)),
            400 => prop_assert!(json || !is_readable(&bytes) || text.contains("is a group"), "{text}"),
            other => prop_assert!(false, "{other}: {text}"),
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn the_samples_compress() {
    // The tests of gzip are of use only where the samples are told from their compressed form.
    let bytes = wire(&metrics());
    let mut back = Vec::new();
    flate2::read::GzDecoder::new(&gzip(&bytes)[..]).read_to_end(&mut back).unwrap();
    assert!(back == bytes && gzip(&bytes).len() < bytes.len());
}
