//! What the figures were measured on.

use std::{fs, process::Command, thread};

/// Processor, cores and compiler, on one line.
pub(crate) fn line() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let rustc: Vec<_> = rustc.split_whitespace().take(2).collect();
    format!("Machine: {model}, {cores} cores, {}, {}", std::env::consts::OS, rustc.join(" "))
}
