//! Exporters that say once when deliveries begin to fail, and once when they work again, that count what was
//! not delivered, by reason, and that a severed link cuts off.
//!
//! The counts follow the semantic conventions for SDK metrics (`otel.sdk.exporter.*.exported` with an
//! `error.type`); what arrived is not counted, so that a push does not change what the next push says.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter},
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter},
    metrics::{
        Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        exporter::PushMetricExporter,
    },
    trace::{SpanData, SpanExporter},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer};

use super::{Link, queue::Queue};

/// One of OTLP's three kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Data points.
    Metrics,
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    /// All three, in the order in which they are listed to people.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// The name in paths and labels: `metrics`, `traces`, `logs`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// An exporter with a memory of whether its last export arrived.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    signal: Signal,
    endpoint: String,
    failing: AtomicBool,
    failed: Counter<u64>,
    component: &'static str,
    link: Link,
    /// Where what is exported waited.
    queue: Option<Queue>,
}

impl<E> Watched<E> {
    /// Counts by a meter, as the component that `otel.component.type` of the semantic conventions names.
    pub(super) fn new(
        exporter: E,
        signal: Signal,
        endpoint: String,
        (meter, component): (&Meter, &'static str),
        link: Link,
    ) -> Self {
        let (name, unit) = match signal {
            Signal::Metrics => ("otel.sdk.exporter.metric_data_point.exported", "{data_point}"),
            Signal::Traces => ("otel.sdk.exporter.span.exported", "{span}"),
            Signal::Logs => ("otel.sdk.exporter.log.exported", "{log_record}"),
        };
        let failed = meter
            .u64_counter(name)
            .with_unit(unit)
            .with_description("What was handed to the exporter and not delivered, by error.type")
            .build();
        let failing = AtomicBool::new(false);
        Self { exporter, signal, endpoint, failing, failed, component, link, queue: None }
    }

    /// What is exported leaves this queue.
    pub(super) fn behind(self, queue: Queue) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Sends `items` unless the link is severed, and notes what became of them.
    async fn deliver(&self, items: usize, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        if let Some(queue) = &self.queue {
            queue.leave(items);
        }
        let result = match self.link.is_severed() {
            // In the words in which each transport tells of an endpoint where nobody listens.
            true if self.component.starts_with("otlp_grpc") => {
                Err(OTelSdkError::InternalFailure("the link is severed, gRPC code: Unavailable".to_owned()))
            }
            true => Err(OTelSdkError::InternalFailure("the link is severed".to_owned())),
            false => export.await,
        };
        self.note(result, items as u64)
    }

    /// Counts what became of an export of `items`, and says so where that changed.
    fn note(&self, result: OTelSdkResult, items: u64) -> OTelSdkResult {
        let (rejected, cause) = (REJECTED.take(), CAUSE.take());
        let trouble = match &result {
            Err(error) => {
                let told = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                Some((error_type(error), items, told))
            }
            Ok(()) if rejected.items > 0 => {
                // It can reject no more than it was sent, whatever it says.
                let lost = rejected.items.min(items);
                let told = format!("{lost} of {items} were rejected: {}", rejected.message);
                Some(("rejected".to_owned(), lost, told))
            }
            Ok(()) => None,
        };
        let failing = self.failing.swap(trouble.is_some(), Ordering::Relaxed);
        let (signal, endpoint) = (self.signal.as_str(), &self.endpoint);
        match trouble {
            Some((reason, lost, error)) => {
                if !failing {
                    tracing::warn!(
                        signal,
                        endpoint,
                        error,
                        "telemetry is not delivered; requests are served all the same"
                    );
                }
                let component = KeyValue::new("otel.component.type", self.component);
                self.failed.add(lost, &[component, KeyValue::new("error.type", reason)]);
            }
            None if failing => tracing::info!(signal, endpoint, "telemetry is delivered again"),
            None => {}
        }
        result
    }
}

/// The gRPC code or HTTP status where the exporter names one, else what kind of failure it was: few values.
fn error_type(error: &OTelSdkError) -> String {
    match error {
        OTelSdkError::AlreadyShutdown => "shutdown".to_owned(),
        OTelSdkError::Timeout(_) => "timeout".to_owned(),
        OTelSdkError::InternalFailure(text) => {
            let grpc = text.split_once("gRPC code: ").map(|(_, code)| code);
            let code = grpc.and_then(|code| code.split(|c: char| !c.is_ascii_alphanumeric()).next());
            let status = || {
                text.split(|c: char| !c.is_ascii_digit())
                    .find(|digits| matches!(digits.as_bytes(), [b'4' | b'5', _, _]))
            };
            code.filter(|code| !code.is_empty()).or_else(status).unwrap_or("unreachable").to_owned()
        }
    }
}

/// What the endpoint rejected of the export that this thread is busy with.
#[derive(Debug, Default)]
struct Rejected {
    items: u64,
    message: String,
}

thread_local! {
    static REJECTED: Cell<Rejected> = Cell::default();
    /// Why a request of the export that this thread is busy with did not get through, where the exporter
    /// keeps that to itself.
    static CAUSE: Cell<Option<String>> = Cell::default();
}

/// Keeps the innermost cause of a request's failure for the line that tells of it.
pub(super) fn remember_cause(error: &(dyn std::error::Error + 'static)) {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    CAUSE.set(innermost.map(ToString::to_string));
}

/// Hears of OTLP's partial success, which the exporters only log: an export runs on one thread, and so do
/// its log events.
#[derive(Debug)]
pub(super) struct PartialSuccess;

impl PartialSuccess {
    pub(super) fn is(metadata: &Metadata<'_>) -> bool {
        metadata.target() == "opentelemetry-otlp" && metadata.name().ends_with("PartialSuccess")
    }
}

impl<S: Subscriber> Layer<S> for PartialSuccess {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if Self::is(event.metadata()) {
            let mut rejected = Rejected::default();
            event.record(&mut rejected);
            REJECTED.set(rejected);
        }
    }
}

impl Visit for Rejected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name().starts_with("rejected_") {
            self.items = value.try_into().unwrap_or_default();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "error_message" {
            self.message = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" {
            self.message = value.to_owned();
        }
    }
}

/// How many data points were collected.
fn points(metrics: &ResourceMetrics) -> usize {
    fn of<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    let metrics = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let points = metrics.map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
    });
    points.sum()
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.deliver(batch.len(), self.exporter.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.deliver(batch.iter().count(), self.exporter.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.deliver(points(metrics), self.exporter.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_few_names() {
        for (text, expected) in [
            ("TonicTracesClient export failed with gRPC code: Unavailable: tcp connect error", "Unavailable"),
            ("TonicMetricsClient export failed with gRPC code: ResourceExhausted", "ResourceExhausted"),
            ("HTTP export failed. Status: 503 Service Unavailable", "503"),
            ("error sending request", "unreachable"),
        ] {
            assert_eq!(error_type(&OTelSdkError::InternalFailure(text.to_owned())), expected);
        }
        assert_eq!(error_type(&OTelSdkError::Timeout(Duration::ZERO)), "timeout");
    }
}
