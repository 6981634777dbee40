//! Requests a second over loopback, each server with all of its threads on one core, the load on the other; rounds in
//! turns.

use std::{thread, time::Duration};

use http_bench::layers::Layer;

use crate::{child::Child, cores::Core, load::Load, median, sink::Sink, table::Table};

const ROUNDS: usize = 9;
const WARM_UP: Load = Load { connections: 32, duration: Duration::from_secs(1) };
const ROUND: Load = Load { connections: 32, duration: Duration::from_secs(2) };
/// The spans of the last requests are exported by then.
const LAST_EXPORT: Duration = Duration::from_secs(6);

/// What was measured of one server.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Requests a second in each round.
    rates: Vec<f64>,
    /// Processor time of the server in microseconds a request, in each round.
    costs: Vec<f64>,
    requests: f64,
}

/// The medians of the rounds' ratios.
pub(crate) fn measure(table: &mut Table) {
    let sinks = Layer::ALL.map(|_| Sink::start());
    let servers: Vec<_> =
        Layer::ALL.iter().zip(&sinks).map(|(layer, sink)| Child::spawn("serve", *layer, sink)).collect();
    let load = thread::spawn(move || {
        Core::Second.move_here();
        rounds(servers)
    });
    let measured = load.join().unwrap();

    let bare = &measured[Layer::Bare as usize];
    let cells = Layer::ALL.map(|layer| {
        let own = &measured[layer as usize];
        if layer == Layer::Bare {
            let (rate, cost) = (median(&own.rates), median(&own.costs));
            return [format!("{:.1} k/s", rate / 1_000.0), format!("{cost:.1} µs"), String::new()];
        }
        let exported = sinks[layer as usize].spans_of(own.requests);
        [
            format!("{:.2}", median_ratio(&own.rates, &bare.rates)),
            format!("{:.2}", median_ratio(&bare.costs, &own.costs)),
            if layer.traces() { format!("{:.0} %", exported * 100.0) } else { String::new() },
        ]
    });
    let column = |index: usize| Layer::ALL.map(|layer| cells[layer as usize][index].clone());
    table.add("throughput", column(0));
    table.add("by processor time", column(1));
    table.add("spans exported", column(2));
}

fn median_ratio(over: &[f64], under: &[f64]) -> f64 {
    median(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<_>>())
}

fn rounds(mut servers: Vec<Child>) -> Vec<Measured> {
    let addresses: Vec<_> = servers.iter_mut().map(|server| server.line().parse().unwrap()).collect();
    let mut measured = vec![Measured::default(); servers.len()];
    for (address, measured) in addresses.iter().zip(&mut measured) {
        measured.requests += WARM_UP.run(*address);
    }
    for _ in 0..ROUNDS {
        for ((server, address), measured) in servers.iter().zip(&addresses).zip(&mut measured) {
            let before = server.processor_seconds();
            let requests = ROUND.run(*address);
            measured.costs.push((server.processor_seconds() - before) * 1e6 / requests);
            measured.rates.push(requests / ROUND.duration.as_secs_f64());
            measured.requests += requests;
        }
    }
    thread::sleep(LAST_EXPORT);
    measured
}
