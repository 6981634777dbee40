//! The newest spans and log records, and the services that sent something: what a person looks at.
//!
//! Bounded rings; it must not be a store. Nothing is admitted or refused here.

mod ring;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashlink::LinkedHashMap;
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    logs::v1::LogRecord,
    trace::v1::{Span as ProtoSpan, span::SpanKind, status::StatusCode},
};
use parking_lot::Mutex;
use prost::Message;

use self::ring::Ring;
use super::{
    series::text,
    view::{Log, Service, Span},
    wire::{Items, Metrics},
};

const SPANS: usize = 2_000;
const LOGS: usize = 1_000;
const SERVICES: usize = 1_000;
/// Attributes of one span or record, and characters of one text, that are shown.
const ATTRIBUTES: usize = 32;
const CHARACTERS: usize = 1_000;

/// What came last.
#[derive(Debug)]
pub struct Recent {
    spans: Mutex<Ring>,
    logs: Mutex<Ring>,
    services: Mutex<Services>,
}

/// Services by name and instance, the one that was last seen longest ago first.
#[derive(Debug, Default)]
struct Services(LinkedHashMap<(String, String), Service>);

impl Default for Recent {
    fn default() -> Self {
        let (spans, logs) = (Mutex::new(Ring::new(SPANS)), Mutex::new(Ring::new(LOGS)));
        Self { spans, logs, services: Mutex::default() }
    }
}

impl Recent {
    /// Counts the data points of each service.
    pub fn add_points(&self, metrics: &Metrics<'_>) {
        let mut points = vec![0; metrics.resources.len()];
        for metric in &metrics.metrics {
            points[metric.resource] += metrics.points(metric).len() as u64;
        }
        for (resource, points) in metrics.resources.iter().zip(points) {
            let attributes = metrics.attributes(*resource);
            let attribute = |key: &str| {
                let found = attributes.iter().find(|attribute| attribute.key == key);
                found.map(|attribute| attribute.value.text()).unwrap_or_default()
            };
            self.count(attribute, |service| service.points += points);
        }
    }

    /// Adds spans, and counts those of each service.
    pub fn add_spans(&self, spans: &Items<'_>) {
        self.add(spans, &self.spans, |service| &mut service.spans);
    }

    /// Adds log records, and counts those of each service.
    pub fn add_logs(&self, records: &Items<'_>) {
        self.add(records, &self.logs, |service| &mut service.logs);
    }

    fn add(&self, items: &Items<'_>, ring: &Mutex<Ring>, counter: fn(&mut Service) -> &mut u64) {
        for resource in items.resources() {
            let count = resource.messages().count();
            let name = self.count(|key| resource.attribute(key), |service| *counter(service) += count as u64);
            ring.lock().push(&name, || resource.messages(), count);
        }
    }

    /// The newest spans, newest last.
    #[must_use]
    pub fn spans(&self) -> Vec<Arc<Span>> {
        values(&self.spans, span)
    }

    /// The newest log records, newest last.
    #[must_use]
    pub fn logs(&self) -> Vec<Arc<Log>> {
        values(&self.logs, log)
    }

    /// The services, by name.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let mut services: Vec<_> = self.services.lock().0.values().cloned().collect();
        services.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
        services
    }

    /// Counts for the service that the resource attributes name, and returns its name.
    fn count<'a>(
        &self,
        attribute: impl Fn(&str) -> Cow<'a, str>,
        count: impl FnOnce(&mut Service),
    ) -> String {
        let attribute = |key: &str| cut(&attribute(key));
        let (name, instance) = (attribute("service.name"), attribute("service.instance.id"));
        let key = (name, instance);
        let now = SystemTime::now();
        let services = &mut self.services.lock().0;
        if let Some(service) = services.to_back(&key) {
            service.heard = now;
            count(service);
            return key.0;
        }
        if services.len() >= SERVICES {
            services.pop_front();
        }
        let (name, instance) = key.clone();
        let version = attribute("service.version");
        let mut service = Service { name, version, instance, heard: now, points: 0, spans: 0, logs: 0 };
        count(&mut service);
        services.insert(key.clone(), service);
        key.0
    }
}

/// The messages of a ring as values; decoded without its lock.
fn values<M: Message + Default, T>(ring: &Mutex<Ring>, value: fn(&str, &M) -> T) -> Vec<Arc<T>> {
    let (surplus, chunks) = ring.lock().chunks();
    let messages = chunks.iter().flat_map(|chunk| chunk.messages().map(|message| (&*chunk.service, message)));
    messages
        .skip(surplus)
        .filter_map(|(service, message)| Some(Arc::new(value(service, &M::decode(message).ok()?))))
        .collect()
}

fn span(service: &str, span: &ProtoSpan) -> Span {
    let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    Span {
        service: service.to_owned(),
        trace_id: const_hex::encode(&span.trace_id),
        span_id: const_hex::encode(&span.span_id),
        parent_id: const_hex::encode(&span.parent_span_id),
        name: cut(&span.name),
        kind: match span.kind() {
            SpanKind::Unspecified | SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        },
        start: time(span.start_time_unix_nano),
        duration: Duration::from_nanos(nanos),
        error: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
        attributes: attributes(&span.attributes),
    }
}

fn log(service: &str, record: &LogRecord) -> Log {
    let at = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    Log {
        service: service.to_owned(),
        at: time(at),
        severity: cut(&record.severity_text),
        body: cut(&text(record.body.as_ref())),
        attributes: attributes(&record.attributes),
        trace_id: const_hex::encode(&record.trace_id),
        span_id: const_hex::encode(&record.span_id),
    }
}

fn attributes(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let kept = attributes.iter().take(ATTRIBUTES);
    kept.map(|attribute| (cut(&attribute.key), cut(&text(attribute.value.as_ref())))).collect()
}

fn time(unix_nano: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_nano)
}

fn cut(text: &str) -> String {
    // Nearly every text is short enough to be copied as it is.
    match text.len() <= CHARACTERS {
        true => text.to_owned(),
        false => text.chars().take(CHARACTERS).collect(),
    }
}
