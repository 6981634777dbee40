//! Forwards what was received to another OTLP endpoint, as it was received.
//!
//! It must not look inside a request: the bytes go on as they came. Retryable answers are tried again until
//! the peer takes the request; what the peer refuses for good is dropped and counted.

mod answer;
mod grpc;
mod http;
mod paced;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use url::Url;

use self::answer::{Failure, Taken};
use super::State;
use crate::{
    collector::{
        batch::Signal,
        queue::Queue,
        stats::{Event, Stats},
    },
    config::{ForwardProtocol, ForwardSignals, ForwardTarget},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a peer can ask for.
const LONGEST_PAUSE_ASKED: Duration = Duration::from_secs(120);

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
        let client = client(target).map_err(|source| SetupError { target: target.label.clone(), source })?;
        Ok(Self { client, queue, stats, state })
    }

    /// Sends what is queued, in its order; never returns.
    pub async fn run(self) {
        let place = self.state.sink().to_owned();
        loop {
            let export = self.queue.next().await;
            match self.deliver(&export).await {
                Ok(Taken { rejected, words }) => {
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
                        let error = format!("{rejected} of {} items rejected: {words}", export.items);
                        self.state.refused(export.signal, &error);
                    }
                }
                Err(error) => {
                    self.state.refused(export.signal, &error);
                    self.stats.add(Event::Dropped, &place, export.signal, "refused", export.items);
                }
            }
            export.done();
        }
    }

    /// Sends one request until it is taken or refused for good.
    async fn deliver(&self, export: &Export) -> Result<Taken, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.client.send(export).await {
                Ok(taken) => {
                    self.state.up(self.state.sink());
                    return Ok(taken);
                }
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Retryable { error, after }) => {
                    self.state.down(self.state.sink(), &format!("{}: {error}", export.signal.as_str()));
                    let pause_asked = after.map(|after| after.clamp(FIRST_PAUSE, LONGEST_PAUSE_ASKED));
                    tokio::time::sleep(pause_asked.unwrap_or(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Whether an endpoint gets that signal.
#[must_use]
pub const fn gets(signals: ForwardSignals, signal: Signal) -> bool {
    match signal {
        Signal::Metrics => signals.metrics,
        Signal::Traces => signals.traces,
        Signal::Logs => signals.logs,
    }
}

/// Sends one empty request for each signal that it gets, which every receiver of OTLP takes and none keeps; returns each answer.
///
/// # Errors
/// Where the URL cannot be made a client of.
pub async fn check(target: &ForwardTarget) -> Result<Vec<(Signal, Result<(), String>)>, String> {
    let client = client(target).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for signal in Signal::ALL.into_iter().filter(|signal| gets(target.signals, *signal)) {
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
    async fn send(&self, export: &Export) -> Result<Taken, Failure> {
        match self {
            Self::Grpc(channel) => grpc::send(channel.clone(), export).await,
            Self::Http(client, base) => http::send(client, base, export).await,
        }
    }
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
