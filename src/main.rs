//! The program `pushpull`: parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    pushpull::cli::run(std::env::args_os(), std::env::vars_os())
}
