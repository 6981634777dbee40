//! How busy a tokio runtime is, and what waits for it: the saturation of what runs every request.
//!
//! Only what tokio counts in every build is read.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::metrics::Meter;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::callback::guarded;

/// The shortest time that a busy ratio is taken over: two readers in a row must not see two different ones.
const WINDOW: Duration = Duration::from_secs(1);

/// Makes the instruments `tokio.runtime.*`.
pub(super) fn observe(meter: &Meter, runtime: &Handle) {
    let metrics = runtime.metrics();
    let queue = metrics.clone();
    meter
        .i64_observable_up_down_counter("tokio.runtime.global_queue.depth")
        .with_unit("{task}")
        .with_description("Tasks that wait in the queue which all workers share")
        .with_callback(guarded(move |instrument| {
            instrument.observe(i64::try_from(queue.global_queue_depth()).unwrap_or(i64::MAX), &[]);
        }))
        .build();
    let busy = Busy::of(metrics);
    meter
        .f64_observable_gauge("tokio.runtime.busy_ratio")
        .with_description("Share of the workers' time that they were busy in the last seconds, 0 to 1")
        .with_callback(guarded(move |instrument| instrument.observe(busy.ratio(), &[])))
        .build();
}

/// The workers' busy time, at the last two moments that are at least a window apart.
struct Busy {
    metrics: RuntimeMetrics,
    marks: Mutex<[Mark; 2]>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    busy: Duration,
}

impl Busy {
    fn of(metrics: RuntimeMetrics) -> Self {
        let mark = Mark { at: Instant::now(), busy: busy(&metrics) };
        Self { metrics, marks: Mutex::new([mark; 2]) }
    }

    fn ratio(&self) -> f64 {
        let now = Mark { at: Instant::now(), busy: busy(&self.metrics) };
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        ratio(&mut marks, now, self.metrics.num_workers())
    }
}

fn busy(metrics: &RuntimeMetrics) -> Duration {
    (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker)).sum()
}

/// The ratio since the older mark, which is one or two windows old, or as old as the last reading if that is longer
/// ago.
fn ratio(marks: &mut [Mark; 2], now: Mark, workers: usize) -> f64 {
    if now.at.saturating_duration_since(marks[1].at) >= WINDOW {
        *marks = [marks[1], now];
    }
    let time = now.at.saturating_duration_since(marks[0].at).as_secs_f64() * count_as_f64(workers);
    let busy = now.busy.saturating_sub(marks[0].busy).as_secs_f64();
    // A worker's time is added when it parks, so that a long poll counts where it ends.
    if time > 0.0 { (busy / time).min(1.0) } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 threads")]
const fn count_as_f64(workers: usize) -> f64 {
    workers as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_over_one_or_two_windows_or_since_the_last_reading() {
        let start = Instant::now();
        let mark = |milliseconds, busy| Mark {
            at: start + Duration::from_millis(milliseconds),
            busy: Duration::from_millis(busy),
        };
        let mut marks = [mark(0, 0); 2];
        let mut read =
            |milliseconds, busy| (ratio(&mut marks, mark(milliseconds, busy), 2) * 1000.0).round() / 1000.0;
        assert_eq!(read(0, 0), 0.0, "no time has passed");
        assert_eq!(read(500, 500), 0.5);
        assert_eq!(read(500, 500), 0.5, "a second reader sees the same");
        assert_eq!(read(1000, 500), 0.25);
        assert_eq!(read(1500, 500), 0.167, "since 0");
        assert_eq!(read(2000, 2500), 1.0, "since 1000");
        assert_eq!(read(62_000, 8_500), 0.05, "since 2000, the last reading");
        assert_eq!(read(62_000, 999_999), 1.0, "never above 1");
    }
}
