//! The load: requests that are sent on time, whatever their answers take.
//!
//! It must not wait for an answer before the next request (an open loop), or the figures would look best when the
//! service is worst; nor skip a request without counting it.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    SECONDS,
    client::{Client, Failure},
    tally::Durations,
};

/// Requests that may be on their way at once. Each takes two file descriptors of this process: one here, and one of the
/// service's.
pub const IN_FLIGHT: u32 = 256;
/// How long a request may take from when it was to be sent.
const DEADLINE: Duration = Duration::from_secs(30);
/// One request in so many is for the database.
const DATABASE_EVERY: u64 = 10;

/// A handle to the load; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Load {
    rate: Arc<watch::Sender<f64>>,
    shared: Arc<Shared>,
}

/// How the load does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Requests a second that are to be sent.
    pub rate: f64,
    /// Requests on their way.
    pub in_flight: usize,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that could not be sent, since too many were on their way.
    pub missed: u64,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    places: Arc<Semaphore>,
    duration: Histogram<f64>,
    missed: Counter<u64>,
    sent_count: AtomicU64,
    missed_count: AtomicU64,
    failed_count: AtomicU64,
    durations: Mutex<Durations>,
}

impl Load {
    pub(super) fn new(meter: &Meter, authority: &str, rate: f64) -> Self {
        let duration = meter
            .f64_histogram("pushpull.load.duration")
            .with_unit("s")
            .with_description(
                "Seconds from when a request of the load was to be sent to the end of its answer",
            )
            .with_boundaries(SECONDS.to_vec())
            .build();
        let missed = meter
            .u64_counter("pushpull.load.missed")
            .with_unit("{request}")
            .with_description("Requests of the load that were not sent, since too many were on their way")
            .build();
        let agent = concat!("pushpull-load/", env!("CARGO_PKG_VERSION"));
        Self {
            rate: Arc::new(watch::Sender::new(rate)),
            shared: Arc::new(Shared {
                client: Client::new(authority, agent, IN_FLIGHT as usize),
                places: Arc::new(Semaphore::new(IN_FLIGHT as usize)),
                duration,
                missed,
                sent_count: AtomicU64::new(0),
                missed_count: AtomicU64::new(0),
                failed_count: AtomicU64::new(0),
                durations: Mutex::default(),
            }),
        }
    }

    /// Sends so many requests a second from now on; 0 for none.
    pub fn set(&self, rate: f64) {
        self.rate.send_replace(rate);
    }

    /// How it does.
    #[must_use]
    pub fn state(&self) -> State {
        let shared = &self.shared;
        State {
            rate: *self.rate.borrow(),
            in_flight: (IN_FLIGHT as usize).saturating_sub(shared.places.available_permits()),
            sent: shared.sent_count.load(Relaxed),
            missed: shared.missed_count.load(Relaxed),
        }
    }

    /// How many requests failed so far, and how long those took that ended.
    pub(super) fn outcomes(&self) -> (u64, Durations) {
        (self.shared.failed_count.load(Relaxed), self.shared.durations.lock().clone())
    }

    /// Sends what is to be sent, for ever.
    pub(super) async fn run(&self) {
        let mut rate = self.rate.subscribe();
        loop {
            let now = *rate.borrow_and_update();
            tokio::select! {
                _ = rate.changed() => {}
                () = self.shared.keep(now) => {}
            }
        }
    }

    /// Resolves once no request is on its way.
    pub(super) async fn idle(&self) {
        let _ = self.shared.places.acquire_many(IN_FLIGHT).await;
    }
}

impl Shared {
    /// Sends at a rate; each request has its time, which does not depend on any other request.
    async fn keep(self: &Arc<Self>, rate: f64) {
        if rate == 0.0 {
            return pending().await;
        }
        for endpoint in ["/", "/database"] {
            // So that the first one that is missed is seen as an increase.
            self.missed.add(0, &[KeyValue::new("endpoint", endpoint)]);
        }
        let start = Instant::now();
        for number in 0_u64.. {
            let Some(intended) = intended(start, number, rate) else { return pending().await };
            sleep_until(intended).await;
            let (endpoint, path) = match (number + 1) % DATABASE_EVERY {
                0 => ("/database", "/database/"),
                _ => ("/", "/"),
            };
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => {
                    self.sent_count.fetch_add(1, Relaxed);
                    tokio::spawn(Arc::clone(self).send(endpoint, path, intended, place));
                }
                Err(_) => {
                    self.missed_count.fetch_add(1, Relaxed);
                    self.missed.add(1, &[KeyValue::new("endpoint", endpoint)]);
                }
            }
        }
    }

    async fn send(
        self: Arc<Self>,
        endpoint: &'static str,
        path: &'static str,
        intended: Instant,
        place: OwnedSemaphorePermit,
    ) {
        let outcome = match timeout_at(intended + DEADLINE, self.client.status(path)).await {
            Ok(Ok(status)) if status.is_success() => "ok",
            Ok(Ok(_)) => "error",
            Ok(Err(Failure::Unreachable)) => "unreachable",
            Ok(Err(Failure::Broken)) => "broken",
            Err(_) => "timeout",
        };
        let seconds = intended.elapsed().as_secs_f64();
        self.durations.lock().add(seconds);
        if outcome != "ok" {
            self.failed_count.fetch_add(1, Relaxed);
        }
        self.duration
            .record(seconds, &[KeyValue::new("endpoint", endpoint), KeyValue::new("outcome", outcome)]);
        drop(place);
    }
}

/// When a request is to be sent; `None` where the rate is so low that no clock goes so far.
fn intended(start: Instant, number: u64, rate: f64) -> Option<Instant> {
    #[expect(clippy::cast_precision_loss, reason = "10,000 a second stay below 2^53 for 28,000 years")]
    let after = Duration::try_from_secs_f64(number as f64 / rate).ok()?;
    start.checked_add(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_is_too_low_to_be_kept() {
        let start = Instant::now();
        assert_eq!(intended(start, 20, 8.0), Some(start + Duration::from_millis(2500)));
        for rate in [f64::from_bits(1), 1e-300, 1e-19, 10_000.0] {
            assert_eq!(intended(start, 0, rate), Some(start), "{rate}");
        }
        for rate in [f64::from_bits(1), 1e-300, 1e-19] {
            assert_eq!(intended(start, 1, rate), None, "{rate}");
        }
    }
}
