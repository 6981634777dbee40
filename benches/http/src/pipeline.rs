//! What reads the measurements meanwhile: a scrape each second, a push every two seconds, and an exporter of spans.
//!
//! All of it lives until the process ends. Whatever layer is on the same version of OpenTelemetry gets the same.

use std::{
    fmt,
    hint::black_box,
    net::SocketAddr,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use opentelemetry::{
    InstrumentationScope,
    metrics::{Meter, MeterProvider},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use pushpull::{
    exposition::{sdk, text},
    telemetry::{self, Destination, Environment, Telemetry},
};
use tokio::runtime::{Builder, Runtime};
use tracing::Level;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, registry};

const SCOPE: &str = "http-bench";

/// What becomes of a span that was batched for its export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// It is counted and dropped, so that what is measured is not the exporter.
    Discarded,
    /// It is sent by OTLP over gRPC.
    Sent,
}

impl FromStr for Spans {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Discarded, Self::Sent];
        let found = all.into_iter().find(|spans| spans.to_string() == name);
        found.ok_or_else(|| format!("spans cannot be {name}"))
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discarded => "discarded",
            Self::Sent => "sent",
        })
    }
}

/// Spans that were discarded so far.
static DISCARDED: AtomicUsize = AtomicUsize::new(0);

/// Spans that this process has discarded so far.
#[must_use]
pub fn discarded() -> usize {
    DISCARDED.load(Ordering::Relaxed)
}

#[derive(Debug)]
struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        DISCARDED.fetch_add(batch.len(), Ordering::Relaxed);
        Ok(())
    }
}

/// A provider that samples every request and batches its spans as the SDK does by itself.
pub(crate) fn tracers(spans: Spans, sink: SocketAddr) -> SdkTracerProvider {
    let _entered = runtime().enter();
    let provider = SdkTracerProvider::builder();
    match spans {
        Spans::Discarded => provider.with_batch_exporter(Discard).build(),
        Spans::Sent => {
            let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
            let exporter = exporter.with_endpoint(format!("http://{sink}")).build();
            provider.with_batch_exporter(exporter.unwrap()).build()
        }
    }
}

/// The library's own metrics: one reader for both views, scraped, and pushed by OTLP over gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics(&'static Telemetry);

impl Metrics {
    /// Starts what scrapes, and what pushes to the receiver at `sink`.
    pub(crate) fn start(sink: SocketAddr) -> Self {
        static STARTED: OnceLock<Telemetry> = OnceLock::new();
        let _entered = runtime().enter();
        let environment = Environment::of([]);
        let resource = telemetry::resource(&environment, SCOPE, env!("CARGO_PKG_VERSION"));
        let sink = Destination::Embedded { grpc: sink, http: sink };
        let telemetry = Telemetry::start(&environment, resource, sink).unwrap();
        assert!(STARTED.set(telemetry).is_ok(), "one process has one layer");
        let telemetry = STARTED.get().unwrap();
        let reader = telemetry.reader().clone();
        scrape_each_second(move || text::encode(&sdk::families(&reader.collect().unwrap())));
        Self(telemetry)
    }
}

impl MeterProvider for Metrics {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        self.0.meter(SCOPE)
    }
}

/// Makes spans of the `tracing` spans from `target` on, up to `level`, as tracing-opentelemetry does by itself.
pub(crate) fn trace_by_tracing(tracers: &SdkTracerProvider, target: &str, level: Level) {
    let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer(SCOPE));
    let layer = layer.with_filter(Targets::new().with_target(target, level));
    tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
}

/// The runtime that carries exports; telemetry of its own threads is suppressed, so that exports do not trace
/// themselves.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(telemetry::suppress_on_this_thread)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Calls `pull` each second until the process ends.
pub(crate) fn scrape_each_second(pull: impl Fn() -> String + Send + 'static) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            black_box(pull());
        }
    });
}
