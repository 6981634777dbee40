//! What is wrong with the variables: one line for each value that is not used.

use super::{
    Environment, Signal,
    choice::{Exporters, Propagators},
    exporter_variable, values,
};
use crate::telemetry::resource;

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

impl Environment {
    pub(super) fn check(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in &self.variables {
            // Headers carry credentials: nothing of them is told.
            if name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("HEADERS") {
                if !values::are_headers(value) {
                    found.push(format!("{name} is not a list of NAME=VALUE; what is not is left out"));
                }
            } else if let Err(reason) = self.check_one(name, value) {
                found.push(format!("{name}={value:?} {reason}; the default is used"));
            }
        }
        let mut identities: Vec<_> =
            Signal::ALL.into_iter().filter_map(|signal| self.checked_identity(signal).err()).collect();
        identities.dedup();
        found.extend(identities.into_iter().map(|told| format!("{told}; no client certificate is used")));
        found
    }

    fn check_one(&self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "OTEL_SDK_DISABLED" => values::boolean(value),
            "OTEL_PROPAGATORS" => Propagators::parse(value).map(drop),
            "OTEL_EXPORTER_PROMETHEUS_HOST" => values::host(value).map(drop),
            "OTEL_EXPORTER_PROMETHEUS_PORT" => values::port(value).map(drop),
            "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS" => values::methods(value).map(drop),
            "OTEL_RESOURCE_ATTRIBUTES" => resource::parse(value).map(drop),
            // The SDK reads it itself, and only as it is written here.
            "OTEL_TRACES_SAMPLER" if SAMPLERS.contains(&value) => Ok(()),
            "OTEL_TRACES_SAMPLER" => Err(format!("is not one of {}", SAMPLERS.join(", "))),
            "OTEL_TRACES_SAMPLER_ARG" => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("is not a number from 0 to 1".to_owned()),
            },
            "OTEL_METRIC_EXPORT_INTERVAL" | "OTEL_BSP_SCHEDULE_DELAY" | "OTEL_BLRP_SCHEDULE_DELAY" => {
                values::number(value, &values::MILLISECONDS).map(drop)
            }
            "OTEL_BSP_MAX_QUEUE_SIZE"
            | "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
            | "OTEL_BLRP_MAX_QUEUE_SIZE"
            | "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE" => values::number(value, &values::ITEMS).map(drop),
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
            | "OTEL_SPAN_EVENT_COUNT_LIMIT"
            | "OTEL_SPAN_LINK_COUNT_LIMIT" => values::number(value, &values::LIMIT).map(drop),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" => values::one_of(value, &["cumulative"]),
            name => match Signal::ALL.into_iter().find(|signal| exporter_variable(*signal) == name) {
                Some(signal) => Exporters::parse(signal, value).map(drop),
                None => self.check_exporter(name, value),
            },
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
            "ENDPOINT" => signals
                .into_iter()
                .try_for_each(|signal| values::endpoint(value, self.protocol(signal)).map(drop)),
            "PROTOCOL" => values::one_of(value, &["grpc", "http/protobuf"]),
            "TIMEOUT" => values::number(value, &values::MILLISECONDS).map(drop),
            "COMPRESSION" => values::one_of(value, &["gzip", "none"]),
            "CERTIFICATE" | "CLIENT_CERTIFICATE" | "CLIENT_KEY" => values::pem(value, what).map(drop),
            "INSECURE" => values::boolean(value),
            _ => Ok(()),
        }
    }
}
