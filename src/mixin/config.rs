//! The mixin's configuration: whose series, which objectives, thresholds and times, and where the links lead.
//!
//! A file needs only what differs from the default one. Everything that is wrong with it is named at once.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{
    config::{Invalid, Problem},
    signals::{Objective, Scope},
};

/// The default configuration, as it is written where there is none.
pub const DEFAULT: &str = include_str!("config.json");

/// The shortest and the longest time of any field.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A configuration that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The value of Graphite's tag `service.name`, and the label `service` of every alert.
    pub service: String,
    /// Prometheus's jobs.
    pub jobs: Jobs,
    /// The share of requests that must not be answered 5xx.
    pub availability: f64,
    /// The share of requests that must be answered in time.
    pub latency: f64,
    /// What a request may take.
    pub latency_within: Duration,
    /// The share of the time in which telemetry must be fresh.
    pub freshness: f64,
    /// How old what was pushed may be.
    pub freshness_within: Duration,
    /// How fast which budget may burn before somebody is woken.
    pub page: Vec<Burn>,
    /// How fast before somebody gets a ticket.
    pub ticket: Vec<Burn>,
    /// Limits that are no objectives.
    pub thresholds: Thresholds,
    /// Over which times the alerts that are no objectives look.
    pub windows: Windows,
    /// How long an alert's condition must hold.
    pub hold: Hold,
    /// The time between two evaluations of every rule.
    pub interval: Duration,
    /// The uids of Grafana's data sources.
    pub datasources: Datasources,
    /// Bases of URLs; empty for none.
    pub links: Links,
}

/// Prometheus's jobs; one that is `null` in the file has no rules and no panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The job that scrapes the service.
    pub pulled: String,
    /// The job of what the service pushed.
    pub pushed: Option<String>,
    /// The job of the stock Collector's own metrics.
    pub collector: Option<String>,
    /// The job of the own metrics of `pushpull collect`.
    pub bridge: Option<String>,
    /// The job by which Prometheus scrapes itself.
    pub prometheus: Option<String>,
}

/// An alert on two windows: the budget burns so many times too fast in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// How many times faster than the objective allows.
    pub rate: f64,
    /// So long that it matters.
    pub long: Duration,
    /// So short that it still goes on.
    pub short: Duration,
}

/// Limits that are no objectives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Requests that must have broken an objective in the long window: below, there is too little traffic to judge.
    pub broken_requests: u32,
    /// Checks of the probe that must have found a page without its end, and which share of all.
    pub broken_checks: u32,
    /// The share of them.
    pub broken_checks_share: f64,
    /// The share of the pool at which it is full.
    pub pool_share: f64,
    /// The requests that may wait for a connection (`--database-queue`).
    pub queue_limit: u32,
    /// A queue that is full within this time.
    pub time_to_full: Duration,
}

/// Over which times the alerts that are no objectives look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The probe's checks.
    pub checks: Duration,
    /// The pool and its queue.
    pub saturation: Duration,
    /// What was lost.
    pub loss: Duration,
    /// The queues of the Collector and the bridge.
    pub queues: Duration,
}

/// How long a condition must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A target is down.
    pub down: Duration,
    /// What is pushed is stale.
    pub stale: Duration,
    /// The pool is full, or its queue fills.
    pub saturation: Duration,
    /// A queue of the Collector or the bridge grows.
    pub queues: Duration,
}

/// The uids of Grafana's data sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datasources {
    /// Prometheus.
    pub prometheus: String,
    /// Graphite.
    pub graphite: String,
    /// Jaeger.
    pub jaeger: String,
}

/// Bases of URLs, without the slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// What stands before `docs/RUNBOOK.md`; a relative path where it is empty.
    pub runbook: String,
    /// Grafana.
    pub grafana: String,
    /// Prometheus.
    pub prometheus: String,
    /// Jaeger.
    pub jaeger: String,
}

impl Config {
    /// The configuration that a file's text means.
    ///
    /// # Errors
    /// Every unknown or bad field.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let defaults: Value = serde_json::from_str(DEFAULT).map_err(|error| not_json(&error))?;
        let given: Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        let mut reader = Reader { root: defaults.clone(), problems: Vec::new() };
        reader.merge(given);
        let config = reader.config();
        reader.judge(&config);
        if reader.problems.is_empty() { Ok(config) } else { Err(Invalid(reader.problems)) }
    }

    /// What to say about it that is no mistake: an objective that is counted by another bound.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        Objective::new(self.latency_within).note()
    }

    /// The scope of what is pulled, over a window: what the objectives of requests are judged by.
    #[must_use]
    pub fn pulled(&self, window: Duration) -> Scope {
        self.scope(&self.jobs.pulled, window)
    }

    /// The scope of a job.
    #[must_use]
    pub fn scope(&self, job: &str, window: Duration) -> Scope {
        Scope {
            service: self.service.clone(),
            job: job.to_owned(),
            window,
            objective: Objective::new(self.latency_within),
        }
    }

    /// Every window of the burn rates, ascending, each once.
    #[must_use]
    pub fn burn_windows(&self) -> Vec<Duration> {
        let mut windows: Vec<_> =
            self.page.iter().chain(&self.ticket).flat_map(|burn| [burn.long, burn.short]).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

fn not_json(error: &serde_json::Error) -> Invalid {
    Invalid(vec![Problem {
        setting: "config.json".to_owned(),
        value: None,
        reason: format!("not JSON: {error}"),
        remedy: "give an object; without the file the default one is written".to_owned(),
    }])
}

/// Reads the fields of the merged configuration by their pointers. A bad one is noted, and read as something that nobody
/// sees.
struct Reader {
    root: Value,
    problems: Vec<Problem>,
}

impl Reader {
    /// Puts what is given in the place of the default of the same name.
    fn merge(&mut self, given: Value) {
        let mut root = std::mem::take(&mut self.root);
        match given {
            Value::Object(given) => self.merge_into(&mut root, given, ""),
            other => self.note("", Some(&other), "not an object", "give {\"service\": ...}"),
        }
        self.root = root;
    }

    fn merge_into(&mut self, known: &mut Value, given: Map<String, Value>, path: &str) {
        let names = known.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
        for (name, value) in given {
            let path = format!("{path}/{name}");
            match (known.get_mut(&name), value) {
                (None, value) => {
                    let remedy = format!("there are: {}", names.as_deref().unwrap_or_default());
                    self.note(&path, Some(&value), "unknown field", &remedy);
                }
                (Some(Value::Object(fields)), Value::Object(value)) => {
                    let mut inner = Value::Object(std::mem::take(fields));
                    self.merge_into(&mut inner, value, &path);
                    known[&name] = inner;
                }
                (Some(Value::Object(_)), value) => {
                    self.note(&path, Some(&value), "not an object", "give { ... }, or leave it out");
                }
                (Some(known), value) => *known = value,
            }
        }
    }

    fn config(&mut self) -> Config {
        Config {
            service: self.text("/service"),
            jobs: Jobs {
                pulled: self.text("/jobs/pulled"),
                pushed: self.text_or_null("/jobs/pushed"),
                collector: self.text_or_null("/jobs/collector"),
                bridge: self.text_or_null("/jobs/bridge"),
                prometheus: self.text_or_null("/jobs/prometheus"),
            },
            availability: self.share("/objectives/availability/share"),
            latency: self.share("/objectives/latency/share"),
            latency_within: self.time("/objectives/latency/within", SHORTEST),
            freshness: self.share("/objectives/freshness/share"),
            freshness_within: self.time("/objectives/freshness/within", SHORTEST),
            page: self.burns("/burn/page"),
            ticket: self.burns("/burn/ticket"),
            thresholds: Thresholds {
                broken_requests: self.count("/thresholds/broken_requests"),
                broken_checks: self.count("/thresholds/broken_checks"),
                broken_checks_share: self.share("/thresholds/broken_checks_share"),
                pool_share: self.share("/thresholds/pool_share"),
                queue_limit: self.count("/thresholds/queue_limit"),
                time_to_full: self.time("/thresholds/time_to_full", SHORTEST),
            },
            windows: Windows {
                checks: self.time("/windows/checks", SHORTEST),
                saturation: self.time("/windows/saturation", SHORTEST),
                loss: self.time("/windows/loss", SHORTEST),
                queues: self.time("/windows/queues", SHORTEST),
            },
            hold: Hold {
                down: self.time("/for/down", Duration::ZERO),
                stale: self.time("/for/stale", Duration::ZERO),
                saturation: self.time("/for/saturation", Duration::ZERO),
                queues: self.time("/for/queues", Duration::ZERO),
            },
            interval: self.time("/interval", SHORTEST),
            datasources: Datasources {
                prometheus: self.text("/datasources/prometheus"),
                graphite: self.text("/datasources/graphite"),
                jaeger: self.text("/datasources/jaeger"),
            },
            links: Links {
                runbook: self.link("/links/runbook"),
                grafana: self.link("/links/grafana"),
                prometheus: self.link("/links/prometheus"),
                jaeger: self.link("/links/jaeger"),
            },
        }
    }

    /// What is wrong with fields that are right by themselves.
    fn judge(&mut self, config: &Config) {
        let objectives = [
            ("availability", config.availability),
            ("latency", config.latency),
            ("freshness", config.freshness),
        ];
        for (kind, burns) in [("page", &config.page), ("ticket", &config.ticket)] {
            for (index, burn) in burns.iter().enumerate().filter(|(_, burn)| burn.rate > 0.0) {
                for (name, share) in objectives {
                    // A share that was refused already is read as 0.
                    if share > 0.0 && burn.rate * (1.0 - share) >= 1.0 {
                        let reason = format!("the budget of objectives.{name}.share cannot burn so fast");
                        let most = 1.0 / (1.0 - share);
                        self.note(
                            &format!("/burn/{kind}/{index}/rate"),
                            Some(&burn.rate.into()),
                            &reason,
                            &format!("give less than {most:.1}, or a higher share"),
                        );
                    }
                }
            }
        }
        let jobs = [&config.jobs.pushed, &config.jobs.collector, &config.jobs.bridge];
        if jobs.into_iter().flatten().any(|job| *job == config.jobs.pulled && !job.is_empty()) {
            let value = config.jobs.pulled.clone().into();
            let remedy = "give each way a job of its own: a sum over both would count everything twice";
            self.note("/jobs/pulled", Some(&value), "another job has this name too", remedy);
        }
    }

    fn burns(&mut self, path: &str) -> Vec<Burn> {
        let count = match self.root.pointer(path) {
            Some(Value::Array(burns)) if !burns.is_empty() => burns.len(),
            other => {
                let other = other.cloned();
                self.note(
                    path,
                    other.as_ref(),
                    "not a list",
                    "give [{\"rate\":14.4,\"long\":\"1h\",\"short\":\"5m\"}]",
                );
                return Vec::new();
            }
        };
        (0..count).map(|index| self.burn(&format!("{path}/{index}"))).collect()
    }

    fn burn(&mut self, path: &str) -> Burn {
        const FIELDS: [&str; 3] = ["rate", "long", "short"];
        let unknown: Vec<_> = match self.root.pointer(path) {
            Some(Value::Object(fields)) => {
                let unknown = fields.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str()));
                unknown.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            _ => Vec::new(),
        };
        for (name, value) in unknown {
            let remedy = format!("there are: {}", FIELDS.join(", "));
            self.note(&format!("{path}/{name}"), Some(&value), "unknown field", &remedy);
        }
        let rate_path = format!("{path}/rate");
        let rate =
            self.number(&rate_path, |rate| rate > 0.0 && rate <= 1000.0, "a number above 0, up to 1000");
        let long = self.time(&format!("{path}/long"), SHORTEST);
        let short = self.time(&format!("{path}/short"), SHORTEST);
        if short >= long && long > Duration::ZERO {
            let value = self.root.pointer(&format!("{path}/short")).cloned();
            self.note(
                &format!("{path}/short"),
                value.as_ref(),
                "not shorter than long",
                "give a shorter window",
            );
        }
        Burn { rate, long, short }
    }

    fn share(&mut self, path: &str) -> f64 {
        self.number(path, |share| share > 0.0 && share < 1.0, "a number between 0 and 1, such as 0.99")
    }

    fn count(&mut self, path: &str) -> u32 {
        let count =
            self.root.pointer(path).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        count.filter(|count| *count > 0).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            self.note(path, value.as_ref(), "not a count", "give a whole number from 1 to 4294967295");
            0
        })
    }

    fn number(&mut self, path: &str, good: impl Fn(f64) -> bool, wanted: &str) -> f64 {
        let number = self.root.pointer(path).and_then(Value::as_f64);
        number.filter(|number| good(*number)).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            self.note(path, value.as_ref(), "out of range", &format!("give {wanted}"));
            0.0
        })
    }

    fn time(&mut self, path: &str, least: Duration) -> Duration {
        let time = self.root.pointer(path).and_then(Value::as_str);
        let time = time.and_then(|text| humantime::parse_duration(text).ok());
        // Prometheus knows no time shorter than a millisecond.
        let good = |time: &Duration| {
            (least..=LONGEST).contains(time) && time.subsec_nanos().is_multiple_of(1_000_000)
        };
        time.filter(good).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            let remedy = "give a time such as \"5m\" or \"500ms\", up to 365days";
            self.note(path, value.as_ref(), "not a time that can be used", remedy);
            Duration::ZERO
        })
    }

    fn text(&mut self, path: &str) -> String {
        let text = self.root.pointer(path).and_then(Value::as_str).filter(|text| is_name(text));
        text.map(str::to_owned).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            self.note(path, value.as_ref(), "not a name", "give a text of 1 to 200 printable characters");
            String::new()
        })
    }

    fn text_or_null(&mut self, path: &str) -> Option<String> {
        match self.root.pointer(path) {
            Some(Value::Null) => None,
            _ => Some(self.text(path)),
        }
    }

    fn link(&mut self, path: &str) -> String {
        let given = self.root.pointer(path).and_then(Value::as_str);
        let good = |link: &&str| {
            link.is_empty() || url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        given.filter(good).map(|link| link.trim_end_matches('/').to_owned()).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            self.note(path, value.as_ref(), "not a URL", "give http://… or https://…, or an empty text");
            String::new()
        })
    }

    fn note(&mut self, pointer: &str, value: Option<&Value>, reason: &str, remedy: &str) {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        let setting = if path.is_empty() { "config.json".to_owned() } else { format!("config.json: {path}") };
        let shown = |value: &Value| value.to_string().chars().take(120).collect();
        self.problems.push(Problem {
            setting,
            value: value.map(shown),
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        });
    }
}

/// What can stand in a label, a title and a file.
fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}
