//! The service with its telemetry, and the receiver that it pushes to, each on real sockets and on a runtime of
//! its own; what came by each way, as samples.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, NumberDataPoint, metric, number_data_point},
};
use prost::Message as _;
use pushpull::{
    collector::{
        batch::{Accepted, Request},
        receive::{Accept, otlp_grpc, otlp_http},
        stats::Stats,
    },
    exposition::{
        family::{Kind, Labels},
        parse,
    },
    http::Layer,
    naming::prometheus::{Suffix, family_name},
    net::{self, Stop},
    service::{
        self,
        database::{Database, Settings},
    },
    telemetry::{self, Destination, Environment, Telemetry},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::bracket::{Key, Push, Reading, Scrape};

/// What any single wait in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A service that is pulled and pushed, until it is dropped.
pub(crate) struct Served {
    pub(crate) telemetry: Telemetry,
    pub(crate) address: SocketAddr,
    pub(crate) foreground: Runtime,
    pub(crate) pushes: Arc<Mutex<Vec<Push>>>,
    /// Exports and receivers run on it: to be dropped last.
    pub(crate) background: Runtime,
}

impl Served {
    /// Pushes each few milliseconds by `protocol`, as `OTEL_EXPORTER_OTLP_PROTOCOL` names it.
    pub(crate) fn start(protocol: &str) -> Self {
        // The HTTP exporter's client wants to know a TLS provider, though there is no TLS here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let background = Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(telemetry::suppress_on_this_thread)
            .enable_all()
            .build()
            .unwrap();
        let pushes = Arc::new(Mutex::new(Vec::new()));
        let accept = recording(&pushes);
        let stats = || Arc::new(Stats::default());
        let receivers = [otlp_grpc::router(Arc::clone(&accept), stats()), otlp_http::router(accept, stats())];
        let [grpc, http] = receivers.map(|router| background.block_on(serve(router)));
        let telemetry = {
            let _entered = background.enter();
            let variables = [("OTEL_METRIC_EXPORT_INTERVAL", "4"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
            let environment =
                Environment::of(variables.map(|(name, value)| (OsString::from(name), value.into())));
            assert_eq!(environment.warnings(), [""; 0]);
            let resource = telemetry::resource(&environment, "views", "1");
            Telemetry::start(&environment, resource, Destination::Embedded { grpc, http }).unwrap()
        };

        let foreground = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = foreground.block_on(async {
            let settings =
                Settings { url: None, pool: 2, queue: 8, timeout: Duration::from_secs(20), work: 0.004 };
            let meter = telemetry.meter("views");
            let database = Database::open(&settings, &meter).await.unwrap();
            let layer = Layer::new(&meter, telemetry.tracer("views"));
            let reader = telemetry.reader().clone();
            serve(service::router(
                &meter,
                layer,
                reader,
                database,
                Arc::default(),
                &pushpull::hosts::Hosts::default(),
            ))
            .await
        });
        Self { telemetry, address, foreground, pushes, background }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many batches of metrics arrived so far.
    pub(crate) fn pushed(&self) -> usize {
        self.pushes.lock().unwrap().len()
    }

    /// All batches of metrics so far, in the order of their arrival.
    pub(crate) fn take_pushes(&self) -> Vec<Push> {
        std::mem::take(&mut *self.pushes.lock().unwrap())
    }
}

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(net::serve(listener, router, Stop::default()));
    address
}

fn recording(pushes: &Arc<Mutex<Vec<Push>>>) -> Accept {
    let pushes = Arc::clone(pushes);
    Arc::new(move |batch| {
        let arrived = Instant::now();
        if let Request::Metrics(_) = batch.request {
            let request = ExportMetricsServiceRequest::decode(batch.wire.as_ref()).unwrap();
            let push = Push { arrived, readings: readings(&request) };
            pushes.lock().unwrap().push(push);
        }
        Ok(Accepted::default())
    })
}

/// Asks for `/metrics/` once; all its samples.
pub(crate) async fn scrape(client: &reqwest::Client, url: &str) -> Scrape {
    let asked = Instant::now();
    let answer = client.get(url).send().await.unwrap().error_for_status().unwrap();
    let text = answer.text().await.unwrap();
    let received = SystemTime::now();
    let mut values = BTreeMap::new();
    for sample in parse::samples(&text) {
        let sample = sample.unwrap();
        let earlier = values.insert((sample.name, sample.labels.into_iter().collect()), sample.value);
        assert_eq!(earlier, None, "a series is exposed twice");
    }
    Scrape { asked, received, values }
}

/// The cumulative series of a batch under the names that a scrape has them by; buckets are added up, as there.
fn readings(request: &ExportMetricsServiceRequest) -> BTreeMap<Key, Reading> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    metrics.flat_map(metric_readings).collect()
}

fn metric_readings(metric: &Metric) -> Vec<(Key, Reading)> {
    let mut readings = Vec::new();
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) if sum.is_monotonic => {
            assert_eq!(sum.aggregation_temporality, 2, "{} is not cumulative", metric.name);
            let name = family_name(&metric.name, &metric.unit, Suffix::Total);
            for point in &sum.data_points {
                let labels = labels(Kind::Counter, &point.attributes);
                readings.push(reading(&name, labels, point.time_unix_nano, number(point)));
            }
        }
        metric::Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, 2, "{} is not cumulative", metric.name);
            let name = family_name(&metric.name, &metric.unit, Suffix::Distribution);
            for point in &histogram.data_points {
                let labels = labels(Kind::Histogram, &point.attributes);
                let mut add = |suffix: &str, extra: Option<String>, value| {
                    let mut labels = labels.clone();
                    labels.extend(extra.map(|bound| ("le".to_owned(), bound)));
                    readings.push(reading(&format!("{name}{suffix}"), labels, point.time_unix_nano, value));
                };
                let mut cumulative = 0;
                let bounds = point.explicit_bounds.iter().map(f64::to_string);
                for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&point.bucket_counts) {
                    cumulative += count;
                    add("_bucket", Some(bound), as_f64(cumulative));
                }
                add("_count", None, as_f64(point.count));
                add("_sum", None, point.sum.unwrap());
            }
        }
        _ => {}
    }
    readings
}

fn reading(name: &str, labels: Vec<(String, String)>, time: u64, value: f64) -> (Key, Reading) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time);
    ((name.to_owned(), labels.into_iter().collect()), Reading { time, value })
}

fn labels(kind: Kind, attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("no attribute here is {other:?}"),
    };
    let attributes: Vec<_> = attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect();
    Labels::of(kind, attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))).pairs()
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value.unwrap() {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => as_f64(u64::try_from(value).unwrap()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a scrape's values are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
