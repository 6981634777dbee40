//! The queries that docs/GRAPHITE.md gives to copy, on a real Graphite with the retention that it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::graphite::{Graphite, TagDatabase};
use super::graphite_api::Series;
use super::process::{PATIENCE, eventually};
use super::product::Product;
use super::web;

/// Seconds between two points of a series, as the guide supposes them.
const STEP: u64 = 10;
/// Points of each series, behind the zero at its start.
const STEPS: u64 = 12;
/// The bridge's own series need two of their own steps.
const OWN: Duration = Duration::from_secs(60);

/// The targets of the table under "Queries to copy", by what they show.
fn queries() -> BTreeMap<String, String> {
    let guide = include_str!("../../docs/GRAPHITE.md");
    let (_, section) = guide.split_once("## Queries to copy\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("a section behind it");
    let rows =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    rows.filter_map(|(what, target)| {
        Some((what.to_owned(), target.strip_prefix('`')?.strip_suffix('`')?.to_owned()))
    })
    .collect()
}

fn attributes(pairs: &[(&str, Value)]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// Ten answers in each step: nine that are well, one of them slow, and one that is a quick error.
fn body(base: u64, step: u64) -> String {
    body_of("pushpull", base, step, &[200, 503])
}

/// The same of another service, with those answers alone that have one of these statuses.
fn body_of(service: &str, base: u64, step: u64, statuses: &[u64]) -> String {
    let times = json!({
        "startTimeUnixNano": format!("{base}000000000"),
        "timeUnixNano": format!("{}000000000", base + step * STEP),
    });
    let point = |pairs: &[(&str, Value)], more: Value| {
        let mut point = json!({ "attributes": attributes(pairs) });
        for part in [&times, &more] {
            let part = part.as_object().expect("an object").clone();
            point.as_object_mut().expect("an object").extend(part);
        }
        point
    };
    let requests = |endpoint: &str, count: u64| {
        point(
            &[("endpoint", json!({ "stringValue": endpoint }))],
            json!({ "asInt": (count * step).to_string() }),
        )
    };
    let answers = |status: u64, buckets: [u64; 4], sum: f64| {
        let counts: Vec<_> = buckets.iter().map(|count| (count * step).to_string()).collect();
        let count = (buckets.iter().sum::<u64>() * step).to_string();
        point(
            &[("http.response.status_code", json!({ "intValue": status.to_string() }))],
            json!({
                "count": count, "sum": sum * step as f64, "bucketCounts": counts, "explicitBounds": [0.5, 1.0, 2.5],
            }),
        )
    };
    let all = [(200, answers(200, [0, 8, 1, 0], 4.5)), (503, answers(503, [1, 0, 0, 0], 0.5))];
    let answered: Value =
        all.into_iter().filter(|(status, _)| statuses.contains(status)).map(|(_, point)| point).collect();
    let cumulative = json!(2);
    let metrics = json!([
        { "name": "requests", "sum": {
            "aggregationTemporality": cumulative, "isMonotonic": true,
            "dataPoints": [requests("/", 20), requests("/database", 5)],
        } },
        { "name": "http.server.request.duration", "unit": "s", "histogram": {
            "aggregationTemporality": cumulative,
            "dataPoints": answered,
        } },
    ]);
    let resource = attributes(&[("service.name", json!({ "stringValue": service }))]);
    json!({ "resourceMetrics": [{
        "resource": { "attributes": resource }, "scopeMetrics": [{ "metrics": metrics }],
    }] })
    .to_string()
}

/// The values that a target's one series shows, once it has one for each step.
fn shown(graphite: &Graphite, target: &str) -> Vec<f64> {
    let mut series = eventually(&format!("{target} to show every step"), PATIENCE, || {
        let series = graphite.render(target)?;
        match series.as_slice() {
            [only] if only.datapoints.len() as u64 == STEPS => Ok(series),
            _ => Err(format!("{series:?}")),
        }
    });
    series.remove(0).values()
}

#[test]
fn every_query_to_copy_shows_what_it_says() {
    let graphite = Graphite::start_with(&TagDatabase::Sqlite, Some(1), "10s:1h");
    let product = Product::collect(&["--graphite", &graphite.lines(), "--graphite-quantiles", "0.99"]);
    let url = product.url("otlp_http", "/v1/metrics");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    let base = now / STEP * STEP - STEPS * STEP;
    for step in 1..=STEPS {
        assert_eq!(web::post_json(&url, &body(base, step)), Ok(200));
        assert_eq!(web::post_json(&url, &body_of("well", base, step, &[200])), Ok(200));
    }
    // A point at second 0, which is refused.
    assert_eq!(web::post_json(&url, &body(0, 0)), Ok(200));

    let mut queries = queries();
    let of_errors = queries["the share of errors, 0 where there is none"].replace("=pushpull", "=well");
    assert_eq!(shown(&graphite, &of_errors), [0.0; STEPS as usize]);
    let mut target = |what: &str| queries.remove(what).unwrap_or_else(|| panic!("no query for {what}"));
    let exact = [
        ("requests a second", 2.5),
        ("the share of errors, 0 where there is none", 0.1),
        ("the share within the objective of 1 s", 0.9),
        ("the mean latency", 0.5),
    ];
    for (what, value) in exact {
        for shown in shown(&graphite, &target(what)) {
            assert!((shown - value).abs() < 1e-9, "{what} is {shown} and not {value}");
        }
    }
    let by_endpoint = graphite.render(&target("by endpoint")).expect("an answer of the render API");
    let rates: BTreeMap<_, _> =
        by_endpoint.iter().map(|series| (series.target.as_str(), series.values())).collect();
    let steps = STEPS as usize;
    assert_eq!(rates, BTreeMap::from([("/", vec![2.0; steps]), ("/database", vec![0.5; steps])]));

    let quantiles = graphite.render(&target("a quantile, with `--graphite-quantiles 0.99`"));
    for series in quantiles.expect("an answer of the render API") {
        // The bounds of the bucket that the slowest hundredth is in.
        let bucket = if series.tags["http.response.status_code"] == "200" { 1.0..=2.5 } else { 0.0..=0.5 };
        assert!(!series.datapoints.is_empty(), "{} is empty", series.target);
        assert!(series.values().iter().all(|value| bucket.contains(value)), "{series:?}");
    }

    let refused = target("points that the bridge refused");
    eventually(&format!("{refused} to show a rate"), OWN, || {
        let series = graphite.render(&refused)?;
        match series.iter().any(|series: &Series| !series.datapoints.is_empty()) {
            true => Ok(()),
            false => Err(format!("{series:?}")),
        }
    });
    assert_eq!(queries.keys().collect::<BTreeSet<_>>(), BTreeSet::new(), "queries that nothing holds");
}
