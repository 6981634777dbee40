//! People who open the pages of the service, and what they got.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::process::eventually;
use super::stack::{PATIENCE, SERVICE};
use super::web;

/// Between two requests of one visitor.
const PACE: Duration = Duration::from_millis(50);

/// One request: when it was sent, for which path, and why it failed where it did.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) sent: Instant,
    pub(super) path: &'static str,
    pub(super) failure: Option<String>,
}

/// Visitors that go on until they are stopped.
pub(super) struct Visitors {
    visits: Arc<Mutex<Vec<Visit>>>,
    visitors: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Visitors {
    pub(super) fn come() -> Self {
        let visits = Arc::new(Mutex::new(Vec::new()));
        let visitor = |path: &'static str| {
            let visits = Arc::clone(&visits);
            let (stop, stopped) = mpsc::channel();
            let thread = thread::spawn(move || {
                while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    let sent = Instant::now();
                    let failure = web::get(&format!("{SERVICE}{path}")).err();
                    let visit = Visit { sent, path, failure };
                    visits.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
                }
            });
            (stop, thread)
        };
        let visitors = ["/", "/database/"].map(visitor).into();
        Self { visits, visitors }
    }

    /// All requests that were answered so far, or failed.
    pub(super) fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests of each path were sent from now on and answered.
    pub(super) fn more(&self, count: usize) {
        let from = Instant::now();
        for path in ["/", "/database/"] {
            eventually(&format!("{count} answers of {path}"), PATIENCE, || {
                let good =
                    |visit: &&Visit| visit.path == path && visit.sent > from && visit.failure.is_none();
                let answered = self.visits().iter().filter(good).count();
                if answered >= count { Ok(()) } else { Err(answered.to_string()) }
            });
        }
    }

    /// Stops them, and returns all that they got.
    pub(super) fn go(mut self) -> Vec<Visit> {
        self.end();
        self.visits()
    }

    fn end(&mut self) {
        for (stop, thread) in self.visitors.drain(..) {
            drop(stop);
            drop(thread.join());
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end();
    }
}
