//! OTLP/JSON: what the mapping allows arrives with the right value, and what it does not is named.

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::any_value,
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value},
};
use proptest::{prelude::*, test_runner::TestRunner};
use pushpull::collector::{batch::Signal, receive::otlp::Limits, stats::Event};
use serde_json::json;

use crate::support::*;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(receiver: &Receiver, path: &str, body: &str) -> Answer {
    send(receiver, "POST", path, &[JSON], body.as_bytes()).await
}

/// Sends metrics that must be taken.
async fn metrics_of(receiver: &Receiver, body: &str) -> ExportMetricsServiceRequest {
    let answer = post(receiver, "/v1/metrics", body).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{body}");
    match receiver.batch().request {
        Request::Metrics(request) => request,
        other => panic!("{other:?}"),
    }
}

/// The message of a refusal.
async fn refusal(receiver: &Receiver, path: &str, body: &str) -> String {
    let answer = post(receiver, path, body).await;
    assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    assert_eq!(answer.json()["code"], 3);
    receiver.no_batch();
    answer.json()["message"].as_str().unwrap().to_owned()
}

/// A request of one metric with that data.
fn one_metric(data: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"latency",{data}}}]}}]}}]}}"#)
}

fn one_span(ids: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"work",{ids}}}]}}]}}]}}"#)
}

fn data(request: &ExportMetricsServiceRequest) -> &Data {
    request.resource_metrics[0].scope_metrics[0].metrics[0].data.as_ref().unwrap()
}

fn gauge_point(request: &ExportMetricsServiceRequest) -> &NumberDataPoint {
    match data(request) {
        Data::Gauge(gauge) => &gauge.data_points[0],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_field_of_every_signal_arrives() {
    let receiver = Receiver::http(Limits::default()).await;
    for (signal, path) in
        [(Signal::Metrics, "/v1/metrics"), (Signal::Traces, "/v1/traces"), (Signal::Logs, "/v1/logs")]
    {
        // Written by the serializer of opentelemetry-proto.
        let body = match request(signal) {
            Request::Metrics(request) => serde_json::to_string(&request),
            Request::Traces(request) => serde_json::to_string(&request),
            Request::Logs(request) => serde_json::to_string(&request),
        };
        let answer = post(&receiver, path, &body.unwrap()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
        let batch = receiver.batch();
        assert_same(&batch.request, &request(signal));
    }
}

/// In the form of the examples that are published with OTLP: times as bare numbers, whole numbers where the
/// field is a double, ids in upper case, every kind of metric that they show.
#[tokio::test]
async fn requests_in_the_form_of_the_published_examples_are_taken() {
    let receiver = Receiver::http(Limits::default()).await;
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "till"}}]});
    let scope = json!({"name": "till.sales", "version": "1.0.0",
        "attributes": [{"key": "scope.attribute", "value": {"stringValue": "of the scope"}}]});
    let attributes = json!([{"key": "aisle", "value": {"stringValue": "four"}}]);
    let time = 1_544_712_660_300_000_000_u64;

    let metrics = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [
        {"name": "sales", "unit": "1", "description": "a counter", "sum": {
            "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
                {"asDouble": 5, "startTimeUnixNano": time, "timeUnixNano": time, "attributes": attributes}]}},
        {"name": "queue", "unit": "1", "description": "a gauge", "gauge": {"dataPoints": [
            {"asDouble": 10, "timeUnixNano": time, "attributes": attributes}]}},
        {"name": "basket", "unit": "1", "description": "a histogram", "histogram": {
            "aggregationTemporality": 1, "dataPoints": [
                {"startTimeUnixNano": time, "timeUnixNano": time, "count": 2, "sum": 2, "bucketCounts": [1, 1],
                 "explicitBounds": [1], "min": 1, "max": 1, "attributes": attributes}]}},
        {"name": "weight", "unit": "1", "description": "an exponential one", "exponentialHistogram": {
            "aggregationTemporality": 1, "dataPoints": [
                {"startTimeUnixNano": time, "timeUnixNano": time, "count": 3, "sum": 10, "scale": 0, "zeroCount": 1,
                 "positive": {"offset": 1, "bucketCounts": [0, 2]}, "min": 0, "max": 5, "zeroThreshold": 0,
                 "attributes": attributes}]}}]}]}]});
    let request = metrics_of(&receiver, &metrics.to_string()).await;
    let taken = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Sum(sum)) = &taken[0].data else { panic!("{taken:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 1);
    assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(5.0)));
    assert_eq!(sum.data_points[0].time_unix_nano, time);
    let Some(Data::Histogram(histogram)) = &taken[2].data else { panic!("{taken:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum, point.min, point.max), (2, Some(2.0), Some(1.0), Some(1.0)));
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[1, 1][..], &[1.0][..]));
    let Some(Data::ExponentialHistogram(histogram)) = &taken[3].data else { panic!("{taken:?}") };
    assert_eq!(histogram.data_points[0].positive.as_ref().unwrap().bucket_counts, [0, 2]);

    let traces = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [
        {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
         "parentSpanId": "EEE19B7EC3C1B173", "name": "a server's span", "startTimeUnixNano": time,
         "endTimeUnixNano": time + 1, "kind": 2, "attributes": attributes}]}]}]});
    assert_eq!(post(&receiver, "/v1/traces", &traces.to_string()).await.text(), "{}");
    let Request::Traces(request) = receiver.batch().request else { panic!("not traces") };
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    let trace_id =
        [0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];
    assert_eq!(span.trace_id, trace_id);
    assert_eq!(span.parent_span_id, [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x73]);
    assert_eq!((span.kind, span.start_time_unix_nano, span.end_time_unix_nano), (2, time, time + 1));

    let logs = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [
        {"timeUnixNano": time, "observedTimeUnixNano": time, "severityNumber": 10,
         "severityText": "Information", "traceId": "5B8EFFF798038103D269B633813FC60C",
         "spanId": "EEE19B7EC3C1B174", "body": {"stringValue": "a record"}, "attributes": [
            {"key": "string", "value": {"stringValue": "some"}},
            {"key": "boolean", "value": {"boolValue": true}},
            {"key": "int", "value": {"intValue": 10}},
            {"key": "double", "value": {"doubleValue": 637.704}},
            {"key": "array", "value": {"arrayValue": {"values": [{"stringValue": "many"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [
                {"key": "inner", "value": {"stringValue": "value"}}]}}}]}]}]}]});
    assert_eq!(post(&receiver, "/v1/logs", &logs.to_string()).await.text(), "{}");
    let Request::Logs(request) = receiver.batch().request else { panic!("not logs") };
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.trace_id, trace_id);
    let values: Vec<_> = record.attributes.iter().map(|a| a.value.clone().unwrap().value.unwrap()).collect();
    assert_eq!(values[1], any_value::Value::BoolValue(true));
    assert_eq!(values[2], any_value::Value::IntValue(10));
    assert_eq!(values[3], any_value::Value::DoubleValue(637.704));
    assert!(matches!(&values[5], any_value::Value::KvlistValue(list) if list.values[0].key == "inner"));
}

#[tokio::test]
async fn doubles_come_as_numbers_and_as_strings() {
    let receiver = Receiver::http(Limits::default()).await;
    let cases = [
        ("1.5", 1.5),
        ("\"1.5\"", 1.5),
        ("2", 2.0),
        ("\"-2e3\"", -2000.0),
        ("-0.0", -0.0),
        ("\"Infinity\"", f64::INFINITY),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("\"NaN\"", f64::NAN),
        ("18446744073709551615", 18_446_744_073_709_551_615.0),
        ("1.7976931348623157e308", f64::MAX),
        ("5e-324", 5e-324),
    ];
    for (text, expected) in cases {
        let body = one_metric(&format!(r#""gauge":{{"dataPoints":[{{"asDouble":{text}}}]}}"#));
        let request = metrics_of(&receiver, &body).await;
        let Some(Value::AsDouble(value)) = gauge_point(&request).value else { panic!("{text}: {request:?}") };
        assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
    }
}

#[tokio::test]
async fn special_doubles_are_taken_wherever_a_double_is() {
    let receiver = Receiver::http(Limits::default()).await;
    let request = metrics_of(
        &receiver,
        &one_metric(
            r#""histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"3","sum":"NaN","min":"-Infinity",
            "max":"Infinity","explicitBounds":["-1.5",0,"Infinity"],"bucketCounts":["1",1,"1",0],
            "exemplars":[{"asDouble":"Infinity"}]}]}"#,
        ),
    )
    .await;
    let Data::Histogram(histogram) = data(&request) else { panic!("{request:?}") };
    let point = &histogram.data_points[0];
    assert!(point.sum.unwrap().is_nan());
    assert_eq!((point.min, point.max), (Some(f64::NEG_INFINITY), Some(f64::INFINITY)));
    assert_eq!(point.explicit_bounds, [-1.5, 0.0, f64::INFINITY]);
    assert_eq!(point.bucket_counts, [1, 1, 1, 0]);

    let request = metrics_of(
        &receiver,
        &one_metric(
            r#""summary":{"dataPoints":[{"count":2,"sum":"-Infinity","quantileValues":[
            {"quantile":"0.5","value":"NaN"},{"quantile":1,"value":"Infinity"}],
            "attributes":[{"key":"k","value":{"doubleValue":"NaN"}}]}]}"#,
        ),
    )
    .await;
    let Data::Summary(summary) = data(&request) else { panic!("{request:?}") };
    let point = &summary.data_points[0];
    assert_eq!(point.sum, f64::NEG_INFINITY);
    assert_eq!(point.quantile_values[0].quantile, 0.5);
    assert!(point.quantile_values[0].value.is_nan());
    let value = point.attributes[0].value.clone().unwrap().value.unwrap();
    assert!(matches!(value, any_value::Value::DoubleValue(value) if value.is_nan()));
}

#[tokio::test]
async fn integers_come_as_numbers_and_as_strings() {
    let receiver = Receiver::http(Limits::default()).await;
    for (text, expected) in [
        ("\"9223372036854775807\"", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("\"-12\"", -12),
        ("1e3", 1000),
        ("7.0", 7),
        ("\"1e2\"", 100),
        ("\"5.0\"", 5),
        ("\"9.223372036854775807e18\"", i64::MAX),
    ] {
        let body = one_metric(&format!(
            r#""gauge":{{"dataPoints":[{{"asInt":{text},"timeUnixNano":"18446744073709551615"}}]}}"#
        ));
        let request = metrics_of(&receiver, &body).await;
        assert_eq!(gauge_point(&request).value, Some(Value::AsInt(expected)), "{text}");
        assert_eq!(gauge_point(&request).time_unix_nano, u64::MAX);
    }
}

#[tokio::test]
async fn null_is_the_same_as_missing_and_unknown_fields_are_ignored() {
    let receiver = Receiver::http(Limits::default()).await;
    let request = metrics_of(
        &receiver,
        r#"{"added":{"later":[1,{"x":null}]},"resourceMetrics":[{"resource":null,"schemaUrl":null,"scopeMetrics":[
        {"scope":null,"metrics":[{"name":"latency","unit":null,"metadata":null,"histogram":null,"gauge":
        {"dataPoints":[{"attributes":null,"exemplars":null,"asDouble":null,"asInt":3,"resource_metrics":7}]}}]}]},
        {"scopeMetrics":null}]}"#,
    )
    .await;
    assert_eq!(gauge_point(&request).value, Some(Value::AsInt(3)));
    assert_eq!(request.resource_metrics.len(), 2);
    assert_eq!(request.resource_metrics[0].resource, None);
    for body in [r#"{"resourceMetrics":null}"#, r#"{"resourceMetrics":[]}"#] {
        assert_eq!(post(&receiver, "/v1/metrics", body).await.status, 200);
    }
}

#[tokio::test]
async fn a_point_marked_as_without_a_value_needs_none() {
    let receiver = Receiver::http(Limits::default()).await;
    let request = metrics_of(&receiver, &one_metric(r#""gauge":{"dataPoints":[{"flags":1}]}"#)).await;
    assert_eq!((gauge_point(&request).value, gauge_point(&request).flags), (None, 1));
}

#[tokio::test]
async fn bytes_come_in_every_base64() {
    let receiver = Receiver::http(Limits::default()).await;
    for text in ["+/8A+w==", "-_8A-w==", "+/8A+w", "-_8A-w"] {
        let body = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"bytesValue":"{text}"}}}}]}}]}}]}}"#
        );
        assert_eq!(post(&receiver, "/v1/logs", &body).await.status, 200, "{text}");
        let Request::Logs(request) = receiver.batch().request else { panic!("not logs") };
        let body = request.resource_logs[0].scope_logs[0].log_records[0].body.clone().unwrap().value.unwrap();
        assert_eq!(body, any_value::Value::BytesValue(vec![0xfb, 0xff, 0x00, 0xfb]), "{text}");
    }
}

#[tokio::test]
async fn what_the_mapping_does_not_allow_is_named_with_its_place() {
    let receiver = Receiver::http(Limits::default()).await;
    let metric = "resourceMetrics[0].scopeMetrics[0].metrics[0]";
    for (data, place, reason) in [
        (
            r#""sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}"#,
            "sum.aggregationTemporality",
            "no names",
        ),
        (r#""gauge":{"dataPoints":[{"asDouble":"1.5x"}]}"#, "gauge.dataPoints[0].asDouble", "1.5x"),
        (r#""gauge":{"dataPoints":[{"asDouble":"inf"}]}"#, "gauge.dataPoints[0].asDouble", "inf"),
        (r#""gauge":{"dataPoints":[{"asDouble":"1e999"}]}"#, "gauge.dataPoints[0].asDouble", "1e999"),
        (r#""gauge":{"dataPoints":[{"asDouble":true}]}"#, "gauge.dataPoints[0].asDouble", "boolean"),
        (r#""gauge":{"dataPoints":[{"asInt":"1.5"}]}"#, "gauge.dataPoints[0].asInt", "1.5"),
        (r#""gauge":{"dataPoints":[{"asInt":"1e19"}]}"#, "gauge.dataPoints[0].asInt", "out of range"),
        (r#""gauge":{"dataPoints":[{"asInt":1.5}]}"#, "gauge.dataPoints[0].asInt", "1.5"),
        (
            r#""gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}"#,
            "gauge.dataPoints[0].asInt",
            "out of range",
        ),
        (
            r#""gauge":{"dataPoints":[{"timeUnixNano":-1}]}"#,
            "gauge.dataPoints[0].timeUnixNano",
            "out of range",
        ),
        (r#""gauge":{"dataPoints":[{"asInt":1,"asDouble":1}]}"#, "gauge.dataPoints[0].asDouble", "asInt"),
        (r#""gauge":{"dataPoints":[{"asInt":1,"asInt":2}]}"#, "gauge.dataPoints[0].asInt", "twice"),
        (r#""gauge":{"dataPoints":[{"asInt":1},null]}"#, "gauge.dataPoints[1]", "null"),
        (r#""gauge":{"dataPoints":{}}"#, "gauge.dataPoints", "a list"),
        (r#""gauge":[]"#, "gauge", "an object"),
        (r#""gauge":{},"sum":{}"#, "sum", "gauge"),
        (r#""unit":5"#, "unit", "a string"),
        (
            r#""histogram":{"dataPoints":[{"explicitBounds":[1,"two"]}]}"#,
            "histogram.dataPoints[0].explicitBounds[1]",
            "two",
        ),
        (
            r#""gauge":{"dataPoints":[{"exemplars":[{"traceId":"0x12"}]}]}"#,
            "gauge.dataPoints[0].exemplars[0].traceId",
            "hex",
        ),
    ] {
        let message = refusal(&receiver, "/v1/metrics", &one_metric(data)).await;
        assert!(
            message.contains(&format!("{metric}.{place}: ")) && message.contains(reason),
            "{data}: {message}"
        );
    }
    for (ids, place) in [(r#""traceId":"xyz""#, "traceId"), (r#""kind":"SPAN_KIND_SERVER""#, "kind")] {
        let message = refusal(&receiver, "/v1/traces", &one_span(ids)).await;
        assert!(message.contains(&format!("resourceSpans[0].scopeSpans[0].spans[0].{place}: ")), "{message}");
    }
}

#[tokio::test]
async fn a_request_of_nothing_but_missing_data_and_values_is_refused_with_names() {
    let receiver = Receiver::http(Limits::default()).await;
    for data in [r#""summ":{}"#, r#""sum":null"#, r#""unit":"s""#] {
        let message = refusal(&receiver, "/v1/metrics", &one_metric(data)).await;
        assert!(
            message.contains(r#"resourceMetrics[0].scopeMetrics[0].metrics[0] "latency": no data"#),
            "{message}"
        );
    }
    let message =
        refusal(&receiver, "/v1/metrics", &one_metric(r#""sum":{"dataPoints":[{"value":2}]}"#)).await;
    assert!(message.contains(r#"metrics[0] "latency" sum.dataPoints[0]: no value"#), "{message}");
    assert_eq!(
        receiver.counts(),
        [(Event::Refused, "otlp_http".to_owned(), Signal::Metrics, "malformed", 4)]
    );
}

#[tokio::test]
async fn what_is_good_beside_missing_data_and_values_is_taken() {
    let receiver = Receiver::http(Limits::default()).await;
    let good = r#"{"name":"good","gauge":{"dataPoints":[{"asInt":1},{"value":2}]}}"#;
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"x"}},{{"name":"y","gauge":null}},{good}]}}]}}]}}"#
    );
    let answer = post(&receiver, "/v1/metrics", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "1", "{partial}");
    let message = partial["errorMessage"].as_str().unwrap();
    for part in [r#"metrics[0] "x": no data"#, r#"metrics[1] "y": no data"#, "gauge.dataPoints[1]: no value"]
    {
        assert!(message.contains(part), "{message}");
    }
    let Request::Metrics(request) = receiver.batch().request else { panic!("not metrics") };
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let receiver = Receiver::http(Limits::default()).await;
    for body in
        ["", "null", "[]", "{", "{}{}", "\"x\"", r#"{"resourceMetrics":[{"#, "{\"a\":\"\u{1}\"}", "NaN"]
    {
        refusal(&receiver, "/v1/metrics", body).await;
    }
    let answer = send(&receiver, "POST", "/v1/metrics", &[JSON], b"{\"resourceMetrics\":\"\xff\"}").await;
    assert_eq!(answer.status, 400);
    let deep = format!(r#"{{"resourceLogs":{}"#, "[".repeat(100_000));
    refusal(&receiver, "/v1/logs", &deep).await;
}

#[tokio::test]
async fn a_number_that_is_null_refuses_its_point_alone() {
    let receiver = Receiver::http(Limits::default()).await;
    let buckets = r#""positive":{"offset":0,"bucketCounts":[1]}"#;
    for (data, place) in [
        (r#""gauge":{"dataPoints":[{"asDouble":null},{"asInt":1}]}"#, ""),
        (
            r#""gauge":{"dataPoints":[{"asInt":2,"exemplars":[{"asDouble":null}]},{"asInt":1}]}"#,
            ".exemplars[0]",
        ),
        (r#""summary":{"dataPoints":[{"count":1,"sum":null},{"count":1,"sum":1}]}"#, ".sum"),
        (r#""summary":{"dataPoints":[{"sum":1,"count":null},{"count":1,"sum":1}]}"#, ".count"),
        (
            r#""summary":{"dataPoints":[{"count":1,"sum":1,"quantileValues":[{"quantile":0.5,"value":null}]},{}]}"#,
            ".quantileValues[0].value",
        ),
        (
            r#""summary":{"dataPoints":[{"count":1,"sum":1,"quantileValues":[{"quantile":null,"value":2}]},{}]}"#,
            ".quantileValues[0].quantile",
        ),
        (r#""histogram":{"dataPoints":[{"count":null,"sum":1},{}]}"#, ".count"),
        (
            r#""histogram":{"dataPoints":[{"count":1,"bucketCounts":[1,null],"explicitBounds":[1]},{}]}"#,
            ".bucketCounts[1]",
        ),
        (
            r#""histogram":{"dataPoints":[{"count":1,"bucketCounts":[1,0],"explicitBounds":[null]},{}]}"#,
            ".explicitBounds[0]",
        ),
        (
            &format!(
                r#""exponentialHistogram":{{"dataPoints":[{{"count":1,"scale":null,{buckets}}},{{}}]}}"#
            ),
            ".scale",
        ),
        (
            r#""exponentialHistogram":{"dataPoints":[{"count":1,"positive":{"offset":null,"bucketCounts":[1]}},{}]}"#,
            ".positive.offset",
        ),
        (
            r#""exponentialHistogram":{"dataPoints":[{"count":1,"negative":{"offset":1,"bucketCounts":[null]}},{}]}"#,
            ".negative.bucketCounts[0]",
        ),
    ] {
        let answer = post(&receiver, "/v1/metrics", &one_metric(data)).await;
        assert_eq!(answer.status, 200, "{data}: {}", answer.text());
        let partial = &answer.json()["partialSuccess"];
        assert_eq!(partial["rejectedDataPoints"], "1", "{data}: {partial}");
        let message = partial["errorMessage"].as_str().unwrap();
        assert!(message.contains(&format!(".dataPoints[0]{place}: null")), "{data}: {message}");
        assert_eq!(receiver.batch().items, 1, "{data}");
    }
    // These may be left out.
    let data = r#""histogram":{"dataPoints":[{"count":1,"sum":null,"min":null,"max":null}]}"#;
    metrics_of(&receiver, &one_metric(data)).await;
}

#[tokio::test]
async fn spans_with_invalid_ids_are_refused_one_by_one() {
    let receiver = Receiver::http(Limits::default()).await;
    let good = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{good}}},{{"name":"short","traceId":"5b8e"}},
        {{"name":"root",{good},"parentSpanId":""}}]}}]}}]}}"#
    );
    let answer = post(&receiver, "/v1/traces", &body).await;
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1");
    let message = partial["errorMessage"].as_str().unwrap();
    assert_eq!(message, "resourceSpans[0].scopeSpans[0].spans[1] \"short\": traceId has 2 bytes, not 16");
    let Request::Traces(ExportTraceServiceRequest { resource_spans }) = receiver.batch().request else {
        panic!("not traces")
    };
    assert_eq!(resource_spans[0].scope_spans[0].spans.len(), 2);
}

#[test]
fn any_double_arrives_to_the_bit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let receiver = runtime.block_on(Receiver::http(Limits::default()));
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&(prop::num::f64::NORMAL, any::<bool>()), |(value, quoted)| {
        let text = if quoted { format!("\"{value:e}\"") } else { format!("{value:e}") };
        let body = one_metric(&format!(r#""gauge":{{"dataPoints":[{{"asDouble":{text}}}]}}"#));
        let request = runtime.block_on(metrics_of(&receiver, &body));
        prop_assert_eq!(gauge_point(&request).value, Some(Value::AsDouble(value)));
        Ok(())
    });
    result.unwrap();
}
