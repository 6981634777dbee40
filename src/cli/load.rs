//! `pushpull load`: the load and the probe that `serve` has built in, for a service of another process.

use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::{
    runtime::Builder,
    time::{Instant, interval_at, timeout},
};
use url::Url;

use super::{
    Failure, logs,
    names::{self, Names},
    signals::{Hangup, Signals},
};
use crate::{
    config::{Load, LogFormat},
    traffic::{self, Tally, Traffic},
};

/// Time between two lines about what was sent.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// How long requests on their way may take to end once the process is to stop.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) fn run(settings: &Load, log: LogFormat) -> Result<(), Failure> {
    logs::install(log, None)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::listen(Hangup::Default, None)?;
        // Nobody reads the instruments here; the tally is what the lines are made of.
        let meter = SdkMeterProvider::default().meter("pushpull");
        let Load { authority, rps, probe } = settings;
        let sent = traffic::Settings { load: *rps, probe: *probe, exposes_metrics: true };
        let traffic = Traffic::new(&meter, authority, sent);
        traffic.start()?;
        let checks =
            probe.map_or_else(|| "off".to_owned(), |period| humantime::format_duration(period).to_string());
        let url = format!("http://{authority}/");
        let host = Url::parse(&url).ok().as_ref().and_then(names::of_url);
        let unresolved = Names::look_up(host.clone()).flaws(host);
        if !unresolved.is_empty() {
            tracing::warn!("{}", unresolved.trim_start_matches("; but "));
        }
        tracing::info!(url, rps, probe = checks, "load begins");
        let mut lines = interval_at(Instant::now() + BETWEEN_LINES, BETWEEN_LINES);
        let mut before = traffic.tally();
        loop {
            tokio::select! {
                biased;
                () = signals.first() => break,
                _ = lines.tick() => {}
            }
            let now = traffic.tally();
            report(&now.since(&before), probe.is_some(), "load of the last 10 s");
            before = now;
        }
        traffic.stop();
        // A request that takes longer than this counts as sent, but neither as answered nor as failed.
        let _ = timeout(DRAIN, traffic.idle()).await;
        report(&traffic.tally(), probe.is_some(), "load in all");
        Ok(())
    })
}

fn report(tally: &Tally, probed: bool, span: &str) {
    let milliseconds =
        |share| tally.durations.quantile(share).map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0);
    let failures = || {
        let pages: Vec<_> = tally.failures.iter().map(|(page, count)| format!("{page} {count}")).collect();
        pages.join(", ")
    };
    tracing::info!(
        sent = tally.sent,
        failed = tally.failed,
        missed = tally.missed,
        p50_ms = milliseconds(0.5),
        p99_ms = milliseconds(0.99),
        failed_checks = probed.then(failures),
        "{span}"
    );
}
