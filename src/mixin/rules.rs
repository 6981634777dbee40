//! The recording rules: for each objective the broken share over each window, and the saturation's time to full.
//!
//! Each series has the job that it is of, so that what is pulled and what is pushed never add up.

use std::time::Duration;

use super::{
    config::Config,
    yaml::{self, Group, Kind, Rule},
};
use crate::signals::{self, goals, pipeline, time};

/// The share of the job's telemetry that is not fresh now.
pub(super) const STALE: &str = "job:telemetry_stale:ratio";
/// In how many seconds the queue before the pool is full.
pub(super) const QUEUE_FULL: &str = "job:database_queue_full:seconds";
/// In how many seconds the pool is full.
pub(super) const POOL_FULL: &str = "job:database_pool_full:seconds";

/// The name of the share of an objective that was broken in a window.
pub(super) fn broken_share(objective: &str, window: Duration) -> String {
    format!("job:{objective}_broken:ratio_rate{}", time(window))
}

/// The name of how many requests broke it.
pub(super) fn broken_count(objective: &str, window: Duration) -> String {
    format!("job:{objective}_broken:increase{}", time(window))
}

pub(super) fn text(config: &Config) -> String {
    let service = &config.service;
    let groups = [
        Group { name: format!("{service} objectives"), rules: requests(config) },
        Group { name: format!("{service} freshness"), rules: freshness(config) },
        Group { name: format!("{service} saturation"), rules: saturation(config) },
    ];
    let heading = format!(
        "Written by `pushpull mixin` from config.json: a change here is lost.\n\
         Availability, latency and saturation are those of what is pulled, job={:?}.",
        config.jobs.pulled
    );
    yaml::file(&heading, config.interval, &groups)
}

fn requests(config: &Config) -> Vec<Rule> {
    let job = &config.jobs.pulled;
    let long: Vec<_> = config.page.iter().chain(&config.ticket).map(|burn| burn.long).collect();
    let mut rules = Vec::new();
    for window in config.burn_windows() {
        for goal in goals(&config.pulled(window)) {
            rules.push(record(broken_share(goal.name, window), goal.broken_share, job));
            if long.contains(&window) {
                rules.push(record(broken_count(goal.name, window), goal.broken_count, job));
            }
        }
    }
    rules
}

fn freshness(config: &Config) -> Vec<Rule> {
    let pulled = &config.jobs.pulled;
    let mut rules = vec![record(STALE.to_owned(), pipeline::stale_pull(pulled), pulled)];
    let memory = config.page.iter().map(|burn| burn.long).max().unwrap_or_default();
    if let Some(pushed) = &config.jobs.pushed {
        let expr = pipeline::stale_push(pushed, config.freshness_within, memory);
        rules.push(record(STALE.to_owned(), expr, pushed));
    }
    for job in [Some(pulled), config.jobs.pushed.as_ref()].into_iter().flatten() {
        for window in config.burn_windows() {
            // Of the whole window, also where Prometheus has not run for so long: what nobody looked at was not stale.
            let expr = format!(
                "clamp_max(sum_over_time({STALE}{{{}}}[{}]) * {} / {}, 1)",
                signals::job(job),
                time(window),
                config.interval.as_secs_f64(),
                window.as_secs_f64()
            );
            rules.push(record(broken_share("freshness", window), expr, job));
        }
    }
    rules
}

fn saturation(config: &Config) -> Vec<Rule> {
    let job = &config.jobs.pulled;
    let full =
        signals::saturation_of(&config.pulled(config.windows.saturation), config.thresholds.queue_limit);
    vec![
        record(QUEUE_FULL.to_owned(), full.seconds_to_full, job),
        record(POOL_FULL.to_owned(), full.pool_seconds_to_full, job),
    ]
}

fn record(name: String, expr: String, job: &str) -> Rule {
    Rule { kind: Kind::Record(name), expr, labels: vec![("job", job.to_owned())], annotations: Vec::new() }
}
