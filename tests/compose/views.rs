//! The same totals by pull, by push and in Graphite, and every request as a trace.

use std::time::Duration;

use super::graphite_api::render;
use super::jaeger::Jaeger;
use super::process::eventually;
use super::prometheus::Prometheus;
use super::stack::{GRAPHITE, JAEGER, PROMETHEUS, SERVICE};
use super::web;

/// A push and a scrape each take 5 s to come.
pub(super) const DELIVERY: Duration = Duration::from_secs(60);

type View = (&'static str, fn(&str) -> Result<f64, String>);

/// How often an endpoint was asked for, by each way to see it.
const VIEWS: [View; 4] = [
    ("the page of the service", on_the_page),
    ("Prometheus by pull", |endpoint| in_prometheus("app", endpoint)),
    ("Prometheus by push", |endpoint| in_prometheus("pushpull", endpoint)),
    ("Graphite", in_graphite),
];

/// Holds that every view comes up to the totals of the service's own page, for both endpoints.
pub(super) fn agree() {
    for endpoint in ["/", "/database"] {
        let total = on_the_page(endpoint).expect("a total on the page");
        for (name, look) in VIEWS {
            eventually(&format!("{name} to show {total} for {endpoint}"), DELIVERY, || {
                match look(endpoint)? {
                    shown if shown == total => Ok(()),
                    shown => Err(shown.to_string()),
                }
            });
        }
    }
    let jaeger = Jaeger(JAEGER.to_owned());
    assert!(!jaeger.traces_of("pushpull").expect("an answer of Jaeger").is_empty());
}

fn on_the_page(endpoint: &str) -> Result<f64, String> {
    let page = web::get(&format!("{SERVICE}/metrics/"))?;
    let series = format!("requests_total{{endpoint=\"{endpoint}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value.ok_or("no such series")?.parse().map_err(|error| format!("{error}"))
}

fn in_prometheus(job: &str, endpoint: &str) -> Result<f64, String> {
    // Of the instances that there were, the one that runs.
    let query = format!(
        "topk(1, timestamp(requests_total{{job=\"{job}\",endpoint=\"{endpoint}\"}})) * 0 + on(instance) requests_total{{job=\"{job}\",endpoint=\"{endpoint}\"}}"
    );
    Prometheus(PROMETHEUS.to_owned()).value(&query)
}

fn in_graphite(endpoint: &str) -> Result<f64, String> {
    match render(
        GRAPHITE,
        &format!("seriesByTag('name=requests','service.name=pushpull','endpoint={endpoint}')"),
    )?
    .as_slice()
    {
        [series] => series.values().last().copied().ok_or_else(|| "no value".to_owned()),
        other => Err(format!("{} series", other.len())),
    }
}
