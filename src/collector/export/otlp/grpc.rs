//! Sends over OTLP/gRPC: one unary call.
//!
//! The answer is read here rather than by tonic's client, which has the same codes for what a peer refuses and for what
//! is no answer of gRPC at all.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Status, body::Body, transport::Channel};
use tonic_types::StatusExt as _;
use tower_service::Service as _;

use super::{
    Export, TIMEOUT,
    answer::{Failure, MAX_ANSWER, Taken, beginning, in_protobuf, judge},
    chain,
};
use crate::collector::otlp_wire::{PREFIX_LENGTH, framed, grpc_path, media_type};

pub(super) async fn send(mut channel: Channel, export: &Export) -> Result<Taken, Failure> {
    // A connection that breaks or is refused.
    let broken = |error: tonic::transport::Error| Failure::retryable(chain(&error));
    let request = request(export)?;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(broken)?;
    let answer = channel.call(request).await.map_err(broken)?;
    // The channel's own time-out ends with the head of the answer.
    let read = tokio::time::timeout(TIMEOUT, read(answer)).await;
    let late = || Failure::retryable(format!("the answer does not end within {TIMEOUT:?}"));
    read.map_err(|_| late())?.map_err(|error| Failure::retryable(chain(&error)))?.judge()
}

fn request(export: &Export) -> Result<Request<Body>, Failure> {
    if u32::try_from(export.wire.len()).is_err() {
        return Err(Failure::Permanent("larger than a message of gRPC can be".to_owned()));
    }
    let request = Request::post(grpc_path(export.signal))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, HeaderValue::from_static("trailers"));
    let body = Body::new(Full::new(framed(&export.wire)));
    request.body(body).map_err(|error| Failure::Permanent(error.to_string()))
}

/// An answer as it came.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

async fn read(answer: Response<Body>) -> Result<Answer, Status> {
    let (head, mut body) = answer.into_parts();
    let (mut whole, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            // The status that came before the stream was reset is the answer.
            Err(_) if Status::from_header_map(&trailers).is_some() || is_refused(&head) => break,
            Err(error) => return Err(error),
        };
        match frame.into_data() {
            Ok(data) => whole.extend_from_slice(&data[..data.len().min(MAX_ANSWER - whole.len())]),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: whole.freeze(), trailers })
}

/// Whether the head alone says that nothing was taken.
fn is_refused(head: &http::response::Parts) -> bool {
    !head.status.is_success()
        || Status::from_header_map(&head.headers).is_some_and(|status| status.code() != Code::Ok)
}

impl Answer {
    fn judge(&self) -> Result<Taken, Failure> {
        let status =
            Status::from_header_map(&self.trailers).or_else(|| Status::from_header_map(&self.headers));
        match status {
            Some(status) if media_type(&self.headers).starts_with("application/grpc") => {
                match status.code() {
                    // That it was taken is said; a message of another form says nothing of what was rejected.
                    Code::Ok => {
                        let message = self.body.get(PREFIX_LENGTH..).unwrap_or_default();
                        Ok(in_protobuf(message).unwrap_or_default())
                    }
                    _ => Err(refused(&status)),
                }
            }
            _ => Err(self.no_answer()),
        }
    }

    /// The failure that something else than a gRPC server stands for.
    fn no_answer(&self) -> Failure {
        let with = match media_type(&self.headers) {
            "" => "no content type",
            media_type => media_type,
        };
        let error = |what| format!("{} with {with}, which is {what}: {}", self.status, beginning(&self.body));
        if self.status.is_redirection() {
            return Failure::retryable(error("no answer of gRPC but a redirection, a wrong setting"));
        }
        match judge(self.status, &self.headers, &self.body) {
            Err(failure) if !self.status.is_success() => failure,
            _ => Failure::retryable(error("no answer of OTLP over gRPC")),
        }
    }
}

/// The codes that OTLP/gRPC names as retryable; `RESOURCE_EXHAUSTED` only with `RetryInfo`.
fn refused(status: &Status) -> Failure {
    let after: Option<Duration> = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let error = format!("{:?}: {}", status.code(), beginning(status.message().as_bytes()));
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::Retryable { error, after },
        Code::ResourceExhausted if after.is_some() => Failure::Retryable { error, after },
        _ => Failure::Permanent(error),
    }
}
