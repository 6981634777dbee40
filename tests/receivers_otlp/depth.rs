//! Values that nest too deep cost their own item, whoever else is in the batch, and in both encodings alike.

use prost::encoding::encode_varint;
use pushpull::collector::{batch::Signal, receive::otlp::Limits, stats::Event};

use crate::support::*;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
/// Arrays within each other that a point's attribute may have: 80 messages, of which seven are around them.
const MOST: usize = 36;

/// A field of that number with a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

/// An attribute in the field of that number, of so many arrays within each other.
fn attribute(number: u8, arrays: usize) -> Vec<u8> {
    let value = (0..arrays).fold(Vec::new(), |value, _| field(5, &field(1, &value)));
    field(number, &[field(1, b"k"), field(2, &value)].concat())
}

fn in_json(arrays: usize) -> String {
    let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
    format!(r#"[{{"key":"k","value":{}{{}}{}}}]"#, open.repeat(arrays), close.repeat(arrays))
}

/// A gauge's point, with the time and value that it needs.
fn point(attribute: &[u8]) -> Vec<u8> {
    field(1, &[attribute, &[3 << 3 | 1], &1_u64.to_le_bytes(), &[6 << 3 | 1], &7_u64.to_le_bytes()].concat())
}

fn gauge(points: &[Vec<u8>], metadata: &[u8]) -> Vec<u8> {
    field(2, &[&field(1, b"g")[..], &field(5, &points.concat()), metadata].concat())
}

/// A request's field of one resource, with an attribute, and a scope, with an attribute, around `items`.
fn resource(of_resource: &[u8], of_scope: &[u8], items: &[u8]) -> Vec<u8> {
    let scope = field(2, &[&field(1, of_scope), items].concat());
    field(1, &[field(1, of_resource), scope].concat())
}

fn items(batch: Batch) -> u64 {
    batch.items
}

#[tokio::test]
async fn a_point_that_nests_too_deep_is_refused_alone() {
    let receiver = Receiver::http(Limits::default()).await;
    let none: &[u8] = &[];
    let good = point(&attribute(7, MOST));
    for arrays in [MOST + 1, 46, 50, 10_000] {
        let bad = point(&attribute(7, arrays));
        let exemplar = point(&field(5, &attribute(7, arrays)));
        let fine = gauge(&[good.clone(), point(none)], none);
        for (request, kept, rejected, place) in [
            (
                resource(none, none, &gauge(&[good.clone(), bad.clone(), point(none)], none)),
                2,
                1,
                "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1]: ",
            ),
            (resource(none, none, &gauge(&[exemplar, point(none)], none)), 1, 1, "gauge.dataPoints[0]: "),
            (
                resource(
                    none,
                    none,
                    &[gauge(&vec![point(none); 3], &attribute(12, arrays + 2)), fine.clone()].concat(),
                ),
                2,
                3,
                "resourceMetrics[0].scopeMetrics[0].metrics[0]: ",
            ),
            (
                [resource(none, &attribute(3, arrays + 2), &fine), resource(none, none, &fine)].concat(),
                2,
                2,
                "resourceMetrics[0].scopeMetrics[0]: ",
            ),
            (
                [resource(none, none, &fine), resource(&attribute(1, arrays + 2), none, &fine)].concat(),
                2,
                2,
                "resourceMetrics[1]: ",
            ),
        ] {
            let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &request).await;
            assert_eq!(answer.status, 200, "{arrays} {place}: {}", answer.text());
            assert!(
                answer.text().contains(place) && answer.text().contains("nested too deep"),
                "{}",
                answer.text()
            );
            assert_eq!(items(receiver.batch()), kept, "{place}");
            let counts = receiver.counts();
            let refused = counts.iter().find(|count| count.0 == Event::Refused).unwrap();
            assert_eq!(refused.3, "rejected");
            assert!(refused.4 >= rejected);
        }
    }
    let request = resource(none, none, &gauge(&[good], none));
    let answer = send(&receiver, "POST", "/v1/metrics", &[PROTOBUF], &request).await;
    assert_eq!(answer.body, b"");
}

#[tokio::test]
async fn spans_and_log_records_likewise() {
    let receiver = Receiver::http(Limits::default()).await;
    let ids = [field(1, &[1; 16]), field(2, &[1; 8])].concat();
    for (path, signal, own) in [("/v1/traces", Signal::Traces, 9), ("/v1/logs", Signal::Logs, 6)] {
        let item = |arrays| {
            let ids = if signal == Signal::Traces { &ids[..] } else { &[] };
            field(2, &[ids, &attribute(own, arrays)].concat())
        };
        // Two levels less are around it than around those of a point.
        let request = resource(&[], &[], &[item(MOST + 1), item(MOST + 2), item(10_000)].concat());
        let answer = send(&receiver, "POST", path, &[PROTOBUF], &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("[1]: more than 80"), "{}", answer.text());
        assert_eq!(items(receiver.batch()), 1);
        let refused: u64 = receiver
            .counts()
            .iter()
            .filter(|count| count.0 == Event::Refused && count.2 == signal)
            .map(|count| count.4)
            .sum();
        assert_eq!(refused, 2);
    }
}

#[tokio::test]
async fn json_has_the_same_limit() {
    let receiver = Receiver::http(Limits::default()).await;
    for arrays in [MOST, MOST + 1, 100, 100_000] {
        let point = |attributes: &str| format!(r#"{{"asInt":1,"timeUnixNano":1,"attributes":{attributes}}}"#);
        let body = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[{},{}]}}}}]}}]}}]}}"#,
            point(&in_json(arrays)),
            point("[]")
        );
        let answer = send(&receiver, "POST", "/v1/metrics", &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{arrays}: {}", answer.text());
        let is_refused = answer.text().contains(r#""rejectedDataPoints":"1""#);
        assert_eq!(is_refused, arrays > MOST, "{arrays}: {}", answer.text());
        assert_eq!(items(receiver.batch()), if is_refused { 1 } else { 2 });
        let body = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"attributes":{}}},{{}}]}}]}}]}}"#,
            in_json(arrays + 1)
        );
        let answer = send(&receiver, "POST", "/v1/logs", &[JSON], body.as_bytes()).await;
        let is_refused = answer.text().contains(r#""rejectedLogRecords":"1""#);
        assert_eq!(is_refused, arrays > MOST, "{arrays}: {}", answer.text());
        receiver.batch();
    }
}
