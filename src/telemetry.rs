//! The bootstrap: one resource, three providers, one metric reader that both paradigms read, and the guard
//! that flushes them.
//!
//! It must not install a global, nor know what is being measured: the caller takes meters, tracers and
//! layers from here and decides where they go.

mod delivery;
mod environment;
mod exporters;
mod log_format;
mod push;
mod reader;
mod resource;

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{Context, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    Resource,
    logs::{BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, SdkLoggerProvider},
    metrics::SdkMeterProvider,
    trace::{BatchConfigBuilder as SpanBatchConfig, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{Targets, dynamic_filter_fn, filter_fn},
    registry::LookupSpan,
};

use self::{delivery::PartialSuccess, exporters::Exporters, push::Push};
pub use self::{
    delivery::Signal,
    environment::Environment,
    log_format::{LogFormat, WithIds},
    reader::{CollectError, Reader},
    resource::resource,
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

/// All providers; stop it to flush what they hold.
#[derive(Debug)]
pub struct Telemetry {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
    loggers: SdkLoggerProvider,
    reader: Reader,
    push: Push,
}

impl Telemetry {
    /// Sets the three signals up and begins to push. Must be called within the tokio runtime that is to
    /// carry the exports; its threads should have telemetry suppressed, or exports trace themselves.
    ///
    /// # Errors
    /// [`StartError`] where an exporter, the reader or a thread cannot be made.
    pub fn start(
        environment: &Environment,
        resource: Resource,
        destination: Destination,
    ) -> Result<Self, StartError> {
        let reader = Reader::new()?;
        let meters =
            SdkMeterProvider::builder().with_reader(reader.clone()).with_resource(resource.clone()).build();
        let Exporters { metrics, spans, logs } =
            Exporters::build(environment, destination, &meters.meter("pushpull.telemetry"))?;

        let batches = SpanBatchConfig::default()
            .with_max_queue_size(environment.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(2048))
            .with_max_export_batch_size(environment.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512))
            .with_scheduled_delay(environment.span_delay(destination));
        let spans = BatchSpanProcessor::builder(spans).with_batch_config(batches.build()).build();
        let tracers =
            SdkTracerProvider::builder().with_span_processor(spans).with_resource(resource.clone()).build();

        let batches = LogBatchConfig::default()
            .with_max_queue_size(environment.number("OTEL_BLRP_MAX_QUEUE_SIZE").unwrap_or(2048))
            .with_max_export_batch_size(environment.number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512))
            .with_scheduled_delay(environment.log_delay());
        let logs = BatchLogProcessor::builder(logs).with_batch_config(batches.build()).build();
        let loggers = SdkLoggerProvider::builder()
            .with_log_processor(log_format::Unnamed)
            .with_log_processor(logs)
            .with_resource(resource)
            .build();

        let push = Push::start(reader.clone(), metrics, environment.metric_interval(destination))?;
        Ok(Self { meters, tracers, loggers, reader, push })
    }

    /// A meter for the instruments of `scope`.
    #[must_use]
    pub fn meter(&self, scope: &'static str) -> opentelemetry::metrics::Meter {
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

    /// The layer that makes OpenTelemetry spans of the `tracing` spans which `spans` lets through, and log
    /// records of the events which `events` lets through. Span events are not made: an event is a log
    /// record. What happens while telemetry is suppressed is left out.
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
        tracing_layer.and_then(log_layer).and_then(partial)
    }

    /// Flushes spans and log records side by side with the last push of metrics, then shuts down; returns
    /// at `deadline` at the latest, with the signals that were not delivered until then.
    ///
    /// It blocks, and must not be called on a runtime's thread.
    #[must_use]
    pub fn stop(self, deadline: Instant) -> Vec<Signal> {
        let Self { meters, tracers, loggers, push, reader: _ } = self;
        let (done, finished) = mpsc::channel();
        let mut waiting = vec![Signal::Metrics, Signal::Traces, Signal::Logs];
        let remaining = move || deadline.saturating_duration_since(Instant::now());
        let flushes: [(Signal, Box<dyn FnOnce() -> bool + Send>); 3] = [
            (
                Signal::Metrics,
                Box::new(move || {
                    let pushed = push.last(remaining());
                    // Only after the last push: a reader that was shut down has nothing to collect.
                    pushed & meters.shutdown_with_timeout(remaining()).is_ok()
                }),
            ),
            (Signal::Traces, Box::new(move || tracers.shutdown_with_timeout(remaining()).is_ok())),
            (Signal::Logs, Box::new(move || loggers.shutdown_with_timeout(remaining()).is_ok())),
        ];
        for (signal, flush) in flushes {
            let done = done.clone();
            // A thread that outlives the deadline is left behind: the process is about to end.
            let _ = thread::Builder::new().name(format!("flush-{}", signal.as_str())).spawn(move || {
                if flush() {
                    let _ = done.send(signal);
                }
            });
        }
        drop(done);
        while let Ok(signal) = finished.recv_timeout(remaining()) {
            waiting.retain(|waiting| *waiting != signal);
        }
        waiting
    }
}

/// Suppresses telemetry on the calling thread for as long as it lives. For the threads of a runtime that
/// carries exports, so that they do not trace themselves.
pub fn suppress_on_this_thread() {
    std::mem::forget(Context::enter_telemetry_suppressed_scope());
}

/// How long an export may take in all, its retries included, where the variables do not say.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
