//! The pull view: what the one reader collects, as an exposition.

use std::{collections::HashSet, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::metrics::{BoundGauge, Meter};
use parking_lot::Mutex;

use super::{TEXT, faults::Switches};
use crate::{
    exposition::{
        sdk::{self, Hidden},
        text,
    },
    telemetry::{CollectError, Reader},
};

/// Families of which it is logged that not all is shown; of more it would say nothing new.
const MAX_LOGGED: usize = 100;
/// What a person finds beside the metrics.
const HOME: &str =
    "This is pushpull's service. It has here\n/metrics  its metrics, for Prometheus to scrape\n";

/// The route `/metrics`, with or without a trailing slash, which `/` names: for a listener beside the service's own, neither
/// counted nor traced. What goes wrong on demand is in `faults`.
pub fn router(meter: &Meter, reader: Reader, faults: Arc<Switches>) -> Router {
    let answer = async |State(scrape): State<Arc<Scrape>>| scrape.answer();
    Router::new()
        .route("/", get(async || (TEXT, HOME)))
        .route("/metrics", get(answer))
        .route("/metrics/", get(answer))
        .fallback(async || (StatusCode::NOT_FOUND, TEXT, "There is no such page: try /metrics\n"))
        .with_state(Arc::new(Scrape::new(meter, reader, faults)))
}

/// Answers scrapes. Its own gauges tell of the last scrape, so that a scrape moves no cumulative series.
pub(super) struct Scrape {
    reader: Reader,
    faults: Arc<Switches>,
    duration: BoundGauge<f64>,
    size: BoundGauge<u64>,
    hidden: BoundGauge<u64>,
    /// Families of which it was logged that not all is shown.
    logged: Mutex<HashSet<String>>,
}

impl Scrape {
    pub(super) fn new(meter: &Meter, reader: Reader, faults: Arc<Switches>) -> Self {
        let duration = meter
            .f64_gauge("pushpull.scrape.duration")
            .with_unit("s")
            .with_description("Seconds that it took to make the last scrape's answer")
            .build();
        let size = meter
            .u64_gauge("pushpull.scrape.size")
            .with_unit("By")
            .with_description("Bytes of the last scrape's answer")
            .build();
        let hidden = meter
            .u64_gauge("pushpull.scrape.hidden")
            .with_unit("{series}")
            .with_description(
                "Series that the last scrape did not show, since others come to their name and labels",
            )
            .build();
        let [size, hidden] = [size, hidden].map(|gauge| gauge.bind(&[]));
        Self { reader, faults, duration: duration.bind(&[]), size, hidden, logged: Mutex::default() }
    }

    /// Counts the series that a scrape does not show, and logs each family of them once.
    fn note_hidden(&self, hidden: &[Hidden]) {
        let mut logged = self.logged.lock();
        // It is there from the first one on.
        if hidden.is_empty() && logged.is_empty() {
            return;
        }
        self.hidden.record(hidden.iter().map(|hidden| hidden.series as u64).sum());
        for Hidden { family, series, remedy } in hidden {
            if logged.len() < MAX_LOGGED && logged.insert(family.clone()) {
                tracing::warn!(series, "the exposition does not show all series of {family}: {remedy}");
            }
        }
    }

    /// The exposition; without metrics, but with the reason, where there are none to be had. 503 where they cannot
    /// be collected: an empty exposition would say that all is gone.
    pub(super) fn answer(&self) -> Response {
        if self.faults.refuses_scrapes() {
            let text = "Scrapes are refused by a fault that is on\n";
            return (StatusCode::SERVICE_UNAVAILABLE, TEXT, text).into_response();
        }
        let start = Instant::now();
        match self.reader.collect() {
            Ok(collected) => {
                let exposed = sdk::exposed(&collected, self.reader.shows_scopes());
                self.note_hidden(&exposed.hidden);
                let body = text::encode(&exposed.families);
                self.duration.record(start.elapsed().as_secs_f64());
                self.size.record(body.len() as u64);
                ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], body).into_response()
            }
            Err(CollectError::Off(reason)) => {
                ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], format!("# {reason}\n")).into_response()
            }
            Err(error) => {
                tracing::debug!(name: "scrape.failed", %error, "no metrics to expose");
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, "The metrics cannot be collected\n").into_response()
            }
        }
    }
}
