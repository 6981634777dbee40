//! Where log lines go: to standard error, and with telemetry also to the OTLP endpoint.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::OnceLock,
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::Failure;
use crate::{
    config,
    telemetry::{Limited, LogFormat, LogLines, Telemetry, WithIds},
};

/// The lines of this process, once it logs.
static LINES: OnceLock<LogLines> = OnceLock::new();

/// The service's own spans; those of libraries would not say more of a request.
const SPANS: &str = "pushpull::service";
/// Libraries that carry the exports: their log lines must not become exports themselves.
const CARRIERS: [&str; 11] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "opentelemetry-prometheus",
    "tower",
    "reqwest",
    "rustls",
    "tonic",
];

/// Installs the process's log subscriber; `telemetry` where there is one gets spans and log records too.
///
/// # Errors
/// Where there is a subscriber already, or no thread can be started.
pub(super) fn install(format: config::LogFormat, telemetry: Option<&Telemetry>) -> Result<(), Failure> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let lines = LogLines::to(io::stderr())?;
    let (terminal, warning) = terminal(format, wanted.as_deref(), &lines);
    let exported = telemetry.map(|telemetry| telemetry.layer(spans(), exported_events(wanted.as_deref())));
    tracing_subscriber::registry().with(terminal).with(exported).try_init()?;
    let _ = LINES.set(lines);
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Waits until the lines so far are written, but no longer than that.
pub(super) fn flush(within: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush(within);
    }
}

/// Writes whole lines to standard error, behind the log's where there is one.
pub(super) fn say(text: &str) {
    // Where it is closed nobody wants to read.
    let _ = match LINES.get() {
        Some(lines) => lines.clone().write_all(text.as_bytes()),
        None => io::stderr().write_all(text.as_bytes()),
    };
    flush(super::LAST_LINES);
}

fn terminal(
    format: config::LogFormat,
    wanted: Option<&str>,
    lines: &LogLines,
) -> (impl Layer<Registry>, Option<String>) {
    let parsed = EnvFilter::try_new(terminal_filter(wanted.unwrap_or("info")));
    let (filter, warning) = match parsed {
        Ok(filter) => (filter, None),
        Err(error) => (
            EnvFilter::new(terminal_filter("info")),
            Some(format!("RUST_LOG is not a filter ({error}); the default, info, is used")),
        ),
    };
    let format = match format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
    };
    let color =
        format == LogFormat::Text && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Limited(lines.limit(), WithIds(format)))
        .with_ansi(color)
        .with_writer(lines.clone())
        .with_filter(filter);
    (layer, warning)
}

/// What the SDK says of each failed export is left out unless it is asked for: a change is said once, elsewhere.
fn terminal_filter(wanted: &str) -> String {
    if wanted.contains("opentelemetry") {
        return wanted.to_owned();
    }
    let quiet =
        ["opentelemetry", "opentelemetry_sdk", "opentelemetry-otlp"].map(|target| format!(",{target}=off"));
    format!("{wanted}{}", quiet.concat())
}

fn spans() -> Targets {
    Targets::new().with_target(SPANS, LevelFilter::TRACE)
}

/// By default also what the service says of single requests, which the terminal leaves out.
fn exported_events(wanted: Option<&str>) -> Targets {
    let default = || Targets::new().with_default(LevelFilter::INFO).with_target(SPANS, LevelFilter::DEBUG);
    let targets = wanted.and_then(|filter| filter.parse().ok()).unwrap_or_else(default);
    targets.with_targets(CARRIERS.map(|carrier| (carrier, LevelFilter::OFF)))
}
