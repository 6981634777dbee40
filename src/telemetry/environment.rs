//! The standard `OTEL_*` variables: their values, and what is wrong with them.
//!
//! As the specification asks, an invalid value is one warning and the default, never an error. Variables
//! that the SDK and its OTLP exporter read themselves are checked here too, since those say nothing.

use std::{collections::BTreeMap, ffi::OsString, ops::RangeInclusive, time::Duration};

use opentelemetry::KeyValue;
use url::Url;

use super::{Destination, EXPORT_TIMEOUT, Signal, resource};

/// How often metrics go to an embedded collector.
const EMBEDDED_METRIC_INTERVAL: Duration = Duration::from_secs(2);
/// How long spans wait for others on their way to an embedded collector.
const EMBEDDED_SPAN_DELAY: Duration = Duration::from_secs(1);
/// The specification's defaults.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SPAN_DELAY: Duration = Duration::from_secs(5);
const LOG_DELAY: Duration = Duration::from_secs(1);

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The `OTEL_*` variables of a process. An empty one counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    resource_attributes: Vec<KeyValue>,
    warnings: Vec<String>,
}

/// The transports of OTLP that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
}

impl Environment {
    /// Takes the `OTEL_*` variables out of `environment` (as in [`std::env::vars_os`]) and checks them.
    #[must_use]
    pub fn of(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut result = Self::default();
        for (name, value) in environment {
            let Ok(name) = name.into_string() else { continue };
            if !name.starts_with("OTEL_") || value.is_empty() {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    result.variables.insert(name, value);
                }
                Err(_) => result.warnings.push(format!("{name} is not UTF-8; the default is used")),
            }
        }
        result.check();
        result
    }

    /// The value of a variable that is set.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// One line for each variable whose value is invalid.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether an OTLP endpoint is configured, for all signals or for one.
    #[must_use]
    pub fn has_endpoint(&self) -> bool {
        self.value("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
            || Signal::ALL.into_iter().any(|signal| self.value(&variable(signal, "ENDPOINT")).is_some())
    }

    /// Where a signal is pushed to, for a person to read.
    #[must_use]
    pub fn endpoint(&self, signal: Signal) -> String {
        let protocol = self.protocol(signal);
        let valid = |name: &str| self.value(name).filter(|value| check_endpoint(value, protocol).is_ok());
        if let Some(endpoint) = valid(&variable(signal, "ENDPOINT")) {
            return endpoint.to_owned();
        }
        let path = match protocol {
            Protocol::Grpc => String::new(),
            Protocol::HttpProtobuf => format!("/v1/{}", signal.as_str()),
        };
        let base = valid("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or(protocol.default_endpoint());
        format!("{}{path}", base.trim_end_matches('/'))
    }

    pub(super) fn resource_attributes(&self) -> Vec<KeyValue> {
        self.resource_attributes.clone()
    }

    pub(super) fn protocol(&self, signal: Signal) -> Protocol {
        let valid = |name: &str| Protocol::parse(self.value(name)?);
        valid(&variable(signal, "PROTOCOL"))
            .or_else(|| valid("OTEL_EXPORTER_OTLP_PROTOCOL"))
            .unwrap_or(Protocol::Grpc)
    }

    /// How long an export of a signal may take in all.
    pub(super) fn timeout(&self, signal: Signal) -> Duration {
        self.milliseconds(&variable(signal, "TIMEOUT"))
            .or_else(|| self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .unwrap_or(EXPORT_TIMEOUT)
    }

    /// The PEM file that a signal's own or the general variable names: `CERTIFICATE`, `CLIENT_CERTIFICATE`,
    /// `CLIENT_KEY`.
    pub(super) fn pem(&self, signal: Signal, what: &str) -> Option<Vec<u8>> {
        let read = |name: &str| read_pem(self.value(name)?).ok();
        read(&variable(signal, what)).or_else(|| read(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    pub(super) fn metric_interval(&self, destination: Destination) -> Duration {
        let default = match destination {
            Destination::Standard => METRIC_INTERVAL,
            Destination::Embedded { .. } => EMBEDDED_METRIC_INTERVAL,
        };
        self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL").unwrap_or(default)
    }

    /// How long spans wait for others.
    pub(super) fn span_delay(&self, destination: Destination) -> Duration {
        let default = match destination {
            Destination::Standard => SPAN_DELAY,
            Destination::Embedded { .. } => EMBEDDED_SPAN_DELAY,
        };
        self.milliseconds("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(default)
    }

    /// How long log records wait for others.
    pub(super) fn log_delay(&self) -> Duration {
        self.milliseconds("OTEL_BLRP_SCHEDULE_DELAY").unwrap_or(LOG_DELAY)
    }

    /// A positive whole number, if it is valid.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        check_number(self.value(name)?, &POSITIVE).ok().and_then(|number| usize::try_from(number).ok())
    }

    pub(super) fn milliseconds(&self, name: &str) -> Option<Duration> {
        check_number(self.value(name)?, &POSITIVE).ok().map(Duration::from_millis)
    }

    fn check(&mut self) {
        let mut found = Vec::new();
        for (name, value) in &self.variables {
            // Headers carry credentials: nothing of them is told.
            if name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("HEADERS") {
                if !are_headers(value) {
                    found.push(format!("{name} is not a list of NAME=VALUE; what is not is left out"));
                }
            } else if let Err(reason) = self.check_one(name, value) {
                found.push(format!("{name}={value:?} {reason}; the default is used"));
            }
        }
        self.warnings.extend(found);
        if let Some(Ok(attributes)) = self.value("OTEL_RESOURCE_ATTRIBUTES").map(resource::parse) {
            self.resource_attributes = attributes;
        }
    }

    fn check_one(&self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "OTEL_RESOURCE_ATTRIBUTES" => resource::parse(value).map(drop),
            // The SDK reads it itself, and only as it is written here.
            "OTEL_TRACES_SAMPLER" if SAMPLERS.contains(&value) => Ok(()),
            "OTEL_TRACES_SAMPLER" => Err(format!("is not one of {}", SAMPLERS.join(", "))),
            "OTEL_TRACES_SAMPLER_ARG" => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("is not a number from 0 to 1".to_owned()),
            },
            "OTEL_METRIC_EXPORT_INTERVAL"
            | "OTEL_BSP_SCHEDULE_DELAY"
            | "OTEL_BSP_MAX_QUEUE_SIZE"
            | "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
            | "OTEL_BLRP_SCHEDULE_DELAY"
            | "OTEL_BLRP_MAX_QUEUE_SIZE"
            | "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE" => check_number(value, &POSITIVE).map(drop),
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
            | "OTEL_SPAN_EVENT_COUNT_LIMIT"
            | "OTEL_SPAN_LINK_COUNT_LIMIT" => check_number(value, &(0..=u64::from(u32::MAX))).map(drop),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" => one_of(value, &["cumulative"]),
            name => self.check_exporter(name, value),
        }
    }

    /// `OTEL_EXPORTER_OTLP_WHAT` and `OTEL_EXPORTER_OTLP_SIGNAL_WHAT`.
    fn check_exporter(&self, name: &str, value: &str) -> Result<(), String> {
        let Some(rest) = name.strip_prefix("OTEL_EXPORTER_OTLP_") else { return Ok(()) };
        let of_signal = Signal::ALL.into_iter().find_map(|signal| {
            let what = rest.strip_prefix(&signal.as_str().to_ascii_uppercase())?.strip_prefix('_')?;
            Some((signal, what))
        });
        let (signals, what) = match of_signal {
            Some((signal, what)) => (vec![signal], what),
            None => (Signal::ALL.to_vec(), rest),
        };
        match what {
            "ENDPOINT" => {
                signals.into_iter().try_for_each(|signal| check_endpoint(value, self.protocol(signal)))
            }
            "PROTOCOL" => one_of(value, &["grpc", "http/protobuf"]),
            "TIMEOUT" => check_number(value, &POSITIVE).map(drop),
            "COMPRESSION" => one_of(value, &["gzip", "none"]),
            "CERTIFICATE" | "CLIENT_CERTIFICATE" | "CLIENT_KEY" => read_pem(value).map(drop),
            "INSECURE" => one_of(value, &["true", "false"]),
            _ => Ok(()),
        }
    }
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::HttpProtobuf),
            _ => None,
        }
    }

    pub(super) const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::HttpProtobuf => "http://localhost:4318",
        }
    }
}

/// The variable of one signal: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
pub(super) fn variable(signal: Signal, what: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.as_str().to_ascii_uppercase())
}

const POSITIVE: RangeInclusive<u64> = 1..=u64::MAX;

fn check_number(value: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    match value.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("is not a whole number of at least {}", range.start())),
    }
}

fn read_pem(path: &str) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot be read ({error})"))?;
    match pem.windows(11).any(|bytes| bytes == b"-----BEGIN ") {
        true => Ok(pem),
        false => Err("is not a PEM file".to_owned()),
    }
}

fn one_of(value: &str, known: &[&str]) -> Result<(), String> {
    match known.contains(&value.trim().to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(format!("is not one of {}", known.join(", "))),
    }
}

/// An endpoint is an http(s) URL; to gRPC also `HOST:PORT`, whose security another variable says.
pub(super) fn check_endpoint(value: &str, protocol: Protocol) -> Result<(), String> {
    let url = match protocol {
        Protocol::Grpc if !value.contains("://") => format!("http://{value}"),
        _ => value.to_owned(),
    };
    // A URL parser mends what an exporter refuses: spaces around, letters that must be escaped.
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    match Url::parse(&url) {
        Ok(url) if value.bytes().all(plain) && matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(())
        }
        _ => Err("is not an http:// or https:// URL".to_owned()),
    }
}

/// Whether it is `name1=value1,name2=value2`, percent-encoded, with names that HTTP knows as such.
fn are_headers(list: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    resource::parse(list)
        .is_ok_and(|headers| headers.iter().all(|header| header.key.as_str().bytes().all(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn each_invalid_value_is_one_warning_and_the_default() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "ftp://host"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER", "ALWAYS_OFF"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "Cargo.toml"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a/ü"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a b"),
        ] {
            let environment = environment(&[(name, value)]);
            assert_eq!(environment.warnings().len(), 1, "{name}: {:?}", environment.warnings());
            assert!(environment.warnings()[0].contains(name) && environment.warnings()[0].contains(value));
            assert_eq!(environment.protocol(Signal::Traces), Protocol::Grpc);
            assert_eq!(environment.endpoint(Signal::Logs), "http://localhost:4317");
            assert_eq!(environment.timeout(Signal::Traces), Duration::from_secs(10));
            assert_eq!(environment.metric_interval(Destination::Standard), Duration::from_secs(60));
        }
    }

    #[test]
    fn bad_headers_are_named_without_what_they_hold() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a=secret%zz"),
        ] {
            let environment = environment(&[(name, value)]);
            assert_eq!(environment.warnings().len(), 1, "{name}={value}");
            let warning = &environment.warnings()[0];
            assert!(warning.contains(name) && !warning.contains("secret"), "{warning}");
        }
        assert_eq!(environment(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c, x-key=1")]).warnings(), [""; 0]);
    }

    #[test]
    fn a_signals_own_variable_wins() {
        let environment = environment(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/custom"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2000"),
            ("OTEL_BSP_SCHEDULE_DELAY", ""),
        ]);
        assert_eq!(environment.warnings(), [""; 0]);
        assert_eq!(environment.endpoint(Signal::Metrics), "http://collector:4318/v1/metrics");
        assert_eq!(environment.endpoint(Signal::Traces), "http://traces:4318/custom");
        assert_eq!(environment.endpoint(Signal::Logs), "http://collector:4318");
        assert_eq!(environment.timeout(Signal::Logs), Duration::from_secs(2));
        assert_eq!(environment.milliseconds("OTEL_BSP_SCHEDULE_DELAY"), None);
    }
}
