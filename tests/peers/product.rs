//! The `pushpull` binary as a process on free ports, found by what it says when it is ready.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{PATIENCE, Running, eventually};
use super::web;

/// Every listener of the collector, on a port that the system chooses.
const COLLECTOR: [&str; 12] = [
    "--otlp-grpc",
    "127.0.0.1:0",
    "--otlp-http",
    "127.0.0.1:0",
    "--statsd",
    "127.0.0.1:0",
    "--exposition",
    "127.0.0.1:0",
    "--console",
    "127.0.0.1:0",
    "--log",
    "json",
];

/// A running `pushpull`, ready; dropping it ends it.
pub(super) struct Product {
    process: Running,
    ready: Value,
    // Dropped last: the process has its files there.
    folder: TempDir,
}

impl Product {
    /// The service with its embedded collector.
    pub(super) fn serve(flags: &[&str]) -> Self {
        Self::serve_in(&[], flags)
    }

    /// The same with variables.
    pub(super) fn serve_in(environment: &[(&str, &str)], flags: &[&str]) -> Self {
        Self::start(&[&["serve", "--listen", "127.0.0.1:0"][..], &COLLECTOR, flags].concat(), environment)
    }

    /// The service without a collector of its own: `environment` says where it pushes.
    pub(super) fn serve_only(environment: &[(&str, &str)]) -> Self {
        Self::start(&["serve", "--listen", "127.0.0.1:0", "--log", "json"], environment)
    }

    /// The collector by itself.
    pub(super) fn collect(flags: &[&str]) -> Self {
        Self::start(&[&["collect"][..], &COLLECTOR, flags].concat(), &[])
    }

    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let temporary = temporary_in(&folder);
        fs::create_dir(&temporary).expect("a folder for temporary files");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pushpull"));
        command.args(arguments).current_dir(folder.path());
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if ["OTEL_", "PUSHPULL_", "DATABASE_URL", "RUST_LOG"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(&variable);
            }
        }
        command
            .env("TMPDIR", &temporary)
            .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .env("OTEL_BLRP_SCHEDULE_DELAY", "200")
            .envs(environment.iter().copied());
        let mut process = Running::start("pushpull", &mut command, folder.path());
        let ready = eventually("pushpull to be ready", PATIENCE, || {
            let ended = process.ended();
            match process.stderr().lines().find_map(ready_fields) {
                Some(fields) => Ok(Some(fields)),
                // It says nothing more: no use to wait.
                None if ended.is_some() => Ok(None),
                None => Err("it has not said so".to_owned()),
            }
        });
        let Some(ready) = ready else { panic!("pushpull {arguments:?} ended before it was ready") };
        Self { process, ready, folder }
    }

    /// Where the listener called `name` in the ready line listens.
    pub(super) fn address(&self, name: &str) -> SocketAddr {
        let text =
            self.ready[name].as_str().unwrap_or_else(|| panic!("no listener '{name}' in {}", self.ready));
        text.parse().unwrap_or_else(|error| panic!("'{text}' of {name} is no address: {error}"))
    }

    /// The address of `path` at a listener that speaks HTTP.
    pub(super) fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(listener))
    }

    /// The body of the 200 answer of `path` at a listener.
    pub(super) fn get(&self, listener: &str, path: &str) -> Result<String, String> {
        web::get(&self.url(listener, path))
    }

    /// Stops the process as an operator would, and holds that it ends well and left nothing in its temporary folder.
    pub(super) fn stop(&mut self) {
        let status = self.process.terminate(Duration::from_secs(10));
        assert!(status.success(), "pushpull ended with {status}");
        let left: Vec<_> =
            fs::read_dir(temporary_in(&self.folder)).expect("the folder for temporary files").collect();
        assert!(left.is_empty(), "pushpull leaves {left:?}");
    }

    /// What the process has written to its standard output so far.
    pub(super) fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// What the process has written to its standard error so far: its log.
    pub(super) fn stderr(&self) -> String {
        self.process.stderr()
    }
}

/// Where the process is told to put temporary files; its output stands beside it.
fn temporary_in(folder: &TempDir) -> PathBuf {
    folder.path().join("tmp")
}

/// The fields of the log line that says that every listener answers, if `line` is it.
fn ready_fields(line: &str) -> Option<Value> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get_mut("fields")?.take();
    (fields.get("message")? == "ready").then_some(fields)
}
