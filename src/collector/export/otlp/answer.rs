//! Reads a peer's answer: whether the peer took the request, wants it again, or refused it for good, and in which words.
//!
//! An answer that is none of OTLP, such as the page of a proxy, must never count as success.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;

use crate::collector::otlp_wire::media_type;

/// The most of an answer that is read.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;
/// Characters of an answer that go into the log.
const SHOWN: usize = 200;

/// The peer took a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// Items that it rejected.
    pub(super) rejected: u64,
    /// What it said of that.
    pub(super) words: String,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// The same request may be taken later.
    Retryable { error: String, after: Option<Duration> },
    /// The peer will never take it.
    Permanent(String),
}

impl Failure {
    /// One that may be over soon.
    pub(super) const fn retryable(error: String) -> Self {
        Self::Retryable { error, after: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retryable { error, .. } | Self::Permanent(error) => f.write_str(error),
        }
    }
}

/// Judges an answer over HTTP.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Taken, Failure> {
    if status.is_success() {
        return taken(status, headers, body);
    }
    let error = match words(headers, body) {
        words if words.is_empty() => status.to_string(),
        words => format!("{status}: {words}"),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Retryable { error, after: retry_after(headers, SystemTime::now()) })
        }
        _ => Err(Failure::Permanent(error)),
    }
}

/// Reads an answer of success: an `Export…ServiceResponse`, or nothing at all, as some peers answer.
fn taken(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Taken, Failure> {
    let media_type = media_type(headers);
    let is_page = media_type.ends_with("html");
    let read = match media_type {
        _ if body.is_empty() && !is_page => Some(Taken::default()),
        "application/json" => in_json(body),
        "" | "application/x-protobuf" | "application/protobuf" | "application/octet-stream" => {
            in_protobuf(body)
        }
        _ => None,
    };
    read.ok_or_else(|| {
        let kind = if media_type.is_empty() { "no content type" } else { media_type };
        Failure::retryable(format!("{status} with {kind}, which is no answer of OTLP: {}", beginning(body)))
    })
}

/// The three answers have the same shape, so one type reads all.
pub(super) fn in_protobuf(body: &[u8]) -> Option<Taken> {
    let answer = ExportMetricsServiceResponse::decode(body).ok()?;
    let partial = answer.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_data_points).unwrap_or_default();
    Some(Taken { rejected, words: beginning(partial.error_message.as_bytes()) })
}

fn in_json(body: &[u8]) -> Option<Taken> {
    let Value::Object(answer) = serde_json::from_slice(body).ok()? else { return None };
    // Some servers keep the names of protobuf.
    let names = ["partialSuccess", "partial_success"];
    // The answer has no other field: an object with one is somebody else's.
    if answer.keys().any(|key| !names.contains(&key.as_str())) {
        return None;
    }
    let partial = match names.iter().find_map(|name| answer.get(*name)) {
        None | Some(Value::Null) => return Some(Taken::default()),
        Some(Value::Object(partial)) => partial,
        Some(_) => return None,
    };
    let names = ["rejectedDataPoints", "rejectedSpans", "rejectedLogRecords"];
    let rejected = names.iter().find_map(|name| partial.get(*name));
    let rejected =
        rejected.and_then(|rejected| rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()));
    let words = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some(Taken { rejected: rejected.unwrap_or_default(), words: beginning(words.as_bytes()) })
}

/// What a peer says of a refusal: the message of its `google.rpc.Status`, or the beginning of whatever it sent.
fn words(headers: &HeaderMap, body: &[u8]) -> String {
    let message = match media_type(headers) {
        "application/x-protobuf" | "application/protobuf" => {
            tonic_types::Status::decode(Bytes::copy_from_slice(body)).ok().map(|status| status.message)
        }
        "application/json" => serde_json::from_slice::<Value>(body).ok().and_then(|answer| {
            let message = ["message", "error"].iter().find_map(|name| answer.get(name)?.as_str());
            message.map(str::to_owned)
        }),
        _ => None,
    };
    match message {
        Some(message) if !message.is_empty() => beginning(message.as_bytes()),
        _ => beginning(body),
    }
}

/// The beginning of a text of the peer's, on one line.
pub(super) fn beginning(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN)]);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How long the peer wants to be left alone: seconds, or a date in any of HTTP's three forms (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
    use reqwest::header::HeaderValue;

    use reqwest::header::CONTENT_TYPE;

    use super::*;

    fn headers(pairs: &[(reqwest::header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn of_type(media_type: &'static str) -> HeaderMap {
        headers(&[(CONTENT_TYPE, media_type)])
    }

    #[test]
    fn a_success_is_an_answer_of_otlp_or_nothing() {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 2, error_message: "too old".to_owned() };
        let protobuf = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let json = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#;
        let two = || Some(Taken { rejected: 2, words: "too old".to_owned() });
        let none = || Some(Taken::default());
        for (media_type, body, expected) in [
            ("application/x-protobuf", &protobuf[..], two()),
            ("application/protobuf", &protobuf, two()),
            ("", &protobuf, two()),
            ("application/json; charset=utf-8", json, two()),
            ("application/json", b"{}", none()),
            ("application/x-protobuf", b"", none()),
            ("text/plain", b"", none()),
            ("text/html", b"", None),
            ("text/html; charset=utf-8", b"<html>", None),
            ("text/plain", b"ok", None),
            ("application/json", b"\"ok\"", None),
            ("application/json", b"<html>", None),
            ("application/x-protobuf", b"<html><head>", None),
            ("", b"<!doctype html>", None),
        ] {
            let taken = judge(StatusCode::OK, &of_type(media_type), body);
            if let Err(failure) = &taken {
                assert!(matches!(failure, Failure::Retryable { .. }), "{failure}");
            }
            assert_eq!(taken.ok(), expected, "{media_type} {body:?}");
        }
        assert!(judge(StatusCode::NO_CONTENT, &HeaderMap::new(), b"").is_ok());
    }

    #[test]
    fn a_refusal_has_the_words_of_the_peer() {
        let status =
            tonic_types::Status { code: 3, message: "no deltas\nhere".to_owned(), details: Vec::new() };
        for (media_type, body, expected) in [
            ("application/x-protobuf", status.encode_to_vec(), "400 Bad Request: no deltas here"),
            (
                "application/json",
                br#"{"code":3,"message":"no deltas here"}"#.to_vec(),
                "400 Bad Request: no deltas here",
            ),
            ("text/plain", b"no  deltas\r\n here\n".to_vec(), "400 Bad Request: no deltas here"),
            ("text/plain", Vec::new(), "400 Bad Request"),
        ] {
            let failure = judge(StatusCode::BAD_REQUEST, &of_type(media_type), &body).unwrap_err();
            assert!(matches!(&failure, Failure::Permanent(error) if error == expected), "{failure}");
        }
        assert_eq!(beginning("é".repeat(1000).as_bytes()), format!("{}…", "é".repeat(SHOWN)));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        // 1994-11-06 08:49:07
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747);
        for (value, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            let pause = retry_after(&headers(&[(RETRY_AFTER, value)]), now);
            assert_eq!(pause, expected.map(Duration::from_secs), "{value}");
        }
    }
}
