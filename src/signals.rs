//! The four golden signals, each once: what it means, and how Prometheus and Graphite are asked for it.
//!
//! The only place where such a query is written; pages, dashboards and rules are made from it. It must not ask anyone,
//! and knows names only by way of `naming`.

pub mod figures;
mod objectives;
pub mod pipeline;
mod query;

pub use self::{
    objectives::{Goal, Saturation, broken_checks, goals, saturation_of},
    query::{job, time},
};

use std::time::Duration;

use self::query::{Graphite, Prometheus, Wanted};
use crate::{
    naming::prometheus::{Suffix, family_name},
    service::SECONDS,
};

/// The quantile of the latency: what 99 of 100 requests do not exceed.
const QUANTILE: f64 = 0.99;

/// Which of the four a signal belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Golden {
    /// How long a request takes.
    Latency,
    /// How much is asked.
    Traffic,
    /// How much of it fails.
    Errors,
    /// How full the most constrained resource is, and the queue before it.
    Saturation,
}

impl Golden {
    /// Its name in small letters.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Traffic => "traffic",
            Self::Errors => "errors",
            Self::Saturation => "saturation",
        }
    }
}

/// One signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Which of the four it is.
    pub golden: Golden,
    /// Its own name, in small letters with dots: `errors.explicit`.
    pub name: &'static str,
    /// A title for people.
    pub title: String,
    /// UCUM; `1` for a share.
    pub unit: &'static str,
    /// What it says, in a sentence.
    pub meaning: String,
    /// The query that gives one value; none while nothing is asked of the service, where it is a share.
    pub promql: String,
    /// The target that gives one series; `None` where Graphite has no function for it.
    pub graphite: Option<String>,
}

/// What a request may take, as it can be counted: by the upper bound of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    asked: Duration,
    bound: f64,
}

impl Objective {
    /// An objective; it is counted by its own bound where there is a bucket that ends with it, else by the next higher
    /// one, else by the highest.
    #[must_use]
    pub fn new(asked: Duration) -> Self {
        let highest = SECONDS[SECONDS.len() - 1];
        let bound = SECONDS.into_iter().find(|bound| *bound >= asked.as_secs_f64()).unwrap_or(highest);
        Self { asked, bound }
    }

    /// What was asked for.
    #[must_use]
    pub const fn asked(&self) -> Duration {
        self.asked
    }

    /// The bound that it is counted by, in seconds.
    #[must_use]
    pub const fn bound(&self) -> f64 {
        self.bound
    }

    /// What to say where the two differ.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let asked = self.asked.as_secs_f64();
        let differs = asked.to_bits() != self.bound.to_bits();
        differs.then(|| format!("{asked} s is no bound of a bucket: {} s is counted instead", self.bound))
    }
}

/// Whose signals, over which time, against which objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// The value of Graphite's tag `service.name`.
    pub service: String,
    /// The value of Prometheus's label `job`: of what was pushed the service's name, with its namespace and a slash before
    /// it where it has one; of what is pulled the name of the scrape configuration.
    pub job: String,
    /// Rates are over this time. At least four scrapes or pushes; for Graphite in whole seconds.
    pub window: Duration,
    /// What a request may take.
    pub objective: Objective,
}

/// An instrument by its OpenTelemetry name, from which the other names are derived.
#[derive(Clone, Copy, Debug)]
struct Instrument {
    name: &'static str,
    unit: &'static str,
    suffix: Suffix,
}

impl Instrument {
    const fn new(name: &'static str, unit: &'static str, suffix: Suffix) -> Self {
        Self { name, unit, suffix }
    }

    fn family(self) -> String {
        family_name(self.name, self.unit, self.suffix)
    }
}

const REQUESTS: Instrument = Instrument::new("requests", "", Suffix::Total);
const DURATION: Instrument = Instrument::new("http.server.request.duration", "s", Suffix::Distribution);
const PROBES: Instrument = Instrument::new("probe.duration", "s", Suffix::Distribution);
const PROBE_FAILURES: Instrument = Instrument::new("probe.failures", "{check}", Suffix::Total);
const CONNECTIONS: Instrument = Instrument::new("db.client.connection.count", "{connection}", Suffix::Gauge);
const MOST_CONNECTIONS: Instrument =
    Instrument::new("db.client.connection.max", "{connection}", Suffix::Gauge);
const PENDING: Instrument =
    Instrument::new("db.client.connection.pending_requests", "{request}", Suffix::Gauge);
const WAIT: Instrument = Instrument::new("db.client.connection.wait_time", "s", Suffix::Distribution);
const UPTIME: Instrument = Instrument::new("process.uptime", "s", Suffix::Gauge);
const TIMEOUTS: Instrument = Instrument::new("db.client.connection.timeouts", "{timeout}", Suffix::Total);

/// All signals, in the order in which they are to be shown.
#[must_use]
pub fn signals(scope: &Scope) -> Vec<Signal> {
    all(scope, &Prometheus::new(scope), &Graphite::new(scope))
}

/// The same for a dashboard, whose variables stand in the place of the scope's window: in Prometheus's range selectors, and
/// as the length of Graphite's intervals.
#[must_use]
pub fn signals_over(scope: &Scope, range: &str, interval: &str) -> Vec<Signal> {
    let prometheus = Prometheus { scope, range: range.to_owned() };
    all(scope, &prometheus, &Graphite { scope, interval: interval.to_owned() })
}

fn all(scope: &Scope, prometheus: &Prometheus<'_>, graphite: &Graphite<'_>) -> Vec<Signal> {
    let mut signals = requests(scope, prometheus, graphite);
    signals.extend(saturation(prometheus, graphite));
    signals
}

/// An answer that says that it failed.
const FAILED: Wanted<'_> = Wanted::like("http.response.status_code", "5..");
/// A check that found a page without its end.
const WRONG: Wanted<'_> = Wanted::is("reason", "text");

/// Latency, traffic and errors: what users feel.
fn requests(scope: &Scope, prometheus: &Prometheus<'_>, graphite: &Graphite<'_>) -> Vec<Signal> {
    let bound = scope.objective.bound();
    let within = (prometheus.within(DURATION, bound), graphite.within(DURATION, bound));
    vec![
        Signal {
            golden: Golden::Latency,
            name: "latency.quantile",
            title: "Latency that 99 of 100 requests do not exceed".to_owned(),
            unit: "s",
            meaning: format!(
                "To be below the objective, {bound} s; failed requests count too, and are often quick."
            ),
            promql: prometheus.quantile(QUANTILE, DURATION),
            graphite: None,
        },
        Signal {
            golden: Golden::Latency,
            name: "latency.within",
            title: format!("Share of requests answered within {bound} s"),
            unit: "1",
            meaning: "How many kept to the objective, of those that ended.".to_owned(),
            promql: within.0.clone(),
            graphite: Some(within.1.clone()),
        },
        Signal {
            golden: Golden::Traffic,
            name: "traffic",
            title: "Requests".to_owned(),
            unit: "{request}/s",
            meaning: "What is asked of / and /database, whatever becomes of it.".to_owned(),
            promql: prometheus.rate(REQUESTS, ""),
            graphite: Some(graphite.rate(REQUESTS, "")),
        },
        Signal {
            golden: Golden::Errors,
            name: "errors.explicit",
            title: "Share of requests answered 5xx".to_owned(),
            unit: "1",
            meaning: "Failures that say so.".to_owned(),
            promql: prometheus.share((DURATION, "_count", &[FAILED]), (DURATION, "_count")),
            graphite: Some(graphite.share((DURATION, ".count", &[FAILED]), (DURATION, ".count"))),
        },
        Signal {
            golden: Golden::Errors,
            name: "errors.implicit",
            title: "Share of checks that found a page without its end".to_owned(),
            unit: "1",
            meaning: "Answers that say 200 and are wrong; only a probe sees them (--probe).".to_owned(),
            promql: prometheus.share((PROBE_FAILURES, "", &[WRONG]), (PROBES, "_count")),
            graphite: Some(graphite.share((PROBE_FAILURES, "", &[WRONG]), (PROBES, ".count"))),
        },
        Signal {
            golden: Golden::Errors,
            name: "errors.policy",
            title: format!("Share of requests that took longer than {bound} s"),
            unit: "1",
            meaning: "Answers later than the objective promises.".to_owned(),
            promql: format!("1 - {}", within.0),
            graphite: Some(format!("offset(scale({},-1),1)", within.1)),
        },
    ]
}

/// The most constrained resource, the database's pool of connections, and the queue before it.
fn saturation(prometheus: &Prometheus<'_>, graphite: &Graphite<'_>) -> Vec<Signal> {
    const USED: Wanted<'_> = Wanted::is("db.client.connection.state", "used");
    vec![
        Signal {
            golden: Golden::Saturation,
            name: "saturation.pool",
            title: "Share of the database's connections in use".to_owned(),
            unit: "1",
            meaning: "At 1 the pool is full, which is well as long as nobody waits.".to_owned(),
            promql: format!(
                "{} / {}",
                prometheus.over_time("avg", CONNECTIONS, &[USED]),
                prometheus.over_time("max", MOST_CONNECTIONS, &[])
            ),
            graphite: Some(format!(
                "divideSeries({},{})",
                graphite.over_time("avg", CONNECTIONS, &[USED]),
                graphite.over_time("max", MOST_CONNECTIONS, &[])
            )),
        },
        Signal {
            golden: Golden::Saturation,
            name: "saturation.queue",
            title: "Requests that wait for a connection".to_owned(),
            unit: "{request}",
            meaning:
                "The longest that the queue before the pool was; one that does not shrink makes answers slow."
                    .to_owned(),
            promql: prometheus.over_time("max", PENDING, &[]),
            graphite: Some(graphite.over_time("max", PENDING, &[])),
        },
        Signal {
            golden: Golden::Saturation,
            name: "saturation.wait",
            title: "Mean wait for a connection".to_owned(),
            unit: "s",
            meaning: "What the queue adds to each request of the database.".to_owned(),
            promql: prometheus.mean(WAIT),
            graphite: Some(graphite.mean(WAIT)),
        },
        Signal {
            golden: Golden::Saturation,
            name: "saturation.timeouts",
            title: "Requests that waited for a connection in vain".to_owned(),
            unit: "{timeout}/s",
            meaning: "The rate at which the queue gives up.".to_owned(),
            promql: prometheus.rate(TIMEOUTS, ""),
            graphite: Some(graphite.rate(TIMEOUTS, "")),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(service: &str, objective: u64) -> Scope {
        Scope {
            service: service.to_owned(),
            job: service.to_owned(),
            window: Duration::from_secs(300),
            objective: Objective::new(Duration::from_millis(objective)),
        }
    }

    #[test]
    fn the_objective_is_a_bound() {
        for (milliseconds, bound) in
            [(1000, 1.0), (250, 0.25), (800, 1.0), (1001, 2.5), (1, 0.005), (10_000, 10.0), (60_000, 10.0)]
        {
            let objective = Objective::new(Duration::from_millis(milliseconds));
            assert_eq!(objective.bound(), bound, "{milliseconds} ms");
            assert_eq!(objective.note().is_none(), bound * 1000.0 == milliseconds as f64);
        }
        let note = Objective::new(Duration::from_millis(800)).note();
        assert_eq!(note.as_deref(), Some("0.8 s is no bound of a bucket: 1 s is counted instead"));
    }

    /// Whatever the service is called, brackets and quotes close, and the name stays within its quotes.
    #[test]
    fn any_name_stays_within_its_quotes() {
        for name in
            ["pushpull", "a b", "it's", "say \"so\"", "back\\slash", "{x}", "(", "new\nline", "größe;~"]
        {
            for signal in signals(&scope(name, 250)) {
                assert!(is_closed(&signal.promql, &['"']), "{}", signal.promql);
                if let Some(target) = &signal.graphite {
                    assert!(is_closed(target, &['\'', '"']), "{target}");
                }
            }
        }
    }

    fn is_closed(query: &str, quotes: &[char]) -> bool {
        let (mut open, mut quote, mut escaped) = (Vec::new(), None, false);
        for c in query.chars() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(_), '\n') => return false,
                (Some(end), c) if c == end => quote = None,
                (Some(_), _) => {}
                (None, c) if quotes.contains(&c) => quote = Some(c),
                (None, '(' | '[' | '{') => open.push(c),
                (None, ')') if open.pop() != Some('(') => return false,
                (None, ']') if open.pop() != Some('[') => return false,
                (None, '}') if open.pop() != Some('{') => return false,
                _ => {}
            }
        }
        open.is_empty() && quote.is_none()
    }
}
