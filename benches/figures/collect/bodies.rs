//! OTLP requests in protobuf that are encoded once; what changes from one to the next is written over in place, so that
//! making the load costs next to nothing.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point::Value,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;

/// Bounds of the histograms: with what is above the last, fifteen buckets.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const CUMULATIVE: i32 = 2;
/// Stands for what is written over: no other eight bytes of a body read so.
const TIME: u64 = 0xf1e2_d3c4_b5a6_9788;
const TOTAL: u64 = 0x5a6b_7c8d_9eaf_b0c1;
const EACH_BUCKET: u64 = 0x6d5e_4f30_2112_0304;

/// The kind of the items in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Histogram,
    Span,
    LogRecord,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counters",
            Self::Histogram => "15-bucket histograms",
            Self::Span => "spans",
            Self::LogRecord => "log records",
        }
    }

    /// Data points, spans or log records in a body.
    pub(crate) const fn items(self) -> usize {
        match self {
            Self::Counter | Self::Histogram => 1_000,
            // What an SDK's batch processor sends at once.
            Self::Span | Self::LogRecord => 512,
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Counter | Self::Histogram => "/v1/metrics",
            Self::Span => "/v1/traces",
            Self::LogRecord => "/v1/logs",
        }
    }

    /// Carbon lines of one point, as pushpull writes them.
    pub(crate) const fn lines(self) -> u64 {
        match self {
            Self::Counter => 1,
            Self::Histogram => BOUNDS.len() as u64 + 3,
            Self::Span | Self::LogRecord => 0,
        }
    }
}

/// One request, of series that no other one has.
pub(crate) struct Body {
    pub(crate) kind: Kind,
    bytes: Vec<u8>,
    times: Vec<usize>,
    totals: Vec<usize>,
    buckets: Vec<usize>,
    sent: u64,
}

impl Body {
    /// Ten metrics with three attributes a point; spans and log records with seven attributes each.
    pub(crate) fn new(kind: Kind, number: usize) -> Self {
        let items = kind.items();
        let bytes = match kind {
            Kind::Counter | Kind::Histogram => metrics(kind, number, items).encode_to_vec(),
            Kind::Span => spans(number, items).encode_to_vec(),
            Kind::LogRecord => log_records(number, items).encode_to_vec(),
        };
        let found = |mark: u64| {
            let mark = mark.to_le_bytes();
            let places = bytes.windows(8).enumerate().filter(|(_, window)| *window == mark);
            places.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let (times, totals, buckets) = (found(TIME), found(TOTAL), found(EACH_BUCKET));
        assert_eq!((times.len(), totals.len()), (items, items));
        Self { kind, bytes, times, totals, buckets, sent: 0 }
    }

    /// The request with the next value of each series, of now.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.sent += 1;
        let each = self.sent;
        let total = match self.kind {
            Kind::Counter | Kind::Span | Kind::LogRecord => each,
            Kind::Histogram => each * (BOUNDS.len() as u64 + 1),
        };
        for (places, value) in [(&self.times, nanoseconds()), (&self.totals, total), (&self.buckets, each)] {
            for place in places {
                self.bytes[*place..place + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        &self.bytes
    }
}

fn metrics(kind: Kind, number: usize, points: usize) -> ExportMetricsServiceRequest {
    let start = nanoseconds();
    let series = 0..points / 10;
    let data = |metric: usize| match kind {
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: series.clone().map(|series| histogram(number, metric, series, start)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
        _ => Data::Sum(Sum {
            data_points: series.clone().map(|series| counter(number, metric, series, start)).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
    };
    let metric = |metric| Metric {
        name: format!("shop.orders.{metric}"),
        description: "Orders that were taken".to_owned(),
        unit: "{order}".to_owned(),
        data: Some(data(metric)),
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: (0..10).map(metric).collect(), ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        }],
    }
}

fn counter(number: usize, metric: usize, series: usize, start: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(number, metric, series),
        start_time_unix_nano: start,
        time_unix_nano: TIME,
        value: Some(Value::AsInt(i64::from_le_bytes(TOTAL.to_le_bytes()))),
        ..NumberDataPoint::default()
    }
}

fn histogram(number: usize, metric: usize, series: usize, start: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(number, metric, series),
        start_time_unix_nano: start,
        time_unix_nano: TIME,
        count: TOTAL,
        sum: Some(1.5),
        bucket_counts: vec![EACH_BUCKET; BOUNDS.len() + 1],
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn resource() -> Resource {
    Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() }
}

/// Those of a server for HTTP.
fn spans(number: usize, count: usize) -> ExportTraceServiceRequest {
    let span = |at: usize| Span {
        trace_id: ids::<16>(number, at),
        span_id: ids::<8>(number, at),
        parent_span_id: ids::<8>(number, at + 1),
        name: "GET /orders/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: TIME,
        // Each has one place for a total, as a point does; here it is no time.
        end_time_unix_nano: TOTAL,
        attributes: of_a_request(number, at),
        ..Span::default()
    };
    let spans = (0..count).map(span).collect();
    let resource_spans = ResourceSpans {
        resource: Some(resource()),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn log_records(number: usize, count: usize) -> ExportLogsServiceRequest {
    let record = |at: usize| LogRecord {
        time_unix_nano: TIME,
        observed_time_unix_nano: TOTAL,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text("an order was taken, and its customer was informed")),
        attributes: of_a_request(number, at),
        trace_id: ids::<16>(number, at),
        span_id: ids::<8>(number, at),
        ..LogRecord::default()
    };
    let log_records = (0..count).map(record).collect();
    let resource_logs = ResourceLogs {
        resource: Some(resource()),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

fn ids<const N: usize>(number: usize, at: usize) -> Vec<u8> {
    let mut id = [0x11; N];
    id[..4].copy_from_slice(&u32::try_from(number * 1_000 + at).unwrap().to_le_bytes());
    id.to_vec()
}

fn of_a_request(number: usize, at: usize) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", "GET"),
        attribute("http.route", "/orders/{id}"),
        attribute("url.path", &format!("/orders/{number}/{at}")),
        attribute("url.scheme", "http"),
        attribute("server.address", "shop.example.org"),
        attribute("client.address", "192.0.2.17"),
        attribute("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"),
    ]
}

fn attributes(number: usize, metric: usize, series: usize) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", "GET"),
        attribute("http.route", &format!("/orders/{number}/{metric}/{series}")),
        attribute("region", "eu-central-1"),
    ]
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

fn nanoseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(elapsed.as_nanos()).unwrap()
}
