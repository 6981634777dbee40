//! The program's figures: start to ready, memory at rest, requests a second against a bare server, points a second
//! through the collector beside the stock one. It starts the program as a user does and measures it from outside.
//!
//! It must not be quicker than a user: nothing of the program runs in this process.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop")]
#![expect(clippy::print_stdout, reason = "figures are for a person to read")]

#[path = "figures/collect.rs"]
mod collect;
#[path = "figures/load.rs"]
mod load;
#[path = "figures/program.rs"]
mod program;
#[path = "figures/requests.rs"]
mod requests;

use std::{
    thread,
    time::{Duration, Instant},
};

use program::{Cores, Program};

/// Starts of the program, and how long it is left alone before its memory is read.
const STARTS: usize = 20;
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        None => {
            start();
            memory();
            requests::against_a_bare_server();
            collect::side_by_side();
            collect::by_series();
            collect::spans_and_logs();
        }
        Some("start") => start(),
        Some("memory") => memory(),
        Some("requests") => requests::against_a_bare_server(),
        Some("collect") => collect::side_by_side(),
        Some("series") => collect::by_series(),
        Some("spans") => collect::spans_and_logs(),
        Some(requests::BARE) => requests::serve_bare(),
        Some(other) => {
            println!(
                "{other} is none of start, memory, requests, collect, series, spans; nothing at all is all of them"
            );
            std::process::exit(2);
        }
    }
}

/// From the start of the process to the block that says what is listening, everything embedded.
fn start() {
    let mut milliseconds = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let program = Program::serve(Cores::All, &[]);
        milliseconds.push(started.elapsed().as_secs_f64() * 1_000.0);
        drop(program);
    }
    println!(
        "start to ready: median {:.0} ms, slowest {:.0} ms of {STARTS}",
        median(&milliseconds),
        milliseconds.iter().copied().fold(0.0, f64::max)
    );
}

/// Resident memory some seconds after the start, and again after requests and a second rest.
fn memory() {
    let program = Program::serve(Cores::All, &[]);
    thread::sleep(IDLE);
    println!("resident memory of serve, idle: {:.1} MB", program.resident_megabytes());
    let load = load::Load { connections: 32, duration: Duration::from_secs(5) };
    let rate = load.run(program.service()) / load.duration.as_secs_f64();
    thread::sleep(IDLE);
    println!(
        "resident memory of serve, idle again after {rate:.0} requests/s for {:?}: {:.1} MB, at the most {:.1} MB",
        load.duration,
        program.resident_megabytes(),
        program.peak_megabytes()
    );
}

/// The middle value; of an even number of them the upper of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
