//! What must not be missing in a request that could be decoded: the data of a metric, the value of a point,
//! valid ids of a span.
//!
//! It takes single items out and names them; it must not judge what a value means: that is the sinks' part.

use std::{collections::BTreeMap, fmt::Display};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::any_value,
    metrics::v1::{DataPointFlags, Metric, NumberDataPoint, SummaryDataPoint, metric::Data},
    resource::v1::Resource,
    trace::v1::Span,
};

use crate::collector::refusals::shortened;

/// Items that are named in the answer; the others are only counted.
const NAMED: usize = 3;
/// Services of which a fault is remembered.
const SERVICES: usize = 100;
const TRACE_ID_LENGTH: usize = 16;
const SPAN_ID_LENGTH: usize = 8;

/// Items that were taken out of a request, and why.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Data points or spans taken out.
    pub(super) rejected: u64,
    /// Faults, also of metrics without any data point.
    pub(super) faults: u64,
    named: Vec<String>,
    /// The first fault of each service.
    pub(super) by_service: BTreeMap<String, String>,
}

impl Findings {
    fn add(&mut self, items: u64, resource: Option<&Resource>, place: impl Display, fault: impl Display) {
        self.add_of(items, service(resource), place, fault);
    }

    /// Adds a fault of items of that service.
    pub(super) fn add_of(&mut self, items: u64, service: &str, place: impl Display, fault: impl Display) {
        self.rejected += items;
        self.faults += 1;
        if !self.by_service.contains_key(service) && self.by_service.len() < SERVICES {
            self.by_service.insert(service.to_owned(), format!("{place}: {fault}"));
        }
        if self.named.len() < NAMED {
            self.named.push(format!("{place}: {fault}"));
        }
    }

    /// Raises the number of items to `items`, each with a fault, of which not all are named.
    pub(super) fn add_unnamed(&mut self, items: u64) {
        self.rejected = self.rejected.max(items);
        self.faults = self.faults.max(items);
    }

    /// Adds what was found after it.
    pub(super) fn append(&mut self, other: Self) {
        self.rejected += other.rejected;
        self.faults += other.faults;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
        for (service, fault) in other.by_service {
            if self.by_service.len() < SERVICES {
                self.by_service.entry(service).or_insert(fault);
            }
        }
    }

    /// Whether nothing was found.
    pub(super) const fn is_empty(&self) -> bool {
        self.faults == 0
    }

    /// The first faults with their places, and how many more there are.
    pub(super) fn message(&self) -> String {
        let mut message = self.named.join("; ");
        let more = self.faults - self.named.len() as u64;
        if more > 0 {
            message.push_str(&format!("; and {more} more"));
        }
        message
    }
}

fn service(resource: Option<&Resource>) -> &str {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let value = attributes.iter().find(|attribute| attribute.key == "service.name");
    match value.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(any_value::Value::StringValue(name)) => name,
        _ => "unknown",
    }
}

/// Takes out of `request` the metrics without data, and the numbers without a value and summaries with such a quantile.
pub(super) fn metrics(request: &mut ExportMetricsServiceRequest) -> Findings {
    let mut findings = Findings::default();
    for (r, resource) in request.resource_metrics.iter_mut().enumerate() {
        let of = resource.resource.as_ref();
        for (s, scope) in resource.scope_metrics.iter_mut().enumerate() {
            let mut index = 0..;
            scope.metrics.retain_mut(|metric| {
                let m = index.next().unwrap_or_default();
                let Metric { name, data, .. } = metric;
                let place =
                    || format!("resourceMetrics[{r}].scopeMetrics[{s}].metrics[{m}] {:?}", shortened(name));
                match data {
                    None => {
                        findings.add(
                            0,
                            of,
                            place(),
                            "no data: gauge, sum, histogram, exponentialHistogram or summary is needed",
                        );
                        false
                    }
                    Some(Data::Gauge(gauge)) => {
                        number_points(&mut gauge.data_points, of, "gauge", &place, &mut findings);
                        true
                    }
                    Some(Data::Sum(sum)) => {
                        number_points(&mut sum.data_points, of, "sum", &place, &mut findings);
                        true
                    }
                    Some(Data::Summary(summary)) => {
                        summary_points(&mut summary.data_points, of, &place, &mut findings);
                        true
                    }
                    Some(Data::Histogram(_) | Data::ExponentialHistogram(_)) => true,
                }
            });
        }
    }
    findings
}

fn number_points(
    points: &mut Vec<NumberDataPoint>,
    of: Option<&Resource>,
    kind: &str,
    place: &impl Fn() -> String,
    findings: &mut Findings,
) {
    let mut index = 0..;
    points.retain(|point| {
        let p: usize = index.next().unwrap_or_default();
        let recorded = point.flags & DataPointFlags::NoRecordedValueMask as u32 == 0;
        let usable = point.value.is_some() || !recorded;
        if !usable {
            findings.add(
                1,
                of,
                format_args!("{} {kind}.dataPoints[{p}]", place()),
                "no value (null is none, too): asDouble or asInt is needed",
            );
        }
        usable
    });
}

fn summary_points(
    points: &mut Vec<SummaryDataPoint>,
    of: Option<&Resource>,
    place: &impl Fn() -> String,
    findings: &mut Findings,
) {
    let mut index = 0..;
    points.retain(|point| {
        let p: usize = index.next().unwrap_or_default();
        let lacking = point.quantile_values.iter().position(|value| value.quantile.is_nan());
        if let Some(q) = lacking {
            findings.add(
                1,
                of,
                format_args!("{} summary.dataPoints[{p}].quantileValues[{q}]", place()),
                "null or NaN: a quantile and its value are needed",
            );
        }
        lacking.is_none()
    });
}

/// Takes out of `request` the spans without valid ids.
pub(super) fn spans(request: &mut ExportTraceServiceRequest) -> Findings {
    let mut findings = Findings::default();
    for (r, resource) in request.resource_spans.iter_mut().enumerate() {
        let of = resource.resource.as_ref();
        for (s, scope) in resource.scope_spans.iter_mut().enumerate() {
            let mut index = 0..;
            scope.spans.retain(|span| {
                let i: usize = index.next().unwrap_or_default();
                let fault = span_fault(span);
                if let Some(fault) = &fault {
                    let name = shortened(&span.name);
                    findings.add(
                        1,
                        of,
                        format_args!("resourceSpans[{r}].scopeSpans[{s}].spans[{i}] {name:?}"),
                        fault,
                    );
                }
                fault.is_none()
            });
        }
    }
    findings
}

fn span_fault(span: &Span) -> Option<String> {
    id_fault("traceId", &span.trace_id, TRACE_ID_LENGTH)
        .or_else(|| id_fault("spanId", &span.span_id, SPAN_ID_LENGTH))
        .or_else(|| match span.parent_span_id.len() {
            0 | SPAN_ID_LENGTH => None,
            length => Some(format!("parentSpanId has {length} bytes, not {SPAN_ID_LENGTH} or none")),
        })
}

fn id_fault(name: &str, id: &[u8], length: usize) -> Option<String> {
    if id.len() != length {
        return Some(format!("{name} has {} bytes, not {length}", id.len()));
    }
    id.iter().all(|byte| *byte == 0).then(|| format!("{name} is all zero"))
}

/// Takes invalid ids off log records, which are to be taken as such without (logs.proto on `trace_id`, `span_id`); nothing
/// is rejected.
pub(super) fn logs(request: &mut ExportLogsServiceRequest) -> Findings {
    let scopes = request.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs);
    for record in scopes.flat_map(|scope| &mut scope.log_records) {
        for (id, length) in [(&mut record.trace_id, TRACE_ID_LENGTH), (&mut record.span_id, SPAN_ID_LENGTH)] {
            if !id.is_empty() && id_fault("", id, length).is_some() {
                id.clear();
            }
        }
    }
    Findings::default()
}
