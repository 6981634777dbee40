//! What the collector counts of itself: taken, refused, sent and dropped, by reason.
//!
//! It must not decide anything; receivers, pipeline and exporters only add to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::batch::Signal;

/// One counted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Taken from a receiver into every sink.
    Accepted,
    /// Refused at a receiver: malformed, too large, without room, over a limit.
    Refused,
    /// Written to a sink's peer.
    Sent,
    /// Taken, and then not sent on: the only loss there is.
    Dropped,
    /// Written under a path of Graphite that another series writes too.
    Shared,
    /// Written again to a sink's peer, on another connection.
    Replayed,
    /// A sink's peer was connected to again.
    Reconnected,
    /// A part of a spool could not be read.
    Damaged,
}

/// What a count is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What happened.
    pub event: Event,
    /// The receiver or sink: `otlp_grpc`, `otlp_http`, `statsd`, `exposition`, `graphite`, a forward URL.
    pub place: String,
    /// The kind of telemetry.
    pub signal: Signal,
    /// Why, in `snake_case`; empty for what went well.
    pub reason: &'static str,
}

/// The collector's counts, in items (data points, spans, log records; for `statsd` refusals: lines).
#[derive(Debug, Default)]
pub struct Stats {
    counts: Mutex<BTreeMap<Count, u64>>,
    evicted_connections: OnceLock<Arc<AtomicU64>>,
    misdirected_requests: OnceLock<Arc<AtomicU64>>,
}

impl Stats {
    /// Adds `items` to a count.
    pub fn add(&self, event: Event, place: &str, signal: Signal, reason: &'static str, items: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry(Count { event, place: place.to_owned(), signal, reason }).or_default() += items;
    }

    /// Shows a count of connections that were closed to make room for others; the first one that is given.
    pub fn show_evicted_connections(&self, evicted: Arc<AtomicU64>) {
        let _first = self.evicted_connections.set(evicted);
    }

    /// How many connections were closed to make room for others; `None` where nobody counts them.
    #[must_use]
    pub fn evicted_connections(&self) -> Option<u64> {
        self.evicted_connections.get().map(|evicted| evicted.load(Ordering::Relaxed))
    }

    /// Shows a count of requests that were refused for the host that they name; the first one that is given.
    pub fn show_misdirected_requests(&self, refused: Arc<AtomicU64>) {
        let _first = self.misdirected_requests.set(refused);
    }

    /// How many requests were refused for the host that they name; `None` where nobody counts them.
    #[must_use]
    pub fn misdirected_requests(&self) -> Option<u64> {
        self.misdirected_requests.get().map(|refused| refused.load(Ordering::Relaxed))
    }

    /// All counts that were ever added to, in a stable order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Count, u64)> {
        let counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|(count, items)| (count.clone(), *items)).collect()
    }
}
