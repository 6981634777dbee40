//! A Prometheus of a test's own, and what Prometheus shows, asked as a person's tools would.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use super::installed::peer;
use super::process::{PATIENCE, Running, eventually};
use super::web;

/// Scrapes whatever it is told of, twice a second. What is pulled is given the job that it is told; what was pushed
/// keeps the labels that it has.
const CONFIGURATION: &str = "\
global: { scrape_interval: 500ms, scrape_timeout: 500ms }
scrape_configs:
  - job_name: pulled
    metrics_path: /metrics/
    file_sd_configs: [{ files: [pulled-*.json], refresh_interval: 1s }]
  - job_name: pushed
    honor_labels: true
    file_sd_configs: [{ files: [pushed-*.json], refresh_interval: 1s }]
";

/// A Prometheus on a free port, without targets as yet; dropping it ends it.
pub(super) struct Scraping {
    api: Prometheus,
    _process: Running,
    // Dropped last: the process writes into it.
    folder: TempDir,
}

impl Scraping {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let configuration = folder.path().join("prometheus.yml");
        fs::write(&configuration, CONFIGURATION).expect("a configuration file");
        let mut command = Command::new(peer("prometheus").join("bin/prometheus"));
        command
            .current_dir(folder.path())
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            // New targets are taken up every 5 s otherwise.
            .arg("--scrape.discovery-reload-interval=100ms")
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        let mut process = Running::start("prometheus", &mut command, folder.path());
        let api = eventually("Prometheus to be ready", PATIENCE, || {
            let ended = process.ended();
            let api = process.stderr().lines().find_map(listening).map(|address| format!("http://{address}"));
            match api {
                _ if ended.is_some() => Ok(None),
                Some(api) => web::get(&format!("{api}/-/ready")).map(|_| Some(Prometheus(api))),
                None => Err("it does not listen".to_owned()),
            }
        });
        let Some(api) = api else { panic!("Prometheus ended at its start") };
        Self { api, _process: process, folder }
    }

    /// Scrapes the metrics page of a service, as this job.
    pub(super) fn pulls(&self, service: SocketAddr, job: &str) {
        self.has("pulled", job, json!([{ "targets": [service], "labels": { "job": job } }]).to_string());
    }

    /// Scrapes a collector's exposition, whose series keep their job; this one is the collector's own.
    pub(super) fn pulls_what_was_pushed(&self, exposition: SocketAddr, job: &str) {
        self.has("pushed", job, json!([{ "targets": [exposition], "labels": { "job": job } }]).to_string());
    }

    fn has(&self, way: &str, job: &str, targets: String) {
        let named = |name: String| -> PathBuf { self.folder.path().join(name) };
        // Renamed, so that Prometheus does not read half a file.
        let (new, complete) = (named(format!("{way}-{job}.new")), named(format!("{way}-{job}.json")));
        fs::write(&new, targets).expect("a file of targets");
        fs::rename(new, complete).expect("a file of targets");
    }

    pub(super) fn api(&self) -> &Prometheus {
        &self.api
    }
}

/// Where it listens, of the line of the log that says so.
fn listening(line: &str) -> Option<SocketAddr> {
    #[derive(Deserialize)]
    struct Line {
        msg: String,
        address: String,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    (line.msg == "Listening on").then(|| line.address.parse().ok())?
}

pub(super) type Labels = BTreeMap<String, String>;

/// A Prometheus, by the base of its URL.
pub(super) struct Prometheus(pub(super) String);

impl Prometheus {
    /// The series that an instant query selects, each with its newest value.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<(Labels, f64)>, String> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            result: Vec<Series>,
        }
        #[derive(Deserialize)]
        struct Series {
            metric: Labels,
            value: (f64, String),
        }
        let body = web::get_with_query(&format!("{}/api/v1/query", self.0), &[("query", expression)])?;
        let answer: Answer = serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
        let number = |series: Series| {
            let value = series.value.1.parse().map_err(|error| format!("{error}: {:?}", series.value))?;
            Ok((series.metric, value))
        };
        answer.data.result.into_iter().map(number).collect()
    }

    /// The value of the only series that an instant query selects.
    pub(super) fn value(&self, expression: &str) -> Result<f64, String> {
        match self.query(expression)?.as_slice() {
            [(_, value)] => Ok(*value),
            other => Err(format!("{} series for {expression}: {other:?}", other.len())),
        }
    }

    /// The series of a job without the labels that tell where they are from, and without what Prometheus adds itself, by its rules too.
    pub(super) fn of_job(&self, job: &str) -> Result<BTreeMap<Labels, f64>, String> {
        let added = "up|scrape_.*|job:.*|ALERTS.*|target_info|traces_span_metrics_.*";
        let series = self.query(&format!("{{job=\"{job}\",__name__!~\"{added}\"}}"))?;
        Ok(series
            .into_iter()
            .map(|(mut labels, value)| {
                labels.retain(|key, _| key != "job" && key != "instance");
                (labels, value)
            })
            .collect())
    }
}
