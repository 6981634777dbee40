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
use rustls::RootCertStore;

use super::{
    Destination, Environment, Link, Signal, StartError,
    delivery::{Watched, remember_cause},
    environment::Protocol,
    tls,
};

/// The exporters of those signals that are pushed.
#[derive(Debug)]
pub(super) struct Exporters {
    pub(super) metrics: Option<Watched<MetricExporter>>,
    pub(super) spans: Option<Watched<SpanExporter>>,
    pub(super) logs: Option<Watched<LogExporter>>,
}

impl Exporters {
    pub(super) fn build(
        environment: &Environment,
        destination: Destination,
        meter: &Meter,
        link: &Link,
    ) -> Result<Self, StartError> {
        let target =
            |signal| environment.pushes(signal).then(|| Target::of(signal, environment, destination));
        let failed =
            |source, target: &Target| StartError::Exporter { signal: target.signal.as_str(), source };
        let metrics = target(Signal::Metrics).map(|target| {
            let built = target.metric_exporter().map_err(|error| failed(error, &target))?;
            Ok::<_, StartError>(target.watched(built, meter, link))
        });
        let spans = target(Signal::Traces).map(|target| {
            let built = target.span_exporter().map_err(|error| failed(error, &target))?;
            Ok::<_, StartError>(target.watched(built, meter, link))
        });
        let logs = target(Signal::Logs).map(|target| {
            let built = target.log_exporter().map_err(|error| failed(error, &target))?;
            Ok::<_, StartError>(target.watched(built, meter, link))
        });
        Ok(Self { metrics: metrics.transpose()?, spans: spans.transpose()?, logs: logs.transpose()? })
    }
}

/// Where and how one signal is sent.
struct Target {
    signal: Signal,
    protocol: Protocol,
    endpoint: String,
    timeout: Duration,
    /// PEM of what signs the server's certificate, where it is not one of the system's authorities.
    authorities: Option<Vec<u8>>,
    identity: Option<tls::Identity>,
}

impl Target {
    fn of(signal: Signal, environment: &Environment, destination: Destination) -> Self {
        let protocol = environment.protocol(signal);
        let endpoint = match destination {
            Destination::Embedded { grpc, http } => embedded(signal, protocol, grpc, http),
            Destination::Standard => environment.endpoint(signal),
        };
        Self {
            signal,
            protocol,
            endpoint,
            timeout: environment.timeout(signal),
            authorities: environment.authorities(signal),
            identity: environment.identity(signal),
        }
    }

    fn watched<E>(&self, exporter: E, meter: &Meter, link: &Link) -> Watched<E> {
        let component = match (self.signal, self.protocol) {
            (Signal::Metrics, Protocol::Grpc) => "otlp_grpc_metric_exporter",
            (Signal::Metrics, Protocol::HttpProtobuf) => "otlp_http_metric_exporter",
            (Signal::Traces, Protocol::Grpc) => "otlp_grpc_span_exporter",
            (Signal::Traces, Protocol::HttpProtobuf) => "otlp_http_span_exporter",
            (Signal::Logs, Protocol::Grpc) => "otlp_grpc_log_exporter",
            (Signal::Logs, Protocol::HttpProtobuf) => "otlp_http_log_exporter",
        };
        Watched::new(exporter, self.signal, self.endpoint.clone(), (meter, component), link.clone())
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
        if !self.is_secure() {
            return builder;
        }
        let mut tls = match &self.authorities {
            Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)),
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
        let roots = match &self.authorities {
            Some(authorities) => tls::authorities(authorities)?,
            // To read the system's takes its time.
            None if self.is_secure() => tls::system_authorities(),
            None => RootCertStore::empty(),
        };
        let tls = tls::client(roots, self.identity.as_ref())?;
        // The settings are given, since those of reqwest's own would be by the crypto provider of the process.
        let client =
            reqwest::blocking::Client::builder().timeout(self.timeout).tls_backend_preconfigured(tls);
        // A blocking client makes a runtime of its own, which must not happen on a thread of another.
        match thread::scope(|scope| scope.spawn(|| client.build()).join()) {
            Ok(client) => client.map_err(|error| error.to_string()),
            Err(_) => Err("the HTTP client cannot be made".to_owned()),
        }
    }

    fn common<B: WithExportConfig>(&self, builder: B, protocol: opentelemetry_otlp::Protocol) -> B {
        builder.with_protocol(protocol).with_timeout(self.timeout).with_endpoint(&self.endpoint)
    }

    fn is_secure(&self) -> bool {
        self.endpoint.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
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
