//! Forwards what was received to another OTLP endpoint, as it was received.
//!
//! It must not look inside a request: the bytes go on as they came. Retryable answers are tried again until
//! the peer takes the request; what the peer refuses for good is dropped and counted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use reqwest::{StatusCode, header};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_types::StatusExt as _;
use url::Url;

use super::State;
use crate::{
    collector::{
        batch::Signal,
        queue::Queue,
        raw_codec::RawCodec,
        stats::{Event, Stats},
    },
    config::{ForwardProtocol, ForwardTarget},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a peer can ask for.
const LONGEST_PAUSE_ASKED: Duration = Duration::from_secs(120);
/// The most of an answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// A request on its way to the peer.
#[derive(Clone, Debug)]
pub struct Export {
    /// What it holds.
    pub signal: Signal,
    /// The protobuf encoding of its `Export*ServiceRequest`.
    pub wire: Bytes,
    /// Data points, spans or log records in it.
    pub items: u64,
}

/// A peer could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("failed to prepare forwarding to {target}: {source}")]
pub struct SetupError {
    target: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Sends queued requests to one peer.
#[derive(Debug)]
pub struct Forwarder {
    client: Client,
    queue: Arc<Queue<Export>>,
    stats: Arc<Stats>,
    state: State,
}

#[derive(Debug)]
enum Client {
    Grpc(Channel),
    Http(reqwest::Client, Url),
}

/// Why a request was not taken.
enum Failure {
    /// The same request may be taken later.
    Retryable { error: String, after: Option<Duration> },
    /// The peer will never take it.
    Permanent(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retryable { error, .. } | Self::Permanent(error) => f.write_str(error),
        }
    }
}

impl Forwarder {
    /// A forwarder to `target`; nothing is connected yet.
    ///
    /// # Errors
    /// Where the URL cannot be made a client of.
    pub fn new(
        target: &ForwardTarget,
        queue: Arc<Queue<Export>>,
        stats: Arc<Stats>,
        state: State,
    ) -> Result<Self, SetupError> {
        let client =
            client(target).map_err(|source| SetupError { target: target.url.to_string(), source })?;
        Ok(Self { client, queue, stats, state })
    }

    /// Sends what is queued, in its order; never returns.
    pub async fn run(self) {
        let place = self.state.sink().to_owned();
        loop {
            let export = self.queue.next().await;
            match self.deliver(&export).await {
                Ok(rejected) => {
                    self.stats.add(
                        Event::Sent,
                        &place,
                        export.signal,
                        "",
                        export.items - rejected.min(export.items),
                    );
                    if rejected > 0 {
                        let rejected = rejected.min(export.items);
                        self.stats.add(Event::Dropped, &place, export.signal, "rejected", rejected);
                    }
                }
                Err(error) => {
                    self.state.refused(&place, &error);
                    self.stats.add(Event::Dropped, &place, export.signal, "refused", export.items);
                }
            }
            export.done();
        }
    }

    /// Sends one request until it is taken (with how many items the peer rejected) or refused for good.
    async fn deliver(&self, export: &Export) -> Result<u64, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.client.send(export).await {
                Ok(rejected) => {
                    self.state.up(self.state.sink());
                    return Ok(rejected);
                }
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Retryable { error, after }) => {
                    self.state.down(self.state.sink(), &error);
                    let pause_asked = after.map(|after| after.clamp(FIRST_PAUSE, LONGEST_PAUSE_ASKED));
                    tokio::time::sleep(pause_asked.unwrap_or(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Sends one empty request for each signal, which every receiver of OTLP takes and none keeps; returns each answer.
///
/// # Errors
/// Where the URL cannot be made a client of.
pub async fn check(target: &ForwardTarget) -> Result<Vec<(Signal, Result<(), String>)>, String> {
    let client = client(target).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for signal in Signal::ALL {
        let answer = client.send(&Export { signal, wire: Bytes::new(), items: 0 }).await;
        answers.push((signal, answer.map(drop).map_err(|failure| failure.to_string())));
    }
    Ok(answers)
}

fn client(target: &ForwardTarget) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match target.protocol {
        ForwardProtocol::Grpc => {
            let endpoint = Endpoint::from_shared(target.url.to_string())?;
            let mut endpoint = endpoint.timeout(TIMEOUT).connect_timeout(TIMEOUT);
            if target.url.scheme() == "https" {
                endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
            }
            Client::Grpc(endpoint.connect_lazy())
        }
        ForwardProtocol::Http => {
            let client =
                reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
            Client::Http(client.build()?, target.url.clone())
        }
    })
}

impl Client {
    async fn send(&self, export: &Export) -> Result<u64, Failure> {
        let answer = match self {
            Self::Grpc(channel) => send_grpc(channel.clone(), export).await?,
            Self::Http(client, base) => send_http(client, base, export).await?,
        };
        Ok(rejected(&answer))
    }
}

async fn send_grpc(channel: Channel, export: &Export) -> Result<Bytes, Failure> {
    let service = match export.signal {
        Signal::Metrics => "metrics.v1.MetricsService",
        Signal::Traces => "trace.v1.TraceService",
        Signal::Logs => "logs.v1.LogsService",
    };
    let path = format!("/opentelemetry.proto.collector.{service}/Export");
    let path =
        http::uri::PathAndQuery::try_from(path).map_err(|error| Failure::Permanent(error.to_string()))?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    let unready = |error: tonic::transport::Error| Failure::Retryable { error: chain(&error), after: None };
    grpc.ready().await.map_err(unready)?;
    let answer = grpc.unary(tonic::Request::new(export.wire.clone()), path, RawCodec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| {
        let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let error = format!("{:?}: {}", status.code(), status.message());
        let error = match std::error::Error::source(&status) {
            Some(cause) => format!("{error}: {}", chain(cause)),
            None => error,
        };
        // The codes that OTLP/gRPC names as retryable; RESOURCE_EXHAUSTED only with RetryInfo.
        match status.code() {
            tonic::Code::Cancelled
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Aborted
            | tonic::Code::OutOfRange
            | tonic::Code::Unavailable
            | tonic::Code::DataLoss => Failure::Retryable { error, after },
            tonic::Code::ResourceExhausted if after.is_some() => Failure::Retryable { error, after },
            // No code of the peer's: a connection that broke or was refused, whatever code the client has for
            // it, with the transport's error behind it.
            _ if std::error::Error::source(&status).is_some() => Failure::Retryable { error, after },
            _ => Failure::Permanent(error),
        }
    })
}

async fn send_http(client: &reqwest::Client, base: &Url, export: &Export) -> Result<Bytes, Failure> {
    let url = format!("{}/v1/{}", base.as_str().trim_end_matches('/'), export.signal.as_str());
    let request =
        client.post(url).header(header::CONTENT_TYPE, "application/x-protobuf").body(export.wire.clone());
    let retryable = |error: reqwest::Error| Failure::Retryable { error: chain(&error), after: None };
    let mut answer = request.send().await.map_err(retryable)?;
    let status = answer.status();
    let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(retryable)? {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
    }
    match status {
        status if status.is_success() => Ok(body.into()),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Retryable { error: status.to_string(), after: after.map(Duration::from_secs) })
        }
        status => Err(Failure::Permanent(status.to_string())),
    }
}

/// The rejected items of a partial success. The three answers have the same shape, so one type reads all.
fn rejected(answer: &Bytes) -> u64 {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
    let answer = ExportMetricsServiceResponse::decode(answer.clone()).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_data_points);
    u64::try_from(rejected).unwrap_or_default()
}

/// An error with its causes, which name what really happened ("connection refused").
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
