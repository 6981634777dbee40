//! What the HTTP layer adds to a request, beside the published ones, as a table in Markdown.
//!
//! Each layer is in a process of its own, since some of them work by globals. They are measured in turns, round by
//! round, and compared with the bare application of the same round, so that what disturbs one disturbs all.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are for a person to read")]

mod allocations;
mod child;
mod cores;
mod in_process;
mod instructions;
#[path = "../../figures/load.rs"]
mod load;
mod machine;
mod sink;
mod table;
mod throughput;

use std::process::ExitCode;

use table::Table;

/// One part of the bench: its name as an argument, and what fills its columns.
type Part = (&'static str, fn(&mut Table));

const PARTS: [Part; 4] = [
    ("in-process", in_process::measure),
    ("instructions", instructions::measure),
    ("allocations", allocations::measure),
    ("throughput", throughput::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    if let ["child", role @ ..] = arguments.as_slice() {
        child::run(role);
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.iter().find(|argument| PARTS.iter().all(|(name, _)| name != *argument)) {
        let names = PARTS.map(|(name, _)| name).join(", ");
        eprintln!("{unknown} is none of {names}; nothing at all is all of them");
        return ExitCode::from(2);
    }
    let mut table = Table::default();
    for (name, measure) in PARTS {
        if arguments.is_empty() || arguments.contains(&name) {
            eprintln!("measuring: {name}");
            measure(&mut table);
        }
    }
    println!("{table}\n{}", machine::line());
    ExitCode::SUCCESS
}

/// The middle value; of an even number of them the upper of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
