//! What the log says of what is refused: once for each sender and reason, with the sender's service.

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1};
use pushpull::collector::{batch::Signal, stats::Event};
use serde_json::json;

use crate::support::*;

fn of_service(service: &str, points: &serde_json::Value) -> Vec<u8> {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeMetrics": [{"metrics": [{"name": "level", "gauge": {"dataPoints": points}}]}]}]})
    .to_string()
    .into_bytes()
}

async fn json_of(answer: reqwest::Response) -> serde_json::Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_null_refuses_its_point_alone() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    let time = seconds(T).to_string();
    let points = json!([
        {"asDouble": null, "timeUnixNano": time, "attributes": [{"key": "k", "value": {"stringValue": "nan"}}]},
        {"asDouble": 5, "timeUnixNano": "1.7e18"},
    ]);
    for _ in 0..3 {
        let answer =
            collector.post_as(Signal::Metrics, "application/json", of_service("shop", &points)).await;
        assert_eq!(answer.status(), 200);
        let answer = json_of(answer).await;
        assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
        let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
        assert!(message.contains("dataPoints[0]") && message.contains("no value"), "{message}");
    }
    let samples = collector.scrape().await.samples;
    assert!(samples.iter().any(|(key, value)| key.starts_with("level{") && *value == 5.0), "{samples:?}");
    assert_eq!(collector.count(Event::Refused, "otlp_http", "rejected"), 3);
    let said = logs.lines_with("no value");
    assert!(said.len() == 1 && said[0].contains("\"shop\"") && said[0].contains("\"level\""), "{said:?}");
}

#[tokio::test]
async fn a_bound_that_is_null_refuses_its_point_alone() {
    let collector = Running::start("");
    let histogram = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "wait", "histogram": {
    "aggregationTemporality": 2, "dataPoints": [
        {"count": 3, "sum": 1, "bucketCounts": [1, 2], "explicitBounds": [null], "timeUnixNano": seconds(T)},
        {"count": 3, "sum": 1, "bucketCounts": ["1e0", "2.0"], "explicitBounds": [1], "timeUnixNano": seconds(T)},
    ]}}]}]}]});
    let answer = collector.post_as(Signal::Metrics, "application/json", histogram.to_string().into()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(json_of(answer).await["partialSuccess"]["rejectedDataPoints"], "1");
    assert_eq!(collector.count(Event::Refused, "otlp_http", "rejected"), 1);
    assert!(collector.scrape().await.families().contains("wait"));
}

#[tokio::test]
async fn each_refusal_is_named_once_with_its_service() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    for _ in 0..2 {
        for service in ["shop", "bakery"] {
            let answer = collector
                .post_as(Signal::Metrics, "application/json", of_service(service, &json!([{"asInt": "x"}])))
                .await;
            assert_eq!(answer.status(), 400);
        }
        let mut wire =
            prost::Message::encode_to_vec(&request(SHOP, vec![gauge("level", vec![int(&[], T, 1)])]));
        wire.truncate(wire.len() - 1);
        assert_eq!(collector.post_as(Signal::Metrics, "application/protobuf", wire).await.status(), 400);
        let span = v1::Span { name: "work".to_owned(), ..v1::Span::default() };
        let traces = ExportTraceServiceRequest {
            resource_spans: vec![v1::ResourceSpans {
                resource: request(SHOP, vec![]).resource_metrics[0].resource.clone(),
                scope_spans: vec![v1::ScopeSpans { spans: vec![span], ..v1::ScopeSpans::default() }],
                ..v1::ResourceSpans::default()
            }],
        };
        assert_eq!(collector.post(Signal::Traces, &traces).await.status(), 200);
    }
    let said = logs.lines_with("refused what was sent");
    for (service, signal, reason) in
        [("shop", "metrics", "malformed"), ("bakery", "metrics", "malformed"), ("shop", "traces", "rejected")]
    {
        let of = |line: &&String| {
            [format!("service=\"{service}\""), format!("signal=\"{signal}\""), format!("reason=\"{reason}\"")]
                .iter()
                .all(|part| line.contains(part))
        };
        assert_eq!(said.iter().filter(of).count(), 1, "{service} {signal} {reason}: {said:?}");
    }
    assert_eq!(said.len(), 3, "{said:?}");
}

#[tokio::test]
async fn the_answer_has_the_media_type_of_the_request() {
    let collector = Running::start("");
    let wire = prost::Message::encode_to_vec(&request(SHOP, vec![gauge("level", vec![int(&[], T, 1)])]));
    for media_type in ["application/x-protobuf", "application/protobuf"] {
        for (body, status) in [(wire.clone(), 200), (vec![0xff], 400)] {
            let answer = collector.post_as(Signal::Metrics, media_type, body).await;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["content-type"]),
                (status, &media_type.parse().unwrap())
            );
        }
    }
}

#[tokio::test]
async fn a_compression_that_is_not_taken_is_named_once_for_a_client() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for agent in ["OpenTelemetry Collector Contrib/0.150.0", "other/1", "other/1"] {
        let request = client.post(format!("http://{}/v1/logs", collector.http)).header("user-agent", agent);
        let request =
            request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
        assert_eq!(request.body("x").send().await.unwrap().status(), 415);
    }
    let said = logs.lines_with("snappy");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("Collector Contrib") && said[0].contains("compression to gzip, zstd"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_quantile_that_is_null_refuses_its_point_alone() {
    let collector = Running::start("");
    let point = |key: &str, value: serde_json::Value| {
        let attributes = json!([{"key": "k", "value": {"stringValue": key}}]);
        json!({"attributes": attributes, "timeUnixNano": seconds(T), "count": 1, "sum": 1,
            "quantileValues": [{"value": value, "quantile": 0.5}]})
    };
    let points = [point("bad", json!(null)), point("good", json!(7))];
    let summary = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "wait", "summary": {"dataPoints": points}}]}]}]});
    let answer = collector.post_as(Signal::Metrics, "application/json", summary.to_string().into()).await;
    assert_eq!(answer.status(), 200);
    let partial = json_of(answer).await;
    assert_eq!(partial["partialSuccess"]["rejectedDataPoints"], "1", "{partial}");
    let (_, page) = collector.get("/metrics").await;
    assert!(page.contains("k=\"good\"") && !page.contains("k=\"bad\""), "{page}");
}
