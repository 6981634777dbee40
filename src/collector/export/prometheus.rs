//! The collector's exposition: every series it holds, and its own counts, for Prometheus to scrape; and
//! whether it is alive and ready.

mod page;

use axum::{
    Router,
    extract::State as Extract,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use self::page::Turns;
use super::State;
use crate::collector::{own, pipeline::Pipeline};

/// What a person finds here.
const HOME: &str = "\
This is pushpull's collector. It has here
/metrics  what was pushed to it, for Prometheus to scrape
/healthz  whether it is alive
/readyz   whether it can take more in, and how each output does
";

/// `/metrics`, `/healthz` and `/readyz`; `/` names them.
pub fn router(pipeline: Pipeline, sinks: Vec<State>, max_series: usize) -> Router {
    let turns = Turns::default();
    let metrics = get(move |Extract(pipeline): Extract<Pipeline>| async move {
        let families = || {
            let mut exposed = pipeline.families();
            let own = own::families(&pipeline, max_series, Some(&exposed));
            exposed.families.extend(own);
            exposed.families
        };
        turns.page(families).await
    });
    Router::new()
        .route("/", get(async || HOME))
        .route("/metrics", metrics.clone())
        .route("/metrics/", metrics)
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(move |Extract(pipeline): Extract<Pipeline>| async move { ready(&pipeline, &sinks) }),
        )
        .fallback(async || {
            (StatusCode::NOT_FOUND, "There is no such page: try /metrics, /healthz or /readyz\n")
        })
        .with_state(pipeline)
}

/// Ready while no sink refuses for want of room: 200, else 503; one line for each sink either way.
fn ready(pipeline: &Pipeline, sinks: &[State]) -> Response {
    let mut body = String::from("exposition: up\n");
    let ready = !pipeline.is_full();
    for (name, bytes, limit) in pipeline.queues() {
        let state = sinks.iter().find(|state| state.sink() == name).map(State::describe).unwrap_or_default();
        body.push_str(&format!("{name}: {state}; {bytes} of {limit} bytes queued\n"));
    }
    if let Some(why) = pipeline.why_refused() {
        body.push_str(&format!("spool: refuses what comes: {why}\n"));
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}
