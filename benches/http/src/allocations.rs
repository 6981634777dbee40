//! Allocations a request in the steady state, by a program of their own: counting them takes time.

use std::process::Command;

use http_bench::{layers::Layer, pipeline::Spans};

use crate::{child, sink::Sink, table::Table};

pub(crate) fn measure(table: &mut Table) {
    let sink = Sink::start();
    let counter = std::env::current_exe().unwrap().with_file_name("allocations");
    let allocations = Layer::ALL.map(|layer| {
        let counted = Command::new(&counter).args(child::of(layer, Spans::Discarded, &sink)).output();
        let counted = counted.unwrap_or_else(|error| {
            panic!("failed to run {}, which `cargo build --release` makes: {error}", counter.display())
        });
        assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
        String::from_utf8(counted.stdout).unwrap().trim().parse::<f64>().unwrap()
    });
    table.add_beside_bare("allocations", allocations);
}
