//! Instructions a request, counted by callgrind: those of the thread that makes the requests, so that what exporters
//! and readers do beside it is left out.

use std::{fs, process::Command};

use http_bench::{layers::Layer, pipeline::Spans, requests::Requests};

use crate::{child, sink::Sink, table::Table};

pub(crate) fn measure(table: &mut Table) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        table.note("Instructions were not counted: there is no valgrind here.".to_owned());
        return;
    }
    let sink = Sink::start();
    let instructions = Layer::ALL.map(|layer| {
        // What is not the requests' is the same in both runs.
        let [fewer, more] = [1, 2].map(|bursts| count(layer, bursts, &sink));
        (more - fewer) / f64::from(Requests::in_bursts(1))
    });
    table.add_beside_bare("instructions", instructions);
}

/// Instructions of the first thread over as many bursts.
fn count(layer: Layer, bursts: u32, sink: &Sink) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--separate-threads=yes", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}/counted", folder.path().display()));
    command.arg(std::env::current_exe().unwrap());
    command.args(["child", "count"]).args(child::of(layer, Spans::Discarded, sink)).arg(bursts.to_string());
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // The files are numbered by thread; the first is the one that `main` runs on.
    let counted = fs::read_to_string(folder.path().join("counted-01")).unwrap();
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.trim().parse().unwrap()
}
