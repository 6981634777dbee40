//! What both OTLP receivers share: from a body to a batch, within bounds, and the reasons to refuse one.
//!
//! It must not know a transport: each receiver maps a refusal to its own codes.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    body::Body,
    extract,
    http::{HeaderMap, Response, header::USER_AGENT},
    routing::any,
};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Semaphore;

use super::Accept;
use crate::collector::{
    batch::{Accepted, Batch, Request, Signal},
    refusals::{self, Named},
    stats::{Event, Stats},
    wire::{Items, Metrics, ReadError},
};

mod body;
mod check;
mod compression;
mod depth;
mod json;
mod refusal;
mod schema;
mod sender;
mod size;
mod walk;

pub(super) use self::{
    compression::Compression,
    refusal::{Declined, Refusal},
};

use body::{Room, Share};
use check::Findings;

/// A body of up to this many bytes is decoded where it was read; a larger one on a thread of its own, so
/// that it does not hold up the connections beside it. A receiver has no more of these at once than there are
/// processors: they would take memory, and each other's turns.
const DECODED_IN_PLACE: usize = 256 * 1024;
/// How much larger what is compressed is expected to become, for that choice only.
const USUAL_INFLATION: usize = 16;
/// The bounds of an OTLP receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one body, as sent and again once decompressed.
    pub body: usize,
    /// How long a client may take to send a body.
    pub body_time: Duration,
    /// Bytes of all bodies that are held at once, compressed and decompressed.
    pub bodies: usize,
    /// Bytes of memory that all requests being handed on may take once decoded. A single one may take all
    /// of it.
    pub decoded: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 16 * 1024 * 1024,
            body_time: Duration::from_secs(30),
            bodies: 64 * 1024 * 1024,
            decoded: 256 * 1024 * 1024,
        }
    }
}

/// How a request is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// The way of one receiver's requests to the pipeline.
pub(super) struct Intake {
    place: &'static str,
    accept: Accept,
    stats: Arc<Stats>,
    limits: Limits,
    bodies: Room,
    decoded: Room,
    threads: Arc<Semaphore>,
    /// Refusals that were named in the log.
    named: Mutex<Named>,
}

/// A body with the room that it holds.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    share: Share,
}

impl Intake {
    /// `place` is the receiver's name in the counts.
    pub(super) fn new(place: &'static str, limits: Limits, accept: Accept, stats: Arc<Stats>) -> Arc<Self> {
        let (bodies, decoded) = (Room::new(limits.bodies, limits.body), Room::new(limits.decoded, 0));
        let threads = Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get)));
        Arc::new(Self { place, accept, stats, limits, bodies, decoded, threads, named: Mutex::default() })
    }

    /// One route for each signal, answered by `answer` whatever the method.
    pub(super) fn routes<F, A>(self: Arc<Self>, path: fn(Signal) -> &'static str, answer: F) -> Router
    where
        F: Fn(Arc<Self>, Signal, extract::Request) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Signal::ALL.into_iter().fold(Router::new(), |router, signal| {
            let (intake, answer) = (Arc::clone(&self), answer.clone());
            router.route(path(signal), any(move |request| answer(Arc::clone(&intake), signal, request)))
        })
    }

    /// Reads a body of the largest allowed size, with `extra` bytes of framing.
    pub(super) async fn read(&self, body: &mut Body, extra: usize) -> Result<Received, Refusal> {
        let mut share = self.bodies.share();
        let bytes = body::read(body, extra, &self.limits, &mut share).await?;
        Ok(Received { bytes, share })
    }

    /// The refusal of a message of that many bytes, where it is too large.
    pub(super) fn measure(&self, length: u64) -> Result<(), Refusal> {
        if length > self.limits.body as u64 {
            return Err(Refusal::TooLarge { what: "the body", limit: self.limits.body });
        }
        Ok(())
    }

    /// Reads on and throws away what is left of a refused body, within bounds and beside the answer.
    pub(super) fn discard(body: Body) {
        tokio::spawn(body::discard(body));
    }

    /// Decodes a body and hands it to the pipeline.
    pub(super) async fn take(
        self: &Arc<Self>,
        signal: Signal,
        encoding: Encoding,
        compression: Compression,
        received: Received,
    ) -> Result<Accepted, Declined> {
        let inflation = if compression == Compression::None { 1 } else { USUAL_INFLATION };
        if received.bytes.len() * inflation <= DECODED_IN_PLACE {
            return self.take_now(signal, encoding, compression, received);
        }
        let intake = Arc::clone(self);
        let turn = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| Refusal::Internal)?;
        let take = move || {
            // Kept until the end, also where the sender goes away meanwhile.
            let _turn = turn;
            intake.take_now(signal, encoding, compression, received)
        };
        tokio::task::spawn_blocking(take).await.unwrap_or(Err(Refusal::Internal.into()))
    }

    fn take_now(
        &self,
        signal: Signal,
        encoding: Encoding,
        compression: Compression,
        received: Received,
    ) -> Result<Accepted, Declined> {
        let Received { bytes, mut share } = received;
        let bytes = compression.undo(bytes, self.limits.body, &mut share)?;
        self.take_plain(signal, encoding, bytes.clone(), &mut share).map_err(|refusal| match refusal {
            // It is not logged, and comes often where it comes.
            Refusal::NoRoom { .. } => refusal.into(),
            refusal => Declined { service: sender::service(&bytes), refusal },
        })
    }

    fn take_plain(
        &self,
        signal: Signal,
        encoding: Encoding,
        mut bytes: Bytes,
        share: &mut Share,
    ) -> Result<Accepted, Refusal> {
        let mut findings = Findings::default();
        if encoding == Encoding::Json {
            let written = json::to_wire(schema::request(signal), &bytes, self.limits.body)?;
            if written.nulls > 0 {
                let service = sender::service(&bytes).unwrap_or_else(|| "unknown".to_owned());
                for place in written.named {
                    findings.add_of(1, &service, place, "null is no value: a number is needed");
                }
                findings.add_unnamed(written.nulls);
            }
            bytes = written.wire.into();
            share.grow(bytes.len())?;
        }
        let mut memory = Memory { share: self.decoded.share(), taken: 0, limit: self.limits.decoded };
        let (found, mut accepted) = match signal {
            Signal::Metrics => self.take_metrics(bytes, encoding, &mut memory)?,
            Signal::Traces => self.take_items(
                signal,
                bytes,
                &mut memory,
                |wire| Items::spans(wire).map(Request::Traces),
                check::spans,
            )?,
            Signal::Logs => self.take_items(
                signal,
                bytes,
                &mut memory,
                |wire| Items::logs(wire).map(Request::Logs),
                check::logs,
            )?,
        };
        findings.append(found);
        if !findings.is_empty() {
            accepted.rejected += findings.rejected;
            accepted.message = match accepted.message {
                message if message.is_empty() => findings.message(),
                message => format!("{}; {message}", findings.message()),
            };
            self.count(Event::Refused, signal, "rejected", findings.rejected);
            for (service, fault) in &findings.by_service {
                self.name(signal, "rejected", service, fault);
            }
        }
        Ok(accepted)
    }

    /// Metrics are read where they lie. An encoding that is unusual, or that lacks something, is decoded whole, rid of
    /// what cannot be used, and written anew.
    fn take_metrics(
        &self,
        wire: Bytes,
        encoding: Encoding,
        memory: &mut Memory,
    ) -> Result<(Findings, Accepted), Refusal> {
        if let Some(metrics) = memory.read(&wire)?.filter(|metrics| !metrics.lacks_something) {
            let batch = Batch { request: Request::Metrics(metrics), wire: wire.clone() };
            return Ok((Findings::default(), self.hand_on(batch)?));
        }
        let (wire, mut findings) = without_deep(Signal::Metrics, wire, memory)?;
        let mut request: ExportMetricsServiceRequest = decode(Signal::Metrics, &wire, memory)?;
        let found = check::metrics(&mut request);
        let wire = Bytes::from(request.encode_to_vec());
        drop(request);
        let metrics = memory.read(&wire)?.ok_or(Refusal::Internal)?;
        // In JSON, a name that is written wrongly is an unknown field and as such ignored, and its sender must see that.
        if encoding == Encoding::Json && !found.is_empty() && metrics.is_empty() {
            return Err(Refusal::Malformed(found.message()));
        }
        findings.append(found);
        let batch = Batch { request: Request::Metrics(metrics), wire: wire.clone() };
        Ok((findings, self.hand_on(batch)?))
    }

    /// Spans and log records are left where they lie, likewise; those with invalid ids are decoded, and written anew
    /// without them.
    fn take_items<M: prost::Message + Default>(
        &self,
        signal: Signal,
        wire: Bytes,
        memory: &mut Memory,
        read: fn(&[u8]) -> Result<Request<'_>, ReadError>,
        check: fn(&mut M) -> Findings,
    ) -> Result<(Findings, Accepted), Refusal> {
        if let Ok(request) = read(&wire)
            && !request.needs_repair()
        {
            return Ok((Findings::default(), self.hand_on(Batch { request, wire: wire.clone() })?));
        }
        let (wire, mut findings) = without_deep(signal, wire, memory)?;
        let mut request: M = decode(signal, &wire, memory)?;
        findings.append(check(&mut request));
        let wire = Bytes::from(request.encode_to_vec());
        drop(request);
        let request = read(&wire).map_err(|_| Refusal::Internal)?;
        Ok((findings, self.hand_on(Batch { request, wire: wire.clone() })?))
    }

    fn hand_on(&self, batch: Batch<'_>) -> Result<Accepted, Refusal> {
        let (signal, items) = (batch.request.signal(), batch.request.items());
        // A request without items is a success by the specification, and no sink has use for it.
        if items == 0 {
            return Ok(Accepted::default());
        }
        let accepted = (self.accept)(batch).map_err(|refused| Refusal::NoRoom {
            message: refused.to_string(),
            retry_after: refused.retry_after,
            items,
        })?;
        self.count(Event::Accepted, signal, "", items.saturating_sub(accepted.rejected));
        Ok(accepted)
    }

    /// Counts what was not taken, and names it in the log once for each sender.
    pub(super) fn count_refusal(&self, signal: Signal, declined: &Declined, headers: &HeaderMap) {
        let refusal = &declined.refusal;
        self.count(Event::Refused, signal, refusal.reason(), refusal.items());
        // Those are not the request's fault: the sender keeps it, or has gone.
        if matches!(refusal, Refusal::NoRoom { .. } | Refusal::Aborted(_)) {
            return;
        }
        let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        match &declined.service {
            Some(service) => self.name(signal, refusal.reason(), service, &refusal.message()),
            None => {
                let sender = format!("unknown, sent by {}", agent.as_deref().unwrap_or("an unknown client"));
                self.name(signal, refusal.reason(), &sender, &refusal.message());
            }
        }
    }

    /// Names a refusal in the log, once for each sender and reason.
    fn name(&self, signal: Signal, reason: &'static str, service: &str, why: &str) {
        if self.named.lock().is_first(signal, reason, service) {
            let (receiver, service) = (self.place, refusals::shortened(service));
            tracing::warn!(
                receiver,
                service,
                signal = signal.as_str(),
                reason,
                "refused what was sent: {why}"
            );
        }
    }

    fn count(&self, event: Event, signal: Signal, reason: &'static str, items: u64) {
        if items > 0 {
            self.stats.add(event, self.place, signal, reason, items);
        }
    }
}

/// The memory that one request takes once decoded.
struct Memory {
    share: Share,
    taken: usize,
    limit: usize,
}

impl Memory {
    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.taken += bytes;
        if self.taken > self.limit {
            return Err(Refusal::TooLarge { what: "the decoded request", limit: self.limit });
        }
        self.share.grow(bytes)
    }

    /// The metrics where they lie; `None` where they are to be written anew first.
    fn read<'a>(&mut self, wire: &'a [u8]) -> Result<Option<Metrics<'a>>, Refusal> {
        let mut refusal = None;
        let read = Metrics::read(wire, &mut |bytes| match self.take(bytes) {
            Ok(()) => true,
            Err(refused) => {
                refusal = Some(refused);
                false
            }
        });
        match (read, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (read, None) => Ok(read.ok()),
        }
    }
}

/// The request without what nests too deep.
fn without_deep(signal: Signal, wire: Bytes, memory: &mut Memory) -> Result<(Bytes, Findings), Refusal> {
    match depth::without_deep(signal, &wire) {
        Some((kept, findings)) => {
            memory.take(kept.len())?;
            Ok((kept.into(), findings))
        }
        None => Ok((wire, Findings::default())),
    }
}

fn decode<M: prost::Message + Default>(
    signal: Signal,
    wire: &[u8],
    memory: &mut Memory,
) -> Result<M, Refusal> {
    let bytes = size::decoded(schema::request(signal), wire).map_err(Refusal::Malformed)?;
    memory.take(bytes)?;
    M::decode(wire).map_err(|error| Refusal::Malformed(error.to_string()))
}

/// The protobuf encoding of a signal's `Export…ServiceResponse`.
pub(super) fn response(signal: Signal, accepted: Accepted) -> Vec<u8> {
    let partial = accepted.rejected > 0 || !accepted.message.is_empty();
    let rejected = i64::try_from(accepted.rejected).unwrap_or(i64::MAX);
    let error_message = accepted.message;
    match signal {
        Signal::Metrics => ExportMetricsServiceResponse {
            partial_success: partial
                .then_some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message }),
        }
        .encode_to_vec(),
        Signal::Traces => ExportTraceServiceResponse {
            partial_success: partial
                .then_some(ExportTracePartialSuccess { rejected_spans: rejected, error_message }),
        }
        .encode_to_vec(),
        Signal::Logs => ExportLogsServiceResponse {
            partial_success: partial
                .then_some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message }),
        }
        .encode_to_vec(),
    }
}
