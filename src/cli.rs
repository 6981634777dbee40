//! The commands, one file each, and what they share: sockets, logs, the stop.
//!
//! The only place that installs globals, and the only one that wires the service and the collector together.

mod check;
mod collect;
mod destinations;
mod health;
mod load;
mod logs;
mod mixin;
mod names;
mod reload;
mod serve;
mod signals;
mod sockets;
mod startup;
mod token;
mod trial;

use std::{
    ffi::OsString,
    fmt,
    io::{ErrorKind, Write as _},
    process::ExitCode,
    time::Duration,
};

use crate::config::{self, Command, Outcome};

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of a command that was asked for something it cannot do: a bad setting, a port that is taken.
const BAD_SETTINGS: u8 = 2;
/// How long the end waits for an output that takes no log lines.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Runs the command that the arguments (the program's name first) and variables ask for.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let environment: Vec<_> = environment.into_iter().collect();
    let settings = match config::from_args(arguments, environment.clone()) {
        Ok(Outcome::Run(settings)) => settings,
        Ok(Outcome::Print(text)) => {
            return print(&text).map_or_else(Failure::report, |()| ExitCode::SUCCESS);
        }
        Err(invalid) => return Failure::settings(invalid).report(),
    };
    // Several TLS clients are in this process, and which of their providers to use must be said once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match settings.command {
        Command::Serve(serve) => serve::run(serve, settings.log, environment),
        Command::Collect(collect) if collect.check => check::run(&collect),
        Command::Collect(collect) => collect::run(&collect, settings.log),
        Command::Health(health) => health::run(&health),
        Command::Load(load) => load::run(&load, settings.log),
        Command::Mixin(mixin) => mixin::run(&mixin),
    };
    logs::flush(LAST_LINES);
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

/// Prints a text on standard output.
///
/// # Errors
/// Where it cannot be written, unless its reader has closed the pipe: that reader has no further use for it.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("failed to write to standard output").into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Why a command ends with another code than 0.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    fn settings(message: impl fmt::Display) -> Self {
        Self { code: BAD_SETTINGS, error: anyhow::anyhow!("{message}") }
    }

    fn report(self) -> ExitCode {
        logs::say(&format!("pushpull: {}\n", self.message()));
        ExitCode::from(self.code)
    }

    /// The error and its causes, without those that an error above them tells already in its own words.
    fn message(&self) -> String {
        let mut message = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if !message.contains(&cause) {
                message.push_str(if message.is_empty() { "" } else { ": " });
                message.push_str(&cause);
            }
        }
        message
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: FAILED, error: error.into() }
    }
}
