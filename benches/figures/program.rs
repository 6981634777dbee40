//! The program as a child process, on free ports, until it is dropped.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

const FREE: &str = "127.0.0.1:0";

/// Where a process may run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cores {
    All,
    /// The first one only; the measuring process is to be on another.
    First,
}

/// A running process that said where it listens.
pub(crate) struct Program {
    child: Child,
    /// The lines of what it printed when it was ready.
    ready: Vec<String>,
    /// Held open: a closed pipe would change what the program does.
    output: BufReader<ChildStdout>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// The service with its embedded collector and console, and with `variables` set.
    pub(crate) fn serve(cores: Cores, variables: &[(&str, &str)]) -> Self {
        let flags = ["--listen", "--console", "--otlp-grpc", "--otlp-http", "--statsd", "--exposition"];
        Self::of(cores, "serve", &flags, variables)
    }

    /// The collector by itself, with `flags` beside its addresses.
    pub(crate) fn collect(cores: Cores, flags: &[&str]) -> Self {
        let mut arguments = vec!["collect"];
        for listener in ["--otlp-grpc", "--otlp-http", "--statsd", "--exposition"] {
            arguments.extend([listener, FREE]);
        }
        arguments.extend(flags);
        Self::spawn(cores, env!("CARGO_BIN_EXE_pushpull"), &arguments, &[], "Ctrl-C")
    }

    fn of(cores: Cores, command: &str, listeners: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut arguments = vec![command];
        arguments.extend(listeners.iter().flat_map(|flag| [flag, FREE]));
        Self::spawn(cores, env!("CARGO_BIN_EXE_pushpull"), &arguments, variables, "Ctrl-C")
    }

    /// Runs `program` until it prints a line that begins with `last`.
    pub(crate) fn spawn(
        cores: Cores,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        last: &str,
    ) -> Self {
        let mut started = Self::start(cores, program, arguments, variables);
        while !started.ready.last().is_some_and(|line| line.starts_with(last)) {
            let mut line = String::new();
            let read = started.output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it ended before it was ready: {:?}", started.ready);
            started.ready.push(line);
        }
        started
    }

    /// Starts `program`, and waits for nothing.
    pub(crate) fn start(cores: Cores, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = match cores {
            Cores::All => Command::new(program),
            Cores::First => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", "0", program]);
                command
            }
        };
        command.args(arguments).envs(variables.iter().copied()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, ready: Vec::new(), output }
    }

    /// Where `what` listens, as the program said.
    pub(crate) fn address(&self, what: &str) -> SocketAddr {
        let line = self.ready.iter().find(|line| line.trim_start().starts_with(what)).unwrap();
        let place = line.trim_start().strip_prefix(what).unwrap().split_whitespace().next().unwrap();
        place.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn service(&self) -> SocketAddr {
        self.address("service")
    }

    /// What the kernel counts as resident.
    pub(crate) fn resident_megabytes(&self) -> f64 {
        self.megabytes("VmRSS:")
    }

    /// The most that was ever resident.
    pub(crate) fn peak_megabytes(&self) -> f64 {
        self.megabytes("VmHWM:")
    }

    fn megabytes(&self, what: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1_024.0 / 1e6
    }

    /// Processor time that it used so far, in user and in kernel mode.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second field, in parentheses, may have blanks; the 14th and 15th are counted in hundredths.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let used = fields.split_whitespace().skip(11).take(2);
        used.map(|hundredths| hundredths.parse::<f64>().unwrap() / 100.0).sum()
    }
}

/// Moves this process to the second core, where it must be before it starts its threads.
pub(crate) fn move_to_second_core() {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", "1", &own])
        .stdout(Stdio::null())
        .status();
    assert!(moved.unwrap().success(), "this figure needs taskset and two cores");
}
