//! Requests a second of `/` against those of a bare axum server that gives the same answer.
//!
//! Each server has the first core to itself and the load has the second, so that the servers are compared and not
//! the rest of the machine. Rounds alternate; the figure is the ratio of the medians.

use std::{io::Write as _, time::Duration};

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use crate::{
    load::Load,
    median,
    program::{Cores, Program, move_to_second_core},
};

/// The argument that makes this program the bare server.
pub(crate) const BARE: &str = "bare";
const ROUNDS: usize = 9;
const WARM_UP: Load = Load { connections: 32, duration: Duration::from_secs(1) };
const ROUND: Load = Load { connections: 32, duration: Duration::from_secs(2) };

pub(crate) fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let router: Router =
            Router::new().route("/", get(async move || (text, "Development Prometheus-backed Flash App")));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("service {}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}

pub(crate) fn against_a_bare_server() {
    let own = std::env::current_exe().unwrap();
    let bare = Program::spawn(Cores::First, own.to_str().unwrap(), &[BARE], &[], "service");
    let embedded = Program::serve(Cores::First, &[]);
    // Nothing listens there: what the service does for its requests, without what a collector does with it.
    let elsewhere = Program::serve(Cores::First, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    let unsampled = Program::serve(Cores::First, &[("OTEL_TRACES_SAMPLER", "always_off")]);
    move_to_second_core();

    let servers = [
        ("a bare axum server", &bare),
        ("serve", &embedded),
        ("serve, its collector unreachable", &elsewhere),
        ("serve, no request sampled", &unsampled),
    ];
    let mut rounds = servers.map(|_| (Vec::new(), Vec::new()));
    for (_, server) in servers {
        WARM_UP.run(server.service());
    }
    for _ in 0..ROUNDS {
        for ((_, server), (rates, costs)) in servers.iter().zip(&mut rounds) {
            let before = server.processor_seconds();
            let requests = ROUND.run(server.service());
            rates.push(requests / ROUND.duration.as_secs_f64());
            costs.push((server.processor_seconds() - before) * 1e6 / requests);
        }
    }
    let medians = rounds.map(|(rates, costs)| (median(&rates), median(&costs)));
    for ((name, _), (rate, cost)) in servers.iter().zip(medians) {
        println!(
            "{name}: {rate:.0} requests/s, {:.2} of the bare server's; {cost:.1} µs of processor time a request, {:.2}",
            rate / medians[0].0,
            medians[0].1 / cost
        );
    }
}
