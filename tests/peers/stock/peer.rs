//! A peer that can be stopped and started again on the same ports.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::process::{PATIENCE, Running, eventually};

/// A program with what it is started with, whether it runs or not.
pub(in super::super) struct Peer {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    folder: PathBuf,
    running: Option<Running>,
}

impl Peer {
    /// Not started yet. `ready` is asked until it agrees each time the peer is started.
    pub(super) fn new(
        name: &'static str,
        program: PathBuf,
        arguments: &[&str],
        environment: Vec<(&'static str, String)>,
        folder: &Path,
        ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment,
            ready: Box::new(ready),
            folder: folder.to_owned(),
            running: None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The program with nothing of this process's environment but the path to other programs.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder).env_clear().env("TMPDIR", &self.folder);
        command.env("PATH", env::var_os("PATH").expect("a PATH"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead.
    pub(in super::super) fn start(&mut self) {
        let mut running = Running::start(self.name, &mut self.command(), &self.folder);
        let ended = eventually(&format!("{} to be ready", self.name), PATIENCE, || match running.ended() {
            Some(status) => Ok(Some(status)),
            None => (self.ready)().map(|()| None),
        });
        // Taken in first: its output is shown when it is dropped in a panic.
        self.running = Some(running);
        assert!(ended.is_none(), "{} ended at its start: {ended:?}", self.name);
    }

    /// Stops it as an operator would.
    pub(in super::super) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.terminate(Duration::from_secs(20));
        }
    }
}
