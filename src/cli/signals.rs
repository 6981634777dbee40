//! When the user or the system asks the process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM, noted from the moment of [`Signals::listen`] on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen, on the current runtime. To be called before anything is made that only an orderly
    /// stop removes, and before anyone is told that the process is ready: until then a signal kills.
    ///
    /// # Errors
    /// Where the system lets no handler be set.
    pub(super) fn listen() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate? })
    }

    /// Resolves at the first of them, also at one that came before the call.
    pub(super) async fn first(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
