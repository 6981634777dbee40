//! Exporters: from the pipeline's sinks to the peers, each with its own bounded queue.

pub mod graphite;
pub mod otlp;
pub mod prometheus;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::batch::Signal;

/// How far apart two log lines about refusals of one sink are.
const REFUSALS_APART: Duration = Duration::from_secs(60);

/// So many changes of a sink are logged in that time.
const MOST_CHANGES: usize = 6;

/// Whether a sink's peer can be reached; each change is logged once, unless there are many.
#[derive(Clone, Debug)]
pub struct State {
    sink: Arc<str>,
    condition: Arc<Mutex<Condition>>,
}

#[derive(Debug, PartialEq)]
enum Reached {
    NotYet,
    Up,
    Down(String),
    Refuses(String),
}

#[derive(Debug)]
struct Condition {
    reached: Reached,
    /// When a refusal of each signal was logged last.
    refusal_logged: BTreeMap<Signal, Instant>,
    /// When it was logged last that the peer is gone, and why.
    down_logged: Option<(Instant, String)>,
    /// Whether it was logged last that the peer is gone.
    is_logged_down: bool,
    changes: Changes,
}

/// The changes of the last minute.
#[derive(Debug)]
struct Changes {
    start: Instant,
    logged: usize,
    left_out: u64,
    /// Why the peer was gone, as far as it was logged.
    reasons: Vec<String>,
}

impl Changes {
    /// Whether a change is to be logged: then how many before it were not. A reason that was not logged yet is, also
    /// where there are many changes. What is no change, since the one before was not logged, is not counted.
    fn log(&mut self, now: Instant, reason: Option<&str>, is_change: bool) -> Option<u64> {
        let mut earlier = 0;
        if now.saturating_duration_since(self.start) >= REFUSALS_APART {
            earlier = self.left_out;
            *self = Self { start: now, logged: 0, left_out: 0, reasons: Vec::new() };
        }
        let is_new = reason.is_some_and(|reason| self.reasons.iter().all(|known| known != reason));
        let most = if is_new { 2 * MOST_CHANGES } else { MOST_CHANGES };
        if self.logged >= most {
            self.left_out += u64::from(is_change);
            return None;
        }
        self.logged += 1;
        self.reasons.extend(reason.filter(|_| is_new).map(str::to_owned));
        Some(earlier + std::mem::take(&mut self.left_out))
    }
}

/// A number to be logged, where it is not 0.
fn non_zero(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

impl State {
    /// The state of a sink of which nothing is known yet.
    #[must_use]
    pub fn new(sink: &str) -> Self {
        let condition = Condition {
            reached: Reached::NotYet,
            refusal_logged: BTreeMap::new(),
            down_logged: None,
            is_logged_down: false,
            changes: Changes { start: Instant::now(), logged: 0, left_out: 0, reasons: Vec::new() },
        };
        Self { sink: sink.into(), condition: Arc::new(Mutex::new(condition)) }
    }

    /// The sink's name.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// One line for people: `up`, `not tried yet`, or what failed last.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.condition.lock().reached {
            Reached::NotYet => "not tried yet".to_owned(),
            Reached::Up => "up".to_owned(),
            Reached::Down(error) => format!("down: {error}"),
            Reached::Refuses(error) => format!("refuses what it is sent: {error}"),
        }
    }

    /// A first connection stands. After a failure that alone says little.
    pub fn connected(&self) {
        let mut condition = self.condition.lock();
        if condition.reached == Reached::NotYet {
            condition.reached = Reached::Up;
        }
    }

    /// The peer took a connection, or an export.
    pub fn up(&self, peer: &str) {
        let mut condition = self.condition.lock();
        let is_change = std::mem::replace(&mut condition.reached, Reached::Up) != Reached::Up;
        if !condition.is_logged_down {
            return;
        }
        let Some(left_out) = condition.changes.log(Instant::now(), None, is_change) else { return };
        condition.is_logged_down = false;
        drop(condition);
        tracing::info!(sink = %self.sink, peer, changes_left_out = non_zero(left_out), "the sink is back");
    }

    /// The peer cannot be reached, or does not take now what it is sent: it is kept and sent again. Another reason than
    /// the last one that was logged is logged too, once in a while: what is only away may come back as a wrong address.
    pub fn down(&self, peer: &str, error: &dyn std::fmt::Display) {
        let error = error.to_string();
        let mut condition = self.condition.lock();
        let reached = Reached::Down(error.clone());
        let is_change = condition.reached != reached;
        condition.reached = reached;
        let now = Instant::now();
        let said = condition.down_logged.as_ref().is_some_and(|(logged, said)| {
            *said == error || now.saturating_duration_since(*logged) < REFUSALS_APART
        });
        if said && condition.is_logged_down {
            return;
        }
        let Some(left_out) = condition.changes.log(now, Some(&error), is_change) else { return };
        condition.is_logged_down = true;
        condition.down_logged = Some((now, error.clone()));
        drop(condition);
        tracing::warn!(
            sink = %self.sink, peer, %error, changes_left_out = non_zero(left_out),
            "the sink is gone: what is for it is queued and sent again"
        );
    }

    /// The peer refuses for good what it is sent of a signal, or a part of it: that is dropped and counted. One that
    /// refuses every second request would fill a log; so the log names it at most once a minute for each signal.
    pub fn refused(&self, signal: Signal, error: &str) {
        let signal_name = signal.as_str();
        let mut condition = self.condition.lock();
        condition.reached = Reached::Refuses(format!("{signal_name}: {error}"));
        let now = Instant::now();
        let recently = |logged: &Instant| now.saturating_duration_since(*logged) < REFUSALS_APART;
        if condition.refusal_logged.get(&signal).is_some_and(recently) {
            return;
        }
        condition.refusal_logged.insert(signal, now);
        drop(condition);
        tracing::warn!(
            sink = %self.sink, signal = signal_name, %error,
            "the sink refuses what it is sent: it is dropped and counted"
        );
    }
}
