//! The OTLP exporters of the three signals, by the standard variables.
//!
//! Their transports are opentelemetry-otlp's; nothing is encoded or sent here.

use std::{net::SocketAddr, thread, time::Duration};

use async_trait::async_trait;
use opentelemetry::metrics::Meter;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};

use super::{
    Destination, Environment, Signal, StartError,
    delivery::{Watched, remember_cause},
    environment::{Protocol, check_endpoint, variable},
};

pub(super) struct Exporters {
    pub(super) metrics: Watched<MetricExporter>,
    pub(super) spans: Watched<SpanExporter>,
    pub(super) logs: Watched<LogExporter>,
}

impl Exporters {
    pub(super) fn build(
        environment: &Environment,
        destination: Destination,
        meter: &Meter,
    ) -> Result<Self, StartError> {
        let target = |signal| Target::of(signal, environment, destination);
        let (metrics, spans, logs) = (target(Signal::Metrics), target(Signal::Traces), target(Signal::Logs));
        let failed =
            |target: &Target, source| StartError::Exporter { signal: target.signal.as_str(), source };
        Ok(Self {
            metrics: metrics
                .watched(meter, metrics.metric_exporter().map_err(|error| failed(&metrics, error))?),
            spans: spans.watched(meter, spans.span_exporter().map_err(|error| failed(&spans, error))?),
            logs: logs.watched(meter, logs.log_exporter().map_err(|error| failed(&logs, error))?),
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
    timeout: Duration,
    /// PEM of what signs the server's certificate, where it is not one of the system's authorities.
    authority: Option<Vec<u8>>,
    /// PEM of the client's own certificate and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
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
        Self {
            signal,
            protocol,
            endpoint,
            shown,
            timeout: environment.timeout(signal),
            authority: environment.pem(signal, "CERTIFICATE"),
            identity: environment
                .pem(signal, "CLIENT_CERTIFICATE")
                .zip(environment.pem(signal, "CLIENT_KEY")),
        }
    }

    fn watched<E>(&self, meter: &Meter, exporter: E) -> Watched<E> {
        let component = match (self.signal, self.protocol) {
            (Signal::Metrics, Protocol::Grpc) => "otlp_grpc_metric_exporter",
            (Signal::Metrics, Protocol::HttpProtobuf) => "otlp_http_metric_exporter",
            (Signal::Traces, Protocol::Grpc) => "otlp_grpc_span_exporter",
            (Signal::Traces, Protocol::HttpProtobuf) => "otlp_http_span_exporter",
            (Signal::Logs, Protocol::Grpc) => "otlp_grpc_log_exporter",
            (Signal::Logs, Protocol::HttpProtobuf) => "otlp_http_log_exporter",
        };
        Watched::new(exporter, self.signal, self.shown.clone(), meter, component)
    }

    fn metric_exporter(&self) -> Result<MetricExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(MetricExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(MetricExporter::builder().with_http())?.build(),
        }
    }

    fn span_exporter(&self) -> Result<SpanExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(SpanExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(SpanExporter::builder().with_http())?.build(),
        }
    }

    fn log_exporter(&self) -> Result<LogExporter, ExporterBuildError> {
        match self.protocol {
            Protocol::Grpc => self.grpc(LogExporter::builder().with_tonic()).build(),
            Protocol::HttpProtobuf => self.http(LogExporter::builder().with_http())?.build(),
        }
    }

    fn grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let builder = self.common(builder, opentelemetry_otlp::Protocol::Grpc).with_retry_policy(retries());
        if !self.shown.starts_with("https://") {
            return builder;
        }
        let mut tls = match &self.authority {
            Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        builder.with_tls_config(tls)
    }

    fn http<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> Result<B, ExporterBuildError> {
        let builder =
            self.common(builder, opentelemetry_otlp::Protocol::HttpBinary).with_retry_policy(retries());
        let client = self.http_client().map_err(ExporterBuildError::InvalidConfiguration)?;
        Ok(builder.with_http_client(Client(client)))
    }

    fn http_client(&self) -> Result<reqwest::blocking::Client, String> {
        let text = |error: reqwest::Error| error.to_string();
        let mut client = reqwest::blocking::Client::builder().timeout(self.timeout);
        if let Some(authority) = &self.authority {
            client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(authority).map_err(text)?);
        }
        if let Some((certificate, key)) = &self.identity {
            let pem = [certificate.as_slice(), key].concat();
            client = client.identity(reqwest::Identity::from_pem(&pem).map_err(text)?);
        }
        // A blocking client makes a runtime of its own, which must not happen on a thread of another.
        match thread::scope(|scope| scope.spawn(|| client.build()).join()) {
            Ok(client) => client.map_err(text),
            Err(_) => Err("no rustls crypto provider is installed in this process".to_owned()),
        }
    }

    fn common<B: WithExportConfig>(&self, builder: B, protocol: opentelemetry_otlp::Protocol) -> B {
        let builder = builder.with_protocol(protocol).with_timeout(self.timeout);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        }
    }
}

/// The blocking client, which is the one that works on the SDK's own threads; it keeps the cause of a failure
/// that the exporter would not tell.
#[derive(Debug)]
struct Client(reqwest::blocking::Client);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answered = self.0.send_bytes(request).await;
        answered.inspect_err(|error| remember_cause(error.as_ref()))
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
