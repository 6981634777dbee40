//! Requests a second over loopback, each server with all of its threads on one core, the load on the other; rounds in
//! turns.

use std::{net::SocketAddr, thread, time::Duration};

use http_bench::{layers::Layer, pipeline::Spans};

use crate::{child::Child, cores::Core, load::Load, median, sink::Sink, table::Table};

const ROUNDS: usize = 44;
const WARM_UP: Load = Load { connections: 32, duration: Duration::from_secs(1) };
const ROUND: Load = Load { connections: 32, duration: Duration::from_millis(250) };
/// The spans of the last requests are exported by then: half a second more than a batch waits.
const LAST_EXPORT: Duration = Duration::from_millis(5_500);

/// One server and what was measured of it.
struct Server {
    layer: Layer,
    spans: Spans,
    sink: Sink,
    child: Child,
    address: SocketAddr,
    /// Requests a second in each round.
    rates: Vec<f64>,
    /// Processor time of the server in microseconds a request, in each round.
    costs: Vec<f64>,
    requests: f64,
}

impl Server {
    fn start(layer: Layer, spans: Spans) -> Self {
        let sink = Sink::start();
        let mut child = Child::spawn("serve", layer, spans, &sink);
        let address = child.line().parse().unwrap();
        Self { layer, spans, sink, child, address, rates: Vec::new(), costs: Vec::new(), requests: 0.0 }
    }

    fn round(&mut self) {
        let before = self.child.processor_seconds();
        let requests = ROUND.run(self.address);
        self.costs.push((self.child.processor_seconds() - before) * 1e6 / requests);
        self.rates.push(requests / ROUND.duration.as_secs_f64());
        self.requests += requests;
    }

    /// The medians of the rounds' ratios.
    fn beside(&self, bare: &Self) -> String {
        if self.layer == Layer::Bare {
            return format!("{:.1} k/s ({:.1} µs)", median(&self.rates) / 1_000.0, median(&self.costs));
        }
        let ratio = |over: &[f64], under: &[f64]| {
            median(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<_>>())
        };
        format!("{:.2} ({:.2})", ratio(&self.rates, &bare.rates), ratio(&bare.costs, &self.costs))
    }
}

pub(crate) fn measure(table: &mut Table) {
    let sent = Layer::ALL.into_iter().filter(|layer| layer.traces()).map(|layer| (layer, Spans::Sent));
    let servers = Layer::ALL.into_iter().map(|layer| (layer, Spans::Discarded)).chain(sent);
    let mut servers: Vec<_> = servers.map(|(layer, spans)| Server::start(layer, spans)).collect();
    let load = thread::spawn(move || {
        Core::Second.move_here();
        for server in &mut servers {
            server.requests += WARM_UP.run(server.address);
        }
        for _ in 0..ROUNDS {
            servers.iter_mut().for_each(Server::round);
        }
        servers
    });
    let servers = load.join().unwrap();
    thread::sleep(LAST_EXPORT);

    let of = |spans| {
        let cell = |layer| {
            let server = servers.iter().find(|server| (server.layer, server.spans) == (layer, spans));
            server.map_or_else(String::new, |server| server.beside(&servers[Layer::Bare as usize]))
        };
        Layer::ALL.map(cell)
    };
    table.add("throughput", of(Spans::Discarded));
    table.add("the same with spans sent", of(Spans::Sent));
    for server in servers.iter().filter(|server| server.spans == Spans::Sent) {
        let share = server.sink.spans_of(server.requests);
        if share < 0.99 {
            let (percent, layer) = (share * 100.0, server.layer);
            table.note(format!(
                "Of the spans of {layer} {percent:.0} % arrived, the others found its queue full."
            ));
        }
    }
}
