//! The database's instruments, by OpenTelemetry's conventions for database clients.
//!
//! Must not decide what is measured, or when.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter},
};
use parking_lot::RwLock;

use super::{
    error::OTHER,
    pool::{Open, Pool},
};

/// Boundaries in seconds, those of the conventions.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Causes that are told apart; a server cannot make more by answering with ever new codes.
const MOST_CAUSES: usize = 100;
const POOL_NAME: &str = "database";

/// What the gauges of the pool read when they are collected.
pub(super) struct Gauges {
    pub(super) pool: Pool,
    /// Operations in the queue before the pool.
    pub(super) pending: AtomicI64,
}

/// The instruments, bound wherever a request records.
pub(super) struct Instruments {
    succeeded: BoundHistogram<f64>,
    failed: ByCause<BoundHistogram<f64>>,
    failures: ByCause<BoundCounter<u64>>,
    wait_time: BoundHistogram<f64>,
    timeouts: BoundCounter<u64>,
    duration: Histogram<f64>,
    failures_of_all: Counter<u64>,
    /// The attributes of each operation.
    operation: Vec<KeyValue>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, operation: Vec<KeyValue>, gauges: &Weak<Gauges>) -> Self {
        let pool = [pool_name()];
        let seconds = |name, description| {
            let histogram = meter.f64_histogram(name).with_description(description).with_unit("s");
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        let duration = seconds("db.client.operation.duration", "Duration of database client operations.");
        let wait_time = seconds(
            "db.client.connection.wait_time",
            "The time it took to obtain an open connection from the pool.",
        );
        let timeouts = meter
            .u64_counter("db.client.connection.timeouts")
            .with_description(
                "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
            )
            .with_unit("{timeout}")
            .build();
        let failures = meter
            .u64_counter("pushpull.database.failures")
            .with_description("The number of operations that were not done, by what prevented them.")
            .with_unit("{operation}")
            .build();
        observe(meter, gauges);
        Self {
            succeeded: duration.bind(&operation),
            failed: ByCause::default(),
            failures: ByCause::default(),
            wait_time: wait_time.bind(&pool),
            timeouts: timeouts.bind(&pool),
            duration,
            failures_of_all: failures,
            operation,
        }
    }

    /// An operation got its connection after this time.
    pub(super) fn waited(&self, time: Duration) {
        self.wait_time.record(time.as_secs_f64());
    }

    /// An operation's time was over before it got a connection.
    pub(super) fn timed_out_waiting(&self) {
        self.timeouts.add(1);
    }

    /// The database did an operation, in this time.
    pub(super) fn succeeded(&self, time: Duration) {
        self.succeeded.record(time.as_secs_f64());
    }

    /// An operation was not done; `time` is what it took where it reached the database.
    pub(super) fn failed(&self, time: Option<Duration>, error_type: &str, status_code: Option<&str>) {
        let cause = |error_type: &str| KeyValue::new("error.type", error_type.to_owned());
        let bind = |error_type: &str| self.failures_of_all.bind(&[cause(error_type)]);
        self.failures.with(error_type, bind, |failures| failures.add(1));
        let Some(time) = time else { return };
        let bind = |error_type: &str| {
            let code = status_code.map(|_| KeyValue::new("db.response.status_code", error_type.to_owned()));
            let attributes: Vec<_> =
                self.operation.iter().cloned().chain([cause(error_type)]).chain(code).collect();
            self.duration.bind(&attributes)
        };
        self.failed.with(error_type, bind, |duration| duration.record(time.as_secs_f64()));
    }
}

fn pool_name() -> KeyValue {
    KeyValue::new("db.client.connection.pool.name", POOL_NAME)
}

/// The state of the pool and its queue, read from them whenever it is collected: it cannot drift.
fn observe(meter: &Meter, gauges: &Weak<Gauges>) {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let state = |name| [pool_name(), KeyValue::new("db.client.connection.state", name)];
    let (idle, used) = (state("idle"), state("used"));
    let seen = Weak::clone(gauges);
    meter
        .i64_observable_up_down_counter("db.client.connection.count")
        .with_description(
            "The number of connections that are currently in state described by the state attribute.",
        )
        .with_unit("{connection}")
        .with_callback(move |observer| {
            let Some(gauges) = seen.upgrade() else { return };
            let open = Open::of(&gauges.pool);
            observer.observe(count(open.idle), &idle);
            observer.observe(count(open.used), &used);
        })
        .build();
    let seen = Weak::clone(gauges);
    meter
        .i64_observable_up_down_counter("db.client.connection.max")
        .with_description("The maximum number of open connections allowed.")
        .with_unit("{connection}")
        .with_callback(move |observer| {
            let Some(gauges) = seen.upgrade() else { return };
            observer.observe(count(gauges.pool.status().max_size), &[pool_name()]);
        })
        .build();
    let seen = Weak::clone(gauges);
    meter
        .i64_observable_up_down_counter("db.client.connection.pending_requests")
        .with_description("The number of current pending requests for an open connection.")
        .with_unit("{request}")
        .with_callback(move |observer| {
            let Some(gauges) = seen.upgrade() else { return };
            observer.observe(gauges.pending.load(Ordering::Relaxed), &[pool_name()]);
        })
        .build();
}

/// An instrument bound to each cause that has come up.
struct ByCause<T>(RwLock<HashMap<Cow<'static, str>, T>>);

impl<T> Default for ByCause<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> ByCause<T> {
    fn with(&self, cause: &str, bind: impl FnOnce(&str) -> T, record: impl FnOnce(&T)) {
        if let Some(bound) = self.0.read().get(cause) {
            return record(bound);
        }
        let mut known = self.0.write();
        let cause = if known.len() < MOST_CAUSES { Cow::Owned(cause.to_owned()) } else { OTHER.into() };
        let bound = known.entry(cause.clone()).or_insert_with(|| bind(&cause));
        record(bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_new_causes_do_not_make_ever_new_series() {
        let causes = ByCause::default();
        let mut last = String::new();
        for code in 0..2 * MOST_CAUSES {
            causes.with(&format!("{code:05}"), str::to_owned, |bound| last.clone_from(bound));
        }
        assert_eq!(last, OTHER);
        causes.with("00007", str::to_owned, |bound| last.clone_from(bound));
        assert_eq!((last.as_str(), causes.0.read().len()), ("00007", MOST_CAUSES + 1));
    }
}
