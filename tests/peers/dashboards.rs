//! Every panel of the dashboards shows something of a service under load: its queries are asked of a real Prometheus and a
//! real Graphite, with the dashboard's variables in their places.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::alerts::Case;
use super::graphite_api::render;
use super::process::eventually;
use super::stock::Deployment;

/// Four times the interval of Graphite's targets, and what delivery takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn every_panel_shows_something() {
    let stock = Deployment::start();
    let case = Case::start(&stock, "panels");
    let mut panels = 0;
    for entry in fs::read_dir(case.mixin().join("dashboards")).expect("the dashboards") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("a dashboard");
        let board: Value = serde_json::from_str(&text).expect("JSON");
        for panel in list(&board["panels"]).iter().filter(|panel| panel["type"] != "row") {
            panels += 1;
            for target in list(&panel["targets"]) {
                let what = format!("{} / {}", board["title"], panel["title"]);
                eventually(&what, PATIENCE, || match (&target["expr"], &target["target"]) {
                    (Value::String(promql), _) => {
                        let query = with_variables(promql, &board);
                        let shown = case.prometheus.query(&query)?;
                        if shown.iter().any(|(_, value)| value.is_finite()) { Ok(()) } else { Err(query) }
                    }
                    (_, Value::String(target)) => {
                        let target = with_variables(target, &board);
                        let shown = render(&stock.graphite(), &target)?;
                        if shown.iter().any(|series| !series.datapoints.is_empty()) {
                            Ok(())
                        } else {
                            Err(target)
                        }
                    }
                    _ => panic!("{what} has a target without a query: {target}"),
                });
            }
        }
    }
    assert!(panels > 30, "{panels} panels");
}

/// A query as Grafana sends it: each variable at its current value, and a rate over four scrapes.
fn with_variables(query: &str, board: &Value) -> String {
    let mut query = query.replace("$__rate_interval", "4s");
    for variable in list(&board["templating"]["list"]) {
        let name = variable["name"].as_str().expect("a name");
        let value = match name {
            // Of minutes there would be too few.
            "interval" => "10s",
            _ => variable["current"]["value"].as_str().expect("a value"),
        };
        query = query.replace(&format!("${name}"), value);
    }
    // A dollar at the end of a regular expression is no variable, for Grafana neither.
    let left = query
        .split('$')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_alphabetic() || "_{".contains(c)));
    assert!(!left, "{query}");
    query
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
