//! `pushpull collect --check`: tries what the settings name, and says what each target answered.
//!
//! It must not listen, nor leave anything behind: another collector may be running with the same settings.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use tokio::{net::TcpStream, time::timeout};

use super::{Failure, sockets::Binder, token};
use crate::{
    collector::export::otlp,
    config::{Collect, ForwardTarget, GraphiteTarget},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(settings: &Collect) -> Result<(), Failure> {
    let mut files = Binder::default();
    if let Some(named) = &settings.tls {
        files.tls(named);
    }
    files.finish()?;
    // One that is not there is created at the start.
    if let Some(file) = token_file(settings).filter(|file| file.exists()) {
        token::of_file(file)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let unusable = runtime.block_on(targets(settings))?;
    match unusable {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("1 target cannot be used").into()),
        several => Err(anyhow::anyhow!("{several} targets cannot be used").into()),
    }
}

fn token_file(settings: &Collect) -> Option<&Path> {
    settings.console.as_ref().and(settings.console_page.token_file.as_deref())
}

/// Tries each target, and says what it answered; returns how many cannot be used.
async fn targets(settings: &Collect) -> io::Result<usize> {
    let mut output = io::stdout();
    writeln!(output, "the settings are good")?;
    let mut unusable = 0;
    let mut say = |target: String, answer: Result<String, String>| {
        unusable += usize::from(answer.is_err());
        let answer = answer.unwrap_or_else(|error| format!("cannot be used: {error}"));
        writeln!(output, "{target}: {answer}")
    };
    for target in &settings.collector.graphite {
        match target {
            GraphiteTarget::Stdout => say("--graphite -".to_owned(), Ok("is standard output".to_owned()))?,
            GraphiteTarget::Address(address) => {
                say(format!("--graphite {address}"), graphite(address).await)?;
            }
        }
    }
    if let Some(spool) = &settings.collector.spool {
        say(format!("--spool {}", spool.folder.display()), writable(&spool.folder))?;
    }
    if let Some(file) = token_file(settings).filter(|file| !file.exists()) {
        say(format!("--console-token-file {}", file.display()), writable(file))?;
    }
    for target in &settings.collector.forward {
        say(format!("--forward {}", target.label), forward(target).await)?;
    }
    Ok(unusable)
}

/// Carbon never answers: that it takes a connection is all it can show.
async fn graphite(address: &str) -> Result<String, String> {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok("takes a connection".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
    }
}

/// Whether a file can be made there, or, where the folder is not there yet, beside it.
fn writable(folder: &Path) -> Result<String, String> {
    let made = folder.is_dir();
    let place = if made { Some(folder) } else { folder.ancestors().find(|folder| folder.is_dir()) };
    tempfile::tempfile_in(place.unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
    Ok(if made { "can be written" } else { "can be made" }.to_owned())
}

/// A backend may be there for traces alone, so one signal that is taken is enough.
async fn forward(target: &ForwardTarget) -> Result<String, String> {
    let answers = otlp::check(target).await?;
    let taken: Vec<_> =
        answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(signal, _)| signal.as_str()).collect();
    let refused: String = answers
        .iter()
        .filter_map(|(signal, answer)| Some((signal.as_str(), answer.as_ref().err()?)))
        .map(|(signal, error)| format!("; {signal}: {error}"))
        .collect();
    match taken.is_empty() {
        true => Err(refused.trim_start_matches("; ").to_owned()),
        false => Ok(format!("takes {}{refused}", taken.join(", "))),
    }
}
