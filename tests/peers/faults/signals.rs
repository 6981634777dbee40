//! The signals' own queries, asked of a real Prometheus (by pull and by push) and of a real Graphite while what they tell of
//! happens. Each range holds for all three views, so that it is the margin within which they agree, too.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pushpull::signals::{Objective, Scope, Signal, signals};

use super::super::graphite_api::render_all;
use super::super::process::{PATIENCE, eventually};
use super::trial::Trial;
use super::views::View;

/// Four pushes, eight scrapes.
const WINDOW: Duration = Duration::from_secs(4);
/// One request in ten is of the database, and four a second more are the probe's, half of them of the database.
const FLAGS: [&str; 10] = [
    "--load",
    "60",
    "--probe",
    "500ms",
    "--database-pool",
    "8",
    "--database-queue",
    "4",
    "--database-timeout",
    "3s",
];

/// What a signal may be; `None` where it has no value.
type Expected = BTreeMap<&'static str, Option<RangeInclusive<f64>>>;

/// All signals of a service that is well: 64 requests a second, of which one in eight takes 0.1 s.
fn well() -> Expected {
    BTreeMap::from(
        [
            ("latency.quantile", 0.0..=0.5),
            ("latency.within", 0.95..=1.05),
            ("traffic", 54.0..=74.0),
            ("errors.explicit", 0.0..=0.0),
            ("errors.implicit", 0.0..=0.0),
            ("errors.policy", -0.05..=0.05),
            ("saturation.pool", 0.0..=0.4),
            ("saturation.queue", 0.0..=0.0),
            ("saturation.wait", 0.0..=0.1),
            ("saturation.timeouts", 0.0..=0.0),
        ]
        .map(|(name, range)| (name, Some(range))),
    )
}

fn with(changes: &[(&'static str, Option<RangeInclusive<f64>>)]) -> Expected {
    let mut expected = well();
    for (name, range) in changes {
        assert!(expected.insert(name, range.clone()).is_some(), "no signal is called {name}");
    }
    expected
}

/// Holds that each signal is soon as expected in each view that has it.
fn shows(trial: &Trial, stage: &str, expected: &Expected) {
    for view in View::ALL {
        let scope = Scope {
            service: trial.seen().name.to_owned(),
            job: trial.seen().job(view),
            window: WINDOW,
            objective: Objective::new(Duration::from_millis(500)),
        };
        let told = signals(&scope);
        let names: Vec<_> = told.iter().map(|signal| signal.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected.keys().copied().collect::<Vec<_>>(), "each signal is looked at");
        eventually(&format!("{stage}: the signals in {view:?}"), 2 * PATIENCE, || {
            told.iter().try_for_each(|signal| is_as(trial, view, signal, expected[signal.name].as_ref()))
        });
    }
}

fn is_as(
    trial: &Trial,
    view: View,
    signal: &Signal,
    expected: Option<&RangeInclusive<f64>>,
) -> Result<(), String> {
    let value = match (view, &signal.graphite) {
        (View::Graphite, None) => return Ok(()),
        (View::Graphite, Some(target)) => in_graphite(trial, target)?,
        (View::Pulled | View::Pushed, _) => match trial.seen().prometheus.query(&signal.promql)?.as_slice() {
            [] => None,
            [(labels, value)] if labels.is_empty() => Some(*value),
            other => panic!("{} is not one value without labels: {other:?}", signal.promql),
        },
    };
    match (value, expected) {
        (None, None) => Ok(()),
        (Some(value), Some(expected)) if expected.contains(&value) => Ok(()),
        _ => Err(format!("{} is {value:?}, not within {expected:?}", signal.name)),
    }
}

/// The value of the newest window that is over; none where there is none.
fn in_graphite(trial: &Trial, target: &str) -> Result<Option<f64>, String> {
    let shown = render_all(&trial.seen().graphite.web(), &[target.to_owned()], "now")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    // The last lines of a window may be a second on their way.
    let begun = (now - 1) / WINDOW.as_secs() * WINDOW.as_secs() - WINDOW.as_secs();
    match shown.as_slice() {
        [] => Ok(None),
        [series] => Ok(series.datapoints.iter().find(|(_, time)| *time == begun).map(|(value, _)| *value)),
        other => panic!("{target} is not one series: {other:?}"),
    }
}

#[test]
fn signals_tell_traffic_latency_and_errors() {
    let trial = Trial::start("signals", &[&FLAGS[..], &["--fault", "database-slow=100@3600"]].concat());
    shows(&trial, "well", &well());
    trial.begin("errors", "{\"value\":0.5,\"seconds\":600}", &[]);
    // Every other page that is checked is whole, or says that it is not.
    shows(&trial, "errors", &with(&[("errors.explicit", Some(0.4..=0.6))]));
    trial.stop();
}

#[test]
fn signals_tell_a_queue_and_pages_without_their_end() {
    let trial = Trial::start("saturated", &FLAGS);
    trial.begin("pool", "{\"value\":2,\"seconds\":600}", &[]);
    trial.begin("database-slow", "{\"value\":600,\"seconds\":600}", &[]);
    // Of seven or eight requests a second three are done, after a wait for four others.
    let slow = with(&[
        ("latency.quantile", Some(0.5..=5.0)),
        ("latency.within", Some(0.85..=0.99)),
        ("errors.policy", Some(0.01..=0.15)),
        ("errors.explicit", Some(0.02..=0.15)),
        ("saturation.pool", Some(0.9..=1.0)),
        ("saturation.queue", Some(3.0..=4.0)),
        ("saturation.wait", Some(0.6..=2.5)),
    ]);
    shows(&trial, "slow", &slow);
    trial.end("database-slow");
    trial.begin("pool", "{\"value\":0,\"seconds\":600}", &[]);
    trial.begin("truncate", "{\"seconds\":600}", &[]);
    // Nobody gets a connection: four wait for three seconds, and nobody's wait is over.
    let full = with(&[
        ("latency.quantile", Some(0.5..=5.0)),
        ("latency.within", Some(0.9..=0.995)),
        ("errors.policy", Some(0.005..=0.1)),
        ("errors.explicit", Some(0.05..=0.2)),
        ("saturation.pool", Some(0.9..=1.0)),
        ("saturation.queue", Some(3.0..=4.0)),
        // Of three pages one is without its end, and one says that it is not there.
        ("errors.implicit", Some(0.25..=0.55)),
        ("saturation.wait", None),
        ("saturation.timeouts", Some(0.5..=2.5)),
    ]);
    shows(&trial, "full", &full);
    trial.stop();
}
