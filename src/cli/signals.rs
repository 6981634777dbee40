//! When the user or the system asks the process to stop, and when they will not wait for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals that come this close together are one wish: `timeout` sends one to the process and one to its group.
const ONE_WISH: Duration = Duration::from_millis(50);

/// Ctrl-C and SIGTERM, noted from the moment of [`Signals::listen`] on. The first asks for an orderly stop; a second
/// ends the process at once, wherever it is, with the exit code by which a shell names that signal: 130 or 143.
pub(super) struct Signals {
    asked: CancellationToken,
    temporary: Temporary,
}

/// The folder that must not outlive the process, once there is one.
#[derive(Clone, Default)]
struct Temporary(Arc<OnceLock<PathBuf>>);

impl Temporary {
    fn remove(&self) {
        if let Some(folder) = self.0.get() {
            // Whoever else holds it may have removed it already.
            let _ = fs::remove_dir_all(folder);
        }
    }
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
        let (asked, temporary) = (CancellationToken::new(), Temporary::default());
        tokio::spawn(streams.watch(asked.clone(), temporary.clone()));
        Ok(Self { asked, temporary })
    }

    /// The folder is removed with the end of the process, an orderly one and one at a second signal.
    pub(super) fn remove_at_the_end(&self, folder: &Path) {
        let _ = self.temporary.0.set(folder.to_owned());
    }

    /// Resolves at the first of them, also at one that came before the call.
    pub(super) async fn first(&self) {
        self.asked.cancelled().await;
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.temporary.remove();
    }
}

struct Streams {
    interrupt: Signal,
    terminate: Signal,
}

impl Streams {
    async fn watch(mut self, asked: CancellationToken, temporary: Temporary) {
        self.next().await;
        asked.cancel();
        let one_wish = tokio::time::sleep(ONE_WISH);
        tokio::pin!(one_wish);
        loop {
            // A runtime that stood still meanwhile finds both.
            tokio::select! {
                biased;
                _ = self.next() => {}
                () = &mut one_wish => break,
            }
        }
        let signal = self.next().await;
        tracing::warn!("a second signal: stopped at once, and what was not delivered yet is lost");
        temporary.remove();
        process::exit(128 + signal.as_raw_value());
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
