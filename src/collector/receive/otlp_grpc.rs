//! OTLP/gRPC: the three unary `Export` methods over HTTP/2.
//!
//! The framing of a unary call is read here rather than by tonic's server, whose limits answer
//! `OUT_OF_RANGE` (for OTLP: send it again) and whose broken gzip is `INTERNAL`. It must not look into a
//! message; [`super::otlp`] does.

mod health;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, Response, StatusCode,
        header::{ALLOW, CONTENT_TYPE},
    },
    response::IntoResponse as _,
    routing::get,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tonic::Status;

pub use self::health::health;
use super::{
    Accept,
    otlp::{Compression, Declined, Encoding, Intake, Limits, Refusal, response},
};
use crate::collector::{
    batch::{Accepted, Signal},
    otlp_wire::{PREFIX_LENGTH, framed, grpc_path},
    stats::Stats,
};

/// This receiver's name in the counts.
const PLACE: &str = "otlp_grpc";
/// What a person finds here, who comes with a browser.
const HOME: &str = "\
This port receives OTLP over gRPC: metrics, traces and logs. A browser has nothing to send here.
An SDK sends here with OTEL_EXPORTER_OTLP_PROTOCOL=grpc and this address as OTEL_EXPORTER_OTLP_ENDPOINT.
OTLP over HTTP has a port of its own, 4318 where none is given.
";
const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const ACCEPTED_ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,deflate,zstd");

/// The OTLP/gRPC receiver with its usual bounds; to be served with HTTP/2.
pub fn router(accept: Accept, stats: Arc<Stats>) -> Router {
    router_within(Limits::default(), accept, stats)
}

/// The OTLP/gRPC receiver with bounds of the caller's.
pub fn router_within(limits: Limits, accept: Accept, stats: Arc<Stats>) -> Router {
    Intake::new(PLACE, limits, accept, stats)
        .routes(grpc_path, call)
        .route("/", get(async || HOME).fallback(unknown_method))
        .fallback(unknown_method)
}

async fn call(intake: Arc<Intake>, signal: Signal, request: Request) -> Response<Body> {
    if let Some(response) = not_grpc(&request) {
        let refusal = Refusal::ContentType("not a gRPC request".to_owned());
        intake.count_refusal(signal, &refusal.into(), request.headers());
        return response;
    }
    let headers = request.headers().clone();
    match export(&intake, signal, request).await {
        Ok(accepted) => success(&response(signal, accepted)),
        Err(declined) => {
            intake.count_refusal(signal, &declined, &headers);
            let mut response = declined.refusal.status().into_http::<Body>();
            response.headers_mut().insert(GRPC_ACCEPT_ENCODING, ACCEPTED_ENCODINGS);
            response
        }
    }
}

async fn unknown_method(request: Request) -> Response<Body> {
    not_grpc(&request).unwrap_or_else(|| {
        let reason = format!("{} is no method of this server", request.uri().path());
        Status::unimplemented(reason).into_http()
    })
}

/// The answer to what is no gRPC call (gRPC over HTTP/2, "Requests").
fn not_grpc(request: &Request) -> Option<Response<Body>> {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let subtype = content_type.strip_prefix(b"application/grpc");
    if !subtype.is_some_and(|rest| matches!(rest, b"" | b"+proto" | [b';', ..])) {
        let text = "this port speaks OTLP/gRPC (application/grpc); OTLP/HTTP has a port of its own\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    if request.method() != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")]).into_response());
    }
    None
}

async fn export(intake: &Arc<Intake>, signal: Signal, request: Request) -> Result<Accepted, Declined> {
    let declared = compression(request.headers())?;
    let mut body = request.into_body();
    let mut received = intake.read(&mut body, PREFIX_LENGTH).await?;
    let (compressed, message) = message(&received.bytes, intake)?;
    if compressed && declared == Compression::None {
        let reason = "the message is marked as compressed, but no grpc-encoding says how";
        return Err(Refusal::Malformed(reason.to_owned()).into());
    }
    // A message may be left plain all the same.
    let compression = if compressed { declared } else { Compression::None };
    received.bytes = message;
    intake.take(signal, Encoding::Protobuf, compression, received).await
}

fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let declared = headers.get("grpc-encoding").map_or(&b""[..], HeaderValue::as_bytes);
    Compression::of(&String::from_utf8_lossy(declared))
}

/// The one message of a unary call, and whether it is compressed.
fn message(body: &Bytes, intake: &Intake) -> Result<(bool, Bytes), Refusal> {
    let malformed = |reason: &str| Err(Refusal::Malformed(reason.to_owned()));
    let Some(([flag, length @ ..], rest)) = body.split_first_chunk::<PREFIX_LENGTH>() else {
        return malformed("the call has no message");
    };
    let length = u32::from_be_bytes(*length);
    intake.measure(length.into())?;
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => return malformed("the message's first byte is neither 0 (plain) nor 1 (compressed)"),
    };
    match (rest.len() as u64).cmp(&length.into()) {
        std::cmp::Ordering::Less => malformed("the message is shorter than its length says"),
        std::cmp::Ordering::Equal => Ok((compressed, body.slice(PREFIX_LENGTH..))),
        std::cmp::Ordering::Greater => malformed("the call has more than one message"),
    }
}

fn success(message: &[u8]) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body =
        Full::new(framed(message)).with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, ACCEPTED_ENCODINGS);
    response
}
