//! What the system says of this process, by the semantic conventions for process metrics. On systems other than
//! Linux nothing is said.
//!
//! All of it is read when metrics are collected, so that it costs nothing in between.

use opentelemetry::{KeyValue, metrics::Meter};

use super::callback::guarded;

/// Makes the instruments `process.*`.
pub(super) fn observe(meter: &Meter) {
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("Processor seconds that the process has used, by cpu.mode")
        .with_callback(guarded(|instrument| {
            for (mode, seconds) in system::cpu_seconds().into_iter().flatten() {
                instrument.observe(seconds, &[KeyValue::new("cpu.mode", mode)]);
            }
        }))
        .build();
    meter
        .i64_observable_up_down_counter("process.memory.usage")
        .with_unit("By")
        .with_description("Physical memory that the process uses")
        .with_callback(guarded(|instrument| {
            if let Some(bytes) = system::memory_bytes() {
                instrument.observe(bytes, &[]);
            }
        }))
        .build();
    meter
        .i64_observable_up_down_counter("process.unix.file_descriptor.count")
        .with_unit("{file_descriptor}")
        .with_description("Files and sockets that the process has open")
        .with_callback(guarded(|instrument| {
            if let Some(files) = system::open_files() {
                instrument.observe(files, &[]);
            }
        }))
        .build();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("Seconds since the process was started")
        .with_callback(guarded(|instrument| {
            if let Some(seconds) = system::uptime_seconds() {
                instrument.observe(seconds, &[]);
            }
        }))
        .build();
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use procfs::{
        Current as _, Uptime, WithCurrentSystemInfo as _,
        process::{Process, Stat},
        ticks_per_second,
    };

    fn stat() -> Option<Stat> {
        Process::myself().ok()?.stat().ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^53")]
    fn seconds(ticks: u64) -> f64 {
        ticks as f64 / ticks_per_second() as f64
    }

    pub(super) fn cpu_seconds() -> Option<[(&'static str, f64); 2]> {
        let stat = stat()?;
        Some([("user", seconds(stat.utime)), ("system", seconds(stat.stime))])
    }

    pub(super) fn memory_bytes() -> Option<i64> {
        i64::try_from(stat()?.rss_bytes().get()).ok()
    }

    pub(super) fn open_files() -> Option<i64> {
        const FOLDER: &str = "/proc/self/fd";
        // Since Linux 6.2 the folder's size is their number; to read it opens one more.
        let files = match fs::metadata(FOLDER).ok()?.len() {
            0 => fs::read_dir(FOLDER).ok()?.count().saturating_sub(1) as u64,
            files => files,
        };
        i64::try_from(files).ok()
    }

    pub(super) fn uptime_seconds() -> Option<f64> {
        // Both are counted from the start of the system, so that a change of the clock does not matter.
        let started = seconds(stat()?.starttime);
        Some((Uptime::current().ok()?.uptime - started).max(0.0))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) const fn cpu_seconds() -> Option<[(&'static str, f64); 2]> {
        None
    }

    pub(super) const fn memory_bytes() -> Option<i64> {
        None
    }

    pub(super) const fn open_files() -> Option<i64> {
        None
    }

    pub(super) const fn uptime_seconds() -> Option<f64> {
        None
    }
}
