//! When the user or the system asks the process to stop, or to read its files again, and when they will not wait.
//!
//! A thread of its own receives signals, so that the process ends in time even where senders, disks or readers of the log
//! block.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{FAILED, logs};

/// Signals that come this close together are one wish: `timeout` sends one to the process and one to its group.
const ONE_WISH: Duration = Duration::from_millis(50);
/// How much longer than its time to stop a process may take that is held up: one that is orderly ends just as its time does.
const HELD_UP: Duration = Duration::from_secs(1);
/// How long the end of a process that does not wait may take: for the last lines, and for its temporary files.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the program does at SIGHUP. Where the signal was ignored at the start, as by `nohup`, it stays ignored.
pub(super) enum Hangup {
    /// It stops the process as SIGTERM does.
    Stop,
    /// The system's default: the process ends.
    Default,
    /// This is called, each time on a thread of its own.
    Reload(Arc<dyn Fn() + Send + Sync>),
}

/// Ctrl-C and SIGTERM, noted from the moment of [`Signals::listen`] on. The first asks for an orderly stop; a second
/// ends the process at once, wherever it is, with the exit code by which a shell names that signal: 130 or 143. So does
/// the end of the time to stop, with 1, where something holds the orderly stop up.
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

    /// Removes it, if the disk does that soon.
    fn remove_soon(&self) {
        let (done, removed) = mpsc::channel();
        let folder = self.clone();
        let remove = move || {
            folder.remove();
            let _ = done.send(());
        };
        if thread::Builder::new().spawn(remove).is_ok() {
            let _ = removed.recv_timeout(LAST_WORDS);
        }
    }
}

impl Signals {
    /// Begins to listen. To be called before anything is made that only an orderly stop removes, and before anyone is
    /// told that the process is ready: until then a signal kills. A stop takes no longer than `stop_within`.
    ///
    /// # Errors
    /// Where the system lets no handler be set, or no thread be started.
    pub(super) fn listen(hangup: Hangup, stop_within: Option<Duration>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let streams = {
            let _entered = runtime.enter();
            let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
            let hears_hangup = !matches!(hangup, Hangup::Default) && !is_ignored(SignalKind::hangup());
            let hung_up = hears_hangup.then(|| signal(SignalKind::hangup())).transpose()?;
            Streams { interrupt: interrupt?, terminate: terminate?, hung_up, hangup }
        };
        let (asked, temporary) = (CancellationToken::new(), Temporary::default());
        let watch = streams.watch(asked.clone(), temporary.clone(), stop_within);
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
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

/// Whether the process was started with that signal ignored, as far as the system tells.
fn is_ignored(kind: SignalKind) -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

struct Streams {
    interrupt: Signal,
    terminate: Signal,
    hung_up: Option<Signal>,
    hangup: Hangup,
}

impl Streams {
    async fn watch(mut self, asked: CancellationToken, temporary: Temporary, stop_within: Option<Duration>) {
        self.next().await;
        asked.cancel();
        let deadline = async {
            match stop_within {
                Some(within) => sleep(within + HELD_UP).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let one_wish = sleep(ONE_WISH);
        tokio::pin!(one_wish);
        loop {
            // A runtime that stood still meanwhile finds both.
            tokio::select! {
                biased;
                _ = self.next() => {}
                () = &mut one_wish => break,
            }
        }
        let code = tokio::select! {
            biased;
            signal = self.next() => {
                tracing::warn!("a second signal: stopped at once, and what was not delivered yet is lost");
                128 + signal.as_raw_value()
            }
            () = deadline => {
                tracing::warn!("--stop-within is over: stopped at once, and what was not delivered yet is lost");
                i32::from(FAILED)
            }
        };
        temporary.remove_soon();
        logs::flush(LAST_WORDS);
        process::exit(code);
    }

    /// The next signal that asks for a stop; others are answered meanwhile.
    async fn next(&mut self) -> SignalKind {
        loop {
            let hung_up = async {
                match &mut self.hung_up {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => return SignalKind::interrupt(),
                _ = self.terminate.recv() => return SignalKind::terminate(),
                _ = hung_up => {}
            }
            let Hangup::Reload(reload) = &self.hangup else { return SignalKind::hangup() };
            let reload = Arc::clone(reload);
            // The files may be on a disk that does not answer.
            let _ = thread::Builder::new().name("reload".to_owned()).spawn(move || reload());
        }
    }
}
