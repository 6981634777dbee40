//! A database with a meter of its own, what its instruments say, and what its spans hold. It must know nothing of the
//! database's inside.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    metrics::MeterProvider as _,
    trace::{Status, TracerProvider as _},
};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData},
    },
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use pushpull::service::database::{Database, OpenError, OperationError, Settings};
use tokio::task::JoinHandle;
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt as _;

/// How long anything here may take before it counts as never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// An operation that lasts until its end is no longer wanted.
pub(crate) const ENDLESS: f64 = 1_000.0;

/// Waits until there is something.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Quick operations, one connection, two places in the queue, and more time than any test takes.
pub(crate) fn settings() -> Settings {
    Settings { url: None, pool: 1, queue: 2, timeout: Duration::from_secs(60), work: 0.004 }
}

/// A database and what is measured of it.
pub(crate) struct Measured {
    pub(crate) database: Database,
    meters: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
}

/// The pool and the queue before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) idle: i64,
    pub(crate) used: i64,
    pub(crate) pending: i64,
}

/// One attribute set of a metric; of a histogram how many, how much, and its boundaries.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) unit: String,
    pub(crate) count: i64,
    pub(crate) sum: f64,
    pub(crate) bounds: Vec<f64>,
}

impl Point {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

impl Measured {
    pub(crate) async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let metrics = InMemoryMetricExporter::default();
        let reader =
            PeriodicReader::builder(metrics.clone()).with_interval(Duration::from_secs(3_600)).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let database = Database::open(settings, &meters.meter("test")).await?;
        Ok(Self { database, meters, metrics })
    }

    /// An operation on a task of its own.
    pub(crate) fn operation(&self) -> JoinHandle<Result<i64, OperationError>> {
        let database = self.database.clone();
        tokio::spawn(async move { database.expensive_operation().await })
    }

    /// All points of a metric, as they are now.
    pub(crate) fn points(&self, wanted: &str) -> Vec<Point> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let mut points = Vec::new();
        for resource in self.metrics.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                if metric.name() == wanted {
                    points.extend(
                        points_of(metric.data())
                            .into_iter()
                            .map(|point| Point { unit: metric.unit().to_owned(), ..point }),
                    );
                }
            }
        }
        points
    }

    /// How many a metric counts among the points whose attributes include these.
    pub(crate) fn count(&self, name: &str, attributes: &[(&str, &str)]) -> i64 {
        let has = |point: &Point| attributes.iter().all(|(name, value)| point.attribute(name) == Some(value));
        self.points(name).iter().filter(|point| has(point)).map(|point| point.count).sum()
    }

    /// Operations that reached the database and were done.
    pub(crate) fn succeeded(&self) -> i64 {
        let points = self.points("db.client.operation.duration");
        points.iter().filter(|point| point.attribute("error.type").is_none()).map(|point| point.count).sum()
    }

    /// Operations that reached the database and failed there for this cause.
    pub(crate) fn failed_there(&self, cause: &str) -> i64 {
        self.count("db.client.operation.duration", &[("error.type", cause)])
    }

    /// Operations that were not done for this cause, wherever that was.
    pub(crate) fn failures(&self, cause: &str) -> i64 {
        self.count("pushpull.database.failures", &[("error.type", cause)])
    }

    pub(crate) fn state(&self) -> State {
        let connections =
            |state| self.count("db.client.connection.count", &[("db.client.connection.state", state)]);
        State {
            idle: connections("idle"),
            used: connections("used"),
            pending: self.count("db.client.connection.pending_requests", &[]),
        }
    }

    /// Waits until the pool and its queue are so.
    pub(crate) async fn reaches(&self, state: State) {
        let start = Instant::now();
        loop {
            let found = self.state();
            if found == state {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "never {state:?}, at last {found:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until so many operations have got a connection.
    pub(crate) async fn connected(&self, operations: i64) {
        let got = || self.count("db.client.connection.wait_time", &[]) == operations;
        eventually("the connection", || got().then_some(())).await;
    }

    /// Waits until nothing waits and no connection is in use.
    pub(crate) async fn rests(&self) {
        eventually("nothing waits or is in use", || {
            let state = self.state();
            (state.used == 0 && state.pending == 0).then_some(())
        })
        .await;
    }
}

fn points_of(data: &AggregatedMetrics) -> Vec<Point> {
    let point = |attributes: BTreeMap<_, _>, count, sum, bounds| Point {
        attributes,
        unit: String::new(),
        count,
        sum,
        bounds,
    };
    match data {
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|found| {
                let count = found.count().try_into().unwrap();
                point(texts(found.attributes()), count, found.sum(), found.bounds().collect())
            })
            .collect(),
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|found| point(texts(found.attributes()), found.value().try_into().unwrap(), 0.0, Vec::new()))
            .collect(),
        AggregatedMetrics::I64(MetricData::Sum(sum)) => {
            assert!(!sum.is_monotonic());
            sum.data_points()
                .map(|found| point(texts(found.attributes()), found.value(), 0.0, Vec::new()))
                .collect()
        }
        other => panic!("none of the database's: {other:?}"),
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    attributes.map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

/// The spans of this thread's operations, for as long as it is kept.
pub(crate) struct Spans {
    finished: InMemorySpanExporter,
    _tracers: SdkTracerProvider,
    _subscriber: DefaultGuard,
}

impl Spans {
    pub(crate) fn capture() -> Self {
        let finished = InMemorySpanExporter::default();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(finished.clone()).build();
        // While there is but one subscriber, a place in the code that a thread without one comes to first counts as
        // one that nobody listens to, on every thread. So there is always another one.
        static LISTENS: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&LISTENS);
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("test"));
        let subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self { finished, _tracers: tracers, _subscriber: subscriber }
    }

    /// Those that have ended by now, and were not taken before.
    pub(crate) fn take(&self) -> Vec<Told> {
        let spans = self.finished.get_finished_spans().unwrap();
        self.finished.reset();
        spans.into_iter().map(Told::of).collect()
    }
}

/// What a span tells.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) is_error: bool,
    pub(crate) seconds: f64,
}

impl Told {
    fn of(span: SpanData) -> Self {
        Self {
            name: span.name.to_string(),
            attributes: texts(span.attributes.iter()),
            is_error: matches!(span.status, Status::Error { .. }),
            seconds: span.end_time.duration_since(span.start_time).unwrap().as_secs_f64(),
        }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}
