//! The end of the pipeline: what is still held is flushed, in order and within a deadline.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use opentelemetry_sdk::{logs::SdkLoggerProvider, metrics::SdkMeterProvider, trace::SdkTracerProvider};

use super::{Signal, push::Push};

/// All that has to be flushed.
#[derive(Debug)]
pub(super) struct Shutdown {
    pub(super) meters: SdkMeterProvider,
    pub(super) tracers: SdkTracerProvider,
    pub(super) loggers: SdkLoggerProvider,
    /// None where metrics are not pushed.
    pub(super) push: Option<Push>,
}

impl Shutdown {
    /// Spans and log records side by side; when both have gone, or at half of the time, the metrics, which tell
    /// what was lost of them. Returns at `deadline` at the latest, with the signals not delivered until then.
    pub(super) fn run(self, deadline: Instant) -> Vec<Signal> {
        let Self { meters, tracers, loggers, push } = self;
        let left = move || deadline.saturating_duration_since(Instant::now());
        let (sender, receiver) = mpsc::channel();
        let mut ends = Ends { receiver, ended: 0, undelivered: Signal::ALL.to_vec() };

        spawn(&sender, Signal::Traces, move || tracers.shutdown_with_timeout(left()).is_ok());
        spawn(&sender, Signal::Logs, move || loggers.shutdown_with_timeout(left()).is_ok());
        ends.wait(2, Instant::now() + left() / 2);
        spawn(&sender, Signal::Metrics, move || {
            let pushed = push.is_none_or(|push| push.last(left()));
            // Only after the last push: a reader that was shut down has nothing to collect.
            pushed & meters.shutdown_with_timeout(left()).is_ok()
        });
        // A thread that cannot be made ends nothing: without its sender, nobody waits for it.
        drop(sender);
        ends.wait(3, deadline);
        ends.undelivered
    }
}

/// What became of the flushes so far.
struct Ends {
    receiver: mpsc::Receiver<(Signal, bool)>,
    ended: usize,
    undelivered: Vec<Signal>,
}

impl Ends {
    /// Waits until so many have ended, at most until `deadline`.
    fn wait(&mut self, ends: usize, deadline: Instant) {
        while self.ended < ends {
            let left: Duration = deadline.saturating_duration_since(Instant::now());
            let Ok((ended, delivered)) = self.receiver.recv_timeout(left) else { return };
            self.ended += 1;
            self.undelivered.retain(|signal| !(delivered && *signal == ended));
        }
    }
}

/// Flushes on a thread of its own. One that outlives the deadline is left behind: the process is about to end.
fn spawn(done: &mpsc::Sender<(Signal, bool)>, signal: Signal, flush: impl FnOnce() -> bool + Send + 'static) {
    let done = done.clone();
    let _ = thread::Builder::new().name(format!("flush-{}", signal.as_str())).spawn(move || {
        let _ = done.send((signal, flush()));
    });
}
