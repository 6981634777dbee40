//! A peer that can be stopped and started again on the same ports, and free ports that stay free meanwhile.

use std::env;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use super::super::process::{PATIENCE, Running, eventually};

/// Below the ports that systems give to outgoing connections, so that none of those takes a port whose peer is stopped.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// `COUNT` ports that were free a moment ago for TCP and UDP, all different since they are held together.
pub(in super::super) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // Other runs on this machine begin elsewhere.
    let offset = u16::try_from(process::id() % u32::try_from(PORTS.len()).expect("a small number"));
    let start = PORTS.start + offset.expect("less than the ports there are");
    let mut candidates = (start..PORTS.end).chain(PORTS.start..start);
    let mut held = Vec::new();
    [(); COUNT].map(|()| {
        candidates
            .find(|port| {
                let free = TcpListener::bind(("127.0.0.1", *port))
                    .ok()
                    .zip(UdpSocket::bind(("127.0.0.1", *port)).ok());
                free.map(|sockets| held.push(sockets)).is_some()
            })
            .expect("a free port")
    })
}

/// A program with what it is started with, whether it runs or not.
pub(super) struct Peer {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    ready: Box<dyn Fn() -> Result<(), String>>,
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
        ready: impl Fn() -> Result<(), String> + 'static,
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
    pub(super) fn start(&mut self) {
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
    pub(super) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.terminate(Duration::from_secs(20));
        }
    }
}
