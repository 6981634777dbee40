//! Each fault of the lab fires the alerts that docs/RUNBOOK.md names for it, and no other, in a Prometheus that was empty
//! before: an app of its own for each fault, under load and with the probe on, in the deployment that runs already.
//!
//! The mixin is that of the shipped files with shorter times, tests/compose/mixin.json.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::firing::{ever_fired, firing, mixin};
use super::process::eventually;
use super::prometheus::Prometheus;
use super::stack::{PATIENCE, Stack};
use super::{history, web};

/// So long a fault stays on at least: longer than every `for` and every short window of the test's mixin.
const LASTS: Duration = Duration::from_secs(35);
/// So many apps at a time: each has a Prometheus of its own with it.
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

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn are_those_of_the_runbook(stack: &Stack) {
    let faults = faults();
    let known: BTreeSet<_> = pushpull::config::faults::Name::ALL.iter().map(|name| name.text()).collect();
    assert_eq!(faults.iter().map(|fault| fault.name.as_str()).collect::<BTreeSet<_>>(), known);
    for some in faults.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for fault in some {
                scope.spawn(|| Case::start(stack, fault).fires());
            }
        });
    }
}

/// An app with its fault, and the Prometheus that watches it.
struct Case<'a> {
    stack: &'a Stack,
    fault: &'a Fault,
    /// The base of the console's URL, with its token.
    console: String,
    prometheus: Prometheus,
    containers: [String; 2],
    _folder: TempDir,
}

impl<'a> Case<'a> {
    /// Starts both; returns once Prometheus has seen the app by both ways, and nothing fires.
    fn start(stack: &'a Stack, fault: &'a Fault) -> Self {
        let app = format!("pushpull-test-{}", fault.name);
        let watcher = format!("{app}-prometheus");
        for left in [&app, &watcher] {
            drop(stack.docker(&["rm", "--force", "--volumes", left]));
        }
        let mut arguments =
            vec!["run", "--detach", "--no-deps", "--name", &app, "--publish", "127.0.0.1::5001"];
        let service = format!("OTEL_SERVICE_NAME={}", fault.name);
        for variable in [
            service.as_str(),
            "OTEL_METRIC_EXPORT_INTERVAL=1000",
            "PUSHPULL_LOAD=20",
            "PUSHPULL_PROBE=1s",
            "PUSHPULL_DATABASE_WORK=0.02",
        ] {
            arguments.extend(["--env", variable]);
        }
        arguments.push("app");
        stack.run(&arguments);
        let folder = configuration(&fault.name, &app);
        let mount = format!("{}:/etc/prometheus:ro", folder.path().display());
        let network =
            stack.inspect("prometheus", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}");
        let image = stack.inspect("prometheus", "{{.Config.Image}}");
        let started = stack.docker(&[
            "run",
            "--detach",
            "--name",
            &watcher,
            "--network",
            &network,
            "--publish",
            "127.0.0.1::9090",
            "--volume",
            &mount,
            &image,
        ]);
        started.unwrap_or_else(|error| panic!("a Prometheus for {}: {error}", fault.name));
        let published = |container: &str, port: &str| {
            let shown = stack.docker(&["port", container, port]);
            shown.unwrap_or_else(|error| panic!("the port {port} of {container}: {error}"))
        };
        let console = format!("http://test:{}@{}", history::token(stack), published(&app, "5001"));
        let prometheus = Prometheus(format!("http://{}", published(&watcher, "9090")));
        let case = Self { stack, fault, console, prometheus, containers: [app, watcher], _folder: folder };
        for job in ["app", &fault.name] {
            eventually(&format!("{job} to be seen"), PATIENCE, || {
                case.prometheus.value(&format!("job:telemetry_stale:ratio{{job=\"{job}\"}}")).map(drop)
            });
        }
        assert_eq!(ever_fired(&case.prometheus), BTreeSet::new(), "before {}", fault.name);
        case
    }

    fn fires(&self) {
        let Fault { name, body, alerts } = self.fault;
        let url = format!("{}/api/faults/{name}", self.console);
        web::put(&url, body).unwrap_or_else(|refusal| panic!("{refusal}"));
        let begun = Instant::now();
        eventually(&format!("{name} to fire {alerts:?}"), PATIENCE, || {
            let firing = firing(&self.prometheus);
            if firing == *alerts { Ok(()) } else { Err(format!("{firing:?}")) }
        });
        eventually(&format!("{name} to be on for {LASTS:?}"), LASTS, || {
            assert_eq!(ever_fired(&self.prometheus), *alerts, "{name}");
            if begun.elapsed() >= LASTS { Ok(()) } else { Err(format!("{:?}", begun.elapsed())) }
        });
        web::delete(&url).unwrap_or_else(|refusal| panic!("{refusal}"));
        eventually(&format!("{name} to be over"), PATIENCE, || {
            let firing = firing(&self.prometheus);
            if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
        });
        assert_eq!(ever_fired(&self.prometheus), *alerts, "after {name}");
        eprintln!("  {name}: {}", alerts.iter().cloned().collect::<Vec<_>>().join(", "));
    }
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        for container in &self.containers {
            drop(self.stack.docker(&["rm", "--force", "--volumes", container]));
        }
    }
}

/// The folder /etc/prometheus of a case: the shipped configuration, which scrapes that case's app and scrapes it sooner, and
/// the test's mixin for it.
fn configuration(service: &str, app: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    // Read by the user of the container.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder for all");
    let text = fs::read_to_string(shipped("deploy/prometheus/prometheus.yml")).expect("a shipped file");
    let changed = [
        ("app:5000", format!("{app}:5000")),
        ("scrape_interval: 5s", "scrape_interval: 1s".to_owned()),
        ("scrape_timeout: 4s", "scrape_timeout: 1s".to_owned()),
    ];
    let text = changed.iter().fold(text, |text, (shipped, here)| {
        assert!(text.contains(shipped), "prometheus.yml does not have {shipped}");
        text.replace(shipped, here)
    });
    fs::write(folder.path().join("prometheus.yml"), text).expect("a configuration file");
    mixin(&folder.path().join("mixin"), service);
    folder
}
