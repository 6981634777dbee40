//! The server span of a request: what it says at the start and at the end.
//!
//! What a client wrote may stand in a span, but only cut to a bounded length.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use ::http::{HeaderMap, Request, header::USER_AGENT};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};

use super::{adapter, labels::OTHER_METHOD, outcome::Outcome, target::Target};

/// The longest value in bytes that a span takes over of a path or a query.
const LONGEST_URL_PART: usize = 1_024;
/// The longest value in bytes that a span takes over of a header or a method.
const LONGEST_WORD: usize = 256;

/// Starts the server span of `request`, as a child of what the propagator finds in its headers or else of the span
/// that is current, and returns the context that has it.
pub(super) fn start<T, B>(
    tracer: &T,
    propagator: Option<&(dyn TextMapPropagator + Send + Sync)>,
    target: &Target,
    request: &Request<B>,
    started_at: SystemTime,
) -> Context
where
    T: Tracer,
    T::Span: Span + Send + Sync + 'static,
{
    let current = Context::current();
    let parent = match propagator {
        Some(propagator) => propagator.extract_with_context(&current, &Headers(request.headers())),
        None => current,
    };
    let builder = SpanBuilder {
        span_kind: Some(SpanKind::Server),
        name: target.span_name.clone().into(),
        start_time: Some(started_at),
        attributes: Some(attributes(target, request)),
        ..SpanBuilder::default()
    };
    parent.with_span(tracer.build_with_context(builder, &parent))
}

/// Ends the span of `context`: every outcome that has an `error.type` is an error, and no other is.
pub(super) fn end(context: &Context, outcome: Outcome, ended_at: SystemTime) {
    let span = context.span();
    if let Some(status) = outcome.status {
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    }
    if let Some(error_type) = outcome.error_type() {
        span.set_attribute(KeyValue::new("error.type", error_type));
        span.set_status(Status::error(""));
    }
    span.end_with_timestamp(ended_at);
}

fn attributes<B>(target: &Target, request: &Request<B>) -> Vec<KeyValue> {
    // Room for all of them, status and error type included, so that the list is allocated once.
    let mut attributes = Vec::with_capacity(11);
    let labels = target.labels;
    attributes.push(KeyValue::new("http.request.method", labels.method));
    if labels.method == OTHER_METHOD {
        let original = cut(request.method().as_str(), LONGEST_WORD);
        attributes.push(KeyValue::new("http.request.method_original", original));
    }
    attributes.push(KeyValue::new("url.scheme", labels.scheme));
    attributes.push(KeyValue::new("url.path", cut(request.uri().path(), LONGEST_URL_PART)));
    if let Some(query) = request.uri().query() {
        attributes.push(KeyValue::new("url.query", cut(query, LONGEST_URL_PART)));
    }
    if let Some(route) = &target.route {
        attributes.push(KeyValue::new("http.route", Arc::clone(route)));
    }
    if let Some(version) = labels.version {
        attributes.push(KeyValue::new("network.protocol.version", version));
    }
    if let Some(address) = adapter::client_address(request.extensions()) {
        attributes.push(KeyValue::new("client.address", written(address)));
    }
    if let Some(agent) = request.headers().get(USER_AGENT) {
        let bytes = agent.as_bytes();
        let agent = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_WORD)]);
        attributes.push(KeyValue::new("user_agent.original", cut(&agent, LONGEST_WORD)));
    }
    attributes
}

/// An address as text. Nearly all are of version 4, for which the formatter takes longer than all other attributes.
fn written(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (least, divisor) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / divisor % 10));
            }
        }
    }
    text
}

/// The first `longest` bytes of `text`, or fewer where a character would be cut in two.
fn cut(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}

/// The headers of a request, for a propagator to read.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values = self.0.get_all(key).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("short", 256), "short");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 2), "");
    }

    #[test]
    fn addresses_are_written_as_the_formatter_does() {
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 0, octet, 255 - octet]);
            assert_eq!(written(address), address.to_string());
        }
        for address in ["::1", "2001:db8::ff00:42:8329", "::ffff:192.0.2.1"] {
            assert_eq!(written(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn a_propagator_reads_all_values_of_a_header() {
        let mut headers = HeaderMap::new();
        headers.append("baggage", "a=1".parse().unwrap());
        headers.append("baggage", "b=2".parse().unwrap());
        let headers = Headers(&headers);
        assert_eq!(headers.get("Baggage"), Some("a=1"));
        assert_eq!(headers.get_all("baggage"), Some(vec!["a=1", "b=2"]));
        assert_eq!(headers.get_all("traceparent"), None);
        assert_eq!(headers.keys(), ["baggage"]);
    }
}
