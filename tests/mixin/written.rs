//! What the program writes below a folder, what it refuses, and that the documents name what is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use pushpull::config::faults::Name;
use serde_json::Value;
use tempfile::TempDir;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn mixin(folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushpull"));
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("PUSHPULL_") {
            command.env_remove(&variable);
        }
    }
    command.arg("mixin").arg(folder).output().expect("the program")
}

fn written(folder: &Path) {
    let output = mixin(folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below a folder: its path from there, and its text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a text");
                found.push((path.strip_prefix(folder).expect("a path below it").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn with(config: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("config.json"), config).expect("a file");
    folder
}

/// The lines of what it refuses a configuration with, without the first one, which counts them.
fn refused(config: &str) -> Vec<String> {
    let folder = with(config);
    let output = mixin(folder.path());
    assert_eq!(output.status.code(), Some(2), "{config}");
    assert_eq!(files(folder.path()).len(), 1, "nothing is written beside {config}");
    let text = String::from_utf8(output.stderr).expect("text");
    text.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn an_empty_folder_gets_what_is_shipped() {
    let folder = TempDir::new().expect("a folder");
    let new = folder.path().join("a/mixin");
    written(&new);
    let shipped = files(&shipped("deploy/mixin"));
    assert!(shipped.len() >= 7, "{shipped:?}");
    for (new, shipped) in files(&new).iter().zip(&shipped) {
        assert_eq!(new, shipped, "run `cargo run -- mixin deploy/mixin`");
    }
    assert_eq!(files(&new).len(), shipped.len());
}

#[test]
fn the_same_configuration_gives_the_same_files_and_what_is_not_its_own_stays() {
    let folder = with("{\"service\":\"shop\",\"jobs\":{\"pulled\":\"shop-pods\"}}");
    written(folder.path());
    fs::write(folder.path().join("alerts/ours.yml"), "groups: []\n").expect("a file");
    let first = files(folder.path());
    written(folder.path());
    assert_eq!(files(folder.path()), first);
}

#[test]
fn another_service_names_its_jobs_and_leaves_out_what_it_has_not() {
    let config = "{\"service\":\"shop \\\"A\\\"\",\"jobs\":{\"pulled\":\"shop-pods\",\"pushed\":null,\"collector\":null,\
                  \"bridge\":null},\"links\":{\"runbook\":\"https://wiki.example/ops/\"}}";
    let folder = with(config);
    written(folder.path());
    let generated = files(folder.path()).into_iter().filter(|(path, _)| path != Path::new("config.json"));
    let text: String = generated.map(|(_, text)| text).collect();
    for other in ["job=\"app\"", "job=\\\"app\\\"", "job=\"pushpull\"", "otelcol_", "pushpull_collector_"] {
        assert!(!text.contains(other), "{other}");
    }
    assert!(text.contains("job=\"shop-pods\""));
    assert!(text.contains("runbook_url: \"https://wiki.example/ops/docs/RUNBOOK.md#servicedown\""));
    assert!(!text.contains("PushStale") && !text.contains("CollectorDown") && text.contains("ServiceDown"));
    let uids: Vec<_> = dashboards(folder.path()).iter().map(|board| board["uid"].clone()).collect();
    assert_eq!(uids, ["shop--a--long-term", "shop--a--pipeline", "shop--a--signals"]);
}

/// The deterministic part of the times: every one can be scaled, down to milliseconds.
#[test]
fn every_time_is_the_configurations() {
    let folder = with(
        &fs::read_to_string(shipped("tests/compose/mixin.json"))
            .expect("the test's")
            .replace("\"5s\"", "\"500ms\""),
    );
    written(folder.path());
    for (path, text) in files(folder.path()) {
        if path.extension().is_some_and(|extension| extension == "yml") {
            for long in ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "10m", "15s\n    rules"] {
                assert!(!text.contains(&format!("[{long}]")), "{} has {long}", path.display());
            }
            assert!(text.contains("interval: 1s"));
        }
    }
    let rules = fs::read_to_string(folder.path().join("rules/rules.yml")).expect("the rules");
    assert!(rules.contains("job:availability_broken:ratio_rate500ms"), "{rules}");
}

#[test]
fn an_objective_that_is_no_bound_is_counted_by_the_next_and_said() {
    let folder = with("{\"objectives\":{\"latency\":{\"within\":\"800ms\"}}}");
    let output = mixin(folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("0.8 s is no bound of a bucket: 1 s is counted instead"), "{said}");
}

#[test]
fn every_bad_field_is_named_at_once() {
    let problems = refused(
        "{\"servce\":1,\"service\":\"\",\"jobs\":{\"pulled\":null,\"pushed\":\"a\\nb\",\"pull\":\"x\"},\
         \"objectives\":{\"availability\":{\"share\":1},\"latency\":{\"within\":5},\"freshness\":0.9},\
         \"burn\":{\"page\":[{\"rate\":0,\"long\":\"1h\",\"short\":\"2h\",\"for\":\"1m\"}],\"ticket\":[]},\
         \"thresholds\":{\"broken_requests\":-1,\"pool_share\":\"all\"},\"interval\":\"1us\",\
         \"links\":{\"grafana\":\"grafana:3000\"}}",
    );
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn what_no_budget_allows_and_what_is_no_json_is_refused() {
    let problems = refused("{\"objectives\":{\"freshness\":{\"share\":0.9}}}");
    assert_eq!(
        problems,
        [
            "config.json: burn.page.0.rate 14.4: the budget of objectives.freshness.share cannot burn so fast; \
          give less than 10.0, or a higher share"
        ]
    );
    assert_eq!(refused("[]"), ["config.json []: not an object; give {\"service\": ...}"]);
    assert_eq!(refused("{").len(), 1);
    let problems = refused("{\"jobs\":{\"pushed\":\"app\"}}");
    assert!(problems[0].contains("another job has this name too"), "{problems:?}");
}

#[test]
fn what_prometheus_or_grafana_would_expand_is_refused() {
    for config in [
        r#"{"service":"{{ .X }}"}"#,
        r#"{"service":"$job"}"#,
        r#"{"jobs":{"bridge":"b {{"}}"#,
        r#"{"links":{"grafana":"http://g/?a={{ .x"}}"#,
        r#"{"links":{"jaeger":"http://user:secret@jaeger/"}}"#,
    ] {
        assert_eq!(refused(config).len(), 1, "{config}");
    }
}

#[test]
fn a_file_of_somebody_else_is_named_and_nothing_is_written() {
    let folder = TempDir::new().expect("a folder");
    let theirs = folder.path().join("rules/rules.yml");
    fs::create_dir(folder.path().join("rules")).expect("a folder");
    fs::write(&theirs, "groups: [] # mine\n").expect("a file");
    let output = mixin(folder.path());
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).expect("text");
    assert!(message.contains("rules.yml: not written by `pushpull mixin`"), "{message}");
    assert_eq!(files(folder.path()), [("rules/rules.yml".into(), "groups: [] # mine\n".to_owned())]);
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
    let folder = TempDir::new().expect("a folder");
    written(folder.path());
    let target = folder.path().join("target.yml");
    let link = folder.path().join("alerts/alerts.yml");
    let ours = fs::read_to_string(&link).expect("a file");
    fs::rename(&link, &target).expect("another place");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    fs::write(&target, format!("{ours}# changed\n")).expect("a file");
    written(folder.path());
    assert_eq!(fs::read_to_string(&link).expect("a file"), ours);
    assert_eq!(fs::read_to_string(&target).expect("a file"), format!("{ours}# changed\n"));
}

#[test]
fn a_folder_that_cannot_be_read_or_written_is_named() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let output = mixin(&file);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.json cannot be read"));
    let output = Command::new(env!("CARGO_BIN_EXE_pushpull")).arg("mixin").output().expect("the program");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DIR: missing; give the mixin's folder"));
}

/// The names of the shipped alerts.
fn alerts() -> BTreeSet<String> {
    let text = fs::read_to_string(shipped("deploy/mixin/alerts/alerts.yml")).expect("the alerts");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_a_rule_test() {
    let runbook = fs::read_to_string(shipped("docs/RUNBOOK.md")).expect("the runbook");
    let sections: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let tests: String = files(&shipped("tests/mixin")).into_iter().map(|(_, text)| text).collect();
    for alert in alerts() {
        assert!(sections.contains(alert.as_str()), "docs/RUNBOOK.md has no section {alert}");
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "tests/mixin has no test of {alert}");
        let section = runbook.split(&format!("\n## {alert}\n")).nth(1).expect("its section");
        let section = section.split("\n## ").next().expect("its text");
        for part in ["**Symptom**", "**Likely causes.**", "**Ask.**", "```promql", "**Next.**"] {
            assert!(section.contains(part), "{alert} has no {part}");
        }
    }
    for section in sections.into_iter().filter(|section| *section != "Try it") {
        assert!(alerts().contains(section), "docs/RUNBOOK.md: no alert is called {section}");
    }
}

#[test]
fn the_runbook_names_each_fault_and_only_alerts_that_there_are() {
    let runbook = fs::read_to_string(shipped("docs/RUNBOOK.md")).expect("the runbook");
    let rows: Vec<_> = runbook.lines().filter(|line| line.starts_with("| `")).collect();
    let rows: Vec<_> = rows.into_iter().filter(|row| row.contains("/api/faults/")).collect();
    let faults: BTreeSet<_> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(faults, Name::ALL.iter().map(|name| name.text()).collect());
    for row in rows {
        let links = row.split('[').skip(1).map(|link| link.split_once("](#").expect("a link"));
        for (alert, anchor) in links {
            assert!(alerts().contains(alert), "{alert}");
            assert!(anchor.starts_with(&format!("{})", alert.to_lowercase())), "{anchor}");
        }
    }
}

fn dashboards(folder: &Path) -> Vec<Value> {
    let boards = files(&folder.join("dashboards")).into_iter();
    boards.map(|(_, text)| serde_json::from_str(&text).expect("JSON")).collect()
}

/// Two ways to one figure are told apart everywhere: no query sums over jobs but the count of targets.
#[test]
fn every_query_names_its_job() {
    for board in dashboards(&shipped("deploy/mixin")) {
        for panel in board["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let Some(expr) = target["expr"].as_str() else { continue };
                let selectors = expr.matches('{').count();
                let jobs = expr.matches("job=\"").count();
                let by_job = expr.contains("by (job)");
                assert!(by_job || selectors > 0 && jobs == selectors, "{expr}");
            }
        }
    }
}
