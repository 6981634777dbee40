//! The three ways to see a service, pulled and pushed in Prometheus, and in Graphite; and what happened between two looks.
//!
//! Names are written out for each side, and not derived: that both have the same figures is what is tested.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::super::graphite::Graphite;
use super::super::graphite_api::{render, render_all};
use super::super::prometheus::Prometheus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Prometheus, which scrapes the service.
    Pulled,
    /// Prometheus, which scrapes the collector's exposition.
    Pushed,
    /// Graphite, to which the collector writes.
    Graphite,
}

impl View {
    pub(super) const ALL: [Self; 3] = [Self::Pulled, Self::Pushed, Self::Graphite];
}

/// The series that are added up to one figure: Prometheus's family, Graphite's name, and what the attributes must be,
/// each by a regular expression, or absent where it is empty.
struct Selector {
    figure: &'static str,
    family: &'static str,
    name: &'static str,
    attributes: &'static [(&'static str, &'static str)],
}

const fn selector(
    figure: &'static str,
    family: &'static str,
    name: &'static str,
    attributes: &'static [(&'static str, &'static str)],
) -> Selector {
    Selector { figure, family, name, attributes }
}

const STATUS: &str = "http.response.status_code";
const ROUTE: &str = "http.route";
const ERROR: &str = "error.type";
const ANSWERS: (&str, &str) =
    ("http_server_request_duration_seconds_count", "http.server.request.duration.count");
const ANSWER_TIME: (&str, &str) =
    ("http_server_request_duration_seconds_sum", "http.server.request.duration.sum");
const OPERATIONS: (&str, &str) =
    ("db_client_operation_duration_seconds_count", "db.client.operation.duration.count");
const OPERATION_TIME: (&str, &str) =
    ("db_client_operation_duration_seconds_sum", "db.client.operation.duration.sum");
const FAILURES: (&str, &str) = ("pushpull_database_failures_total", "pushpull.database.failures");
const PAGE: &str = "page";
const CHECKS: (&str, &str) = ("probe_duration_seconds_count", "probe.duration.count");
const LOAD: (&str, &str) = ("pushpull_load_duration_seconds_count", "pushpull.load.duration.count");
const PROBE_FAILURES: (&str, &str) = ("probe_failures_total", "probe.failures");

const FIGURES: [Selector; 27] = [
    selector("uptime", "process_uptime_seconds", "process.uptime", &[]),
    selector("requests", "requests_total", "requests", &[]),
    selector("answers", ANSWERS.0, ANSWERS.1, &[]),
    selector("answers 5xx", ANSWERS.0, ANSWERS.1, &[(STATUS, "5.."), (ERROR, "5..")]),
    selector("answers 500", ANSWERS.0, ANSWERS.1, &[(STATUS, "500"), (ERROR, "500")]),
    selector("answers 503", ANSWERS.0, ANSWERS.1, &[(STATUS, "503"), (ERROR, "503")]),
    selector("/ answers", ANSWERS.0, ANSWERS.1, &[(ROUTE, "/")]),
    selector("/ answers 5xx", ANSWERS.0, ANSWERS.1, &[(ROUTE, "/"), (STATUS, "5..")]),
    selector("/ time", ANSWER_TIME.0, ANSWER_TIME.1, &[(ROUTE, "/")]),
    selector("/database answers", ANSWERS.0, ANSWERS.1, &[(ROUTE, "/database/")]),
    selector("/database answers 5xx", ANSWERS.0, ANSWERS.1, &[(ROUTE, "/database/"), (STATUS, "5..")]),
    selector("/database time", ANSWER_TIME.0, ANSWER_TIME.1, &[(ROUTE, "/database/")]),
    selector("operations", OPERATIONS.0, OPERATIONS.1, &[(ERROR, "")]),
    selector("operations time", OPERATION_TIME.0, OPERATION_TIME.1, &[(ERROR, "")]),
    selector("operations refused", OPERATIONS.0, OPERATIONS.1, &[(ERROR, "connection_refused")]),
    selector("failures refused", FAILURES.0, FAILURES.1, &[(ERROR, "connection_refused")]),
    selector("failures shed", FAILURES.0, FAILURES.1, &[(ERROR, "queue_full")]),
    selector(
        "waits",
        "db_client_connection_wait_time_seconds_count",
        "db.client.connection.wait_time.count",
        &[],
    ),
    selector(
        "waits time",
        "db_client_connection_wait_time_seconds_sum",
        "db.client.connection.wait_time.sum",
        &[],
    ),
    selector("checks text", PROBE_FAILURES.0, PROBE_FAILURES.1, &[("reason", "text")]),
    selector("/ checks", CHECKS.0, CHECKS.1, &[(PAGE, "/")]),
    selector("/ checks text", PROBE_FAILURES.0, PROBE_FAILURES.1, &[(PAGE, "/"), ("reason", "text")]),
    selector("/database checks", CHECKS.0, CHECKS.1, &[(PAGE, "/database/")]),
    selector(
        "/database checks text",
        PROBE_FAILURES.0,
        PROBE_FAILURES.1,
        &[(PAGE, "/database/"), ("reason", "text")],
    ),
    selector("/metrics checks", CHECKS.0, CHECKS.1, &[(PAGE, "/metrics/")]),
    selector(
        "/metrics checks text",
        PROBE_FAILURES.0,
        PROBE_FAILURES.1,
        &[(PAGE, "/metrics/"), ("reason", "text")],
    ),
    selector("unanswered", LOAD.0, LOAD.1, &[("outcome", "unreachable|broken|timeout")]),
];

/// Figures at one instant, by their names.
pub(super) type Reading = BTreeMap<&'static str, f64>;

/// Where a service is seen: its name is its job by push, and its `service.name` in Graphite.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) prometheus: &'a Prometheus,
    pub(super) graphite: &'a Graphite,
    pub(super) name: &'a str,
}

impl Seen<'_> {
    /// The job that a view of Prometheus has.
    pub(super) fn job(&self, view: View) -> String {
        if view == View::Pulled { format!("{}-pulled", self.name) } else { self.name.to_owned() }
    }

    /// All figures, of one instant; none where the view has nothing that is alive.
    pub(super) fn reading(&self, view: View) -> Result<Reading, String> {
        self.read(view, &FIGURES.iter().collect::<Vec<_>>())
    }

    /// The same of some figures, of which "uptime" is one.
    pub(super) fn reading_of(&self, view: View, figures: &[&str]) -> Result<Reading, String> {
        let wanted = FIGURES.iter().filter(|selector| figures.contains(&selector.figure));
        self.read(view, &wanted.collect::<Vec<_>>())
    }

    fn read(&self, view: View, wanted: &[&Selector]) -> Result<Reading, String> {
        let reading =
            if view == View::Graphite { self.in_graphite(wanted) } else { self.in_prometheus(view, wanted) }?;
        if reading["uptime"] > 0.0 { Ok(reading) } else { Err(format!("{view:?} shows no process")) }
    }

    fn in_prometheus(&self, view: View, wanted: &[&Selector]) -> Result<Reading, String> {
        // One query, so that all is read at one instant.
        let parts = wanted.iter().map(|Selector { figure, family, attributes, .. }| {
            let attributes: String = attributes
                .iter()
                .map(|(key, value)| format!(",{}=~\"{value}\"", key.replace('.', "_")))
                .collect();
            let sum = format!("sum({family}{{job=\"{}\"{attributes}}}) or vector(0)", self.job(view));
            format!("label_replace({sum},\"figure\",\"{figure}\",\"\",\"\")")
        });
        let shown = self.prometheus.query(&parts.collect::<Vec<_>>().join(" or "))?;
        let value = |figure| {
            let found = shown.iter().find(|(labels, _)| labels.get("figure").is_some_and(|f| f == figure));
            found.map(|(_, value)| (figure, *value)).ok_or_else(|| format!("no {figure} in {shown:?}"))
        };
        wanted.iter().map(|selector| value(selector.figure)).collect()
    }

    fn in_graphite(&self, wanted: &[&Selector]) -> Result<Reading, String> {
        let targets = wanted.iter().map(|Selector { figure, name, attributes, .. }| {
            let attributes: String = attributes
                .iter()
                .map(|(key, value)| match *value {
                    "" => format!(",'{key}='"),
                    value => format!(",'{key}=~^({value})$'"),
                })
                .collect();
            let series = format!("seriesByTag('name={name}','service.name={}'{attributes})", self.name);
            format!("alias(sumSeries(keepLastValue({series})),'{figure}')")
        });
        // The lines of the newest second may still be on their way.
        let shown = render_all(&self.graphite.web(), &targets.collect::<Vec<_>>(), "-1s")?;
        let value = |figure: &str| {
            let series = shown.iter().find(|series| series.target == figure);
            // What has not happened yet has no series.
            series.and_then(|series| series.values().last().copied()).unwrap_or(0.0)
        };
        Ok(wanted.iter().map(|selector| (selector.figure, value(selector.figure))).collect())
    }

    /// The newest value of the one series of this name, 0 where it is not there.
    pub(super) fn newest(
        &self,
        view: View,
        (family, name): (&str, &str),
        attributes: &[(&str, &str)],
    ) -> Result<f64, String> {
        if view == View::Graphite {
            let attributes: String =
                attributes.iter().map(|(key, value)| format!(",'{key}={value}'")).collect();
            let target = format!("seriesByTag('name={name}','service.name={}'{attributes})", self.name);
            let shown = render(&self.graphite.web(), &target)?;
            return Ok(shown.first().and_then(|series| series.values().last().copied()).unwrap_or(0.0));
        }
        let attributes: String =
            attributes.iter().map(|(key, value)| format!(",{}=\"{value}\"", key.replace('.', "_"))).collect();
        let shown = self.prometheus.query(&format!("{family}{{job=\"{}\"{attributes}}}", self.job(view)))?;
        Ok(shown.first().map_or(0.0, |(_, value)| *value))
    }
}

/// What happened between two looks at a view.
#[derive(Debug)]
pub(super) struct Window {
    view: View,
    growth: Reading,
}

impl Window {
    pub(super) fn between(view: View, before: &Reading, after: &Reading) -> Self {
        Self { view, growth: after.iter().map(|(figure, value)| (*figure, value - before[figure])).collect() }
    }

    /// How much a figure grew.
    pub(super) fn growth(&self, figure: &str) -> f64 {
        self.growth[figure]
    }

    /// How much a figure grew in each second of the service's own clock.
    pub(super) fn rate(&self, figure: &str) -> f64 {
        self.growth(figure) / self.growth("uptime")
    }

    /// How much one figure grew with each that another grew by: a share, or a mean.
    pub(super) fn per(&self, part: &str, all: &str) -> f64 {
        self.growth(part) / self.growth(all)
    }

    /// Whether this many requests came in each second.
    pub(super) fn traffic(&self, expected: RangeInclusive<f64>) -> Result<(), Flaw> {
        self.holds("requests a second", self.rate("requests"), expected).map_err(Flaw::Time)
    }

    /// Whether the mean of what took `TIME` of `NAME time` in `COUNT` is within the range, in seconds: never below it,
    /// and above it for as long at most as the machine is busy.
    pub(super) fn mean(&self, time: &str, count: &str, expected: RangeInclusive<f64>) -> Result<(), Flaw> {
        let mean = self.per(time, count);
        let flaw = if mean > *expected.end() { Flaw::Time } else { Flaw::Count };
        self.holds(&format!("mean {time}"), mean, expected).map_err(flaw)
    }

    /// Whether that part of what happened was such.
    pub(super) fn share(&self, part: &str, all: &str, expected: RangeInclusive<f64>) -> Result<(), Flaw> {
        let share = self.per(part, all);
        self.holds(&format!("share of {part} in {all}"), share, expected).map_err(Flaw::Count)
    }

    /// The same where the share depends on how quickly one request comes after another.
    pub(super) fn share_in_time(
        &self,
        part: &str,
        all: &str,
        expected: RangeInclusive<f64>,
    ) -> Result<(), Flaw> {
        self.share(part, all, expected).map_err(|flaw| Flaw::Time(flaw.to_string()))
    }

    /// Whether all of it was such, but for what was under way when the window began or ended.
    pub(super) fn all(&self, part: &str, all: &str) -> Result<(), Flaw> {
        let all = self.growth(all);
        self.holds(part, self.growth(part), all - 2.0..=all + 1.0).map_err(Flaw::Count)
    }

    /// Whether none of these grew.
    pub(super) fn none(&self, figures: &[&str]) -> Result<(), Flaw> {
        let still = |figure: &&str| self.holds(figure, self.growth(figure), 0.0..=0.0).map_err(Flaw::Count);
        figures.iter().try_for_each(still)
    }

    fn holds(&self, what: &str, value: f64, expected: RangeInclusive<f64>) -> Result<(), String> {
        if expected.contains(&value) {
            return Ok(());
        }
        let Self { view, growth } = self;
        Err(format!("in {view:?} {what} is {value}, not within {expected:?}, where it grew by {growth:?}"))
    }
}

/// Why a window is not as it should be.
#[derive(Debug)]
pub(super) enum Flaw {
    /// What was recorded is wrong, however busy the machine is.
    Count(String),
    /// It took longer or came slower than it should, which a busy machine does for a while.
    Time(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Count(text) | Self::Time(text)) = self;
        f.write_str(text)
    }
}
