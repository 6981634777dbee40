//! Exporters: from the pipeline's sinks to the peers, each with its own bounded queue.

pub mod graphite;
pub mod otlp;
pub mod prometheus;

use std::sync::Arc;

use parking_lot::Mutex;

/// Whether a sink's peer can be reached; each change is logged once.
#[derive(Clone, Debug)]
pub struct State {
    sink: Arc<str>,
    reached: Arc<Mutex<Reached>>,
}

#[derive(Debug, PartialEq)]
enum Reached {
    NotYet,
    Up,
    Down(String),
}

impl State {
    /// The state of a sink of which nothing is known yet.
    #[must_use]
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.into(), reached: Arc::new(Mutex::new(Reached::NotYet)) }
    }

    /// The sink's name.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// One line for people: `up`, `not tried yet`, or what failed last.
    #[must_use]
    pub fn describe(&self) -> String {
        match &*self.reached.lock() {
            Reached::NotYet => "not tried yet".to_owned(),
            Reached::Up => "up".to_owned(),
            Reached::Down(error) => format!("down: {error}"),
        }
    }

    /// The peer took a connection, or an export.
    pub fn up(&self, peer: &str) {
        let before = std::mem::replace(&mut *self.reached.lock(), Reached::Up);
        if matches!(before, Reached::Down(_)) {
            tracing::info!(sink = %self.sink, peer, "the sink is back");
        }
    }

    /// The peer cannot be reached, or does not take now what it is sent: it is kept and sent again.
    pub fn down(&self, peer: &str, error: &dyn std::fmt::Display) {
        if self.failed(error) {
            tracing::warn!(sink = %self.sink, peer, %error, "the sink is gone: what is for it is queued and sent again");
        }
    }

    /// The peer refuses for good what it is sent: it is dropped and counted.
    pub fn refused(&self, peer: &str, error: &dyn std::fmt::Display) {
        if self.failed(error) {
            tracing::warn!(sink = %self.sink, peer, %error, "the sink refuses what it is sent: it is dropped and counted");
        }
    }

    /// Whether this is news.
    fn failed(&self, error: &dyn std::fmt::Display) -> bool {
        let before = std::mem::replace(&mut *self.reached.lock(), Reached::Down(error.to_string()));
        !matches!(before, Reached::Down(_))
    }
}
