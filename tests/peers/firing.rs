//! The alerts of a Prometheus, and the test's mixin: that of the shipped files with the times of tests/compose/mixin.json.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::process::run;
use super::prometheus::Prometheus;

/// The alerts that fire.
pub(super) fn firing(prometheus: &Prometheus) -> BTreeSet<String> {
    alerts(prometheus, "ALERTS{alertstate=\"firing\"}")
}

/// Every alert that fired since Prometheus started, also between two looks.
pub(super) fn ever_fired(prometheus: &Prometheus) -> BTreeSet<String> {
    alerts(prometheus, "last_over_time(ALERTS{alertstate=\"firing\"}[1h])")
}

fn alerts(prometheus: &Prometheus, query: &str) -> BTreeSet<String> {
    let query = format!("count by (alertname) ({query})");
    let shown = prometheus.query(&query).unwrap_or_else(|refusal| panic!("{refusal}"));
    shown.into_iter().map(|(mut labels, _)| labels.remove("alertname").expect("a name")).collect()
}

/// Writes the test's mixin for a service, by the program itself.
pub(super) fn mixin(folder: &Path, service: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/compose/mixin.json")).expect("the test's configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["service"] = service.into();
    config["jobs"] = json!({ "pushed": service });
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("config.json"), config.to_string()).expect("a configuration file");
    run(Command::new(env!("CARGO_BIN_EXE_pushpull")).arg("mixin").arg(folder), "")
        .unwrap_or_else(|error| panic!("pushpull mixin: {error}"));
}
