use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::{
    super::tests::{edited, edits},
    *,
};

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = prop_oneof![
        "\\PC{0,4}".prop_map(Any::StringValue),
        any::<i64>().prop_map(Any::IntValue),
        any::<bool>().prop_map(|value| Any::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(Any::BoolValue(value)) }],
        })),
    ];
    let key = prop_oneof![Just("service.name".to_owned()), "\\PC{0,3}"];
    vec(
        (key, value).prop_map(|(key, value)| KeyValue {
            key,
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }),
        0..3,
    )
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(1..=u8::MAX, length), 1 => vec(0..=u8::MAX, 0..20), 1 => Just(vec![0; length])]
}

fn span() -> impl Strategy<Value = Span> {
    (id(16), id(8), prop_oneof![Just(Vec::new()), id(8)], "\\PC{0,4}", attributes(), any::<u64>()).prop_map(
        |(trace_id, span_id, parent_span_id, name, attributes, time)| Span {
            trace_id,
            span_id,
            parent_span_id,
            trace_state: name.clone(),
            name,
            kind: 2,
            start_time_unix_nano: time,
            end_time_unix_nano: time,
            events: vec![span::Event { attributes: attributes.clone(), ..span::Event::default() }],
            links: vec![span::Link { attributes: attributes.clone(), ..span::Link::default() }],
            attributes,
            status: Some(Status { message: "m".to_owned(), code: 2 }),
            ..Span::default()
        },
    )
}

fn record() -> impl Strategy<Value = LogRecord> {
    let trace_id = prop_oneof![Just(Vec::new()), id(16)];
    let span_id = prop_oneof![Just(Vec::new()), id(8)];
    (trace_id, span_id, "\\PC{0,4}", attributes(), any::<u64>()).prop_map(
        |(trace_id, span_id, text, attributes, time)| LogRecord {
            time_unix_nano: time,
            severity_text: text.clone(),
            body: Some(AnyValue { value: Some(Any::StringValue(text)) }),
            attributes,
            trace_id,
            span_id,
            ..LogRecord::default()
        },
    )
}

fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = vec(span(), 0..3).prop_map(|spans| ScopeSpans {
        scope: Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() }),
        spans,
        schema_url: "url".to_owned(),
    });
    let resource_spans =
        (attributes(), vec(scope_spans, 0..3)).prop_map(|(attributes, scope_spans)| ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans,
            schema_url: "url".to_owned(),
        });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let resource_logs =
        (attributes(), vec(record(), 0..3)).prop_map(|(attributes, log_records)| ResourceLogs {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

/// The text of the resource's `service.name`, and its items, as bytes that prost writes.
type Read = Vec<(String, Vec<Vec<u8>>)>;

fn read<M: prost::Message + Default>(items: &Items<'_>) -> Read {
    let resources = items.resources().map(|resource| {
        let messages = resource.messages().map(|message| M::decode(message).unwrap().encode_to_vec());
        (resource.attribute("service.name").into_owned(), messages.collect())
    });
    resources.collect()
}

fn service(resource: Option<&Resource>) -> String {
    let mut attributes = resource.iter().flat_map(|resource| &resource.attributes);
    let found = attributes.find(|attribute| attribute.key == "service.name");
    found.map(|found| crate::collector::series::text(found.value.as_ref()).into_owned()).unwrap_or_default()
}

fn spans_by_prost(request: &ExportTraceServiceRequest) -> Read {
    let resources = request.resource_spans.iter().map(|resource| {
        let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        (service(resource.resource.as_ref()), spans.map(Span::encode_to_vec).collect())
    });
    resources.collect()
}

fn logs_by_prost(request: &ExportLogsServiceRequest) -> Read {
    let resources = request.resource_logs.iter().map(|resource| {
        let records = resource.scope_logs.iter().flat_map(|scope| &scope.log_records);
        (service(resource.resource.as_ref()), records.map(LogRecord::encode_to_vec).collect())
    });
    resources.collect()
}

fn is_valid(id: &[u8], length: usize) -> bool {
    id.len() == length && id.iter().any(|byte| *byte != 0)
}

fn has_invalid_span(request: &ExportTraceServiceRequest) -> bool {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).any(|span| {
        !is_valid(&span.trace_id, 16)
            || !is_valid(&span.span_id, 8)
            || !matches!(span.parent_span_id.len(), 0 | 8)
    })
}

fn has_invalid_record(request: &ExportLogsServiceRequest) -> bool {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).any(|record| {
        let bad = |id: &[u8], length| !id.is_empty() && !is_valid(id, length);
        bad(&record.trace_id, 16) || bad(&record.span_id, 8)
    })
}

proptest! {
    #[test]
    fn spans_are_those_that_prost_reads(request in traces(), edits in edits()) {
        let wire = request.encode_to_vec();
        let items = Items::spans(&wire).unwrap();
        prop_assert_eq!(read::<Span>(&items), spans_by_prost(&request));
        prop_assert_eq!(items.has_invalid_ids(), has_invalid_span(&request));
        let wire = edited(wire, edits);
        if let Ok(items) = Items::spans(&wire) {
            let request = ExportTraceServiceRequest::decode(wire.as_slice()).unwrap();
            prop_assert_eq!(read::<Span>(&items), spans_by_prost(&request));
            prop_assert_eq!(items.has_invalid_ids(), has_invalid_span(&request));
        }
    }

    #[test]
    fn log_records_are_those_that_prost_reads(request in logs(), edits in edits()) {
        let wire = request.encode_to_vec();
        let items = Items::logs(&wire).unwrap();
        prop_assert_eq!(read::<LogRecord>(&items), logs_by_prost(&request));
        prop_assert_eq!(items.has_invalid_ids(), has_invalid_record(&request));
        let wire = edited(wire, edits);
        if let Ok(items) = Items::logs(&wire) {
            let request = ExportLogsServiceRequest::decode(wire.as_slice()).unwrap();
            prop_assert_eq!(read::<LogRecord>(&items), logs_by_prost(&request));
            prop_assert_eq!(items.has_invalid_ids(), has_invalid_record(&request));
        }
    }
}
