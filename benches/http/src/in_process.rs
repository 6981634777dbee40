//! Nanoseconds a request without a socket: one thread, one core, rounds in turns.

use http_bench::{layers::Layer, requests::Requests};

use crate::{child::Child, median, sink::Sink};

const ROUNDS: u32 = 31;
/// Bursts of requests in a round.
const BURSTS: u32 = 20;

/// For the bare application what a request takes, for each layer what it adds: the medians of the rounds.
pub(crate) fn measure() -> Vec<f64> {
    let sinks = Layer::ALL.map(|_| Sink::start());
    let mut children: Vec<_> =
        Layer::ALL.iter().zip(&sinks).map(|(layer, sink)| Child::spawn("in-process", *layer, sink)).collect();
    let mut rounds = vec![Vec::new(); children.len()];
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
    let made = Requests::in_bursts(BURSTS) * (ROUNDS + 1);
    for (layer, sink) in Layer::ALL.into_iter().zip(&sinks) {
        let spans = sink.spans();
        println!("{layer}: {spans} spans exported of {made} requests in process");
    }
    rounds.iter().map(|rounds| median(rounds)).collect()
}
