//! The push loop: collects from the one reader at an interval and hands the data to the OTLP exporter.
//!
//! It runs on a plain thread, so that a slow or dead collector costs requests nothing.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    thread,
    time::{Duration, Instant},
};

use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use super::{reader::Source, suppress_on_this_thread};

/// The running loop.
#[derive(Debug)]
pub(super) struct Push {
    /// Asks for the last push; the answer is whether it arrived.
    last: Sender<SyncSender<bool>>,
}

impl Push {
    pub(super) fn start(
        reader: Source,
        exporter: impl PushMetricExporter,
        interval: Duration,
    ) -> io::Result<Self> {
        let (last, asked) = mpsc::channel();
        thread::Builder::new().name("metric-push".to_owned()).spawn(move || {
            suppress_on_this_thread();
            run(&reader, &exporter, interval, &asked);
        })?;
        Ok(Self { last })
    }

    /// Pushes once more and ends the loop; whether the push arrived in time.
    pub(super) fn last(self, timeout: Duration) -> bool {
        let (answer, answered) = mpsc::sync_channel(1);
        self.last.send(answer).is_ok() && answered.recv_timeout(timeout).unwrap_or(false)
    }
}

fn run(
    reader: &Source,
    exporter: &impl PushMetricExporter,
    interval: Duration,
    asked: &Receiver<SyncSender<bool>>,
) {
    let mut next = Instant::now() + interval;
    loop {
        match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {
                push(reader, exporter);
                // A push that took longer than the interval does not make the next ones come in a burst.
                next = (next + interval).max(Instant::now());
            }
            Ok(answer) => {
                let _ = answer.send(push(reader, exporter));
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether what was collected arrived. A panic in the exporter must not end the loop.
fn push(reader: &Source, exporter: &impl PushMetricExporter) -> bool {
    let pushed = catch_unwind(AssertUnwindSafe(|| match reader.collect() {
        Ok(collected) => futures_executor::block_on(exporter.export(&collected)).is_ok(),
        Err(error) => {
            tracing::error!(%error, "no metrics to push");
            false
        }
    }));
    pushed.unwrap_or(false)
}
