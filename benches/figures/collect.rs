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

use std::time::Duration;

use self::{
    bodies::{Body, Kind},
    carbon::Carbon,
    collectors::{Collector, Variant},
    load::Sent,
};
use crate::{median, program};

/// How long each collector is loaded, once for each round; the rounds of all alternate.
const ROUND: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 4;
/// Data points in a body.
const POINTS: usize = 1_000;

/// One line of the table: one collector under one load.
struct Row {
    variant: Variant,
    kind: Kind,
    rounds: Vec<Sent>,
    peak_megabytes: f64,
}

pub(crate) fn side_by_side() {
    program::move_to_second_core();
    let variants: Vec<_> = Variant::ALL.into_iter().filter(|variant| variant.is_here()).collect();
    let mut rows = Vec::new();
    for kind in [Kind::Counter, Kind::Histogram] {
        for variant in &variants {
            rows.push(Row { variant: *variant, kind, rounds: Vec::new(), peak_megabytes: 0.0 });
        }
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let carbon = Carbon::listen();
            let collector = Collector::start(row.variant, carbon.address());
            let bodies = (0..CONNECTIONS).map(|sender| vec![Body::new(row.kind, sender, POINTS)]).collect();
            let carbon = row.variant.writes_lines().then_some(&carbon);
            row.rounds.push(load::run(&collector, bodies, ROUND, carbon));
            row.peak_megabytes = row.peak_megabytes.max(collector.process().peak_megabytes());
        }
    }
    println!("| collector | load | points/s | processor time a point | peak memory |");
    println!("|---|---|---|---|---|");
    for row in &rows {
        println!(
            "| {} | {} | {:.0} | {:.2} µs | {:.1} MB |",
            row.variant.name(),
            row.kind.name(),
            median(&row.rounds.iter().map(Sent::points_per_second).collect::<Vec<_>>()),
            median(&row.rounds.iter().map(Sent::microseconds_per_point).collect::<Vec<_>>()),
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
                    let of_this = (0..series / POINTS).filter(|body| body % CONNECTIONS == sender);
                    of_this.map(|body| Body::new(Kind::Counter, body, POINTS)).collect()
                })
                .collect::<Vec<Vec<Body>>>()
        };
        load::each_once(&collector, bodies());
        let sent = load::run(&collector, bodies(), ROUND, None);
        println!(
            "| {} | {series} | {:.2} µs | {:.1} MB |",
            variant.name(),
            sent.microseconds_per_point(),
            collector.process().resident_megabytes()
        );
    }
}
