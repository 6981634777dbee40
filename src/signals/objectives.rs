//! What the signals are held against: the share of requests that broke an objective, how many those are, and how full the
//! constrained resource is.
//!
//! It must not know a threshold: it gives the figure, whoever writes a rule compares it.

use super::{
    CONNECTIONS, DURATION, FAILED, MOST_CONNECTIONS, PENDING, PROBE_FAILURES, Scope, WRONG,
    query::Prometheus, query::Wanted,
};

/// An objective that requests keep or break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Its name in small letters.
    pub name: &'static str,
    /// The share of requests that broke it, in the scope's window; no value while nothing is asked of the service.
    pub broken_share: String,
    /// How many requests broke it in the scope's window; no value where no series of them is known.
    pub broken_count: String,
}

/// The objectives of the requests, availability and latency, over the scope's window.
#[must_use]
pub fn goals(scope: &Scope) -> [Goal; 2] {
    let prometheus = Prometheus::new(scope);
    let bound = scope.objective.bound();
    [
        Goal {
            name: "availability",
            broken_share: prometheus.share((DURATION, "_count", &[FAILED]), (DURATION, "_count")),
            broken_count: prometheus.increase((DURATION, "_count", &[FAILED])),
        },
        Goal {
            name: "latency",
            broken_share: format!("1 - {}", prometheus.within(DURATION, bound)),
            broken_count: prometheus.above(DURATION, bound),
        },
    ]
}

/// How many checks found a page without its end in the scope's window.
#[must_use]
pub fn broken_checks(scope: &Scope) -> String {
    Prometheus::new(scope).increase((PROBE_FAILURES, "", &[WRONG]))
}

/// How full the database's pool of connections is, and the queue before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturation {
    /// The shortest that the queue was in the window: above 0, somebody always waited.
    pub always_waiting: String,
    /// The queue now.
    pub queue: String,
    /// In how many seconds the queue reaches its limit if it goes on growing as in the window; no value where it does
    /// not grow.
    pub seconds_to_full: String,
    /// The same of the pool's connections.
    pub pool_seconds_to_full: String,
}

/// The queries of the saturation over the scope's window, of a queue that takes so many requests.
#[must_use]
pub fn saturation_of(scope: &Scope, queue_limit: u32) -> Saturation {
    const USED: Wanted<'_> = Wanted::is("db.client.connection.state", "used");
    let prometheus = Prometheus::new(scope);
    let queue = format!("sum({})", prometheus.series(PENDING, "", &[]));
    let most = prometheus.series(MOST_CONNECTIONS, "", &[]);
    let used = prometheus.series(CONNECTIONS, "", &[USED]);
    Saturation {
        always_waiting: prometheus.over_time("min", PENDING, &[]),
        seconds_to_full: format!(
            "clamp_min({queue_limit} - {queue}, 0) / (sum(deriv({}[{}])) > 0)",
            prometheus.series(PENDING, "", &[]),
            prometheus.range
        ),
        pool_seconds_to_full: format!(
            "clamp_min(sum({most}) - sum({used}), 0) / (sum(deriv({used}[{}])) > 0)",
            prometheus.range
        ),
        queue,
    }
}
