//! Counts the allocations of a request: `allocations LAYER SPANS SINK`.
//!
//! It must not tell the time: the allocator that counts is slower than the one that does not.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop")]
#![expect(clippy::print_stdout, reason = "the figure is what it is for")]

use std::{alloc::System, time::Duration};

use http_bench::{layers::Layer, requests::Requests};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Few enough that most windows have no export and no scrape beside them, which allocate too.
const WINDOW: u32 = 50;
const WINDOWS: usize = 101;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, layer, spans, sink] = arguments.as_slice() else {
        panic!("which layer, what of its spans, and which receiver?");
    };
    let app = layer.parse::<Layer>().unwrap().app(spans.parse().unwrap(), sink.parse().unwrap());
    let mut requests = Requests::to(app, Duration::ZERO);
    requests.make(2_000);
    let mut counts: Vec<_> = (0..WINDOWS)
        .map(|_| {
            let window = Region::new(ALLOCATOR);
            requests.make(WINDOW);
            let counted = window.change();
            counted.allocations + counted.reallocations
        })
        .collect();
    counts.sort_unstable();
    println!("{}", counts[WINDOWS / 2] as f64 / f64::from(WINDOW));
}
