//! Nanoseconds a request without a socket: one thread, one core, rounds in turns.

use http_bench::{layers::Layer, pipeline::Spans, requests::Requests};

use crate::{child::Child, median, sink::Sink, table::Table};

const ROUNDS: u32 = 31;
/// Bursts of requests in a round.
const BURSTS: u32 = 20;

/// The medians of the rounds.
pub(crate) fn measure(table: &mut Table) {
    let sink = Sink::start();
    let mut children = Layer::ALL.map(|layer| Child::spawn("in-process", layer, Spans::Discarded, &sink));
    let mut rounds = Layer::ALL.map(|_| Vec::new());
    let mut exported = Layer::ALL.map(|_| 0.0);
    for round in 0..=ROUNDS {
        let mut bare = 0.0;
        for (index, child) in children.iter_mut().enumerate() {
            let answer = child.ask(&BURSTS.to_string());
            let (nanoseconds, spans) = answer.split_once(' ').unwrap();
            let nanoseconds: f64 = nanoseconds.parse().unwrap();
            exported[index] = spans.parse().unwrap();
            if index == 0 {
                bare = nanoseconds;
            }
            // The first round only warms up.
            if round > 0 {
                rounds[index].push(if index == 0 { nanoseconds } else { nanoseconds - bare });
            }
        }
    }
    table.add_differences("ns", rounds.map(|rounds| median(&rounds)));

    let requests = f64::from(Requests::in_bursts(BURSTS) * (ROUNDS + 1));
    for layer in Layer::ALL.into_iter().filter(|layer| layer.traces()) {
        let share = exported[layer as usize] / requests;
        if share < 0.99 {
            let percent = share * 100.0;
            table.note(format!("In process only {percent:.0} % of the spans of {layer} were exported."));
        }
    }
}
