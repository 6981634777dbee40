//! The cost of the HTTP layer beside the published ones: `http-bench [in-process | instructions]`, all of it without
//! an argument.
//!
//! Each layer is in a process of its own, since some of them work by globals. They are measured in turns, round by
//! round, and compared with the bare application of the same round.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are for a person to read")]

mod child;
mod cores;
mod in_process;
mod instructions;
mod sink;

use std::process::ExitCode;

use http_bench::layers::Layer;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    if let ["child", role @ ..] = arguments.as_slice() {
        child::run(role);
        return ExitCode::SUCCESS;
    }
    let parts: &[&str] = match arguments.as_slice() {
        [] => &["in-process", "instructions"],
        [part @ ("in-process" | "instructions")] => &[*part],
        other => {
            eprintln!(
                "{} is none of in-process, instructions; nothing at all is all of them",
                other.join(" ")
            );
            return ExitCode::from(2);
        }
    };
    for part in parts {
        match *part {
            "in-process" => {
                let nanoseconds = in_process::measure();
                print_added("nanoseconds", &nanoseconds);
            }
            _ => match instructions::measure() {
                Some(instructions) => print_added("instructions", &instructions),
                None => println!("instructions: valgrind is missing"),
            },
        }
    }
    ExitCode::SUCCESS
}

/// The bare application's figure, and what each layer adds to it.
fn print_added(unit: &str, figures: &[f64]) {
    for (layer, figure) in Layer::ALL.into_iter().zip(figures) {
        println!("{layer}: {figure:+.0} {unit} a request");
    }
}

/// The middle value; of an even number of them the upper of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
