//! When the user or the system asks the process to stop, and when they will not wait for it.

use std::{io, process, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals that come this close together are one wish: `timeout` sends one to the process and one to its group.
const ONE_WISH: Duration = Duration::from_millis(50);

/// Ctrl-C and SIGTERM, noted from the moment of [`Signals::listen`] on. The first asks for an orderly stop; a second
/// ends the process at once, wherever it is, with the exit code by which a shell names that signal: 130 or 143.
pub(super) struct Signals {
    asked: CancellationToken,
}

impl Signals {
    /// Begins to listen, on the current runtime, which must live as long as the process. To be called before
    /// anything is made that only an orderly stop removes, and before anyone is told that the process is ready:
    /// until then a signal kills.
    ///
    /// # Errors
    /// Where the system lets no handler be set.
    pub(super) fn listen() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let streams = Streams { interrupt: interrupt?, terminate: terminate? };
        let asked = CancellationToken::new();
        tokio::spawn(streams.watch(asked.clone()));
        Ok(Self { asked })
    }

    /// Resolves at the first of them, also at one that came before the call.
    pub(super) async fn first(&self) {
        self.asked.cancelled().await;
    }
}

struct Streams {
    interrupt: Signal,
    terminate: Signal,
}

impl Streams {
    async fn watch(mut self, asked: CancellationToken) {
        self.next().await;
        asked.cancel();
        let one_wish = tokio::time::sleep(ONE_WISH);
        tokio::pin!(one_wish);
        loop {
            tokio::select! {
                () = &mut one_wish => break,
                _ = self.next() => {}
            }
        }
        let signal = self.next().await;
        tracing::warn!("a second signal: stopped at once, and what was not delivered yet is lost");
        process::exit(128 + signal.as_raw_value());
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
