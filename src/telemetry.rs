//! The bootstrap: one resource, three providers, one metric reader that both paradigms read, and the guard
//! that flushes them.
//!
//! It must not install a global, nor know what is being measured: the caller takes meters, tracers and
//! layers from here and decides where they go.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//!
//! use pushpull::telemetry::{self, Destination, Environment, Telemetry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A runtime for the exports alone, so that they neither trace themselves nor wait for the application.
//! let exports = tokio::runtime::Builder::new_multi_thread()
//!     .worker_threads(1)
//!     .on_thread_start(telemetry::suppress_on_this_thread)
//!     .enable_all()
//!     .build()?;
//! let environment = Environment::of(std::env::vars_os());
//! for warning in environment.warnings() {
//!     eprintln!("{warning}");
//! }
//! let telemetry = {
//!     let _entered = exports.enter();
//!     let resource = telemetry::resource(&environment, "shop", "1.0.0");
//!     Telemetry::start(&environment, resource, Destination::Standard)?
//! };
//! telemetry.observe_process();
//!
//! let orders = telemetry.meter("shop").u64_counter("orders").build();
//! orders.add(1, &[]); // Pushed by OTLP, and to be had from `telemetry.reader()` for a scrape.
//!
//! for signal in telemetry.stop(Instant::now() + Duration::from_secs(5)) {
//!     eprintln!("not all {} were delivered", signal.as_str());
//! }
//! # Ok(())
//! # }
//! ```

mod callback;
mod delivery;
mod environment;
mod exporters;
mod link;
mod log_format;
mod log_lines;
mod process;
mod push;
mod queue;
mod reader;
mod resource;
mod runtime;
mod shutdown;
mod tls;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{
    Context,
    metrics::{Meter, MeterProvider as _},
    propagation::TextMapPropagator,
    trace::TracerProvider as _,
};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    logs::{BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, SdkLoggerProvider},
    metrics::SdkMeterProvider,
    trace::{BatchConfigBuilder as SpanBatchConfig, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{Targets, dynamic_filter_fn, filter_fn},
    registry::LookupSpan,
};

pub use self::{
    delivery::Signal,
    environment::{Environment, exporter_variable},
    link::Link,
    log_format::{LogFormat, WithIds},
    log_lines::{Limit, Limited, LogLines, lines_not_written},
    reader::{CollectError, Reader},
    resource::resource,
};
use self::{
    delivery::{PartialSuccess, Watched},
    exporters::Exporters,
    push::Push,
    queue::{Bounded, Queue},
    reader::Source,
    shutdown::Shutdown,
};

/// Where telemetry is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Where the standard variables say, or OTLP's default ports on this machine.
    Standard,
    /// To a collector of this process, by the standard protocol variable; exported so often that a person
    /// who looks sees what just happened, unless the standard variables say otherwise.
    Embedded {
        /// Its OTLP/gRPC address.
        grpc: SocketAddr,
        /// Its OTLP/HTTP address.
        http: SocketAddr,
    },
}

/// The pipeline could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An OTLP exporter refused its settings.
    #[error("failed to set up the OTLP exporter for {signal}: {source}")]
    Exporter {
        /// Which exporter.
        signal: &'static str,
        /// What it said.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The reader could not be made.
    #[error("failed to set up the metric reader: {0}")]
    Reader(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The thread of the push loop could not be started.
    #[error("failed to start the push loop: {0}")]
    Thread(#[from] std::io::Error),
}

/// All providers. Stop it to flush what they hold; dropping it does the same, with five seconds to do it in.
#[derive(Debug)]
pub struct Telemetry {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
    loggers: SdkLoggerProvider,
    reader: Reader,
    propagator: Arc<dyn TextMapPropagator + Send + Sync>,
    link: Link,
    /// None where the SDK is disabled, and once it was stopped.
    running: Option<Shutdown>,
}

impl Telemetry {
    /// Sets the three signals up and begins to push those that the variables let go by OTLP. Must be called within
    /// the tokio runtime that is to carry the exports; its threads should have telemetry suppressed, or exports
    /// trace themselves. Where the SDK is disabled, all that comes from here does nothing.
    ///
    /// # Errors
    /// [`StartError`] where an exporter, the reader or a thread cannot be made.
    pub fn start(
        environment: &Environment,
        resource: Resource,
        destination: Destination,
    ) -> Result<Self, StartError> {
        if environment.is_disabled() {
            return Ok(Self::disabled(environment));
        }
        let chosen = environment.exporters(Signal::Metrics);
        let source = if chosen.otlp || chosen.prometheus { Some(Source::new()?) } else { None };
        let meters = SdkMeterProvider::builder().with_resource(resource.clone());
        let meters = match &source {
            Some(source) => meters.with_reader(source.clone()).build(),
            None => meters.build(),
        };
        let meter = meters.meter(SCOPE);
        let link = Link::default();
        let exporters = Exporters::build(environment, destination, &meter, &link)?;

        let tracers = SdkTracerProvider::builder().with_resource(resource.clone());
        let tracers = match exporters.spans {
            Some(exporter) => {
                let delay = environment.span_delay(destination);
                tracers.with_span_processor(spans(environment, delay, exporter, &meter)).build()
            }
            None => tracers.build(),
        };
        let loggers = SdkLoggerProvider::builder().with_resource(resource);
        let loggers = match exporters.logs {
            Some(exporter) => loggers
                .with_log_processor(log_format::Unnamed)
                .with_log_processor(logs(environment, exporter, &meter))
                .build(),
            None => loggers.build(),
        };
        let push = exporters.metrics.zip(source.clone()).map(|(exporter, source)| {
            Push::start(source, exporter, environment.metric_interval(destination))
        });
        let reader = match source {
            Some(source) if chosen.prometheus => Reader::of(source),
            _ => Reader::off("OTEL_METRICS_EXPORTER does not name prometheus: metrics are not exposed"),
        };
        let running = Shutdown {
            meters: meters.clone(),
            tracers: tracers.clone(),
            loggers: loggers.clone(),
            push: push.transpose()?,
        };
        let propagator = environment.propagator();
        Ok(Self { meters, tracers, loggers, reader, propagator, link, running: Some(running) })
    }

    /// Providers that were shut down at once make instruments and spans that do nothing.
    fn disabled(environment: &Environment) -> Self {
        let meters = SdkMeterProvider::builder().build();
        let tracers = SdkTracerProvider::builder().build();
        let loggers = SdkLoggerProvider::builder().build();
        // Nothing is held yet that a shutdown could fail to deliver.
        let _ = (meters.shutdown(), tracers.shutdown(), loggers.shutdown());
        Self {
            meters,
            tracers,
            loggers,
            reader: Reader::off("OTEL_SDK_DISABLED is true: there are no metrics"),
            propagator: environment.propagator(),
            link: Link::default(),
            running: None,
        }
    }

    /// A meter for the instruments of `scope`.
    #[must_use]
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.meters.meter(scope)
    }

    /// A tracer for the spans of `scope`.
    #[must_use]
    pub fn tracer(&self, scope: &'static str) -> SdkTracer {
        self.tracers.tracer(scope)
    }

    /// The one reader, for the pull view.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What `OTEL_PROPAGATORS` names, in one: by default W3C Trace Context and Baggage.
    #[must_use]
    pub fn propagator(&self) -> Arc<dyn TextMapPropagator + Send + Sync> {
        Arc::clone(&self.propagator)
    }

    /// The switch that cuts this process off from its OTLP endpoints.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Makes the instruments `process.*`: processor time, memory, open files, uptime. Once for each process.
    pub fn observe_process(&self) {
        process::observe(&self.meter(SCOPE));
    }

    /// Makes the instruments `tokio.runtime.*`: how busy the runtime is, and how long its queue. For the one runtime
    /// that serves requests: a second one would have the same series.
    pub fn observe_runtime(&self, runtime: &Handle) {
        runtime::observe(&self.meter(SCOPE), runtime);
    }

    /// The layer that makes OpenTelemetry spans of the `tracing` spans which `spans` lets through, and log
    /// records of the events which `events` lets through. Span events are not made: an event is a log
    /// record. What happens while telemetry is suppressed is left out, and all of it where the SDK is disabled.
    pub fn layer<S>(&self, spans: Targets, events: Targets) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracing_layer = tracing_opentelemetry::layer()
            .with_tracer(self.tracers.tracer("pushpull.tracing"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(dynamic_filter_fn(move |metadata, _| {
                metadata.is_span()
                    && spans.would_enable(metadata.target(), metadata.level())
                    && !Context::is_current_telemetry_suppressed()
            }));
        let log_layer = OpenTelemetryTracingBridge::new(&self.loggers).with_filter(dynamic_filter_fn(
            move |metadata, _| {
                metadata.is_event()
                    && events.would_enable(metadata.target(), metadata.level())
                    && !Context::is_current_telemetry_suppressed()
            },
        ));
        let partial = PartialSuccess.with_filter(filter_fn(PartialSuccess::is));
        self.running.is_some().then(|| tracing_layer.and_then(log_layer).and_then(partial))
    }

    /// Flushes spans and log records side by side, then pushes metrics once more, then shuts down; returns at
    /// `deadline` at the latest, with the signals that were not delivered until then.
    ///
    /// It blocks, and must not be called on a runtime's thread.
    #[must_use]
    pub fn stop(mut self, deadline: Instant) -> Vec<Signal> {
        self.flush(deadline)
    }

    /// Ends without a flush, for a process that ends at once: what is held is lost, and no export begins.
    pub fn abandon(mut self) {
        self.link.sever();
        // Dropped, the providers would flush.
        std::mem::forget(self.running.take());
    }

    fn flush(&mut self, deadline: Instant) -> Vec<Signal> {
        self.running.take().map_or_else(Vec::new, |running| running.run(deadline))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let _ = self.flush(Instant::now() + DROP_TIMEOUT);
    }
}

/// The batch processor of spans, behind a bound that counts what finds no room.
fn spans(
    environment: &Environment,
    delay: Duration,
    exporter: Watched<SpanExporter>,
    meter: &Meter,
) -> Bounded<BatchSpanProcessor> {
    let size = environment.items("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(QUEUE_SIZE);
    let batches = SpanBatchConfig::default()
        .with_max_queue_size(size)
        .with_max_export_batch_size(environment.items("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(BATCH_SIZE))
        .with_scheduled_delay(delay)
        .build();
    let queue = Queue::of_spans(size, meter);
    let exporter = exporter.behind(queue.clone());
    Bounded { queue, processor: BatchSpanProcessor::builder(exporter).with_batch_config(batches).build() }
}

/// The batch processor of log records, behind the like.
fn logs(
    environment: &Environment,
    exporter: Watched<LogExporter>,
    meter: &Meter,
) -> Bounded<BatchLogProcessor> {
    let size = environment.items("OTEL_BLRP_MAX_QUEUE_SIZE").unwrap_or(QUEUE_SIZE);
    let batches = LogBatchConfig::default()
        .with_max_queue_size(size)
        .with_max_export_batch_size(
            environment.items("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE").unwrap_or(BATCH_SIZE),
        )
        .with_scheduled_delay(environment.log_delay())
        .build();
    let queue = Queue::of_logs(size, meter);
    let exporter = exporter.behind(queue.clone());
    Bounded { queue, processor: BatchLogProcessor::builder(exporter).with_batch_config(batches).build() }
}

/// Suppresses telemetry on the calling thread for as long as it lives. For the threads of a runtime that
/// carries exports, so that they do not trace themselves.
pub fn suppress_on_this_thread() {
    std::mem::forget(Context::enter_telemetry_suppressed_scope());
}

/// The scope of the instruments that are made here.
const SCOPE: &str = "pushpull.telemetry";
/// The specification's defaults for spans and log records.
const QUEUE_SIZE: usize = 2048;
const BATCH_SIZE: usize = 512;
/// How long a guard that is dropped without a stop may flush.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an export may take in all, its retries included, where the variables do not say.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
