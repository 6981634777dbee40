//! The profiles: a load that asks for the pages, and a client that speaks StatsD only; and with both, every panel of Grafana
//! has data.

use serde_json::Value;

use super::graphite_api::render;
use super::process::eventually;
use super::prometheus::Prometheus;
use super::stack::{GRAFANA, GRAPHITE, PATIENCE, PROMETHEUS, Stack};
use super::views::DELIVERY;
use super::web;

/// The probe is on from here, as a line of `.env` would have it.
pub(super) fn send(stack: &mut Stack) {
    stack.set("PUSHPULL_PROBE", "2s");
    stack.up(&["load", "statsd"]);
    let prometheus = Prometheus(PROMETHEUS.to_owned());
    eventually("the StatsD counter in Prometheus", DELIVERY, || {
        prometheus.query("legacy_jobs_total > 0").and_then(some)
    });
    eventually("the StatsD counter in Graphite", DELIVERY, || render(GRAPHITE, "legacy.jobs").and_then(some));
    eventually("the load in Prometheus", DELIVERY, || {
        let rate = prometheus.value("sum(rate(requests_total{job=\"app\"}[20s]))")?;
        if rate > 2.0 { Ok(()) } else { Err(format!("{rate} requests/s")) }
    });
    every_panel_has_data();
}

fn some<T>(found: Vec<T>) -> Result<(), String> {
    if found.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
}

/// The stand-in for Grafana asks each query of each panel of the data source that the panel names.
fn every_panel_has_data() {
    eventually("data in every panel", PATIENCE, || {
        let answer = web::get(&format!("{GRAFANA}/panels"))?;
        let queries: Vec<Value> =
            serde_json::from_str(&answer).map_err(|error| format!("{error} in {answer}"))?;
        assert!(queries.len() > 20, "only {} queries: {answer}", queries.len());
        let empty: Vec<_> =
            queries.iter().filter(|query| query["values"].as_u64().unwrap_or(0) == 0).collect();
        if !empty.is_empty() {
            return Err(format!("{empty:#?}"));
        }
        eprintln!("  {} queries of panels have data", queries.len());
        Ok(())
    });
}
