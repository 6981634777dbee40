//! Each part of the deployment that is away fires the alerts that docs/RUNBOOK.md names for it, and no other, in a real
//! Prometheus that was empty before: a service under load, pushing to one stock Collector and one bridge. The faults of the
//! lab are tried the same way in Docker, tests/compose/alerts.rs.
//!
//! The mixin is that of the shipped files with shorter times, tests/compose/mixin.json.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::firing::{ever_fired, firing, mixin};
use super::process::eventually;
use super::product::Product;
use super::prometheus::Prometheus;
use super::stock::{Deployment, peer::Peer, shipped};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The alerts that a text links to.
fn named(text: &str) -> BTreeSet<String> {
    let links = text.split('[').skip(1).map(|link| link.split_once("](#").expect("a link").0.to_owned());
    links.collect()
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
        assert_eq!(ever_fired(&case.prometheus), fired, "without {name}");
    }
}

/// A service under load, and the Prometheus that watches it.
pub(super) struct Case {
    name: String,
    _service: Product,
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
        let case = Self { name: name.to_owned(), _service: service, prometheus, _process: process, folder };
        for job in ["app", name] {
            eventually(&format!("{job} to be seen"), PATIENCE, || {
                case.prometheus.value(&format!("job:telemetry_stale:ratio{{job=\"{job}\"}}")).map(drop)
            });
        }
        assert_eq!(ever_fired(&case.prometheus), BTreeSet::new(), "before {name}");
        case
    }

    /// The folder of its mixin.
    pub(super) fn mixin(&self) -> PathBuf {
        self.folder.path().join("mixin")
    }

    /// Waits until these alerts fire at once, and no other.
    fn comes_to(&self, alerts: &BTreeSet<String>) {
        eventually(&format!("{} to fire {alerts:?}", self.name), PATIENCE, || {
            let firing = firing(&self.prometheus);
            if firing == *alerts { Ok(()) } else { Err(format!("{firing:?}")) }
        });
    }
}
