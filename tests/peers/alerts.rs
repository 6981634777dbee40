//! Each fault of the lab fires the alerts that docs/RUNBOOK.md names for it, and no other, in a real Prometheus that was empty
//! before: a service of its own under load for each fault, pushing to one stock Collector and one bridge.
//!
//! The mixin is that of the shipped files with shorter times, tests/compose/mixin.json.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{eventually, run};
use super::product::Product;
use super::prometheus::Prometheus;
use super::stock::{Deployment, peer::Peer, shipped};
use super::web;

/// So long a fault stays on at least: every window and every `for` of the test's mixin has passed by then.
const LASTS: Duration = Duration::from_secs(35);
/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// So many services at a time: each has a Prometheus of its own beside it.
const AT_ONCE: usize = 4;

/// A row of the runbook's table of faults.
struct Fault {
    name: String,
    /// What is sent to the console to begin it.
    body: String,
    alerts: BTreeSet<String>,
}

/// The rows of the table `| fault | how to start it | alerts |`, where the second holds a command of curl.
fn faults() -> Vec<Fault> {
    let text = fs::read_to_string(shipped("docs/RUNBOOK.md")).expect("the runbook");
    let rows = text.lines().skip_while(|line| !line.starts_with("| fault |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, command, alerts] = cells[..] else { panic!("not three cells: {line}") };
            let name = name.trim_matches('`').to_owned();
            assert!(command.contains(&format!("/api/faults/{name}`")), "{command}");
            let body = command.split('\'').nth(1).unwrap_or_else(|| panic!("no body in {command}"));
            let alerts =
                alerts.split(',').map(|alert| alert.split(['[', ']']).nth(1).expect("a link").to_owned());
            Fault { name, body: body.to_owned(), alerts: alerts.collect() }
        })
        .collect()
}

/// The alerts that a text links to.
fn named(text: &str) -> BTreeSet<String> {
    let links = text.split('[').skip(1).map(|link| link.split_once("](#").expect("a link").0.to_owned());
    links.collect()
}

#[test]
fn each_fault_fires_the_alerts_of_the_runbook_and_no_other() {
    let faults = faults();
    let known: BTreeSet<_> = pushpull::config::faults::Name::ALL.iter().map(|name| name.text()).collect();
    assert_eq!(faults.iter().map(|fault| fault.name.as_str()).collect::<BTreeSet<_>>(), known);
    let stock = Deployment::start();
    for some in faults.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for fault in some {
                scope.spawn(|| Case::start(&stock, &fault.name).fires(fault));
            }
        });
    }
}

#[test]
fn each_peer_that_is_away_fires_the_alerts_of_the_runbook_and_no_other() {
    let text = fs::read_to_string(shipped("docs/RUNBOOK.md")).expect("the runbook");
    let mut stock = Deployment::start();
    let case = Case::start(&stock, "well");
    let mut fired = BTreeSet::new();
    for name in ["jaeger", "graphite", "graphite-bridge", "otel-collector"] {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).expect("a row");
        let alerts = named(row);
        stock.peer(name).stop();
        case.comes_to(&alerts);
        stock.peer(name).start();
        case.comes_to(&BTreeSet::new());
        fired.extend(alerts);
        assert_eq!(case.ever_fired(), fired, "without {name}");
    }
}

/// A service under load, and the Prometheus that watches it.
pub(super) struct Case {
    name: String,
    service: Product,
    pub(super) prometheus: Prometheus,
    _process: Peer,
    // Dropped last: Prometheus writes into it.
    folder: TempDir,
}

impl Case {
    /// Starts both; returns once Prometheus has seen the service by both ways, and nothing fired.
    pub(super) fn start(stock: &Deployment, name: &str) -> Self {
        let service = Product::serve_only(&[
            ("OTEL_SERVICE_NAME", name),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &stock.otlp()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ("PUSHPULL_CONSOLE", "127.0.0.1:0"),
            ("PUSHPULL_LOAD", "20"),
            ("PUSHPULL_PROBE", "1s"),
            ("PUSHPULL_DATABASE_WORK", "0.02"),
        ]);
        let folder = TempDir::new().expect("a temporary folder");
        mixin(&folder.path().join("mixin"), name);
        let (process, prometheus) = stock.empty_prometheus(folder.path(), &service);
        let case = Self { name: name.to_owned(), service, prometheus, _process: process, folder };
        for job in ["app", name] {
            eventually(&format!("{job} to be seen"), PATIENCE, || {
                case.prometheus.value(&format!("job:telemetry_stale:ratio{{job=\"{job}\"}}")).map(drop)
            });
        }
        assert_eq!(case.ever_fired(), BTreeSet::new(), "before {name}");
        case
    }

    /// The folder of its mixin.
    pub(super) fn mixin(&self) -> PathBuf {
        self.folder.path().join("mixin")
    }

    /// Begins a fault, holds that it fires what it is to fire as long as it is on, and ends it.
    fn fires(&self, fault: &Fault) {
        let Fault { name, body, alerts } = fault;
        let url = self.service.url("console", &format!("/api/faults/{name}"));
        web::put(&url, body).unwrap_or_else(|refusal| panic!("{refusal}"));
        let begun = Instant::now();
        self.comes_to(alerts);
        eventually(&format!("{name} to be on for {LASTS:?}"), LASTS, || {
            assert_eq!(self.ever_fired(), *alerts, "{name}");
            if begun.elapsed() >= LASTS { Ok(()) } else { Err(format!("{:?}", begun.elapsed())) }
        });
        web::delete(&url).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.comes_to(&BTreeSet::new());
        assert_eq!(self.ever_fired(), *alerts, "after {name}");
    }

    /// Waits until these alerts fire at once, and no other.
    fn comes_to(&self, alerts: &BTreeSet<String>) {
        eventually(&format!("{} to fire {alerts:?}", self.name), PATIENCE, || {
            let firing = self.firing();
            if firing == *alerts { Ok(()) } else { Err(format!("{firing:?}")) }
        });
    }

    fn firing(&self) -> BTreeSet<String> {
        self.alerts("ALERTS{alertstate=\"firing\"}")
    }

    /// Every alert that fired since Prometheus started, also between two looks.
    fn ever_fired(&self) -> BTreeSet<String> {
        self.alerts("last_over_time(ALERTS{alertstate=\"firing\"}[1h])")
    }

    fn alerts(&self, query: &str) -> BTreeSet<String> {
        let query = format!("count by (alertname) ({query})");
        let shown = self.prometheus.query(&query).unwrap_or_else(|refusal| panic!("{refusal}"));
        shown.into_iter().map(|(mut labels, _)| labels.remove("alertname").expect("a name")).collect()
    }
}

/// The test's mixin for a service, by the program itself.
fn mixin(folder: &Path, service: &str) {
    let text = fs::read_to_string(shipped("tests/compose/mixin.json")).expect("the test's configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["service"] = service.into();
    config["jobs"] = json!({ "pushed": service });
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("config.json"), config.to_string()).expect("a configuration file");
    run(Command::new(env!("CARGO_BIN_EXE_pushpull")).arg("mixin").arg(folder), "")
        .unwrap_or_else(|error| panic!("pushpull mixin: {error}"));
}
