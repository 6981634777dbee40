//! What the collector shows of itself: plain values that a page can render, and who gives them.
//!
//! It must not hold anything of the wire formats or of the tables that the values are taken from.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Who can be asked for what the collector holds. Each answer is a copy of one moment.
pub trait Source: Send + Sync + 'static {
    /// Each series with its last pushed value; of those with one name and one label set, the one that a scrape shows first.
    fn series(&self) -> Vec<Series>;
    /// The families of which the exposition does not show all series.
    fn hidden(&self) -> Vec<Hidden> {
        Vec::new()
    }
    /// The spans that are still held, newest last; the source bounds how many.
    fn spans(&self) -> Vec<Arc<Span>>;
    /// The log records that are still held, newest last; the source bounds how many.
    fn logs(&self) -> Vec<Arc<Log>>;
    /// What was refused or dropped: place (a receiver or a sink), signal, reason, items.
    fn losses(&self) -> Vec<(String, String, String, u64)>;
    /// The services that were heard from.
    fn services(&self) -> Vec<Service>;
}

/// One series and its last pushed value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The resource's `service.name`; empty for StatsD.
    pub service: String,
    /// The resource's `service.instance.id`; empty where there is none.
    pub instance: String,
    /// The sample's name in an exposition: `requests_total`, `slow_count`, `slow_sum`.
    pub sample: String,
    /// The labels of an exposition, sorted by name, `job` and `instance` among them.
    pub labels: Vec<(String, String)>,
    /// The last value.
    pub value: f64,
    /// The data point's own time.
    pub at: SystemTime,
    /// The Graphite path that it is written under; `None` where it is not written.
    pub graphite: Option<String>,
}

/// Series that the exposition does not show, since others come to their name and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Their family's name.
    pub family: String,
    /// `scope`, `resource`, `name`, `attributes`, `type`, `reserved`.
    pub reason: &'static str,
    /// How many.
    pub series: usize,
    /// In what they differ, and what would show them.
    pub remedy: String,
}

/// A service that was heard from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The resource's `service.name`.
    pub name: String,
    /// The resource's `service.version`; empty where there is none.
    pub version: String,
    /// The resource's `service.instance.id`; empty where there is none.
    pub instance: String,
    /// When it was last heard from.
    pub heard: SystemTime,
    /// Data points taken from it.
    pub points: u64,
    /// Spans taken from it.
    pub spans: u64,
    /// Log records taken from it.
    pub logs: u64,
}

/// One finished span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The resource's `service.name`.
    pub service: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits; empty for a root.
    pub parent_id: String,
    /// The span's name.
    pub name: String,
    /// `server`, `client`, `internal`, `producer`, `consumer`; empty where it was not given.
    pub kind: &'static str,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Whether its status is Error.
    pub error: bool,
    /// Attributes, their values as text.
    pub attributes: Vec<(String, String)>,
}

/// One log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The resource's `service.name`.
    pub service: String,
    /// When it was written.
    pub at: SystemTime,
    /// The severity's text: `INFO`, `WARN`, `ERROR`.
    pub severity: String,
    /// The body as text.
    pub body: String,
    /// Attributes, their values as text.
    pub attributes: Vec<(String, String)>,
    /// 32 hexadecimal digits; empty where the record belongs to no trace.
    pub trace_id: String,
    /// 16 hexadecimal digits; empty where the record belongs to no span.
    pub span_id: String,
}
