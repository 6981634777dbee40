//! What the collector counts of itself: taken, refused, sent and dropped, by reason.
//!
//! It must not decide anything; receivers, pipeline and exporters only add to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
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
    of_listeners: OnceLock<OfListeners>,
}

/// What the listeners of the process count, which are not the collector's alone.
#[derive(Clone, Debug, Default)]
pub struct OfListeners {
    /// Connections that were closed to make room for others.
    pub evicted_connections: Arc<AtomicU64>,
    /// Requests that were refused for the host that they name.
    pub misdirected_requests: Arc<AtomicU64>,
}

impl Stats {
    /// Adds `items` to a count.
    pub fn add(&self, event: Event, place: &str, signal: Signal, reason: &'static str, items: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry(Count { event, place: place.to_owned(), signal, reason }).or_default() += items;
    }

    /// Shows what the listeners count; the first that is given.
    pub fn show_listeners(&self, counts: OfListeners) {
        let _first = self.of_listeners.set(counts);
    }

    /// What the listeners count; `None` where it was not given.
    #[must_use]
    pub fn of_listeners(&self) -> Option<&OfListeners> {
        self.of_listeners.get()
    }

    /// All counts that were ever added to, in a stable order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Count, u64)> {
        let counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|(count, items)| (count.clone(), *items)).collect()
    }
}
