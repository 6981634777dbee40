//! The standard `OTEL_*` variables: their values, and what is wrong with them.
//!
//! As the specification asks, an invalid value is one warning and the default, never an error. Variables
//! that the SDK and its OTLP exporter read themselves are checked here too, since those say nothing.

mod check;
mod choice;
mod values;

use std::{collections::BTreeMap, ffi::OsString, sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    propagation::{TextMapCompositePropagator, TextMapPropagator},
};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use url::Url;

use self::choice::{Exporters, Propagators};
use super::{Destination, EXPORT_TIMEOUT, Signal, tls};

/// How often metrics go to an embedded collector.
const EMBEDDED_METRIC_INTERVAL: Duration = Duration::from_secs(2);
/// How long spans wait for others on their way to an embedded collector.
const EMBEDDED_SPAN_DELAY: Duration = Duration::from_secs(1);
/// The specification's defaults.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SPAN_DELAY: Duration = Duration::from_secs(5);
const LOG_DELAY: Duration = Duration::from_secs(1);
const PROMETHEUS_HOST: &str = "localhost";
const PROMETHEUS_PORT: u16 = 9464;

/// The `OTEL_*` variables of a process. An empty one counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    warnings: Vec<String>,
}

/// The transports of OTLP that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
}

impl Environment {
    /// Takes the `OTEL_*` variables out of `environment` (as in [`std::env::vars_os`]) and checks them; the files
    /// that the certificate variables name are read for this.
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
        let found = result.check();
        result.warnings.extend(found);
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

    /// Whether `OTEL_SDK_DISABLED` switches all three signals off.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.value("OTEL_SDK_DISABLED").is_some_and(values::is_true)
    }

    /// Whether a signal is pushed by OTLP: the SDK is enabled, and `OTEL_TRACES_EXPORTER` or its like names `otlp`
    /// or nothing.
    #[must_use]
    pub fn pushes(&self, signal: Signal) -> bool {
        self.exporters(signal).otlp
    }

    /// Whether metrics can be scraped: the SDK is enabled, and `OTEL_METRICS_EXPORTER` names `prometheus` or
    /// nothing. (By the specification the default is `otlp` alone; here it is both, `otlp,prometheus`.)
    #[must_use]
    pub fn exposes_metrics(&self) -> bool {
        self.exporters(Signal::Metrics).prometheus
    }

    /// The host and port that `OTEL_EXPORTER_PROMETHEUS_HOST` and `OTEL_EXPORTER_PROMETHEUS_PORT` ask to expose
    /// metrics at. `None` where neither is set, and where metrics are not exposed.
    #[must_use]
    pub fn prometheus_listener(&self) -> Option<(&str, u16)> {
        let host = self.value("OTEL_EXPORTER_PROMETHEUS_HOST");
        let port = self.value("OTEL_EXPORTER_PROMETHEUS_PORT");
        if host.or(port).is_none() || !self.exposes_metrics() {
            return None;
        }
        let host = host.and_then(|host| values::host(host).ok()).unwrap_or(PROMETHEUS_HOST);
        let port = port.and_then(|port| values::port(port).ok()).unwrap_or(PROMETHEUS_PORT);
        Some((host, port))
    }

    /// The methods that `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` lists, which are then all that are known; their names are
    /// case-sensitive.
    #[must_use]
    pub fn http_known_methods(&self) -> Option<Vec<&str>> {
        values::methods(self.value("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS")?).ok()
    }

    /// What `OTEL_PROPAGATORS` names, in one; it holds where the SDK is disabled too, as the specification asks.
    #[must_use]
    pub fn propagator(&self) -> Arc<dyn TextMapPropagator + Send + Sync> {
        let list = self.value("OTEL_PROPAGATORS");
        let chosen = list.and_then(|list| Propagators::parse(list).ok()).unwrap_or(Propagators::DEFAULT);
        let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
        if chosen.trace_context {
            propagators.push(Box::new(TraceContextPropagator::new()));
        }
        if chosen.baggage {
            propagators.push(Box::new(BaggagePropagator::new()));
        }
        Arc::new(TextMapCompositePropagator::new(propagators))
    }

    /// Whether an OTLP endpoint is configured, for all signals or for one.
    #[must_use]
    pub fn has_endpoint(&self) -> bool {
        self.value("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
            || Signal::ALL.into_iter().any(|signal| self.value(&variable(signal, "ENDPOINT")).is_some())
    }

    /// The URL that a signal is pushed to.
    #[must_use]
    pub fn endpoint(&self, signal: Signal) -> String {
        let protocol = self.protocol(signal);
        let valid = |name: &str| {
            let value = self.value(name)?;
            Some((value, values::endpoint(value, protocol).ok()?))
        };
        let (own, general) = (valid(&variable(signal, "ENDPOINT")), valid("OTEL_EXPORTER_OTLP_ENDPOINT"));
        match protocol {
            Protocol::Grpc => match own.or(general).map(|(value, url)| (value.trim_end_matches('/'), url)) {
                Some((value, _)) if value.contains("://") => value.to_owned(),
                Some((value, _)) if self.is_insecure(signal) => format!("http://{value}"),
                Some((value, _)) => format!("https://{value}"),
                None => "http://localhost:4317".to_owned(),
            },
            Protocol::HttpProtobuf => match (own, general) {
                (Some((value, _)), _) => value.to_owned(),
                (None, Some((_, url))) => of_signal(url, signal),
                (None, None) => format!("http://localhost:4318/v1/{}", signal.as_str()),
            },
        }
    }

    pub(super) fn exporters(&self, signal: Signal) -> Exporters {
        if self.is_disabled() {
            return Exporters::NONE;
        }
        let list = self.value(exporter_variable(signal));
        list.and_then(|list| Exporters::parse(signal, list).ok())
            .unwrap_or_else(|| Exporters::default_of(signal))
    }

    pub(super) fn resource_attributes(&self) -> Vec<KeyValue> {
        let list = self.value("OTEL_RESOURCE_ATTRIBUTES");
        list.and_then(|list| super::resource::parse(list).ok()).unwrap_or_default()
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

    /// PEM of what signs the server's certificate, where it is not one of the system's authorities.
    pub(super) fn authorities(&self, signal: Signal) -> Option<Vec<u8>> {
        self.pem(signal, "CERTIFICATE").ok().map(|(_, pem)| pem)
    }

    /// What to show to a server that asks who the client is.
    pub(super) fn identity(&self, signal: Signal) -> Option<tls::Identity> {
        self.checked_identity(signal).ok().flatten()
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

    /// How many items, if that is valid.
    pub(super) fn items(&self, name: &str) -> Option<usize> {
        let number = values::number(self.value(name)?, &values::ITEMS).ok()?;
        usize::try_from(number).ok()
    }

    pub(super) fn milliseconds(&self, name: &str) -> Option<Duration> {
        values::number(self.value(name)?, &values::MILLISECONDS).ok().map(Duration::from_millis)
    }

    /// Whether a gRPC endpoint without a scheme is taken as plain.
    fn is_insecure(&self, signal: Signal) -> bool {
        let own = self.value(&variable(signal, "INSECURE"));
        own.or(self.value("OTEL_EXPORTER_OTLP_INSECURE")).is_some_and(values::is_true)
    }

    /// The certificate and key of a client that are valid each by itself; both or neither.
    ///
    /// # Errors
    /// Why what there is cannot be used, for a person to read.
    fn checked_identity(&self, signal: Signal) -> Result<Option<tls::Identity>, String> {
        match (self.pem(signal, "CLIENT_CERTIFICATE"), self.pem(signal, "CLIENT_KEY")) {
            (Ok((certificate, chain)), Ok((key, own))) => {
                let identity = (chain, own);
                let checked = tls::check_identity(&identity);
                checked.map_err(|reason| format!("{certificate} and {key} do not go together ({reason})"))?;
                Ok(Some(identity))
            }
            (Ok((certificate, _)), Err(key)) => Err(format!("{certificate} is of no use without {key}")),
            (Err(certificate), Ok((key, _))) => Err(format!("{key} is of no use without {certificate}")),
            (Err(_), Err(_)) => Ok(None),
        }
    }

    /// The PEM file that a signal's own or the general variable names: `CERTIFICATE`, `CLIENT_CERTIFICATE`,
    /// `CLIENT_KEY`; with the variable that does.
    ///
    /// # Errors
    /// The variable that could name one, where neither names a valid one.
    fn pem(&self, signal: Signal, what: &str) -> Result<(String, Vec<u8>), String> {
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        let names = [variable(signal, what), general.clone()];
        let valid = names.into_iter().find_map(|name| {
            let pem = values::pem(self.value(&name)?, what).ok()?;
            Some((name, pem))
        });
        valid.ok_or(general)
    }
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::HttpProtobuf),
            _ => None,
        }
    }
}

/// The variable of one signal: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
pub(super) fn variable(signal: Signal, what: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.as_str().to_ascii_uppercase())
}

/// The variable that chooses where a signal goes.
#[must_use]
pub const fn exporter_variable(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "OTEL_METRICS_EXPORTER",
        Signal::Traces => "OTEL_TRACES_EXPORTER",
        Signal::Logs => "OTEL_LOGS_EXPORTER",
    }
}

/// What OTLP over HTTP makes of the general endpoint.
fn of_signal(mut url: Url, signal: Signal) -> String {
    let path = format!("{}/v1/{}", url.path().trim_end_matches('/'), signal.as_str());
    url.set_path(&path);
    url.into()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStringExt as _, time::Instant};

    use proptest::{collection::hash_map, prelude::*, sample::select};

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
            ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET POST"),
            ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", ","),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "Cargo.toml"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/zero"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a/ü"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "maybe"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2147483648"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "1000001"),
            ("OTEL_SDK_DISABLED", "1"),
            ("OTEL_SDK_DISABLED", " true"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_METRICS_EXPORTER", "otlp,none"),
            ("OTEL_LOGS_EXPORTER", "prometheus"),
            ("OTEL_PROPAGATORS", "b3multi"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "65536"),
            ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.1"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a b"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://]@0"),
        ] {
            let environment = environment(&[(name, value)]);
            assert_eq!(environment.warnings().len(), 1, "{name}: {:?}", environment.warnings());
            assert!(environment.warnings()[0].contains(name) && environment.warnings()[0].contains(value));
            assert_eq!(environment.protocol(Signal::Traces), Protocol::Grpc);
            assert_eq!(environment.endpoint(Signal::Logs), "http://localhost:4317");
            assert_eq!(environment.timeout(Signal::Traces), Duration::from_secs(10));
            assert_eq!(environment.metric_interval(Destination::Standard), Duration::from_secs(60));
            assert!(!environment.is_disabled() && environment.exposes_metrics());
            assert!(Signal::ALL.into_iter().all(|signal| environment.pushes(signal)));
            assert_eq!(environment.propagator().fields().count(), 3);
            assert_eq!(environment.items("OTEL_BLRP_MAX_QUEUE_SIZE"), None);
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
    #[test]
    fn a_grpc_endpoint_without_a_scheme_is_secure_unless_it_is_said_not_to_be() {
        let endpoint = |variables: &[(&str, &str)]| environment(variables).endpoint(Signal::Traces);
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        assert_eq!(endpoint(&[bare]), "https://collector:4317");
        assert_eq!(endpoint(&[bare, ("OTEL_EXPORTER_OTLP_INSECURE", "True")]), "http://collector:4317");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
        assert_eq!(endpoint(&[bare, ("OTEL_EXPORTER_OTLP_INSECURE", "true"), own]), "https://collector:4317");
        let plain = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        assert_eq!(endpoint(&[plain, own]), "http://collector:4317");
    }

    #[test]
    fn the_general_http_endpoint_keeps_its_path_and_query() {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        for (general, expected) in [
            ("http://a", "http://a/v1/logs"),
            ("http://a/base/", "http://a/base/v1/logs"),
            ("https://a:1/base?key=1", "https://a:1/base/v1/logs?key=1"),
        ] {
            let environment = environment(&[http, ("OTEL_EXPORTER_OTLP_ENDPOINT", general)]);
            assert_eq!(environment.endpoint(Signal::Logs), expected);
        }
    }

    #[test]
    fn the_second_listener_is_there_where_either_variable_is() {
        let (host, port) = ("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT");
        for (variables, expected) in [
            (vec![], None),
            (vec![(port, "9000")], Some(("localhost", 9000))),
            (vec![(host, "0.0.0.0")], Some(("0.0.0.0", 9464))),
            (vec![(host, "[::1]"), (port, "0")], Some(("::1", 0))),
            (vec![(port, "many")], Some(("localhost", 9464))),
            (vec![(port, "9000"), ("OTEL_METRICS_EXPORTER", "otlp")], None),
            (vec![(port, "9000"), ("OTEL_SDK_DISABLED", "true")], None),
        ] {
            assert_eq!(environment(&variables).prometheus_listener(), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_disabled_sdk_pushes_and_exposes_nothing_whatever_else_is_set() {
        let environment = environment(&[("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_METRICS_EXPORTER", "otlp")]);
        assert!(environment.is_disabled() && !environment.exposes_metrics());
        assert!(!Signal::ALL.into_iter().any(|signal| environment.pushes(signal)));
        assert_eq!(environment.propagator().fields().count(), 3);
    }

    /// The variables that something is made of here.
    const READ: [&str; 36] = [
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "OTEL_PROPAGATORS",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BLRP_SCHEDULE_DELAY",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_WHAT_NOBODY_KNOWS",
    ];

    fn values() -> impl Strategy<Value = OsString> {
        prop_oneof![
            any::<String>().prop_map(OsString::from),
            any::<Vec<u8>>().prop_map(OsString::from_vec),
            any::<i128>().prop_map(|number| number.to_string().into()),
            "(otlp|none|true|grpc|tracecontext|http|[,=%:/. ]|[0-9a-f]{1,3}){0,6}".prop_map(OsString::from),
            "https?://[a-z0-9.:@/?#%\\[\\]]{0,20}".prop_map(OsString::from),
        ]
    }

    proptest! {
        /// Whatever the values are, all that is made of them is of use, and each warning names its variable.
        #[test]
        fn no_value_is_more_than_a_warning(set in hash_map(select(READ.to_vec()), values(), 0..12)) {
            let environment = Environment::of(set.into_iter().map(|(name, value)| (name.into(), value)));
            for warning in environment.warnings() {
                prop_assert!(READ.iter().any(|name| warning.starts_with(name)), "{warning}");
                prop_assert!(!warning.contains('\n'), "{warning}");
            }
            for signal in Signal::ALL {
                let endpoint = Url::parse(&environment.endpoint(signal)).unwrap();
                prop_assert!(environment.endpoint(signal).parse::<http::Uri>().is_ok());
                prop_assert!(endpoint.has_host() && matches!(endpoint.scheme(), "http" | "https"));
                prop_assert!(!environment.timeout(signal).is_zero());
                prop_assert!(environment.authorities(signal).is_none() && environment.identity(signal).is_none());
                prop_assert!(!environment.is_disabled() || !environment.pushes(signal));
            }
            for items in ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"] {
                prop_assert!(environment.items(items).is_none_or(|items| (1..=1_000_000).contains(&items)));
            }
            prop_assert!(environment.propagator().fields().count() <= 3);
            let (now, longest) = (Instant::now(), environment.span_delay(Destination::Standard));
            prop_assert!(now.checked_add(longest).is_some());
            let _ = (environment.prometheus_listener(), super::super::resource(&environment, "name", "1"));
        }
    }
}
