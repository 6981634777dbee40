//! An OTLP/gRPC receiver for all layers alike: it accepts what it gets, counts the spans, and keeps nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
    serve::ListenerExt as _,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::{net::TcpListener, runtime::Builder};

use crate::cores::Core;

/// What stands before a message in gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The receiver, which listens until the process ends.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    spans: Arc<AtomicU64>,
}

impl Sink {
    /// Starts it on a free port, on the second core.
    pub(crate) fn start() -> Self {
        let spans = Arc::new(AtomicU64::new(0));
        let app = Router::new().fallback(accept).with_state(Arc::clone(&spans));
        let (listening, address) = mpsc::channel();
        thread::spawn(move || {
            Core::Second.move_here();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                listening.send(listener.local_addr().unwrap()).unwrap();
                let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { address: address.recv().unwrap(), spans }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The share of `requests` of whose spans were accepted so far.
    pub(crate) fn spans_of(&self, requests: f64) -> f64 {
        self.spans.load(Ordering::Relaxed) as f64 / requests
    }
}

/// Answers with an empty message, which is full success.
async fn accept(State(spans): State<Arc<AtomicU64>>, request: Request<Body>) -> Response<Body> {
    let is_traces = request.uri().path().contains("TraceService");
    let mut response = Response::new(Body::empty());
    let Ok(message) = request.into_body().collect().await else {
        // The sender is gone, as all are that were measured to the end.
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let message = message.to_bytes();
    if is_traces {
        // ExportTraceServiceRequest.resource_spans, .scope_spans, .spans
        let scopes = fields(1, &message[PREFIX..]).into_iter().flat_map(|resource| fields(2, resource));
        let count: usize = scopes.map(|scope| fields(2, scope).len()).sum();
        spans.fetch_add(count as u64, Ordering::Relaxed);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let empty = Full::new(Bytes::from_static(&[0; PREFIX])).with_trailers(async { Some(Ok(trailers)) });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *response.body_mut() = Body::new(empty);
    response
}

/// The messages in field `number` of a message.
fn fields(number: u32, mut message: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let (tag, kind) = decode_key(&mut message).unwrap();
        if tag == number && kind == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message).unwrap()).unwrap();
            let (field, rest) = message.split_at(length);
            found.push(field);
            message = rest;
        } else {
            skip_field(kind, tag, &mut message, DecodeContext::default()).unwrap();
        }
    }
    found
}
