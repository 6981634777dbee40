//! The deployment that a compose file describes, under a project name of the test's own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::installed::peer;
use super::process::{eventually, run};

/// What the engine may take for anything that it is asked for.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The service as a person reaches it.
pub(super) const SERVICE: &str = "http://127.0.0.1:5000";
pub(super) const SERVICE_CONSOLE: &str = "http://127.0.0.1:5001";
pub(super) const BRIDGE_CONSOLE: &str = "http://127.0.0.1:5002";
pub(super) const BRIDGE_OTLP: &str = "http://127.0.0.1:14318";
pub(super) const PROMETHEUS: &str = "http://127.0.0.1:9090";
pub(super) const GRAPHITE: &str = "http://127.0.0.1:8080";
pub(super) const JAEGER: &str = "http://127.0.0.1:16686";
pub(super) const GRAFANA: &str = "http://127.0.0.1:3000";

/// A deployment; dropping it removes its containers, networks and volumes.
pub(super) struct Stack {
    file: &'static str,
    project: &'static str,
    variables: Vec<(&'static str, String)>,
    // Where the client finds `docker compose`, whichever client it is.
    client: TempDir,
}

impl Stack {
    /// The deployment of `docker-compose.yml`, with its images built from the shipped Dockerfiles. Nothing runs yet.
    pub(super) fn build() -> Self {
        let stack = Self::of("docker-compose.yml", "pushpull-test");
        // What an earlier run that was killed has left.
        stack.remove();
        stack.run(&["build", "--quiet"]);
        stack
    }

    /// The deployment of a compose file of the project's folder.
    pub(super) fn of(file: &'static str, project: &'static str) -> Self {
        let client = TempDir::new().expect("a temporary folder");
        let plugins = client.path().join("cli-plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        std::os::unix::fs::symlink(
            peer("compose").join("bin/docker-compose"),
            plugins.join("docker-compose"),
        )
        .expect("a link to the plugin");
        Self { file, project, variables: Vec::new(), client }
    }

    /// Sets a variable for what compose does from now on, as a line of `.env` would.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.unset(name);
        self.variables.push((name, value.to_owned()));
    }

    /// Takes the variable back.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| *known != name);
    }

    /// A program that runs in the project's folder as a person's shell would run it there.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .env("DOCKER_CONFIG", self.client.path())
            .env("COMPOSE_PROJECT_NAME", self.project)
            .env("COMPOSE_FILE", self.file)
            .env("COMPOSE_ANSI", "never")
            .env("COMPOSE_PROGRESS", "quiet")
            .env_remove("GRAPHITE")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What `docker compose ARGUMENTS` prints.
    ///
    /// # Errors
    /// What it wrote to its standard error, where it fails.
    pub(super) fn compose(&self, arguments: &[&str]) -> Result<String, String> {
        run(self.command("docker").arg("compose").args(arguments), "")
    }

    /// The same, for what must not fail.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        self.compose(arguments).unwrap_or_else(|error| panic!("docker compose {arguments:?}: {error}"))
    }

    /// What `docker ARGUMENTS` prints.
    ///
    /// # Errors
    /// What it wrote to its standard error, where it fails.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        run(self.command("docker").args(arguments), "").map(|printed| printed.trim().to_owned())
    }

    /// Starts every service, and those of the profiles, and waits until they are healthy.
    pub(super) fn up(&self, profiles: &[&str]) {
        let mut arguments: Vec<&str> = profiles.iter().flat_map(|profile| ["--profile", profile]).collect();
        arguments.extend(["up", "--detach", "--wait"]);
        self.run(&arguments);
    }

    /// The services that the file names, without those of profiles.
    pub(super) fn services(&self) -> Vec<String> {
        self.run(&["config", "--services"]).lines().map(str::to_owned).collect()
    }

    /// The id of a service's container.
    pub(super) fn container(&self, service: &str) -> String {
        let id = self.run(&["ps", "--all", "--quiet", service]);
        assert_eq!(id.lines().count(), 1, "the containers of {service}: {id:?}");
        id.trim().to_owned()
    }

    /// What the engine says of a service's container, by a template of Go.
    pub(super) fn inspect(&self, service: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, &self.container(service)])
            .unwrap_or_else(|error| panic!("docker inspect of {service}: {error}"))
    }

    /// Kills the process of a service's container, so that the engine starts it again by its policy, and waits until it is
    /// up and, where it says so itself, healthy.
    pub(super) fn kill(&self, service: &str) {
        let (process, started) =
            (self.inspect(service, "{{.State.Pid}}"), self.inspect(service, "{{.State.StartedAt}}"));
        run(Command::new("kill").args(["-KILL", &process]), "").expect("a process to kill");
        eventually(&format!("{service} to run again"), PATIENCE, || {
            let state =
                self.inspect(service, "{{.State.StartedAt}} {{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}");
            let up =
                !state.starts_with(&started) && (state.ends_with(" healthy") || state.ends_with(" running"));
            if up { Ok(()) } else { Err(state) }
        });
    }

    /// Removes the containers, the networks and the volumes.
    pub(super) fn remove(&self) {
        self.run(&["--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10"]);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for arguments in [&["ps", "--all"][..], &["logs", "--no-color", "--tail", "8"]] {
                eprintln!("{}", self.compose(arguments).unwrap_or_else(|error| error));
            }
        }
        drop(self.compose(&["--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10"]));
    }
}
