//! The health of what carries the telemetry: how old it is, what is missing, what was lost, and whose queue grows.
//!
//! The two ways are asked apart, each by its own job: a series that is both pulled and pushed counts twice otherwise.
//! It must not know a threshold or an address.

use std::time::Duration;

use super::{
    UPTIME,
    query::{job, time},
};

/// The share of a pulled service's targets that the last scrape did not reach, 0 to 1.
#[must_use]
pub fn stale_pull(pulled: &str) -> String {
    format!("1 - avg(up{{{}}})", job(pulled))
}

/// 1 where nothing new of a pushing service came within `freshness`, else 0. The process's own uptime shows that: each
/// export moves it, whatever the traffic. No value where the service was not seen within `memory`, or for too short a time
/// to know.
#[must_use]
pub fn stale_push(pushed: &str, freshness: Duration, memory: Duration) -> String {
    let (uptime, freshness, memory) = (uptime(pushed), time(freshness), time(memory));
    format!(
        "(max(changes({uptime}[{freshness}])) == bool 0 and on() count({uptime} offset {freshness})) \
         or (vector(1) and on() count(last_over_time({uptime}[{memory}])) unless on() count({uptime}))"
    )
}

/// A pushing service of which there is no series at all.
#[must_use]
pub fn absent_push(pushed: &str) -> String {
    format!("absent({})", uptime(pushed))
}

/// How far the pushed view is behind the pulled one, in seconds: the difference of the uptimes of the same process.
#[must_use]
pub fn lag(pulled: &str, pushed: &str) -> String {
    format!("clamp_min(max({}) - max({}), 0)", uptime(pulled), uptime(pushed))
}

/// Targets of a job that cannot be scraped; the whole job where it has none.
#[must_use]
pub fn down(of: &str) -> String {
    let of = job(of);
    format!("up{{{of}}} == 0 or absent(up{{{of}}})")
}

fn uptime(of: &str) -> String {
    format!("{}{{{}}}", UPTIME.family(), job(of))
}

/// A counter of losses: its name, and what its labels must be.
type Counter = (&'static str, &'static str);

/// What the SDK of the service counts: spans and log records that were not delivered are lost; data points of totals are
/// not, since the next export has them, unless they were refused.
const SERVICE: [Counter; 5] = [
    ("otel_sdk_exporter_span_exported_total", ""),
    ("otel_sdk_exporter_log_exported_total", ""),
    ("otel_sdk_exporter_metric_data_point_exported_total", ",error_type=\"rejected\""),
    ("otel_sdk_processor_span_processed_total", ""),
    ("otel_sdk_processor_log_processed_total", ""),
];

/// What the stock Collector counts: it gave up an export, its queue had no room, or it refused its sender.
const COLLECTOR: [Counter; 9] = [
    ("otelcol_exporter_send_failed_metric_points", ""),
    ("otelcol_exporter_send_failed_spans", ""),
    ("otelcol_exporter_send_failed_log_records", ""),
    ("otelcol_exporter_enqueue_failed_metric_points", ""),
    ("otelcol_exporter_enqueue_failed_spans", ""),
    ("otelcol_exporter_enqueue_failed_log_records", ""),
    ("otelcol_receiver_refused_metric_points", ""),
    ("otelcol_receiver_refused_spans", ""),
    ("otelcol_receiver_refused_log_records", ""),
];

/// What the bridge counts, without what its sender keeps and sends again.
const BRIDGE: [Counter; 3] = [
    ("pushpull_collector_dropped_total", ""),
    ("pushpull_collector_refused_total", ",reason!~\"no_room|too_slow|aborted\""),
    ("pushpull_collector_spool_damaged_total", ",reason!=\"torn\""),
];

/// A counter of the stock Collector's own, whose name ends in `_total` or not, as its version and its settings have it.
pub(super) fn collectors_own(name: &str, matcher: &str) -> String {
    format!("{{__name__=~\"{name}(_total)?\",{matcher}}}")
}

/// Who loses telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loser {
    /// The service, of which it is pulled: what cannot be pushed cannot say so by push.
    Service,
    /// The stock Collector.
    Collector,
    /// `pushpull collect`.
    Bridge,
}

impl Loser {
    const fn counters(self) -> &'static [Counter] {
        match self {
            Self::Service => &SERVICE,
            Self::Collector => &COLLECTOR,
            Self::Bridge => &BRIDGE,
        }
    }

    fn series(self, name: &str, of: &str, labels: &str) -> String {
        match self {
            Self::Collector => collectors_own(name, of),
            Self::Service | Self::Bridge => format!("{name}{{{of}{labels}}}"),
        }
    }

    /// How many items a job lost in the window. A counter of losses is there from its first loss on, so that its first value
    /// counts too where its target was already scraped before it.
    #[must_use]
    pub fn lost(self, of: &str, window: Duration) -> String {
        let (of, window) = (job(of), time(window));
        let counters = self.counters().iter().map(|(name, labels)| {
            let series = self.series(name, &of, labels);
            format!(
                "(sum(increase({series}[{window}])) or vector(0)) \
                 + (sum({series} unless {series} offset {window} \
                 and on(job, instance) (up{{{of}}} offset {window} == 1)) or vector(0))"
            )
        });
        counters.collect::<Vec<_>>().join("\n+ ")
    }

    /// The rate at which a job loses items, for a graph.
    #[must_use]
    pub fn loss_rate(self, of: &str, range: &str) -> String {
        let of = job(of);
        let counters = self.counters().iter().map(|(name, labels)| {
            let series = self.series(name, &of, labels);
            format!("(sum(rate({series}[{range}])) or vector(0))")
        });
        counters.collect::<Vec<_>>().join("\n+ ")
    }
}

/// Whose queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The stock Collector's exporters, in requests.
    Collector,
    /// The sinks of `pushpull collect`, in bytes.
    Bridge,
}

impl Sender {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Collector => ("otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"),
            Self::Bridge => ("pushpull_collector_queue_bytes", "pushpull_collector_queue_limit_bytes"),
        }
    }

    /// What waits for each peer now.
    #[must_use]
    pub fn queue(self, of: &str) -> String {
        format!("{}{{{}}}", self.names().0, job(of))
    }

    /// The share of each queue that is taken.
    #[must_use]
    pub fn fullness(self, of: &str) -> String {
        let ((size, limit), of) = (self.names(), job(of));
        format!("{size}{{{of}}} / {limit}{{{of}}}")
    }

    /// The queues that were never empty in the window while nothing was sent, their peer being away; and those that are
    /// more than half full, their peer being too slow.
    #[must_use]
    pub fn stuck(self, of: &str, window: Duration) -> String {
        let ((size, limit), of, window) = (self.names(), job(of), time(window));
        let size = format!("{size}{{{of}}}");
        let (label, sent) = match self {
            Self::Collector => ("exporter", ["metric_points", "spans", "log_records"].as_slice()),
            Self::Bridge => ("sink", [""].as_slice()),
        };
        let sent = sent.iter().map(|kind| match self {
            Self::Collector => {
                let sent = collectors_own(&format!("otelcol_exporter_sent_{kind}"), &of);
                format!("increase({sent}[{window}]) > 0")
            }
            Self::Bridge => format!("increase(pushpull_collector_sent_total{{{of}}}[{window}]) > 0"),
        });
        let sent = sent.collect::<Vec<_>>().join(" or ");
        format!(
            "(min_over_time({size}[{window}]) > 0 unless on(job, instance, {label}) ({sent}))\n\
             or {size} > 0.5 * {limit}{{{of}}}"
        )
    }

    /// In how many seconds each queue is full if it goes on growing as in the window.
    #[must_use]
    pub fn seconds_to_full(self, of: &str, window: &str) -> String {
        let ((size, limit), of) = (self.names(), job(of));
        format!("({limit}{{{of}}} - {size}{{{of}}}) / (deriv({size}{{{of}}}[{window}]) > 0)")
    }
}
