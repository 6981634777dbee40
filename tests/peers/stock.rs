//! The stock way, on the shipped files: the service pushes to the real Collector, which fans out to Prometheus, to Graphite
//! by way of `pushpull collect`, and to Jaeger; Prometheus scrapes the service too.

mod deployment;
mod load;
pub(super) mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(super) use self::deployment::{Deployment, shipped};

use self::load::Load;
use super::exposition::Exposition;
use super::graphite_api::render;
use super::installed::peer;
use super::jaeger::Span;
use super::process::{eventually, run};
use super::prometheus::Labels;

/// A scrape every 5 s, and a peer that was away is tried again within 10 s.
const DELIVERY: Duration = Duration::from_secs(60);
const ENDPOINTS: [&str; 2] = ["/", "/database"];

/// By their own checkers, with nothing set that the files do not set themselves.
#[test]
fn the_shipped_files_are_accepted() {
    checked("otelcol", "otelcol", &["validate", "--config", "otel-collector.yaml"]);
    checked(
        "prometheus",
        "promtool",
        &["check", "config", "--lint-fatal", "deploy/prometheus/prometheus.yml"],
    );
    checked("compose", "docker-compose", &["--file", "docker-compose.yml", "config", "--quiet"]);
}

fn checked(home: &str, program: &str, arguments: &[&str]) {
    let mut command = Command::new(peer(home).join("bin").join(program));
    command.args(arguments).current_dir(shipped(""));
    run(&mut command, "").unwrap_or_else(|error| panic!("{program} {arguments:?}: {error}"));
}

#[test]
fn everything_is_seen_by_both_ways_and_again_after_each_peer_was_away() {
    let mut stock = Deployment::start();
    for _ in 0..20 {
        stock.app.get("service", "/").expect("an answer of /");
    }
    for _ in 0..6 {
        stock.app.get("service", "/database/").expect("an answer of /database/");
    }
    all_show(&stock, [20.0, 6.0]);
    pulled_and_pushed_have_the_same_series(&stock);
    graphite_has_the_names_and_tags(&stock);
    the_traces_of_the_log_lines_are_in_jaeger(&stock);
    a_statsd_counter_arrives_in_both(&stock);

    let load = Load::start(stock.app.url("service", "/"));
    load.report("with all peers", &load.more(400));
    for name in ["otel-collector", "graphite-bridge", "prometheus", "graphite", "jaeger"] {
        outlives_the_absence_of(name, &mut stock, &load);
    }
    let answered = u32::try_from(load.stop()).expect("few requests");
    all_show(&stock, [20.0 + f64::from(answered), 6.0 + 5.0]);
    pulled_and_pushed_have_the_same_series(&stock);
}

/// Stops and starts a peer while requests go on, and holds that every view comes up to where the service is.
fn outlives_the_absence_of(name: &str, stock: &mut Deployment, load: &Load) {
    stock.peer(name).stop();
    let away = load.more(200);
    stock.app.get("service", "/database/").expect("an answer of /database/");
    let trace = traces_of_database_requests(stock).pop().expect("the line of the last request");
    stock.peer(name).start();
    let back = Instant::now();
    let reached = counts(stock).expect("the service's exposition");

    for view in VIEWS {
        eventually(
            &format!("{} to come up to {reached:?} without {name} for a while", view.0),
            DELIVERY,
            || {
                let shown = (view.1)(stock)?;
                let up = shown.iter().zip(reached).all(|(shown, reached)| *shown >= reached);
                if up { Ok(()) } else { Err(format!("{shown:?}")) }
            },
        );
    }
    // What the service holds while the Collector is away is its own affair; what the Collector holds is kept.
    if name != "otel-collector" {
        eventually(&format!("the trace of a request without {name}"), DELIVERY, || {
            stock.jaeger().trace(&trace)
        });
    }
    load.report(
        &format!("without {name} (all views right {:.1} s after it was back)", back.elapsed().as_secs_f64()),
        &away,
    );
}

/// A way to see how often each of [`ENDPOINTS`] was asked for.
type View = (&'static str, fn(&Deployment) -> Result<[f64; 2], String>);

const VIEWS: [View; 4] = [
    ("the service", counts),
    ("Prometheus by pull", |stock| in_prometheus(stock, "app")),
    ("Prometheus by way of the Collector", |stock| in_prometheus(stock, "pushpull")),
    ("Graphite by way of Collector and bridge", in_graphite),
];

fn counts(stock: &Deployment) -> Result<[f64; 2], String> {
    let exposition = Exposition::of(&stock.app, "service", "/metrics/")?;
    each_endpoint(|endpoint| {
        let value = exposition.value("requests_total", &[("endpoint", endpoint)]);
        value.ok_or_else(|| format!("no requests_total of {endpoint}"))
    })
}

fn in_prometheus(stock: &Deployment, job: &str) -> Result<[f64; 2], String> {
    let prometheus = stock.prometheus();
    each_endpoint(|endpoint| {
        prometheus.value(&format!("requests_total{{job=\"{job}\",endpoint=\"{endpoint}\"}}"))
    })
}

fn in_graphite(stock: &Deployment) -> Result<[f64; 2], String> {
    each_endpoint(|endpoint| {
        last_in_graphite(stock, &format!("seriesByTag('name=requests','endpoint={endpoint}')"))
    })
}

fn last_in_graphite(stock: &Deployment, target: &str) -> Result<f64, String> {
    match render(&stock.graphite(), target)?.as_slice() {
        [series] => series.values().last().copied().ok_or_else(|| format!("no value of {target}")),
        other => Err(format!("{} series for {target}: {other:?}", other.len())),
    }
}

fn each_endpoint(look: impl Fn(&str) -> Result<f64, String>) -> Result<[f64; 2], String> {
    Ok([look(ENDPOINTS[0])?, look(ENDPOINTS[1])?])
}

fn all_show(stock: &Deployment, expected: [f64; 2]) {
    for (name, look) in VIEWS {
        eventually(&format!("{name} to show {expected:?}"), DELIVERY, || {
            let shown = look(stock)?;
            if shown == expected { Ok(()) } else { Err(format!("{shown:?}")) }
        });
    }
}

/// Name for name and label for label, but for `job` and `instance`; and the totals to the bit, now that nothing moves.
fn pulled_and_pushed_have_the_same_series(stock: &Deployment) {
    let prometheus = stock.prometheus();
    eventually("the pulled and the pushed series to agree", DELIVERY, || {
        let (pulled, pushed) = (prometheus.of_job("app")?, prometheus.of_job("pushpull")?);
        let names = |series: &BTreeMap<Labels, f64>| series.keys().cloned().collect::<BTreeSet<_>>();
        let different: Vec<_> = names(&pulled).symmetric_difference(&names(&pushed)).cloned().collect();
        if pulled.is_empty() || !different.is_empty() {
            return Err(format!("of {} pulled series, on one side only: {different:?}", pulled.len()));
        }
        let total = |labels: &Labels| {
            let name = &labels["__name__"];
            ["requests_", "slow_", "http_server_request_duration_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        for (labels, value) in pulled.iter().filter(|(labels, _)| total(labels)) {
            if pushed[labels].to_bits() != value.to_bits() {
                return Err(format!("{labels:?} is {value} by pull and {} by push", pushed[labels]));
            }
        }
        Ok(())
    });
}

fn graphite_has_the_names_and_tags(stock: &Deployment) {
    for (name, endpoint) in [("requests", "/"), ("requests", "/database"), ("slow.count", "/database")] {
        let target = format!("seriesByTag('name={name}','endpoint={endpoint}')");
        let series = render(&stock.graphite(), &target).expect("an answer of the render API");
        let expected = [("name", name), ("endpoint", endpoint), ("service.name", "pushpull")];
        let expected: Labels = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(series.iter().map(|one| &one.tags).collect::<Vec<_>>(), [&expected], "{target}");
    }
}

/// The trace ids in the log lines of good database requests, in the order of the lines.
fn traces_of_database_requests(stock: &Deployment) -> Vec<String> {
    let lines = stock.app.stderr();
    let ids = lines.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["fields"]["message"] == "database operation completed")
            .then(|| line["trace_id"].as_str().map(str::to_owned))?
    });
    ids.collect()
}

fn the_traces_of_the_log_lines_are_in_jaeger(stock: &Deployment) {
    let jaeger = stock.jaeger();
    let logged = traces_of_database_requests(stock);
    assert_eq!(logged.len(), 6, "{}", stock.app.stderr());
    for trace in &logged {
        let spans = eventually(&format!("the trace {trace}"), DELIVERY, || {
            let spans = jaeger.trace(trace)?;
            if spans.len() == 2 { Ok(spans) } else { Err(format!("{spans:?}")) }
        });
        let of_kind =
            |kind| spans.iter().find(|span| span.kind == kind).unwrap_or_else(|| panic!("{spans:?}"));
        let (server, database): (&Span, &Span) = (of_kind(2), of_kind(3));
        assert_eq!((server.name.as_str(), server.parent.as_str()), ("GET /database/", ""));
        assert_eq!(database.parent, server.id);
        assert!(database.name.starts_with("SELECT"), "{database:?}");
        for span in [server, database] {
            assert_eq!(span.resource["service.name"], "pushpull");
            assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
            assert!(!span.resource["service.instance.id"].is_empty());
        }
    }
    let all = jaeger.traces_of("pushpull").expect("the traces of the service");
    assert!(logged.iter().all(|trace| all.contains(trace)), "{logged:?} are not all in {all:?}");
    assert!(all.len() >= 26, "one of each request, and of scrapes: {}", all.len());
}

/// The Collector's receiver sends deltas, and only for intervals in which something was counted. The bridge adds
/// them up; the prometheus exporter begins again from zero after a pause, as after a restart.
fn a_statsd_counter_arrives_in_both(stock: &Deployment) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for (line, counted, total) in
        [("till.hits:3|c", 3.0, 3.0), ("till.hits:4|c\ntill.hits:1|c|@0.5", 6.0, 9.0)]
    {
        socket.send_to(line.as_bytes(), stock.statsd()).expect("a packet");
        eventually(&format!("till.hits to be {total} in Graphite"), DELIVERY, || {
            let shown = last_in_graphite(stock, "till.hits")?;
            if shown == total { Ok(()) } else { Err(shown.to_string()) }
        });
        eventually(&format!("till.hits to be {total} or {counted} in Prometheus"), DELIVERY, || {
            let shown = stock.prometheus().value("till_hits_total{job=\"otel-collector\"}")?;
            if shown == total || shown == counted { Ok(()) } else { Err(shown.to_string()) }
        });
    }
}
