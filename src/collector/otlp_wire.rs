//! What both ends of OTLP's transports write in the same way: paths, media types, and the frame of a gRPC message.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use bytes::{BufMut as _, Bytes, BytesMut};

use super::batch::Signal;

/// The length of what precedes a gRPC message: a byte that says whether it is compressed, and its length in four bytes.
pub(super) const PREFIX_LENGTH: usize = 5;

/// The path of a signal's `Export` method over gRPC.
pub(super) const fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

/// The frame of an uncompressed gRPC message, of less than 4 GiB.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_LENGTH + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The media type that the headers name, without its parameters; empty where there is none.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
