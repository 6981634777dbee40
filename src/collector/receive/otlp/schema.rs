//! OTLP's messages as a table: JSON name, field number and type of every field, and each message's size
//! once decoded.
//!
//! It must not know an encoding: the JSON reader and the estimate of the decoded size both walk it. A test
//! compares it with the published descriptors.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1 as common,
    logs::v1 as logs,
    metrics::v1 as metrics,
    resource::v1 as resource,
    trace::v1 as trace,
};

use crate::collector::batch::Signal;

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    /// Bytes of the decoded struct itself, without what its vectors and strings hold.
    pub(super) size: usize,
    /// Its fields, in no particular order; at most 32.
    pub(super) fields: &'static [Field],
}

impl Message {
    /// The field with that number on the wire.
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in JSON.
    pub(super) name: &'static str,
    /// Its number on the wire.
    pub(super) number: u32,
    /// What it holds.
    pub(super) kind: Kind,
    /// Whether it is a list.
    pub(super) repeated: bool,
    /// Whether it belongs to its message's oneof; no message of OTLP has more than one.
    pub(super) one_of: bool,
}

/// What a field holds, in protobuf's terms.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    Double,
    Fixed32,
    Fixed64,
    Sfixed64,
    Int32,
    Int64,
    Sint32,
    Uint32,
    Uint64,
    /// An enumeration: in OTLP's JSON a number, never a name.
    Enum,
    Text,
    /// Bytes that OTLP's JSON writes in hex: trace and span ids.
    Id,
    /// Bytes that JSON writes in base64.
    Bytes,
    Message(&'static Message),
}

impl Kind {
    /// Whether a list of it is one length-delimited run on the wire.
    pub(super) const fn is_packed(self) -> bool {
        !matches!(self, Self::Text | Self::Id | Self::Bytes | Self::Message(_))
    }
}

/// The request of a signal.
pub(super) const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Metrics => &METRICS_REQUEST,
        Signal::Traces => &TRACE_REQUEST,
        Signal::Logs => &LOGS_REQUEST,
    }
}

/// Whether a message is a metric.
pub(super) fn is_metric(message: &'static Message) -> bool {
    std::ptr::eq(message, &raw const METRIC)
}

/// Whether a message is a data point.
pub(super) fn is_point(message: &'static Message) -> bool {
    [&NUMBER_POINT, &HISTOGRAM_POINT, &EXPONENTIAL_POINT, &SUMMARY_POINT]
        .into_iter()
        .any(|point| std::ptr::eq(point, message))
}

/// Whether a field is a number without which its point says something else: one that cannot be left out, as a
/// histogram's sum can.
pub(super) fn is_needed(message: &'static Message, field: &Field) -> bool {
    let is_measured = [&HISTOGRAM_POINT, &EXPONENTIAL_POINT, &SUMMARY_POINT, &BUCKETS, &QUANTILE]
        .into_iter()
        .any(|measured| std::ptr::eq(measured, message));
    let is_in_summary = std::ptr::eq(message, &raw const SUMMARY_POINT);
    is_measured
        && match field.name {
            "count" | "scale" | "zeroCount" | "zeroThreshold" | "offset" | "quantile" | "value" => true,
            "sum" => is_in_summary,
            _ => false,
        }
}

/// Whether a field is one of the two that a number's value is in.
pub(super) fn is_value(field: &Field) -> bool {
    matches!(field.name, "asDouble" | "asInt")
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false, one_of: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: true, one_of: false }
}

const fn choice(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false, one_of: true }
}

static METRICS_REQUEST: Message = Message {
    size: size_of::<ExportMetricsServiceRequest>(),
    fields: &[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))],
};

static TRACE_REQUEST: Message = Message {
    size: size_of::<ExportTraceServiceRequest>(),
    fields: &[many("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))],
};

static LOGS_REQUEST: Message = Message {
    size: size_of::<ExportLogsServiceRequest>(),
    fields: &[many("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))],
};

static ANY_VALUE: Message = Message {
    size: size_of::<common::AnyValue>(),
    fields: &[
        choice("stringValue", 1, Kind::Text),
        choice("boolValue", 2, Kind::Bool),
        choice("intValue", 3, Kind::Int64),
        choice("doubleValue", 4, Kind::Double),
        choice("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        choice("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        choice("bytesValue", 7, Kind::Bytes),
        choice("stringValueStrindex", 8, Kind::Int32),
    ],
};

static ARRAY_VALUE: Message = Message {
    size: size_of::<common::ArrayValue>(),
    fields: &[many("values", 1, Kind::Message(&ANY_VALUE))],
};

static KEY_VALUE_LIST: Message = Message {
    size: size_of::<common::KeyValueList>(),
    fields: &[many("values", 1, Kind::Message(&KEY_VALUE))],
};

static KEY_VALUE: Message = Message {
    size: size_of::<common::KeyValue>(),
    fields: &[
        one("key", 1, Kind::Text),
        one("value", 2, Kind::Message(&ANY_VALUE)),
        one("keyStrindex", 3, Kind::Int32),
    ],
};

static SCOPE: Message = Message {
    size: size_of::<common::InstrumentationScope>(),
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static ENTITY_REF: Message = Message {
    size: size_of::<common::EntityRef>(),
    fields: &[
        one("schemaUrl", 1, Kind::Text),
        one("type", 2, Kind::Text),
        many("idKeys", 3, Kind::Text),
        many("descriptionKeys", 4, Kind::Text),
    ],
};

static RESOURCE: Message = Message {
    size: size_of::<resource::Resource>(),
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Kind::Uint32),
        many("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ],
};

static RESOURCE_METRICS: Message = Message {
    size: size_of::<metrics::ResourceMetrics>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_METRICS: Message = Message {
    size: size_of::<metrics::ScopeMetrics>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static METRIC: Message = Message {
    size: size_of::<metrics::Metric>(),
    fields: &[
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        choice("gauge", 5, Kind::Message(&GAUGE)),
        choice("sum", 7, Kind::Message(&SUM)),
        choice("histogram", 9, Kind::Message(&HISTOGRAM)),
        choice("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        choice("summary", 11, Kind::Message(&SUMMARY)),
        many("metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message {
    size: size_of::<metrics::Gauge>(),
    fields: &[many("dataPoints", 1, Kind::Message(&NUMBER_POINT))],
};

static SUM: Message = Message {
    size: size_of::<metrics::Sum>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
        one("isMonotonic", 3, Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    size: size_of::<metrics::Histogram>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    size: size_of::<metrics::ExponentialHistogram>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static SUMMARY: Message = Message {
    size: size_of::<metrics::Summary>(),
    fields: &[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))],
};

static NUMBER_POINT: Message = Message {
    size: size_of::<metrics::NumberDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        choice("asDouble", 4, Kind::Double),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        choice("asInt", 6, Kind::Sfixed64),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    size: size_of::<metrics::HistogramDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("flags", 10, Kind::Uint32),
        one("min", 11, Kind::Double),
        one("max", 12, Kind::Double),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    size: size_of::<metrics::ExponentialHistogramDataPoint>(),
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        one("scale", 6, Kind::Sint32),
        one("zeroCount", 7, Kind::Fixed64),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Uint32),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        one("min", 12, Kind::Double),
        one("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ],
};

static BUCKETS: Message = Message {
    size: size_of::<metrics::exponential_histogram_data_point::Buckets>(),
    fields: &[one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)],
};

pub(super) static SUMMARY_POINT: Message = Message {
    size: size_of::<metrics::SummaryDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&QUANTILE)),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static QUANTILE: Message = Message {
    size: size_of::<metrics::summary_data_point::ValueAtQuantile>(),
    fields: &[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)],
};

static EXEMPLAR: Message = Message {
    size: size_of::<metrics::Exemplar>(),
    fields: &[
        one("timeUnixNano", 2, Kind::Fixed64),
        choice("asDouble", 3, Kind::Double),
        one("spanId", 4, Kind::Id),
        one("traceId", 5, Kind::Id),
        choice("asInt", 6, Kind::Sfixed64),
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
    ],
};

static RESOURCE_SPANS: Message = Message {
    size: size_of::<trace::ResourceSpans>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_SPANS: Message = Message {
    size: size_of::<trace::ScopeSpans>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("spans", 2, Kind::Message(&SPAN)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SPAN: Message = Message {
    size: size_of::<trace::Span>(),
    fields: &[
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::Id),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Enum),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&SPAN_EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&SPAN_LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        one("status", 15, Kind::Message(&SPAN_STATUS)),
        one("flags", 16, Kind::Fixed32),
    ],
};

static SPAN_EVENT: Message = Message {
    size: size_of::<trace::span::Event>(),
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static SPAN_LINK: Message = Message {
    size: size_of::<trace::span::Link>(),
    fields: &[
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        many("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};

static SPAN_STATUS: Message = Message {
    size: size_of::<trace::Status>(),
    fields: &[one("message", 2, Kind::Text), one("code", 3, Kind::Enum)],
};

static RESOURCE_LOGS: Message = Message {
    size: size_of::<logs::ResourceLogs>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_LOGS: Message = Message {
    size: size_of::<logs::ScopeLogs>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("logRecords", 2, Kind::Message(&LOG_RECORD)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static LOG_RECORD: Message = Message {
    size: size_of::<logs::LogRecord>(),
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("severityNumber", 2, Kind::Enum),
        one("severityText", 3, Kind::Text),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        many("attributes", 6, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::Id),
        one("spanId", 10, Kind::Id),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("eventName", 12, Kind::Text),
    ],
};

#[cfg(test)]
mod tests;
