//! What a person looks at when the telemetry itself is in doubt: the Collector, the bridge and Prometheus in figures.

use super::{
    pipeline::{Loser, Sender, collectors_own, lag, stale_pull},
    query::job,
};

/// A figure of the pipeline: what it says, and the queries that draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// A title for people.
    pub title: &'static str,
    /// UCUM.
    pub unit: &'static str,
    /// What it says, in a sentence or two.
    pub meaning: &'static str,
    /// Each query, with what its series are called: Grafana's form, `{{label}}` is a label's value.
    pub queries: Vec<(String, &'static str)>,
}

/// How old what is pushed is, and how the two ways do.
#[must_use]
pub fn ways(pulled: &str, pushed: &str) -> Vec<Figure> {
    vec![
        Figure {
            title: "Pushed view behind the pulled one",
            unit: "s",
            meaning: "The difference of the same process's uptime in both views. Up to an export interval and a scrape \
                      interval is right; a line that climbs is a push that does not arrive.",
            queries: vec![(lag(pulled, pushed), "behind")],
        },
        Figure {
            title: "Scrapes that failed",
            unit: "1",
            meaning: "The share of the service's targets that the last scrape did not reach.",
            queries: vec![(stale_pull(pulled), "pulled")],
        },
    ]
}

/// The stock Collector.
#[must_use]
pub fn collector(of: &str, range: &str) -> Vec<Figure> {
    let by = |label: &str, name: &str| {
        ["metric_points", "spans", "log_records"]
            .map(|kind| collectors_own(&format!("{name}_{kind}"), &job(of)))
            .map(|series| format!("sum by ({label}) (rate({series}[{range}]))"))
    };
    let [points, spans, records] = by("receiver", "otelcol_receiver_accepted");
    let [points_sent, spans_sent, records_sent] = by("exporter", "otelcol_exporter_sent");
    vec![
        Figure {
            title: "Collector: accepted",
            unit: "{item}/s",
            meaning: "Data points, spans and log records that its receivers took.",
            queries: vec![
                (points, "points {{receiver}}"),
                (spans, "spans {{receiver}}"),
                (records, "log records {{receiver}}"),
            ],
        },
        Figure {
            title: "Collector: sent",
            unit: "{item}/s",
            meaning: "What each exporter's peer has taken. An exporter at 0 while items are accepted is a sink that is away.",
            queries: vec![
                (points_sent, "points {{exporter}}"),
                (spans_sent, "spans {{exporter}}"),
                (records_sent, "log records {{exporter}}"),
            ],
        },
        Figure {
            title: "Collector: lost",
            unit: "{item}/s",
            meaning: "Exports that were given up, had no room in a queue, or were refused at the receiver. It is to be 0.",
            queries: vec![(Loser::Collector.loss_rate(of, range), "lost")],
        },
        Figure {
            title: "Collector: queues",
            unit: "1",
            meaning: "The share of each exporter's queue that is taken; at 1 senders are refused.",
            queries: vec![(Sender::Collector.fullness(of), "{{exporter}} {{data_type}}")],
        },
    ]
}

/// `pushpull collect`.
#[must_use]
pub fn bridge(of: &str, range: &str) -> Vec<Figure> {
    let rate = |label: &str, name: &str| {
        format!("sum by ({label}, signal) (rate(pushpull_collector_{name}_total{{{}}}[{range}]))", job(of))
    };
    let value = |name: &str| format!("pushpull_collector_{name}{{{}}}", job(of));
    vec![
        Figure {
            title: "Bridge: accepted and sent",
            unit: "{item}/s",
            meaning: "What it took, and what it wrote to Graphite; where names are left out, less is written than taken.",
            queries: vec![
                (rate("receiver", "accepted"), "accepted {{receiver}} {{signal}}"),
                (rate("sink", "sent"), "sent {{sink}} {{signal}}"),
            ],
        },
        Figure {
            title: "Bridge: lost",
            unit: "{item}/s",
            meaning: "What was taken and lost, refused for good, or damaged on the disk. It is to be 0.",
            queries: vec![(Loser::Bridge.loss_rate(of, range), "lost")],
        },
        Figure {
            title: "Bridge: queues",
            unit: "By",
            meaning: "Bytes that wait for a sink's peer; they are sent once it is back.",
            queries: vec![(Sender::Bridge.queue(of), "{{sink}}")],
        },
        Figure {
            title: "Bridge: series",
            unit: "{series}",
            meaning: "Series in its table, and the most that it takes (--max-series).",
            queries: vec![(value("series"), "series"), (value("series_limit"), "limit")],
        },
    ]
}

/// Prometheus itself.
#[must_use]
pub fn prometheus(of: &str, range: &str) -> Vec<Figure> {
    let of = job(of);
    vec![
        Figure {
            title: "Prometheus: targets",
            unit: "{target}",
            meaning: "Targets of each job that answer a scrape.",
            queries: vec![("sum by (job) (up)".to_owned(), "{{job}}")],
        },
        Figure {
            title: "Prometheus: what a scrape takes",
            unit: "s",
            meaning: "How long the last scrape of each job took; beyond the scrape's timeout it fails.",
            queries: vec![("max by (job) (scrape_duration_seconds)".to_owned(), "{{job}}")],
        },
        Figure {
            title: "Prometheus: series",
            unit: "{series}",
            meaning: "Series in its memory. A line that climbs for days is an attribute without a bound.",
            queries: vec![(format!("prometheus_tsdb_head_series{{{of}}}"), "series")],
        },
        Figure {
            title: "Prometheus: rules that failed",
            unit: "{rule}/s",
            meaning: "Evaluations of rules that ended in an error: an alert among them cannot fire. It is to be 0.",
            queries: vec![(
                format!("sum(rate(prometheus_rule_evaluation_failures_total{{{of}}}[{range}]))"),
                "failures",
            )],
        },
    ]
}
