//! The pull view: what the one reader collects, as an exposition.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::metrics::{BoundGauge, Meter};

use super::{TEXT, faults::Switches};
use crate::{
    exposition::{sdk, text},
    telemetry::{CollectError, Reader},
};

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
        Self { reader, faults, duration: duration.bind(&[]), size: size.bind(&[]) }
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
                let families = match self.reader.shows_scopes() {
                    true => sdk::families_with_scopes(&collected),
                    false => sdk::families(&collected),
                };
                let body = text::encode(&families);
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
