//! The newest spans and log records, and who was heard of: what a person looks at.
//!
//! Bounded rings; it must not be a store. Nothing is admitted or refused here.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::KeyValue,
    logs::v1::LogRecord,
    resource::v1::Resource as ProtoResource,
    trace::v1::{Span as ProtoSpan, span::SpanKind, status::StatusCode},
};
use parking_lot::Mutex;

use super::{
    series::text,
    view::{Log, Service, Span},
    wire::Metrics,
};

const SPANS: usize = 2_000;
const LOGS: usize = 1_000;
const SERVICES: usize = 1_000;
/// Attributes of one span or record, and characters of one text, that are kept.
const ATTRIBUTES: usize = 32;
const CHARACTERS: usize = 1_000;

/// What was heard last.
#[derive(Debug, Default)]
pub struct Recent {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Arc<Span>>,
    logs: VecDeque<Arc<Log>>,
    services: HashMap<(String, String), Service>,
}

impl Recent {
    /// Remembers which service how many data points came from.
    pub fn heard_points(&self, metrics: &Metrics<'_>) {
        let mut points = vec![0; metrics.resources.len()];
        for metric in &metrics.metrics {
            points[metric.resource] += metrics.points(metric).len() as u64;
        }
        let mut state = self.state.lock();
        for (resource, points) in metrics.resources.iter().zip(points) {
            let attributes = metrics.attributes(*resource);
            let attribute = |key: &str| {
                let found = attributes.iter().find(|attribute| attribute.key == key);
                found.map(|attribute| attribute.value.text()).unwrap_or_default()
            };
            state.heard_of(attribute, |service| service.points += points);
        }
    }

    /// Remembers spans.
    pub fn heard_spans(&self, request: &ExportTraceServiceRequest) {
        let mut state = self.state.lock();
        for resource in &request.resource_spans {
            let spans = || resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            let heard = spans().count() as u64;
            let name = state.heard(resource.resource.as_ref(), |service| service.spans += heard);
            for proto in spans() {
                push(&mut state.spans, SPANS, span(&name, proto));
            }
        }
    }

    /// Remembers log records.
    pub fn heard_logs(&self, request: &ExportLogsServiceRequest) {
        let mut state = self.state.lock();
        for resource in &request.resource_logs {
            let records = || resource.scope_logs.iter().flat_map(|scope| &scope.log_records);
            let heard = records().count() as u64;
            let name = state.heard(resource.resource.as_ref(), |service| service.logs += heard);
            for record in records() {
                push(&mut state.logs, LOGS, log(&name, record));
            }
        }
    }

    /// The newest spans, newest last.
    #[must_use]
    pub fn spans(&self) -> Vec<Arc<Span>> {
        self.state.lock().spans.iter().cloned().collect()
    }

    /// The newest log records, newest last.
    #[must_use]
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.state.lock().logs.iter().cloned().collect()
    }

    /// The services, by name.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let mut services: Vec<_> = self.state.lock().services.values().cloned().collect();
        services.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
        services
    }
}

impl State {
    /// Counts for a service, and returns its name.
    fn heard(&mut self, resource: Option<&ProtoResource>, count: impl FnOnce(&mut Service)) -> String {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        self.heard_of(
            |key| {
                let found = attributes.iter().find(|attribute| attribute.key == key);
                found.map(|attribute| text(attribute.value.as_ref())).unwrap_or_default()
            },
            count,
        )
    }

    /// The same with what gives the resource's attributes.
    fn heard_of<'a>(
        &mut self,
        attribute: impl Fn(&str) -> Cow<'a, str>,
        count: impl FnOnce(&mut Service),
    ) -> String {
        let attribute = |key: &str| cut(&attribute(key));
        let (name, instance) = (attribute("service.name"), attribute("service.instance.id"));
        let key = (name.clone(), instance.clone());
        if self.services.len() >= SERVICES && !self.services.contains_key(&key) {
            // The one that was silent for longest makes room.
            let oldest =
                self.services.iter().min_by_key(|(_, service)| service.heard).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.services.remove(&key));
        }
        let now = SystemTime::now();
        let service = self.services.entry(key).or_insert_with(|| Service {
            name: name.clone(),
            version: attribute("service.version"),
            instance,
            heard: now,
            points: 0,
            spans: 0,
            logs: 0,
        });
        service.heard = now;
        count(service);
        name
    }
}

fn push<T>(ring: &mut VecDeque<Arc<T>>, limit: usize, item: T) {
    if ring.len() == limit {
        ring.pop_front();
    }
    ring.push_back(Arc::new(item));
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
