//! A collector on free ports, what is sent to it, and a scrape that is held to the rules of the format.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
        SummaryDataPoint, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message;
use pushpull::{
    collector::{Collector, Sockets, batch::Signal, pipeline::Pipeline, receive::statsd, stats::Event},
    config::{self, CollectorSettings, Command, Outcome},
    exposition::parse::{self, Kind, Line},
};
use tracing::Dispatch;

/// What any single wait in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds since 1970 of the points that say nothing else.
pub(crate) const T: u64 = 1_700_000_000;

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut interval = tokio::time::interval(Duration::from_millis(10));
    loop {
        interval.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

/// A collector that runs until it is dropped or stopped.
pub(crate) struct Running {
    collector: Collector,
    pub(crate) pipeline: Pipeline,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) statsd: SocketAddr,
    pub(crate) exposition: SocketAddr,
    client: reqwest::Client,
}

/// The settings that these flags of `pushpull collect` make.
pub(crate) fn settings(flags: &str) -> CollectorSettings {
    let fixed = "pushpull collect --otlp-grpc 127.0.0.1:0 --otlp-http 127.0.0.1:0 --statsd 127.0.0.1:0 \
                 --exposition 127.0.0.1:0";
    let arguments = fixed.split_whitespace().chain(flags.split_whitespace()).map(OsString::from);
    let Ok(Outcome::Run(settings)) = config::from_args(arguments, []) else { panic!("bad flags: {flags}") };
    let Command::Collect(collect) = settings.command else { panic!("not collect") };
    collect.collector
}

fn listener(listener: TcpListener) -> (TcpListener, SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Running {
    pub(crate) fn start(flags: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_on(flags, free(), free())
    }

    /// With these sockets for OTLP.
    pub(crate) fn start_on(flags: &str, grpc: TcpListener, http: TcpListener) -> Self {
        // In the product it is the command that installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = settings(flags);
        let (otlp_grpc, grpc) = listener(grpc);
        let (otlp_http, http) = listener(http);
        let (exposed, exposition) = listener(TcpListener::bind(settings.exposition.address).unwrap());
        let udp: UdpSocket = statsd::bind(settings.statsd.as_ref().unwrap().address).unwrap();
        let statsd = udp.local_addr().unwrap();
        let sockets = Sockets {
            otlp_grpc: otlp_grpc.into(),
            otlp_http: otlp_http.into(),
            statsd: vec![udp],
            exposition: exposed.into(),
            tls: None,
            terms: pushpull::net::Terms::default(),
        };
        let collector = Collector::start(&settings, sockets).unwrap();
        let pipeline = collector.pipeline().clone();
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Self { collector, pipeline, grpc, http, statsd, exposition, client }
    }

    pub(crate) async fn stop(self, within: Duration) {
        self.collector.stop(Instant::now() + within).await;
    }

    /// Sends protobuf over HTTP.
    pub(crate) async fn post(&self, signal: Signal, message: &impl Message) -> reqwest::Response {
        self.post_as(signal, "application/x-protobuf", message.encode_to_vec()).await
    }

    pub(crate) async fn post_as(
        &self,
        signal: Signal,
        content_type: &str,
        body: Vec<u8>,
    ) -> reqwest::Response {
        let url = format!("http://{}/v1/{}", self.http, signal.as_str());
        self.client.post(url).header("content-type", content_type).body(body).send().await.unwrap()
    }

    /// Sends metrics over HTTP that are taken; how many points were refused for good, and why.
    pub(crate) async fn send(&self, request: &ExportMetricsServiceRequest) -> (i64, String) {
        let answer = self.post(Signal::Metrics, request).await;
        assert_eq!(answer.status(), 200);
        let answer = ExportMetricsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
        let partial = answer.partial_success.unwrap_or_default();
        (partial.rejected_data_points, partial.error_message)
    }

    /// Sends metrics of the service `shop` that are taken whole.
    pub(crate) async fn take(&self, metrics: Vec<Metric>) {
        assert_eq!(self.send(&request(SHOP, metrics)).await, (0, String::new()));
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("http://{}{path}", self.exposition)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        Scrape::of(&text)
    }

    /// The items of an event at a place, by reason.
    pub(crate) fn count(&self, event: Event, place: &str, reason: &str) -> u64 {
        count(&self.pipeline, event, place, reason)
    }
}

pub(crate) fn count(pipeline: &Pipeline, event: Event, place: &str, reason: &str) -> u64 {
    let counts = pipeline.stats().snapshot().into_iter();
    counts
        .filter(|(count, _)| count.event == event && count.place == place && count.reason == reason)
        .map(|(_, items)| items)
        .sum()
}

/// What a scrape said, after it was found valid.
#[derive(Debug, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) types: BTreeMap<String, Kind>,
    pub(crate) helps: BTreeMap<String, String>,
    /// Values by `name{label=value,…}`, labels sorted.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads it and holds it to the format's rules: one TYPE for each family, its samples together under it,
    /// no sample twice, buckets that rise up to `+Inf`, which is the count.
    pub(crate) fn of(text: &str) -> Self {
        let mut scrape = Self { types: BTreeMap::new(), helps: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = None;
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for line in parse::lines(text) {
            match line.unwrap_or_else(|error| panic!("{error} in:\n{text}")) {
                Line::Help { family, text } => {
                    assert!(
                        scrape.helps.insert(family.clone(), text).is_none(),
                        "{family} has two HELP lines"
                    );
                }
                Line::Type { family: name, kind } => {
                    assert!(scrape.types.insert(name.clone(), kind).is_none(), "{name} has two TYPE lines");
                    family = Some((name, kind));
                }
                Line::Sample(sample) => {
                    let (name, kind) = family.as_ref().expect("a sample before any TYPE");
                    let suffix = sample.name.strip_prefix(name.as_str());
                    let suffixes: &[&str] = match kind {
                        Kind::Histogram => &["_bucket", "_sum", "_count"],
                        Kind::Summary => &["", "_sum", "_count"],
                        Kind::Counter | Kind::Gauge | Kind::Untyped => &[""],
                    };
                    assert!(
                        suffix.is_some_and(|suffix| suffixes.contains(&suffix)),
                        "{} in {name}",
                        sample.name
                    );
                    assert!(sample.label("__name__").is_none(), "{sample:?}");
                    let mut labels = sample.labels.clone();
                    labels.sort();
                    if suffix == Some("_bucket") {
                        let bound = sample.label("le").expect("a bucket without le").parse().unwrap();
                        labels.retain(|(key, _)| key != "le");
                        buckets.entry(key(name, &labels)).or_default().push((bound, sample.value));
                        labels = sample.labels;
                        labels.sort();
                    }
                    let key = key(&sample.name, &labels);
                    assert!(
                        scrape.samples.insert(key.clone(), sample.value).is_none(),
                        "{key} is there twice"
                    );
                }
            }
        }
        for (series, buckets) in buckets {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{series}: {buckets:?}");
            let (last, total) = buckets.last().unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            let count = scrape.samples.get(&format!("{name}_count{{{labels}"));
            assert_eq!((*last, Some(total)), (f64::INFINITY, count), "{series}");
        }
        scrape
    }

    /// The value of a series of the service `shop`.
    pub(crate) fn shop(&self, sample: &str) -> Option<f64> {
        let sample = match sample.split_once('{') {
            Some((name, labels)) => format!("{name}{{{labels}"),
            None => format!("{sample}{{}}"),
        };
        let (name, labels) = sample.trim_end_matches('}').split_once('{').unwrap();
        let own = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        let mut labels: Vec<_> = own.chain(["instance=one".to_owned(), "job=eu/shop".to_owned()]).collect();
        labels.sort();
        self.samples.get(&format!("{name}{{{}}}", labels.join(","))).copied()
    }

    /// The samples without the collector's own.
    pub(crate) fn of_senders(&self) -> BTreeMap<String, f64> {
        let samples = self.samples.iter().filter(|(key, _)| !key.starts_with("pushpull_collector_"));
        samples.map(|(key, value)| (key.clone(), *value)).collect()
    }

    /// The families without the collector's own.
    pub(crate) fn families(&self) -> BTreeSet<&str> {
        self.types
            .keys()
            .map(String::as_str)
            .filter(|name| !name.starts_with("pushpull_collector_"))
            .collect()
    }
}

fn key(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// The log lines of this thread, on which a test's runtime runs everything but blocking calls.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub(crate) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is but one subscriber, a place in the code that a thread without one comes to first counts as
        // one that nobody listens to, on every thread. So there is always another one.
        static LISTENS: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&LISTENS);
        let logs = Self::default();
        let writer = logs.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (logs, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn lines_with(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) const CUMULATIVE: AggregationTemporality = AggregationTemporality::Cumulative;
pub(crate) const DELTA: AggregationTemporality = AggregationTemporality::Delta;

/// The resource of most tests: job `eu/shop`, instance `one`.
pub(crate) const SHOP: &[(&str, &str)] = &[
    ("service.name", "shop"),
    ("service.namespace", "eu"),
    ("service.instance.id", "one"),
    ("service.version", "2.1"),
];

pub(crate) type Attributes<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn attributes(attributes: Attributes<'_>) -> Vec<KeyValue> {
    let attribute = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    };
    attributes.iter().map(attribute).collect()
}

pub(crate) fn request(resource: Attributes<'_>, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

pub(crate) fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

pub(crate) const fn seconds(seconds: u64) -> u64 {
    seconds * 1_000_000_000
}

pub(crate) fn int(own: Attributes<'_>, time: u64, value: i64) -> NumberDataPoint {
    number(own, time, number_data_point::Value::AsInt(value))
}

pub(crate) fn double(own: Attributes<'_>, time: u64, value: f64) -> NumberDataPoint {
    number(own, time, number_data_point::Value::AsDouble(value))
}

fn number(own: Attributes<'_>, time: u64, value: number_data_point::Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(own),
        time_unix_nano: seconds(time),
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

pub(crate) fn gauge(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Gauge(Gauge { data_points }))
}

pub(crate) fn counter(
    name: &str,
    temporality: AggregationTemporality,
    data_points: Vec<NumberDataPoint>,
) -> Metric {
    sum(name, temporality, true, data_points)
}

pub(crate) fn sum(
    name: &str,
    temporality: AggregationTemporality,
    is_monotonic: bool,
    data_points: Vec<NumberDataPoint>,
) -> Metric {
    let aggregation_temporality = temporality as i32;
    metric(name, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }))
}

pub(crate) fn histogram(
    name: &str,
    temporality: AggregationTemporality,
    data_points: Vec<HistogramDataPoint>,
) -> Metric {
    let aggregation_temporality = temporality as i32;
    metric(name, Data::Histogram(Histogram { data_points, aggregation_temporality }))
}

pub(crate) fn buckets(time: u64, bounds: &[f64], counts: &[u64], sum: f64) -> HistogramDataPoint {
    HistogramDataPoint {
        time_unix_nano: seconds(time),
        count: counts.iter().fold(0, |total: u64, count| total.saturating_add(*count)),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    }
}

pub(crate) fn exponential(
    name: &str,
    temporality: AggregationTemporality,
    data_points: Vec<ExponentialHistogramDataPoint>,
) -> Metric {
    let aggregation_temporality = temporality as i32;
    metric(name, Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality }))
}

pub(crate) fn summary(name: &str, data_points: Vec<SummaryDataPoint>) -> Metric {
    metric(name, Data::Summary(Summary { data_points }))
}
