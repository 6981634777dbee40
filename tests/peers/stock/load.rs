//! Requests to the service, one after another at a steady pace, with how long each took.

use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, ops};

use super::super::process::{PATIENCE, eventually};
use super::super::web;

/// Between two requests: as many as a small service has, and no more than its spans can be sent.
const PACE: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Log {
    answers: Vec<(Instant, Duration)>,
    failures: Vec<String>,
}

/// Requests that go on until they are told to stop.
pub(super) struct Load {
    log: Arc<Mutex<Log>>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Load {
    pub(super) fn start(url: String) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let (stop, stopped) = mpsc::channel();
        let written = Arc::clone(&log);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let from = Instant::now();
                let answer = web::get(&url);
                let mut log = lock(&written);
                match answer {
                    Ok(_) => log.answers.push((from, from.elapsed())),
                    Err(failure) => log.failures.push(failure),
                }
            }
        });
        Self { log, stop, thread }
    }

    /// Waits until `count` more requests were answered, and gives the time that they took up.
    pub(super) fn more(&self, count: usize) -> ops::Range<Instant> {
        let from = Instant::now();
        let wanted = lock(&self.log).answers.len() + count;
        eventually(&format!("{count} more requests"), PATIENCE, || {
            let log = lock(&self.log);
            assert_eq!(log.failures, Vec::<String>::new());
            if log.answers.len() >= wanted {
                Ok(())
            } else {
                Err(format!("{} of {wanted}", log.answers.len()))
            }
        });
        from..Instant::now()
    }

    /// Writes how long requests that began in `window` took. Past the test's captured output: it is a result.
    pub(super) fn report(&self, what: &str, window: &ops::Range<Instant>) {
        let log = lock(&self.log);
        let mut took: Vec<Duration> =
            log.answers.iter().filter(|(from, _)| window.contains(from)).map(|(_, took)| *took).collect();
        took.sort_unstable();
        let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
        let line = format!("{what}: {} requests, p50 {:?}, p99 {:?}\n", took.len(), at(50), at(99));
        drop(io::stderr().write_all(line.as_bytes()));
    }

    /// Stops, and gives how many requests were answered.
    ///
    /// # Panics
    /// Where one was not.
    pub(super) fn stop(self) -> usize {
        drop(self.stop);
        self.thread.join().expect("the requests' thread");
        let log = lock(&self.log);
        assert_eq!(log.failures, Vec::<String>::new());
        log.answers.len()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
