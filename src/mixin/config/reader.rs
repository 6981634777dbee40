//! Reads a configuration's fields from JSON, merged into the default one, and notes each one that is bad.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::{Burn, Config, Datasources, Hold, Jobs, Links, Thresholds, Windows};
use crate::config::{Invalid, Problem};

/// The shortest and the longest time of any field.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Reads the fields of the merged configuration by their pointers. A bad one is noted, and read as something that nobody
/// sees.
pub(super) struct Reader {
    root: Value,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(defaults: Value) -> Self {
        Self { root: defaults, problems: Vec::new() }
    }

    /// The configuration with what is given in the place of the defaults.
    pub(super) fn read(mut self, given: Value) -> Result<Config, Invalid> {
        self.merge(given);
        let config = self.config();
        self.judge(&config);
        if self.problems.is_empty() { Ok(config) } else { Err(Invalid(self.problems)) }
    }

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
        let Jobs { pulled, pushed, collector, bridge, prometheus } = &config.jobs;
        let jobs = [
            ("pulled", Some(pulled)),
            ("pushed", pushed.as_ref()),
            ("collector", collector.as_ref()),
            ("bridge", bridge.as_ref()),
            ("prometheus", prometheus.as_ref()),
        ];
        for (index, (role, job)) in jobs.iter().enumerate() {
            let Some(job) = job.filter(|job| !job.is_empty()) else { continue };
            if jobs[..index].iter().any(|(_, other)| *other == Some(job)) {
                let value = job.as_str().into();
                let remedy = "give each role a job of its own: a sum over both would count everything twice";
                self.note(&format!("/jobs/{role}"), Some(&value), "another job has this name too", remedy);
            }
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
            let remedy = "give a text of 1 to 200 printable characters, without {{ and $, which Prometheus and Grafana expand";
            self.note(path, value.as_ref(), "not a name", remedy);
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
        given.and_then(base).unwrap_or_else(|| {
            let value = self.root.pointer(path).cloned();
            let remedy =
                "give http://… or https://… without a password, a query or a fragment, or an empty text";
            self.note(path, value.as_ref(), "not a URL that paths can be appended to", remedy);
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
    (1..=200).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_control() || c == '$')
        && !text.contains("{{")
}

/// The URL without the slash at its end, as a browser reads it.
fn base(link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(String::new());
    }
    let url = Url::parse(link).ok()?;
    let is_base = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && !url.as_str().contains("{{")
        && !url.as_str().contains('$');
    is_base.then(|| url.as_str().trim_end_matches('/').to_owned())
}
