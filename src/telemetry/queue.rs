//! The bound on what waits for an export, and the count of what found no room.
//!
//! The SDK's batch processors drop what finds their queue full, but tell of it only through a global meter
//! provider, together with a count of all that was well. Only `cli` may install a global, and a count that moves with
//! each export would make a scrape change what the next one says. So the bound is kept here, in front of a queue
//! of the same length, which then is never full.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    logs::Severity,
    metrics::{BoundCounter, Meter},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanProcessor},
};

/// Counts what waits; clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Places>);

#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    limit: usize,
    refused: BoundCounter<u64>,
}

impl Queue {
    /// A queue of spans.
    pub(super) fn of_spans(limit: usize, meter: &Meter) -> Self {
        Self::new(limit, meter, ("otel.sdk.processor.span.processed", "{span}", "batching_span_processor"))
    }

    /// A queue of log records.
    pub(super) fn of_logs(limit: usize, meter: &Meter) -> Self {
        Self::new(
            limit,
            meter,
            ("otel.sdk.processor.log.processed", "{log_record}", "batching_log_processor"),
        )
    }

    fn new(limit: usize, meter: &Meter, names: (&'static str, &'static str, &'static str)) -> Self {
        let (name, unit, component) = names;
        let processed = meter
            .u64_counter(name)
            .with_unit(unit)
            .with_description("What was dropped before it could be exported, by error.type")
            .build();
        let attributes =
            [KeyValue::new("otel.component.type", component), KeyValue::new("error.type", "queue_full")];
        // Bound, so that it is there from the start, at 0, and costs little where the queue is full.
        Self(Arc::new(Places { taken: AtomicUsize::new(0), limit, refused: processed.bind(&attributes) }))
    }

    /// Takes a place, or counts that there was none.
    fn take(&self) -> bool {
        let free = self.0.taken.fetch_add(1, Ordering::Relaxed) < self.0.limit;
        if !free {
            self.leave(1);
            self.0.refused.add(1);
        }
        free
    }

    /// Gives `places` back: so many are on their way to the endpoint.
    pub(super) fn leave(&self, places: usize) {
        self.0.taken.fetch_sub(places, Ordering::Relaxed);
    }
}

/// A processor that gets what there is a place for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) queue: Queue,
    pub(super) processor: P,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.take() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Bounded<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.queue.take() {
            self.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}
