//! The service: three routes and a database, an ordinary axum application that calls OpenTelemetry's API.
//!
//! It must not know of any monitoring system: no Prometheus or StatsD call is made here.

pub mod database;
pub mod faults;
pub mod scrape;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Meter},
    trace::Tracer,
};

use self::{
    database::{Database, OperationError},
    faults::{Switches, Turns},
    scrape::Scrape,
};
use crate::{hosts::Hosts, http::Layer, telemetry::Reader};

/// Upper bounds for durations in seconds, as the HTTP semantic conventions have them; the SDK's own default
/// is meant for milliseconds.
pub(crate) const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const TEXT: [(header::HeaderName, HeaderValue); 1] =
    [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];

/// All that the page `/` says, letter by letter as in the Flask example that it comes from: "Flash" is the example's.
pub(crate) const HOME: &str = "Development Prometheus-backed Flash App";
/// All that the page `/database` says where all went well.
pub(crate) const COMPLETED: &str = "Completed expensive database operation";

struct App {
    database: Database,
    faults: Arc<Switches>,
    home_requests: BoundCounter<u64>,
    home_turns: Turns,
    database_requests: BoundCounter<u64>,
    database_turns: Turns,
    slow: BoundHistogram<f64>,
    scrape: Scrape,
}

/// The routes `/`, `/database`, `/metrics`, each also with a trailing slash, instrumented by `layer`; and
/// `/healthz`, which is neither counted nor traced. What goes wrong on demand is in `faults`; `hosts` are the names that all of them answer to.
pub fn router<T>(
    meter: &Meter,
    layer: Layer<T>,
    reader: Reader,
    database: Database,
    faults: Arc<Switches>,
    hosts: &Hosts,
) -> Router
where
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    let requests = meter.u64_counter("requests").with_description("Application Request Count").build();
    let slow = meter
        .f64_histogram("slow")
        .with_description("Seconds that the expensive database operation took")
        .with_boundaries(SECONDS.to_vec())
        .build();
    let endpoint = |path| [KeyValue::new("endpoint", path)];
    let app = App {
        database,
        scrape: Scrape::new(meter, reader, Arc::clone(&faults)),
        faults,
        home_requests: requests.bind(&endpoint("/")),
        home_turns: Turns::default(),
        database_requests: requests.bind(&endpoint("/database")),
        database_turns: Turns::default(),
        slow: slow.bind(&endpoint("/database")),
    };
    let measured = Router::new()
        .route("/", get(home))
        .route("/database", get(expensive))
        .route("/database/", get(expensive))
        .route("/metrics", get(metrics))
        .route("/metrics/", get(metrics))
        .fallback(async || {
            (StatusCode::NOT_FOUND, TEXT, "There is no such page: try /, /database/ or /metrics/\n")
        })
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "This page answers GET and HEAD only\n")
        });
    let health = Router::new().route("/healthz", get(async || (TEXT, "ok\n")));
    // Inside the layer, so that what is refused is measured too.
    hosts
        .guard(measured)
        .layer(layer)
        .merge(hosts.guard(health))
        // Behind one count of references: the state is cloned for each request, several times.
        .with_state(Arc::new(app))
}

async fn home(State(app): State<Arc<App>>) -> Response {
    app.home_requests.add(1);
    app.faults.answer(&app.home_turns, HOME)
}

async fn expensive(State(app): State<Arc<App>>) -> Response {
    app.database_requests.add(1);
    let start = Instant::now();
    let outcome = app.database.expensive_operation().await;
    let seconds = start.elapsed().as_secs_f64();
    app.slow.record(seconds);
    match outcome {
        Ok(pairs) => {
            tracing::debug!(name: "database.completed", pairs, seconds, "database operation completed");
            app.faults.answer(&app.database_turns, COMPLETED)
        }
        Err(error) => {
            tracing::debug!(name: "database.failed", %error, seconds, "database operation failed");
            failure(&error)
        }
    }
}

/// One plain line without internals; the cause is in the log and the span.
fn failure(error: &OperationError) -> Response {
    let (status, text) = match error {
        OperationError::QueueFull => {
            (StatusCode::SERVICE_UNAVAILABLE, "Too many requests wait for the database; try again\n")
        }
        OperationError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The database did not answer in time\n"),
        OperationError::Failed(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The database is not available; try again\n")
        }
    };
    let mut response = (status, TEXT, text).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.scrape.answer()
}
