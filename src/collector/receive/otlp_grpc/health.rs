//! `grpc.health.v1`: whether this port serves, for load balancers and probes that ask over gRPC.
//!
//! It must not depend on the sinks: a full one makes senders wait, and to take them elsewhere helps nobody.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE},
    routing::any,
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{not_grpc, success};
use crate::collector::otlp_wire::{PREFIX_LENGTH, framed, grpc_path};
use crate::{collector::batch::Signal, net::Stop};

/// The most bytes of a question, and how long it may take.
const MAX_REQUEST: usize = 4096;
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// `HealthCheckRequest`.
#[derive(prost::Message)]
struct Question {
    /// A service's full name; empty for the whole server.
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse`.
#[derive(prost::Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    Yes = 1,
    No = 2,
    UnknownService = 3,
}

impl Serving {
    fn of(service: &str, stop: &Stop) -> Self {
        // A method's path is /SERVICE/METHOD.
        let is = |signal| grpc_path(signal).split('/').nth(1) == Some(service);
        match service.is_empty() || Signal::ALL.into_iter().any(is) {
            false => Self::UnknownService,
            true if stop.is_draining() => Self::No,
            true => Self::Yes,
        }
    }

    fn message(self) -> Vec<u8> {
        Answer { status: self as i32 }.encode_to_vec()
    }
}

/// The health service; it says that nothing is served once `stop` drains.
pub fn health(stop: Stop) -> Router {
    let watched = stop.clone();
    Router::new()
        .route(
            "/grpc.health.v1.Health/Check",
            any(move |request| {
                let stop = stop.clone();
                async move { answered(request, |service| check(service, &stop)).await }
            }),
        )
        .route(
            "/grpc.health.v1.Health/Watch",
            any(move |request| {
                let stop = watched.clone();
                async move { answered(request, |service| watch(service, &stop)).await }
            }),
        )
}

async fn answered(request: Request, answer: impl FnOnce(&str) -> Response<Body>) -> Response<Body> {
    if let Some(response) = not_grpc(&request) {
        return response;
    }
    match service(request.into_body()).await {
        Ok(service) => answer(&service),
        Err(status) => status.into_http(),
    }
}

/// The service that is asked for.
async fn service(body: Body) -> Result<String, Status> {
    let invalid = |reason: &str| Status::invalid_argument(reason);
    let body = timeout(REQUEST_TIME, Limited::new(body, MAX_REQUEST).collect()).await;
    let body = body.map_err(|_| Status::deadline_exceeded("the request did not end"))?;
    let body = body.map_err(|_| invalid("the request is too long, or ended early"))?.to_bytes();
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk::<PREFIX_LENGTH>() else {
        return Err(invalid("the call has no message"));
    };
    if flag != 0 {
        return Err(Status::unimplemented("send the question without compression"));
    }
    if message.len() as u64 != u64::from(u32::from_be_bytes([a, b, c, d])) {
        return Err(invalid("the message has another length than it says"));
    }
    let question = Question::decode(message).map_err(|error| invalid(&error.to_string()))?;
    Ok(question.service)
}

fn check(service: &str, stop: &Stop) -> Response<Body> {
    match Serving::of(service, stop) {
        Serving::UnknownService => Status::not_found("no such service here").into_http(),
        serving => success(&serving.message()),
    }
}

fn watch(service: &str, stop: &Stop) -> Response<Body> {
    let draining = stop.clone();
    let watch = Watch {
        next: Next::Message(Serving::of(service, stop)),
        is_known: Serving::of(service, stop) != Serving::UnknownService,
        draining: Box::pin(async move { draining.draining().await }),
    };
    let mut response = Response::new(Body::new(watch));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The stream of a watched service: how it is now, and that it ends once it does.
struct Watch {
    next: Next,
    is_known: bool,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Clone, Copy)]
enum Next {
    Message(Serving),
    Drain,
    Trailers,
    End,
}

impl http_body::Body for Watch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            match self.next {
                Next::Message(serving) => {
                    self.next = if serving == Serving::No { Next::Trailers } else { Next::Drain };
                    return Poll::Ready(Some(Ok(Frame::data(framed(&serving.message())))));
                }
                Next::Drain => {
                    ready!(self.draining.as_mut().poll(context));
                    self.next = if self.is_known { Next::Message(Serving::No) } else { Next::Trailers };
                }
                Next::Trailers => {
                    self.next = Next::End;
                    let mut trailers = HeaderMap::new();
                    trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Unavailable as i32));
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Next::End => return Poll::Ready(None),
            }
        }
    }
}
