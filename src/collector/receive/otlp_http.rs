//! OTLP/HTTP: `POST /v1/metrics`, `/v1/traces` and `/v1/logs`, in protobuf or JSON.
//!
//! It must not look into a body; [`super::otlp`] does. Every answer but a success carries a
//! `google.rpc.Status` in the encoding of the request (OTLP specification, "OTLP/HTTP Response").

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
        header::{
            ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
            RETRY_AFTER,
        },
    },
    routing::get,
};
use prost::Message as _;
use serde_json::json;
use tonic::Code;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{
    Accept,
    otlp::{Compression, Declined, Encoding, Intake, Limits, Refusal, response},
};
use crate::collector::{
    batch::{Accepted, Signal},
    otlp_wire::media_type,
    stats::Stats,
};

/// This receiver's name in the counts.
const PLACE: &str = "otlp_http";
/// What a person finds here.
const HOME: &str = "\
This port receives OTLP over HTTP, by POST in protobuf or JSON (application/x-protobuf, application/json), plain or as
gzip, deflate or zstd:
/v1/metrics
/v1/traces
/v1/logs
An SDK sends here with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and this address as OTEL_EXPORTER_OTLP_ENDPOINT.
";
const PROTOBUF: &str = "application/x-protobuf";
/// What the media type of protobuf is called since it has a registered one.
const OTHER_PROTOBUF: &str = "application/protobuf";
const JSON: &str = "application/json";

/// How long a browser need not ask again.
const PREFLIGHT_HOLDS: Duration = Duration::from_secs(2 * 3600);

/// The OTLP/HTTP receiver with its usual bounds.
pub fn router(accept: Accept, stats: Arc<Stats>) -> Router {
    router_within(Limits::default(), accept, stats)
}

/// The OTLP/HTTP receiver with bounds of the caller's.
pub fn router_within(limits: Limits, accept: Accept, stats: Arc<Stats>) -> Router {
    Intake::new(PLACE, limits, accept, stats)
        .routes(path, export)
        .route("/", get(async || HOME).fallback(unknown_path))
        .fallback(unknown_path)
}

/// The same for web pages of these origins (`*` for any), whose browsers ask first whether they may send (the Fetch
/// standard's CORS protocol); none may where there are none.
pub fn with_cors(router: Router, origins: &[String]) -> Router {
    if origins.is_empty() {
        return router;
    }
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok())),
    };
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::POST])
        // A page may have its own, such as for a token of a proxy before this.
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .expose_headers([RETRY_AFTER])
        .max_age(PREFLIGHT_HOLDS);
    router.layer(cors)
}

const fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/v1/metrics",
        Signal::Traces => "/v1/traces",
        Signal::Logs => "/v1/logs",
    }
}

async fn unknown_path(request: Request) -> Response<Body> {
    let message =
        format!("no {} here; OTLP/HTTP has /v1/metrics, /v1/traces, /v1/logs", request.uri().path());
    let encoding = encoding(request.headers()).unwrap_or(Encoding::Json);
    failure(StatusCode::NOT_FOUND, Code::NotFound, message, encoding)
}

async fn export(intake: Arc<Intake>, signal: Signal, request: Request) -> Response<Body> {
    let encoding = encoding(request.headers());
    if request.method() != Method::POST {
        let message = format!("{} is not for {}; POST is", request.method(), path(signal));
        let answer = encoding.unwrap_or(Encoding::Json);
        let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, message, answer);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let (head, mut body) = request.into_parts();
    let taken = match encoding {
        Some(encoding) => take(&intake, signal, encoding, &head.headers, &mut body).await,
        None => Err(Refusal::ContentType(unsupported(&head.headers)).into()),
    };
    let encoding = encoding.unwrap_or(Encoding::Json);
    let mut answer = match taken {
        Ok(accepted) => success(signal, accepted, encoding),
        Err(declined) => {
            intake.count_refusal(signal, &declined, &head.headers);
            let refusal = declined.refusal;
            // In HTTP/2 the answer reaches the client by itself.
            if head.version < Version::HTTP_2 && !matches!(refusal, Refusal::TooSlow(_) | Refusal::Aborted(_))
            {
                Intake::discard(body);
            }
            refused(&refusal, encoding)
        }
    };
    // The answer has the media type of the request (OTLP specification, "OTLP/HTTP Response").
    if media_type(&head.headers).eq_ignore_ascii_case(OTHER_PROTOBUF) {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OTHER_PROTOBUF));
    }
    answer
}

async fn take(
    intake: &Arc<Intake>,
    signal: Signal,
    encoding: Encoding,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Accepted, Declined> {
    let compression = compression(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    intake.measure(declared.unwrap_or(0))?;
    let received = intake.read(body, 0).await?;
    intake.take(signal, encoding, compression, received).await
}

/// The request's encoding by its media type; `None` for any other, or none.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let media_type = media_type(headers);
    if [PROTOBUF, OTHER_PROTOBUF].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        Some(Encoding::Protobuf)
    } else if media_type.eq_ignore_ascii_case(JSON) {
        Some(Encoding::Json)
    } else {
        None
    }
}

fn unsupported(headers: &HeaderMap) -> String {
    match headers.get(CONTENT_TYPE) {
        Some(value) => {
            format!("the content type {value:?} is not supported; send {PROTOBUF} or {JSON}")
        }
        None => format!("the request has no content type; send {PROTOBUF} or {JSON}"),
    }
}

/// How the body is compressed; more than one coding is refused.
fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let values: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
        .collect();
    Compression::of(&values.join(", "))
}

fn success(signal: Signal, accepted: Accepted, encoding: Encoding) -> Response<Body> {
    let body = match encoding {
        Encoding::Protobuf => response(signal, accepted),
        Encoding::Json if accepted.rejected == 0 && accepted.message.is_empty() => b"{}".to_vec(),
        Encoding::Json => {
            let rejected = match signal {
                Signal::Metrics => "rejectedDataPoints",
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
            };
            // 64-bit integers are strings in protobuf's JSON mapping.
            let partial =
                json!({ rejected: accepted.rejected.to_string(), "errorMessage": accepted.message });
            json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
    };
    answer(StatusCode::OK, body, encoding)
}

fn refused(refusal: &Refusal, encoding: Encoding) -> Response<Body> {
    let status = match refusal {
        Refusal::Malformed(_) | Refusal::Aborted(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::ContentType(_) | Refusal::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::NoRoom { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let Some(delay) = refusal.retry_after() else {
        let mut response = failure(status, refusal.code(), refusal.message(), encoding);
        if let Some((name, value)) = remedy(refusal) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        return response;
    };
    let body = match encoding {
        // The details of a gRPC status are the encoded google.rpc.Status itself.
        Encoding::Protobuf => refusal.status().details().to_vec(),
        Encoding::Json => json!({
            "code": refusal.code() as i32,
            "message": refusal.message(),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", delay.as_secs_f64()),
            }],
        })
        .to_string()
        .into_bytes(),
    };
    let mut response = answer(status, body, encoding);
    // The header has whole seconds only; never earlier than asked for.
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// The header that tells what to do instead (RFC 9110, 15.5.9 and 15.5.16).
const fn remedy(refusal: &Refusal) -> Option<(HeaderName, &'static str)> {
    match refusal {
        Refusal::ContentType(_) => Some((ACCEPT, "application/x-protobuf, application/json")),
        Refusal::ContentEncoding(_) => Some((ACCEPT_ENCODING, Compression::NAMES)),
        Refusal::TooSlow(_) => Some((CONNECTION, "close")),
        _ => None,
    }
}

fn failure(status: StatusCode, code: Code, message: String, encoding: Encoding) -> Response<Body> {
    let code = code as i32;
    let body = match encoding {
        Encoding::Protobuf => tonic_types::Status { code, message, details: Vec::new() }.encode_to_vec(),
        Encoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    answer(status, body, encoding)
}

fn answer(status: StatusCode, body: Vec<u8>, encoding: Encoding) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = match encoding {
        Encoding::Protobuf => PROTOBUF,
        Encoding::Json => JSON,
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
