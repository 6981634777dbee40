//! The OTLP exporters of the three signals, by the standard variables.
//!
//! Their transports are opentelemetry-otlp's; nothing is encoded or sent here.

use std::net::SocketAddr;

use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};

use super::{
    Destination, Environment, Signal, StartError,
    delivery::Watched,
    environment::{Protocol, check_endpoint, variable},
};

pub(super) struct Exporters {
    pub(super) metrics: Watched<MetricExporter>,
    pub(super) spans: Watched<SpanExporter>,
    pub(super) logs: Watched<LogExporter>,
}

impl Exporters {
    pub(super) fn build(environment: &Environment, destination: Destination) -> Result<Self, StartError> {
        let target = |signal| Target::of(signal, environment, destination);
        let (metrics, spans, logs) = (target(Signal::Metrics), target(Signal::Traces), target(Signal::Logs));
        let failed =
            |target: &Target, source| StartError::Exporter { signal: target.signal.as_str(), source };
        Ok(Self {
            metrics: metrics.watched(metrics.metric_exporter().map_err(|error| failed(&metrics, error))?),
            spans: spans.watched(spans.span_exporter().map_err(|error| failed(&spans, error))?),
            logs: logs.watched(logs.log_exporter().map_err(|error| failed(&logs, error))?),
        })
    }
}

/// Where and how one signal is sent.
struct Target {
    signal: Signal,
    protocol: Protocol,
    /// Given to the exporter, unless it finds the same in the variables itself.
    endpoint: Option<String>,
    shown: String,
    timeout: std::time::Duration,
}

impl Target {
    fn of(signal: Signal, environment: &Environment, destination: Destination) -> Self {
        let protocol = environment.protocol(signal);
        let endpoint = match destination {
            Destination::Embedded { grpc, http } => Some(embedded(signal, protocol, grpc, http)),
            Destination::Standard => {
                let general = "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned();
                let mut set = [variable(signal, "ENDPOINT"), general]
                    .into_iter()
                    .filter_map(|name| environment.value(&name));
                // A valid value is read by the exporter itself, with what the other variables add to it.
                let valid = set.next().is_some_and(|value| check_endpoint(value, protocol).is_ok());
                (!valid).then(|| environment.endpoint(signal))
            }
        };
        let shown = endpoint.clone().unwrap_or_else(|| environment.endpoint(signal));
        Self { signal, protocol, endpoint, shown, timeout: environment.timeout(signal) }
    }

    fn watched<E>(&self, exporter: E) -> Watched<E> {
        Watched::new(exporter, self.signal, self.shown.clone())
    }

    fn metric_exporter(&self) -> Result<MetricExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(MetricExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(MetricExporter::builder().with_http()).build(),
        }
    }

    fn span_exporter(&self) -> Result<SpanExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(SpanExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(SpanExporter::builder().with_http()).build(),
        }
    }

    fn log_exporter(&self) -> Result<LogExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(LogExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(LogExporter::builder().with_http()).build(),
        }
    }

    fn grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        self.common(builder, opentelemetry_otlp::Protocol::Grpc).with_retry_policy(retries())
    }

    fn http<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> B {
        self.common(builder, opentelemetry_otlp::Protocol::HttpBinary).with_retry_policy(retries())
    }

    fn common<B: WithExportConfig>(&self, builder: B, protocol: opentelemetry_otlp::Protocol) -> B {
        let builder = builder.with_protocol(protocol).with_timeout(self.timeout);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        }
    }
}

fn embedded(signal: Signal, protocol: Protocol, grpc: SocketAddr, http: SocketAddr) -> String {
    match protocol {
        Protocol::Grpc => format!("http://{grpc}"),
        Protocol::HttpProtobuf => format!("http://{http}/v1/{}", signal.as_str()),
    }
}

/// Tries for as long as the exporter's time-out lets it, so that a short restart of the collector is outlived.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(8)
}
