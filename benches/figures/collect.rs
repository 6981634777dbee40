//! The collector beside the stock OpenTelemetry Collector: points a second into the exposition and out as carbon lines,
//! memory, and what a point costs among few and among a million series.
//!
//! Each collector has the first core to itself; the load, and the carbon that reads the lines, have the second.

#[path = "collect/bodies.rs"]
mod bodies;
#[path = "collect/carbon.rs"]
mod carbon;
#[path = "collect/collectors.rs"]
mod collectors;
#[path = "collect/load.rs"]
mod load;
#[path = "collect/peer.rs"]
mod peer;

use std::time::Duration;

use self::{
    bodies::{Body, Kind},
    carbon::Carbon,
    collectors::{Collector, Variant},
    load::{Peer, Sent},
    peer::Otlp,
};
use crate::{median, program};

/// How long each collector is loaded, once for each round; the rounds of all alternate.
const ROUND: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 4;

/// One line of the table: one collector under one load.
struct Row {
    variant: Variant,
    kind: Kind,
    rounds: Vec<Sent>,
    peak_megabytes: f64,
}

/// Data points into the exposition, and out as carbon lines.
pub(crate) fn side_by_side() {
    compare(&[Kind::Counter, Kind::Histogram], &Variant::METRICS, ["points", "a point"]);
}

/// Spans and log records, without and with a forward.
pub(crate) fn spans_and_logs() {
    compare(&[Kind::Span, Kind::LogRecord], &Variant::ITEMS, ["items", "an item"]);
}

fn compare(kinds: &[Kind], variants: &[Variant], [items, each]: [&str; 2]) {
    program::move_to_second_core();
    let mut rows = Vec::new();
    for kind in kinds {
        for variant in variants.iter().filter(|variant| variant.is_here()) {
            rows.push(Row { variant: *variant, kind: *kind, rounds: Vec::new(), peak_megabytes: 0.0 });
        }
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let (carbon, otlp) = (Carbon::listen(), Otlp::listen());
            let (address, peer) = match row.variant {
                variant if variant.writes_lines() => (carbon.address(), Peer::Carbon(&carbon)),
                variant if variant.forwards() => (otlp.address(), Peer::Otlp(&otlp)),
                _ => (carbon.address(), Peer::None),
            };
            let collector = Collector::start(row.variant, address);
            let bodies = (0..CONNECTIONS).map(|sender| vec![Body::new(row.kind, sender)]).collect();
            row.rounds.push(load::run(&collector, bodies, ROUND, peer));
            row.peak_megabytes = row.peak_megabytes.max(collector.process().peak_megabytes());
        }
    }
    println!("| collector | load | {items}/s | processor time {each} | peak memory |");
    println!("|---|---|---|---|---|");
    for row in &rows {
        println!(
            "| {} | {} | {:.0} | {:.2} µs | {:.1} MB |",
            row.variant.name(),
            row.kind.name(),
            median(&row.rounds.iter().map(Sent::items_per_second).collect::<Vec<_>>()),
            median(&row.rounds.iter().map(Sent::microseconds_per_item).collect::<Vec<_>>()),
            row.peak_megabytes
        );
    }
}

/// What a point costs once its series is known, and what the series take.
pub(crate) fn by_series() {
    program::move_to_second_core();
    println!("\n| collector | counter series | processor time a point | resident memory |");
    println!("|---|---|---|---|");
    let each = [1_000, 10_000, 100_000, 1_000_000];
    for (variant, series) in [Variant::Exposition, Variant::Lines].map(|v| each.map(|s| (v, s))).concat() {
        let carbon = Carbon::listen();
        let collector = Collector::start(variant, carbon.address());
        let bodies = || {
            (0..CONNECTIONS)
                .map(|sender| {
                    let of_this =
                        (0..series / Kind::Counter.items()).filter(|body| body % CONNECTIONS == sender);
                    of_this.map(|body| Body::new(Kind::Counter, body)).collect()
                })
                .collect::<Vec<Vec<Body>>>()
        };
        load::each_once(&collector, bodies());
        let sent = load::run(&collector, bodies(), ROUND, Peer::None);
        println!(
            "| {} | {series} | {:.2} µs | {:.1} MB |",
            variant.name(),
            sent.microseconds_per_item(),
            collector.process().resident_megabytes()
        );
    }
}
