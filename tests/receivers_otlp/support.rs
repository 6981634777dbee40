//! A receiver on a port of its own, the sink that records what it hands on, and a plain HTTP/1 client.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
        Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
        summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event as SpanEvent, Link},
    },
};
use prost::Message as _;
use pushpull::{
    collector::{
        batch::{self, Accepted, Refused, Signal},
        receive::{Accept, otlp::Limits, otlp_grpc, otlp_http},
        stats::{Event, Stats},
    },
    net::{Stop, serve},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// What any single wait in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Headers of a request, by name and value.
pub(crate) type Headers<'h> = &'h [(&'h str, &'h str)];

/// What a receiver hands on, kept.
#[derive(Debug)]
pub(crate) enum Request {
    Metrics(ExportMetricsServiceRequest),
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
}

/// A request with what would be forwarded of it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) request: Request,
    pub(crate) wire: Vec<u8>,
    pub(crate) items: u64,
}

impl Batch {
    fn of(batch: batch::Batch<'_>) -> Self {
        let (wire, items) = (batch.wire.to_vec(), batch.request.items());
        let request = match batch.request {
            batch::Request::Metrics(metrics) => {
                let request = ExportMetricsServiceRequest::decode(wire.as_slice()).unwrap();
                let names = |request: &ExportMetricsServiceRequest| -> Vec<String> {
                    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
                    scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.clone()).collect()
                };
                let read: Vec<_> = metrics.metrics.iter().map(|metric| metric.name.to_owned()).collect();
                assert_eq!(read, names(&request), "what is taken is what is forwarded");
                Request::Metrics(request)
            }
            batch::Request::Traces(_) => Request::Traces(prost::Message::decode(wire.as_slice()).unwrap()),
            batch::Request::Logs(_) => Request::Logs(prost::Message::decode(wire.as_slice()).unwrap()),
        };
        Self { request, wire, items }
    }
}

/// A receiver that runs until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    stats: Arc<Stats>,
    batches: Arc<Mutex<Vec<Batch>>>,
    answer: Arc<Mutex<Result<Accepted, Refused>>>,
    stop: Stop,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cut();
    }
}

impl Receiver {
    pub(crate) async fn http(limits: Limits) -> Self {
        Self::start(|accept, stats| otlp_http::router_within(limits, accept, stats)).await
    }

    pub(crate) async fn grpc(limits: Limits) -> Self {
        Self::start(|accept, stats| otlp_grpc::router_within(limits, accept, stats)).await
    }

    async fn start(router: impl FnOnce(Accept, Arc<Stats>) -> axum::Router) -> Self {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(Ok(Accepted::default())));
        let accept: Accept = {
            let (batches, answer) = (Arc::clone(&batches), Arc::clone(&answer));
            Arc::new(move |batch| {
                batches.lock().unwrap().push(Batch::of(batch));
                answer.lock().unwrap().clone()
            })
        };
        let stats = Arc::new(Stats::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        tokio::spawn(serve(listener, router(accept, Arc::clone(&stats)), stop.clone()));
        Self { address, stats, batches, answer, stop }
    }

    /// What the sink answers from now on.
    pub(crate) fn answer(&self, answer: Result<Accepted, Refused>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The one batch that came since the last call.
    pub(crate) fn batch(&self) -> Batch {
        let mut batches = std::mem::take(&mut *self.batches.lock().unwrap());
        assert_eq!(batches.len(), 1, "batches handed on");
        batches.remove(0)
    }

    pub(crate) fn no_batch(&self) {
        assert!(self.batches.lock().unwrap().is_empty(), "something was handed on");
    }

    /// All counts, as event, place, signal, reason and items.
    pub(crate) fn counts(&self) -> Vec<(Event, String, Signal, &'static str, u64)> {
        let counts = self.stats.snapshot().into_iter();
        counts.map(|(count, items)| (count.event, count.place, count.signal, count.reason, items)).collect()
    }
}

/// What an HTTP receiver answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The google.rpc.Status in protobuf.
    pub(crate) fn status_message(&self) -> tonic_types::Status {
        assert_eq!(self.header("content-type"), Some("application/x-protobuf"), "{}", self.text());
        tonic_types::Status::decode(&self.body[..]).unwrap()
    }
}

/// One HTTP/1 connection.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the request is not read").unwrap();
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.expect("no answer in time")
    }

    async fn read_answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.complete() {
                return answer;
            }
            let length = self.stream.read_buf(&mut self.read).await.unwrap();
            assert_ne!(length, 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    fn complete(&mut self) -> Option<Answer> {
        let end = self.read.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read.get(end + 4..end + 4 + length)?;
        answer.body = body.to_vec();
        self.read.drain(..end + 4 + length);
        Some(answer)
    }
}

/// Sends one request with a content length.
pub(crate) async fn send(
    receiver: &Receiver,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(receiver.address).await;
    client.write(&head(method, path, headers, body.len())).await;
    client.write(body).await;
    client.answer().await
}

/// The head of a request.
pub(crate) fn head(method: &str, path: &str, headers: Headers<'_>, length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn wire(request: &Request) -> Vec<u8> {
    match request {
        Request::Metrics(request) => request.encode_to_vec(),
        Request::Traces(request) => request.encode_to_vec(),
        Request::Logs(request) => request.encode_to_vec(),
    }
}

/// Two requests are the same where their encodings are: NaN is not equal to itself.
pub(crate) fn assert_same(left: &Request, right: &Request) {
    assert_eq!(wire(left), wire(right), "{left:#?}\nis not\n{right:#?}");
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(value: &str) -> any_value::Value {
    any_value::Value::StringValue(value.to_owned())
}

fn attributes() -> Vec<KeyValue> {
    use any_value::Value;
    let inner = vec![attribute("inner", Value::IntValue(i64::MIN))];
    vec![
        attribute("text", text("größer\n\"quoted\"")),
        attribute("bool", Value::BoolValue(true)),
        attribute("int", Value::IntValue(i64::MAX)),
        attribute("double", Value::DoubleValue(0.1 + 0.2)),
        attribute("bytes", Value::BytesValue(vec![0xfb, 0xff, 0x00])),
        attribute(
            "list",
            Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(text("one")) }] }),
        ),
        attribute("map", Value::KvlistValue(KeyValueList { values: inner })),
    ]
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![attribute("service.name", text("shop"))],
        dropped_attributes_count: 3,
        entity_refs: Vec::new(),
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "shop.orders".to_owned(),
        version: "2.1".to_owned(),
        attributes: vec![attribute("team", text("orders"))],
        dropped_attributes_count: 1,
    })
}

fn exemplars(value: exemplar::Value) -> Vec<Exemplar> {
    vec![Exemplar {
        filtered_attributes: vec![attribute("user", text("7"))],
        time_unix_nano: 1_700_000_000_000_000_001,
        span_id: vec![0xab; 8],
        trace_id: vec![0xcd; 16],
        value: Some(value),
    }]
}

/// All five kinds of metric, each field set.
pub(crate) fn metrics() -> Request {
    let (start, time) = (1_700_000_000_000_000_000, 1_700_000_010_123_456_789);
    let number = |value| NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: start,
        time_unix_nano: time,
        exemplars: exemplars(exemplar::Value::AsInt(-5)),
        flags: 0,
        value: Some(value),
    };
    let sum = Sum {
        data_points: vec![number(number_data_point::Value::AsInt(9_007_199_254_740_993))],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let gauge = Gauge { data_points: vec![number(number_data_point::Value::AsDouble(-1.0e-300))] };
    let histogram = Histogram {
        data_points: vec![HistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: start,
            time_unix_nano: time,
            count: u64::MAX,
            sum: Some(0.1),
            bucket_counts: vec![1, 0, 300],
            explicit_bounds: vec![0.005, 2.5],
            exemplars: exemplars(exemplar::Value::AsDouble(1.5)),
            flags: 0,
            min: Some(-0.5),
            max: Some(7.0),
        }],
        aggregation_temporality: 1,
    };
    let exponential = ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: start,
            time_unix_nano: time,
            count: 6,
            sum: Some(3.25),
            scale: -3,
            zero_count: 1,
            positive: Some(Buckets { offset: -7, bucket_counts: vec![1, 2, 128] }),
            negative: Some(Buckets { offset: 7, bucket_counts: vec![2] }),
            flags: 0,
            exemplars: Vec::new(),
            min: Some(0.25),
            max: Some(2.0),
            zero_threshold: 1.0e-9,
        }],
        aggregation_temporality: 2,
    };
    let summary = Summary {
        data_points: vec![SummaryDataPoint {
            attributes: attributes(),
            start_time_unix_nano: start,
            time_unix_nano: time,
            count: 2,
            sum: 3.5,
            quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: 2.0 }],
            flags: 0,
        }],
    };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        description: format!("what {name} is"),
        unit: "s".to_owned(),
        metadata: vec![attribute("origin", text("test"))],
        data: Some(data),
    };
    Request::Metrics(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                scope: scope(),
                metrics: vec![
                    metric("orders", Data::Sum(sum)),
                    metric("depth", Data::Gauge(gauge)),
                    metric("latency", Data::Histogram(histogram)),
                    metric("size", Data::ExponentialHistogram(exponential)),
                    metric("rpc", Data::Summary(summary)),
                ],
                schema_url: "https://opentelemetry.io/schemas/1.0.0".to_owned(),
            }],
            schema_url: String::new(),
        }],
    })
}

/// A span without anything but what it needs.
pub(crate) fn span(name: &str) -> Span {
    Span {
        trace_id: vec![0x5b; 16],
        span_id: vec![0xee; 8],
        name: name.to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_001_000_000_000,
        ..Span::default()
    }
}

pub(crate) fn traces_of(spans: Vec<Span>) -> Request {
    Request::Traces(ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans { scope: scope(), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    })
}

/// One span, each field set.
pub(crate) fn traces() -> Request {
    traces_of(vec![Span {
        trace_state: "vendor=1".to_owned(),
        parent_span_id: vec![0xe1; 8],
        flags: 0x301,
        kind: 2,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![SpanEvent {
            time_unix_nano: 1_700_000_000_500_000_000,
            name: "retry".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![0x11; 16],
            span_id: vec![0x22; 8],
            trace_state: "vendor=2".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 4,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "refused".to_owned(), code: 2 }),
        ..span("GET /orders")
    }])
}

/// One log record, each field set.
pub(crate) fn logs() -> Request {
    Request::Logs(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records: vec![LogRecord {
                    time_unix_nano: 1_700_000_000_000_000_002,
                    observed_time_unix_nano: 1_700_000_000_000_000_003,
                    severity_number: 17,
                    severity_text: "ERROR".to_owned(),
                    body: Some(AnyValue { value: Some(text("no connection")) }),
                    attributes: attributes(),
                    dropped_attributes_count: 1,
                    flags: 1,
                    trace_id: vec![0x5b; 16],
                    span_id: vec![0xee; 8],
                    event_name: "db.refused".to_owned(),
                }],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    })
}

pub(crate) fn request(signal: Signal) -> Request {
    match signal {
        Signal::Metrics => metrics(),
        Signal::Traces => traces(),
        Signal::Logs => logs(),
    }
}
