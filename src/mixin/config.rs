//! The mixin's configuration: whose series, which objectives, thresholds and times, and where the links lead.
//!
//! A file needs only what differs from the default one. Everything that is wrong with it is named at once.

mod reader;

use std::time::Duration;

use serde_json::Value;

use self::reader::Reader;
use crate::{
    config::{Invalid, Problem},
    signals::{Objective, Scope},
};

/// The default configuration, as it is written where there is none.
pub const DEFAULT: &str = include_str!("config.json");

/// A configuration that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The value of Graphite's tag `service.name`, and the label `service` of every alert.
    pub service: String,
    /// Prometheus's jobs.
    pub jobs: Jobs,
    /// The share of requests that must not be answered 5xx.
    pub availability: f64,
    /// The share of requests that must be answered in time.
    pub latency: f64,
    /// What a request may take.
    pub latency_within: Duration,
    /// The share of the time in which telemetry must be fresh.
    pub freshness: f64,
    /// How old what was pushed may be.
    pub freshness_within: Duration,
    /// How fast which budget may burn before somebody is woken.
    pub page: Vec<Burn>,
    /// How fast before somebody gets a ticket.
    pub ticket: Vec<Burn>,
    /// Limits that are no objectives.
    pub thresholds: Thresholds,
    /// Over which times the alerts that are no objectives look.
    pub windows: Windows,
    /// How long an alert's condition must hold.
    pub hold: Hold,
    /// The time between two evaluations of every rule.
    pub interval: Duration,
    /// The uids of Grafana's data sources.
    pub datasources: Datasources,
    /// Bases of URLs; empty for none.
    pub links: Links,
}

/// Prometheus's jobs; one that is `null` in the file has no rules and no panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The job that scrapes the service.
    pub pulled: String,
    /// The job of what the service pushed.
    pub pushed: Option<String>,
    /// The job of the stock Collector's own metrics.
    pub collector: Option<String>,
    /// The job of the own metrics of `pushpull collect`.
    pub bridge: Option<String>,
    /// The job by which Prometheus scrapes itself.
    pub prometheus: Option<String>,
}

/// An alert on two windows: the budget burns so many times too fast in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// How many times faster than the objective allows.
    pub rate: f64,
    /// So long that it matters.
    pub long: Duration,
    /// So short that it still goes on.
    pub short: Duration,
}

/// Limits that are no objectives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Requests that must have broken an objective in the long window: below, there is too little traffic to judge.
    pub broken_requests: u32,
    /// Checks of the probe that must have found a page without its end, and which share of all.
    pub broken_checks: u32,
    /// The share of them.
    pub broken_checks_share: f64,
    /// The share of the pool at which it is full.
    pub pool_share: f64,
    /// The requests that may wait for a connection (`--database-queue`).
    pub queue_limit: u32,
    /// A queue that is full within this time.
    pub time_to_full: Duration,
}

/// Over which times the alerts that are no objectives look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The probe's checks.
    pub checks: Duration,
    /// The pool and its queue.
    pub saturation: Duration,
    /// What was lost.
    pub loss: Duration,
    /// The queues of the Collector and the bridge.
    pub queues: Duration,
}

/// How long a condition must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A target is down.
    pub down: Duration,
    /// What is pushed is stale.
    pub stale: Duration,
    /// The pool is full, or its queue fills.
    pub saturation: Duration,
    /// A queue of the Collector or the bridge grows.
    pub queues: Duration,
}

/// The uids of Grafana's data sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datasources {
    /// Prometheus.
    pub prometheus: String,
    /// Graphite.
    pub graphite: String,
    /// Jaeger.
    pub jaeger: String,
}

/// Bases of URLs, without the slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// What stands before `docs/RUNBOOK.md`; a relative path where it is empty.
    pub runbook: String,
    /// Grafana.
    pub grafana: String,
    /// Prometheus.
    pub prometheus: String,
    /// Jaeger.
    pub jaeger: String,
}

impl Config {
    /// The configuration that a file's text means.
    ///
    /// # Errors
    /// Every unknown or bad field.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let defaults: Value = serde_json::from_str(DEFAULT).map_err(|error| not_json(&error))?;
        let given: Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        Reader::new(defaults).read(given)
    }

    /// What to say about it that is no mistake: an objective that is counted by another bound.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        Objective::new(self.latency_within).note()
    }

    /// The scope of what is pulled, over a window: what the objectives of requests are judged by.
    #[must_use]
    pub fn pulled(&self, window: Duration) -> Scope {
        self.scope(&self.jobs.pulled, window)
    }

    /// The scope of a job.
    #[must_use]
    pub fn scope(&self, job: &str, window: Duration) -> Scope {
        Scope {
            service: self.service.clone(),
            job: job.to_owned(),
            window,
            objective: Objective::new(self.latency_within),
        }
    }

    /// Every window of the burn rates, ascending, each once.
    #[must_use]
    pub fn burn_windows(&self) -> Vec<Duration> {
        let mut windows: Vec<_> =
            self.page.iter().chain(&self.ticket).flat_map(|burn| [burn.long, burn.short]).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

fn not_json(error: &serde_json::Error) -> Invalid {
    Invalid(vec![Problem {
        setting: "config.json".to_owned(),
        value: None,
        reason: format!("not JSON: {error}"),
        remedy: "give an object; without the file the default one is written".to_owned(),
    }])
}
