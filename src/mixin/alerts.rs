//! The alerts: objectives whose budget burns too fast, saturation, absence, losses, sinks that are away.
//!
//! Each alert is of one way, pull or push, by its job; what breaks the other way does not move it.

use std::time::Duration;

use super::{
    config::{Burn, Config},
    rules::{QUEUE_FULL, STALE, broken_count, broken_share},
    slug,
    yaml::{self, Group, Kind, Rule},
};
use crate::signals::{
    self, broken_checks, pipeline,
    pipeline::{Loser, Sender},
    saturation_of, signals, time,
};

/// Who is to look, and when.
#[derive(Clone, Copy)]
enum Severity {
    /// Somebody is woken.
    Page,
    /// Somebody looks in the next days.
    Ticket,
}

/// An alert before its links.
struct Alert<'a> {
    name: &'static str,
    severity: Severity,
    job: &'a str,
    expr: String,
    hold: Duration,
    summary: String,
    description: String,
    /// Which dashboard shows it.
    dashboard: &'static str,
}

pub(super) fn text(config: &Config) -> String {
    let groups = [
        ("objectives", objectives(config)),
        ("saturation", saturation(config)),
        ("absence", absence(config)),
        ("pipeline", carried(config)),
    ];
    let groups = groups.map(|(name, alerts)| Group {
        name: format!("{} {name}", config.service),
        rules: alerts.into_iter().map(|alert| alert.rule(config)).collect(),
    });
    let heading = format!(
        "Written by `pushpull mixin` from config.json: a change here is lost.\n\
         Availability, latency, broken pages and saturation are judged by what is pulled, job={:?}, alone; what is pushed\n\
         is judged by its freshness. The alerts of one way do not see the other.",
        config.jobs.pulled
    );
    yaml::file(&heading, config.interval, &groups)
}

impl Alert<'_> {
    fn rule(self, config: &Config) -> Rule {
        let severity = match self.severity {
            Severity::Page => "page",
            Severity::Ticket => "ticket",
        };
        let base = match config.links.runbook.as_str() {
            "" => "docs/RUNBOOK.md".to_owned(),
            base => format!("{base}/docs/RUNBOOK.md"),
        };
        let grafana = &config.links.grafana;
        let dashboard = format!("{}-{}", slug(&config.service), self.dashboard);
        Rule {
            kind: Kind::Alert(self.name, self.hold),
            expr: self.expr,
            labels: vec![
                ("severity", severity.to_owned()),
                ("service", config.service.clone()),
                ("job", self.job.to_owned()),
            ],
            annotations: vec![
                ("summary", self.summary),
                ("description", self.description),
                ("runbook_url", format!("{base}#{}", self.name.to_lowercase())),
                ("dashboard_url", format!("{grafana}/d/{dashboard}")),
            ],
        }
    }
}

/// The alerts on a budget: one that wakes, one that does not.
struct Budget<'a> {
    names: [&'static str; 2],
    objective: &'static str,
    /// The objective in the alert's summary.
    title: &'static str,
    share: f64,
    job: &'a str,
    /// The least count in the long window.
    least: Option<u32>,
    what: String,
    dashboard: &'static str,
}

impl<'a> Budget<'a> {
    fn alerts(self, config: &Config) -> [Alert<'a>; 2] {
        let service = &config.service;
        let kinds = [
            (self.names[0], Severity::Page, &config.page, "fast"),
            (self.names[1], Severity::Ticket, &config.ticket, "slowly, but for long"),
        ];
        kinds.map(|(name, severity, burns, speed)| Alert {
            name,
            severity,
            job: self.job,
            expr: burns.iter().map(|burn| self.burns(*burn)).collect::<Vec<_>>().join("\nor\n"),
            hold: Duration::ZERO,
            summary: format!("{service}: the budget of {} burns {speed}", self.title),
            description: format!(
                "{{{{ $value | humanizePercentage }}}} of {}; the objective allows {} %.",
                self.what,
                percent(1.0 - self.share)
            ),
            dashboard: self.dashboard,
        })
    }

    fn burns(&self, Burn { rate, long, short }: Burn) -> String {
        let (job, share) = (signals::job(self.job), self.share);
        let over =
            |window| format!("{}{{{job}}} > {rate} * (1 - {share})", broken_share(self.objective, window));
        let least = self.least.map_or_else(String::new, |least| {
            format!("\n  and {}{{{job}}} >= {least}", broken_count(self.objective, long))
        });
        format!("(\n  {}\n  and {}{least}\n)", over(long), over(short))
    }
}

/// With as many digits as the share has, and not those of its rounding.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

fn objectives(config: &Config) -> Vec<Alert<'_>> {
    let (pulled, least) = (config.jobs.pulled.as_str(), Some(config.thresholds.broken_requests));
    let bound = config.pulled(config.interval).objective.bound();
    let mut budgets = vec![
        Budget {
            names: ["AvailabilityBurnsFast", "AvailabilityBurnsSlowly"],
            objective: "availability",
            title: "availability",
            share: config.availability,
            job: pulled,
            least,
            what: "the requests were answered 5xx".to_owned(),
            dashboard: "signals",
        },
        Budget {
            names: ["LatencyBurnsFast", "LatencyBurnsSlowly"],
            objective: "latency",
            title: "latency",
            share: config.latency,
            job: pulled,
            least,
            what: format!("the requests took longer than {bound} s"),
            dashboard: "signals",
        },
        Budget {
            names: ["PullFreshnessBurnsFast", "PullFreshnessBurnsSlowly"],
            objective: "freshness",
            title: "pull's freshness",
            share: config.freshness,
            job: pulled,
            least: None,
            what: "the time no scrape succeeded".to_owned(),
            dashboard: "ways",
        },
    ];
    budgets.extend(config.jobs.pushed.as_deref().map(|pushed| Budget {
        names: ["PushFreshnessBurnsFast", "PushFreshnessBurnsSlowly"],
        objective: "freshness",
        title: "push's freshness",
        share: config.freshness,
        job: pushed,
        least: None,
        what: format!("the time the newest pushed sample was older than {}", time(config.freshness_within)),
        dashboard: "ways",
    }));
    let mut alerts: Vec<_> = budgets.into_iter().flat_map(|budget| budget.alerts(config)).collect();
    alerts.push(broken_pages(config));
    alerts
}

/// Only a probe sees it, and without a probe there is no such series.
fn broken_pages(config: &Config) -> Alert<'_> {
    let scope = config.pulled(config.windows.checks);
    let thresholds = &config.thresholds;
    let share = signals(&scope).into_iter().find(|signal| signal.name == "errors.implicit");
    let share = share.map(|signal| signal.promql).unwrap_or_default();
    Alert {
        name: "PagesBroken",
        severity: Severity::Page,
        job: &config.jobs.pulled,
        expr: format!(
            "{share} > {}\nand on() {} >= {}",
            thresholds.broken_checks_share,
            broken_checks(&scope),
            thresholds.broken_checks
        ),
        hold: Duration::ZERO,
        summary: format!("{}: pages are answered 200 without their end", config.service),
        description: format!(
            "{{{{ $value | humanizePercentage }}}} of the probe's checks in {} found a page that was answered 200 without its end.",
            time(config.windows.checks)
        ),
        dashboard: "signals",
    }
}

fn saturation(config: &Config) -> Vec<Alert<'_>> {
    let job = config.jobs.pulled.as_str();
    let thresholds = &config.thresholds;
    let scope = config.pulled(config.windows.saturation);
    let now = saturation_of(&scope, thresholds.queue_limit);
    let pool = signals(&scope).into_iter().find(|signal| signal.name == "saturation.pool");
    let pool = pool.map(|signal| signal.promql).unwrap_or_default();
    let (queue, limit) = (&now.queue, thresholds.queue_limit);
    let full = format!("{QUEUE_FULL}{{{}}}", signals::job(job));
    let until = format!(
        "{{{{ with query {} }}}}The queue is full in {{{{ . | first | value | humanizeDuration }}}}.\
         {{{{ else }}}}The queue does not grow now.{{{{ end }}}}",
        serde_json::Value::from(full.as_str())
    );
    let window = time(config.windows.saturation);
    vec![
        Alert {
            name: "PoolSaturated",
            severity: Severity::Ticket,
            job,
            expr: format!("{pool} >= {}\nand on() {} > 0", thresholds.pool_share, now.always_waiting),
            hold: config.hold.saturation,
            summary: format!(
                "{}: every connection to the database is in use, and requests wait",
                config.service
            ),
            description: format!(
                "{{{{ $value | humanizePercentage }}}} of the pool was in use over {window}, and a request always waited. {until}"
            ),
            dashboard: "signals",
        },
        Alert {
            name: "QueueFills",
            severity: Severity::Ticket,
            job,
            // Half a queue at least, so that a few requests more than a moment ago are no prediction.
            expr: format!(
                "({full} < {} and on() {queue} >= {})\nor on() {queue} >= {limit}",
                thresholds.time_to_full.as_secs_f64(),
                f64::from(limit) / 2.0
            ),
            hold: config.hold.saturation,
            summary: format!("{}: the queue before the database is about to be full", config.service),
            description: format!("{until} A full queue of {limit} refuses requests with 503."),
            dashboard: "signals",
        },
    ]
}

fn absence(config: &Config) -> Vec<Alert<'_>> {
    let jobs = &config.jobs;
    let targets = [
        ("ServiceDown", Severity::Page, Some(&jobs.pulled), "the service", "ways"),
        ("CollectorDown", Severity::Ticket, jobs.collector.as_ref(), "the Collector", "pipeline"),
        ("BridgeDown", Severity::Ticket, jobs.bridge.as_ref(), "the bridge to Graphite", "pipeline"),
    ];
    let targets = targets.into_iter().filter_map(|(name, severity, job, what, dashboard)| {
        let job = job?;
        Some(Alert {
            name,
            severity,
            job,
            expr: pipeline::down(job),
            hold: config.hold.down,
            summary: format!("{}: {what} cannot be scraped", config.service),
            description: format!(
                "{{{{ with $labels.instance }}}}{{{{ . }}}} does not answer a scrape{{{{ else }}}}No target{{{{ end }}}} of job {job}."
            ),
            dashboard,
        })
    });
    let mut alerts: Vec<_> = targets.collect();
    alerts.extend(jobs.pushed.as_deref().map(|pushed| Alert {
        name: "PushStale",
        severity: Severity::Ticket,
        job: pushed,
        expr: format!("{STALE}{{{}}} == 1\nor on() {}", signals::job(pushed), pipeline::absent_push(pushed)),
        hold: config.hold.stale,
        summary: format!("{}: nothing new is pushed", config.service),
        description: format!(
            "The newest sample of job {pushed} is older than {}, or there is none.",
            time(config.freshness_within)
        ),
        dashboard: "ways",
    }));
    alerts
}

/// What carries the telemetry: losses, and sinks that are away.
fn carried(config: &Config) -> Vec<Alert<'_>> {
    let jobs = &config.jobs;
    let window = time(config.windows.loss);
    let losers = [
        (
            "ServiceLosesTelemetry",
            Loser::Service,
            Some(&jobs.pulled),
            "the service",
            "ways",
            "dropped or given up",
        ),
        (
            "CollectorLosesTelemetry",
            Loser::Collector,
            jobs.collector.as_ref(),
            "the Collector",
            "pipeline",
            "given up, or refused (a sender with a queue sends those again),",
        ),
        (
            "BridgeLosesTelemetry",
            Loser::Bridge,
            jobs.bridge.as_ref(),
            "the bridge to Graphite",
            "pipeline",
            "dropped, damaged or refused for good",
        ),
    ];
    let losers = losers.into_iter().filter_map(|(name, loser, job, what, dashboard, verb)| {
        let job = job?;
        Some(Alert {
            name,
            severity: Severity::Ticket,
            job,
            expr: format!("(\n{}\n) > 0", loser.lost(job, config.windows.loss)),
            hold: Duration::ZERO,
            summary: format!("{}: {what} loses telemetry", config.service),
            description: format!(
                "{{{{ $value | humanize }}}} data points, spans or log records were {verb} in {window}."
            ),
            dashboard,
        })
    });
    let senders = [
        ("CollectorSinkAway", Sender::Collector, jobs.collector.as_ref(), "exporter", "requests"),
        ("BridgeSinkAway", Sender::Bridge, jobs.bridge.as_ref(), "sink", "bytes"),
    ];
    let senders = senders.into_iter().filter_map(|(name, sender, job, label, unit)| {
        let job = job?;
        Some(Alert {
            name,
            severity: Severity::Ticket,
            job,
            expr: sender.stuck(job, config.windows.queues),
            hold: config.hold.queues,
            summary: format!("{}: {job} cannot deliver what it has", config.service),
            description: format!(
                "{{{{ $value | humanize }}}} {unit} wait for {{{{ $labels.{label} }}}}: it is away, or slower than what arrives."
            ),
            dashboard: "pipeline",
        })
    });
    losers.chain(senders).collect()
}
