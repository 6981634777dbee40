//! The collector's exposition: every series it holds, and its own counts, for Prometheus to scrape; and
//! whether it is alive and ready.

use std::collections::HashSet;

use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    State,
    graphite::{self, spool::Held},
};
use crate::{
    collector::{pipeline::Pipeline, stats::Event},
    exposition::{
        family::{Family, Kind, Labels, Number, Sample, Value},
        text,
    },
};

/// What the names of the collector's own families start with; no other family is shown under such a name.
const OWN_PREFIX: &str = "pushpull_collector_";

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(pipeline: Pipeline, sinks: Vec<State>, max_series: usize) -> Router {
    let metrics = get(move |Extract(pipeline): Extract<Pipeline>| async move {
        let exposed = pipeline.families();
        let (mut families, hidden) = distinct(exposed.families);
        families.extend(own_families(&pipeline, max_series, exposed.hidden + hidden));
        ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], text::encode(&families))
    });
    Router::new()
        .route("/metrics", metrics.clone())
        .route("/metrics/", metrics)
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(move |Extract(pipeline): Extract<Pipeline>| async move { ready(&pipeline, &sinks) }),
        )
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
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

/// The families whose names, and whose samples' names, none before them has, and how many samples the others
/// have: a name that is there twice makes Prometheus refuse samples, or take one series for another.
fn distinct(mut families: Vec<Family>) -> (Vec<Family>, usize) {
    let mut taken = HashSet::new();
    let mut hidden = 0;
    families.retain(|family| {
        let suffixes: &[&str] = match family.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            Kind::Summary => &["", "_sum", "_count"],
        };
        let names = || suffixes.iter().map(|suffix| format!("{}{suffix}", family.name));
        let free = !family.name.starts_with(OWN_PREFIX) && !names().any(|name| taken.contains(&name));
        if free {
            taken.extend(names());
        } else {
            hidden += family.samples.len();
        }
        free
    });
    (families, hidden)
}

/// What the collector counts of itself.
fn own_families(pipeline: &Pipeline, max_series: usize, hidden: usize) -> Vec<Family> {
    let counts = pipeline.stats().snapshot();
    let counted = |event: Event, name: &str, place: &str, help: &str| {
        let counts = counts.iter().filter(|(count, _)| count.event == event);
        let samples = counts.map(|(count, items)| {
            let labels =
                [(place, count.place.as_str()), ("signal", count.signal.as_str()), ("reason", count.reason)];
            Sample { labels: Labels::new(labels), value: Value::Number(Number::Uint(*items)) }
        });
        family(name, help, Kind::Counter, samples.collect())
    };
    let queues = pipeline.queues();
    let queued = |name: &str, help: &str, of: fn(&(&str, usize, usize)) -> usize| {
        let samples = queues.iter().map(|queue| gauge(&[("sink", queue.0)], of(queue)));
        family(name, help, Kind::Gauge, samples.collect())
    };
    let spooled = |name: &str, help: &str, of: fn(&Held) -> u64| {
        let samples = pipeline.spooled().map(|held| Sample {
            labels: Labels::new([("sink", graphite::PLACE)]),
            value: Value::Number(Number::Uint(of(&held))),
        });
        family(name, help, Kind::Gauge, samples.into_iter().collect())
    };
    [
        counted(Event::Accepted, "accepted_total", "receiver", "Items taken from a receiver into every sink"),
        counted(
            Event::Refused,
            "refused_total",
            "receiver",
            "Items, lines or requests that were refused, by reason",
        ),
        counted(Event::Sent, "sent_total", "sink", "Items written to a sink's peer"),
        counted(Event::Replayed, "replayed_total", "sink", "Items written again after a reconnect"),
        counted(
            Event::Reconnected,
            "reconnects_total",
            "sink",
            "Connections to a sink's peer after the first",
        ),
        counted(
            Event::Damaged,
            "spool_damaged_total",
            "sink",
            "Parts of the spool that could not be read, by reason",
        ),
        counted(Event::Dropped, "dropped_total", "sink", "Items that were taken and then lost, by reason"),
        counted(
            Event::Shared,
            "shared_total",
            "sink",
            "Items written under a path that another series writes too at that time",
        ),
        queued("queue_bytes", "Bytes that wait for a sink's peer", |queue| queue.1),
        queued("queue_limit_bytes", "The most bytes that may wait for a sink's peer", |queue| queue.2),
        spooled("spool_bytes", "Bytes of the spool on the disk", |held| held.on_disk),
        spooled("spool_limit_bytes", "The most bytes of the spool on the disk", |held| held.limit),
        spooled("spool_waiting_seconds", "How long the oldest in the spool has been waiting", |held| {
            held.waiting_for.as_secs()
        }),
        family("series", "Series in the table", Kind::Gauge, vec![gauge(&[], pipeline.series_count())]),
        family(
            "hidden_series",
            "Series in the table that are not shown here: another type has their name",
            Kind::Gauge,
            vec![gauge(&[], hidden)],
        ),
        family("series_limit", "The most series in the table", Kind::Gauge, vec![gauge(&[], max_series)]),
    ]
    .into_iter()
    .filter(|family| !family.samples.is_empty())
    .collect()
}

fn family(name: &str, help: &str, kind: Kind, samples: Vec<Sample>) -> Family {
    Family { name: format!("{OWN_PREFIX}{name}"), help: help.to_owned(), kind, samples }
}

fn gauge(labels: &[(&str, &str)], value: usize) -> Sample {
    Sample { labels: Labels::new(labels.iter().copied()), value: Value::Number(Number::Uint(value as u64)) }
}
