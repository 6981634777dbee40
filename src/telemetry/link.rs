//! A switch for outages: what it is to lose the OTLP endpoint, without an endpoint that goes away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The way from this process to its OTLP endpoints, of all three signals; clones are the same one.
///
/// While it is severed, each export that begins fails at once, without a byte sent, as if nobody listened at the
/// endpoint: it is counted and told in the same way, and spans and log records of it are lost. Metrics are
/// cumulative, so that the first push after [`restore`](Self::restore) makes their figures right again. An export
/// that was under way already is not stopped.
#[derive(Clone, Debug, Default)]
pub struct Link(Arc<AtomicBool>);

impl Link {
    /// Nothing gets through from now on.
    pub fn sever(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Exports get through again.
    pub fn restore(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether nothing gets through now.
    #[must_use]
    pub fn is_severed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
