//! The probe: asks for each page at an interval and looks at how it ends, as a person would who reads it.
//!
//! It must not trust the status alone: a page that is answered 200 and lacks its end is what only a probe sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundGauge, BoundHistogram, Meter},
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    SECONDS,
    client::{Answer, Client, Failure},
};
use crate::service;

/// How long a page may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a page must be like.
#[derive(Clone, Copy, Debug)]
struct Page {
    path: &'static str,
    is_whole: fn(&[u8]) -> bool,
}

const PAGES: [Page; 2] = [
    Page { path: "/", is_whole: |body| body.ends_with(service::HOME.as_bytes()) },
    Page { path: "/database/", is_whole: |body| body.ends_with(service::COMPLETED.as_bytes()) },
];

/// The format ends each line, the last one too; and what is counted from the start on is there.
const METRICS: Page =
    Page { path: "/metrics/", is_whole: |body| body.ends_with(b"\n") && has_line(body, b"requests_total{") };

/// Why a page is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Unreachable,
    Broken,
    Timeout,
    Status,
    Text,
}

impl Reason {
    const ALL: [Self; 5] = [Self::Unreachable, Self::Broken, Self::Timeout, Self::Status, Self::Text];

    const fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Text => "text",
        }
    }
}

/// How many checks each page did not pass.
#[derive(Debug, Default)]
pub(super) struct Failures([AtomicU64; 3]);

impl Failures {
    const PAGES: [&str; 3] = [PAGES[0].path, PAGES[1].path, METRICS.path];

    pub(super) fn by_page(&self) -> Vec<(&'static str, u64)> {
        Self::PAGES.into_iter().zip(&self.0).map(|(page, count)| (page, count.load(Relaxed))).collect()
    }

    fn add(&self, page: &str) {
        for (_, count) in Self::PAGES.into_iter().zip(&self.0).filter(|(known, _)| *known == page) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Checks every page each `period` until `stop`, one page beside the other; the metrics page only where it
/// `exposes_metrics`.
pub(super) async fn run(
    meter: &Meter,
    authority: &str,
    (period, exposes_metrics): (Duration, bool),
    failed: &Arc<Failures>,
    stop: &CancellationToken,
) {
    // A connection of its own for each check, as somebody who comes for the first time has.
    let client = Client::new(authority, concat!("pushpull-probe/", env!("CARGO_PKG_VERSION")), 0);
    let mut probes: JoinSet<()> = PAGES
        .into_iter()
        .chain(exposes_metrics.then_some(METRICS))
        .map(|page| Probe::new(meter, client.clone(), page, failed).run(period, stop.clone()))
        .collect();
    while probes.join_next().await.is_some() {}
}

struct Probe {
    client: Client,
    page: Page,
    success: BoundGauge<u64>,
    duration: BoundHistogram<f64>,
    failures: Vec<(Reason, BoundCounter<u64>)>,
    failed: Arc<Failures>,
}

impl Probe {
    fn new(meter: &Meter, client: Client, page: Page, failed: &Arc<Failures>) -> Self {
        let success = meter
            .u64_gauge("probe.success")
            .with_description("1 where the page was whole at its last check, else 0")
            .build();
        let duration = meter
            .f64_histogram("probe.duration")
            .with_unit("s")
            .with_description("Seconds that a check of the page took")
            .with_boundaries(SECONDS.to_vec())
            .build();
        let failures = meter
            .u64_counter("probe.failures")
            .with_unit("{check}")
            .with_description("Checks at which the page was not whole, by the reason")
            .build();
        let name = || KeyValue::new("page", page.path);
        let of_reason = |reason: Reason| failures.bind(&[name(), KeyValue::new("reason", reason.text())]);
        Self {
            client,
            page,
            success: success.bind(&[name()]),
            duration: duration.bind(&[name()]),
            // There from the start, so that the first failure is seen as an increase.
            failures: Reason::ALL.map(|reason| (reason, of_reason(reason))).into(),
            failed: Arc::clone(failed),
        }
    }

    async fn run(self, period: Duration, stop: CancellationToken) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let found = self.check().await;
            self.note(found, before);
            before = found;
        }
    }

    async fn check(&self) -> Option<Reason> {
        let start = Instant::now();
        let answer = timeout(DEADLINE, self.client.get(self.page.path)).await;
        self.duration.record(start.elapsed().as_secs_f64());
        let found = match answer {
            Err(_) => Some(Reason::Timeout),
            Ok(Err(Failure::Unreachable)) => Some(Reason::Unreachable),
            Ok(Err(Failure::Broken)) => Some(Reason::Broken),
            Ok(Ok(answer)) => judge(&self.page, &answer),
        };
        self.success.record(u64::from(found.is_none()));
        if found.is_some() {
            self.failed.add(self.page.path);
        }
        for (_, failures) in self.failures.iter().filter(|(reason, _)| Some(*reason) == found) {
            failures.add(1);
        }
        found
    }

    /// One line when a page begins to fail, for each reason, and one when it is whole again.
    fn note(&self, found: Option<Reason>, before: Option<Reason>) {
        let page = self.page.path;
        match found {
            Some(reason) if before != found => {
                tracing::warn!(page, reason = reason.text(), "a page fails its probe");
            }
            None if before.is_some() => tracing::info!(page, "a page passes its probe again"),
            _ => {}
        }
    }
}

fn judge(page: &Page, answer: &Answer) -> Option<Reason> {
    match answer.status {
        StatusCode::OK if (page.is_whole)(&answer.body) => None,
        StatusCode::OK => Some(Reason::Text),
        _ => Some(Reason::Status),
    }
}

fn has_line(body: &[u8], start: &[u8]) -> bool {
    body.split(|byte| *byte == b'\n').any(|line| line.starts_with(start))
}
