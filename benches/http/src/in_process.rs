//! Nanoseconds a request without a socket: one thread, one core, rounds in turns.

use http_bench::{layers::Layer, requests::Requests};

use crate::{child::Child, median, sink::Sink, table::Table};

const ROUNDS: u32 = 31;
/// Bursts of requests in a round.
const BURSTS: u32 = 20;

/// The medians of the rounds.
pub(crate) fn measure(table: &mut Table) {
    let sinks = Layer::ALL.map(|_| Sink::start());
    let mut children: Vec<_> =
        Layer::ALL.iter().zip(&sinks).map(|(layer, sink)| Child::spawn("in-process", *layer, sink)).collect();
    let mut rounds = Layer::ALL.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        let mut bare = 0.0;
        for (index, child) in children.iter_mut().enumerate() {
            let nanoseconds: f64 = child.ask(&BURSTS.to_string()).parse().unwrap();
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
    for layer in Layer::ALL {
        let exported = sinks[layer as usize].spans_of(requests);
        if layer.traces() && exported < 0.99 {
            let share = exported * 100.0;
            table.note(format!("In process only {share:.0} % of the spans of {layer} were exported."));
        }
    }
}
