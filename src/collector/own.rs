//! What the collector counts of itself, as families for the exposition and as lines for Graphite.
//!
//! It must not count anything itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use rustix::system::uname;
use tokio::time::Instant;

use super::{
    export::graphite::{
        self, Lines,
        lines::{Beside, Rendered, Writer},
        spool::Held,
    },
    pipeline::Pipeline,
    series::{Exposed, OWN_PREFIX},
    stats::Event,
};
use crate::{
    config::GraphiteLines,
    exposition::family::{Family, Kind, Labels, Number, Sample, Value},
    naming::graphite::{Names, Series, Shape},
    telemetry::lines_not_written,
};

/// What they start with in Graphite, behind `--graphite-prefix`.
const GRAPHITE_PREFIX: &str = "pushpull.collector.";
/// The time between two points of each in Graphite.
const INTERVAL: Duration = Duration::from_secs(10);

/// All of them; `exposed` is what the exposition shows, and does not, where that was looked into.
pub(super) fn families(pipeline: &Pipeline, max_series: usize, exposed: Option<&Exposed>) -> Vec<Family> {
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
    let of_listeners = pipeline.stats().of_listeners();
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
        family(
            "evicted_connections_total",
            "Connections that were closed to make room for others",
            Kind::Counter,
            of_listeners.map(|counts| counter(&counts.evicted_connections)).into_iter().collect(),
        ),
        family(
            "misdirected_requests_total",
            "Requests that were refused since they name a host that the listener does not answer to",
            Kind::Counter,
            of_listeners.map(|counts| counter(&counts.misdirected_requests)).into_iter().collect(),
        ),
        family("series", "Series in the table", Kind::Gauge, vec![gauge(&[], pipeline.series_count())]),
        family(
            "hidden_series",
            "Series in the table that are not shown here, since another one comes to their name and labels, by reason",
            Kind::Gauge,
            exposed.into_iter().flat_map(hidden).collect(),
        ),
        family(
            "joined_series",
            "Series and targets of which a label has the values of several attributes",
            Kind::Gauge,
            exposed.map(|exposed| gauge(&[], exposed.joined)).into_iter().collect(),
        ),
        family(
            "log_lines_dropped_total",
            "Lines of the process's log that were not written, by reason",
            Kind::Counter,
            lines_not_written()
                .map(|(reason, lines)| Sample {
                    labels: Labels::new([("reason", reason)]),
                    value: Value::Number(Number::Uint(lines)),
                })
                .into(),
        ),
        family("series_limit", "The most series in the table", Kind::Gauge, vec![gauge(&[], max_series)]),
    ]
    .into_iter()
    .filter(|family| !family.samples.is_empty())
    .collect()
}

fn hidden(exposed: &Exposed) -> impl Iterator<Item = Sample> {
    exposed.hidden.counts.iter().map(|(reason, series)| gauge(&[("reason", reason)], *series))
}

fn family(name: &str, help: &str, kind: Kind, samples: Vec<Sample>) -> Family {
    Family { name: format!("{OWN_PREFIX}{name}"), help: help.to_owned(), kind, samples }
}

fn counter(count: &AtomicU64) -> Sample {
    let value = Number::Uint(count.load(Ordering::Relaxed));
    Sample { labels: Labels::new([]), value: Value::Number(value) }
}

fn gauge(labels: &[(&str, &str)], value: usize) -> Sample {
    Sample { labels: Labels::new(labels.iter().copied()), value: Value::Number(Number::Uint(value as u64)) }
}

/// Writes them to Graphite for as long as it is asked to: `pushpull.collector.NAME` with the host as a tag, since
/// several collectors may write to one Graphite. Where there is no room for them they are left out.
pub(super) async fn write(pipeline: Pipeline, max_series: usize, settings: GraphiteLines) {
    let names = graphite::names(&settings);
    // Not from /proc/sys, which the systemd unit hides.
    let system = uname();
    let host = system.nodename().to_string_lossy();
    let mut interval = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
    loop {
        interval.tick().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let lines = lines(&families(&pipeline, max_series, None), &names, &host, seconds);
        if pipeline.accept_lines(&lines).is_err() {
            tracing::debug!("no room for the collector's own metrics in Graphite's queue");
        }
    }
}

fn lines(families: &[Family], names: &Names, host: &str, seconds: u32) -> Lines {
    let (mut text, mut points, mut rendered) = (Vec::new(), 0, Rendered::new(names.style()));
    for family in families {
        let name = family.name.trim_start_matches(OWN_PREFIX).trim_end_matches("_total");
        let name = format!("{GRAPHITE_PREFIX}{name}");
        for sample in &family.samples {
            let labels = sample.labels.pairs();
            let mut attributes: Vec<_> =
                labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            attributes.push(("host", host));
            attributes.retain(|(_, value)| !value.is_empty());
            let series = Series {
                name: &name,
                shape: Shape::Number,
                service: None,
                resource: &[],
                attributes: &attributes,
            };
            let path = names.path(&series);
            Writer::new(&path, seconds, &mut rendered, &mut text).write(&sample.value, &Beside::default());
            points += 1;
        }
    }
    Lines { text: text.into(), points }
}
