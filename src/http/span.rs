//! The server span of a request: what it says at the start and at the end.
//!
//! What a client wrote may stand in a span, but only cut to a bounded length.

use std::{borrow::Cow, net::IpAddr, time::SystemTime};

use ::http::{HeaderMap, Request, header::USER_AGENT};
use opentelemetry::{
    Context, KeyValue,
    propagation::Extractor,
    trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};

use super::{
    labels::OTHER_METHOD,
    outcome::{Ending, Outcome},
    query,
    target::Target,
    words,
};

/// The longest value in bytes that a span takes over of a path or a query.
const LONGEST_URL_PART: usize = 1_024;
/// The longest value in bytes that a span takes over of a header or a method.
const LONGEST_WORD: usize = 256;

/// Starts the server span of `request` as a child of `parent`, and returns the context that has it.
pub(super) fn start<T, B>(
    tracer: &T,
    parent: &Context,
    target: &Target,
    request: &Request<B>,
    client: Option<IpAddr>,
    started_at: SystemTime,
) -> Context
where
    T: Tracer,
    T::Span: Span + Send + Sync + 'static,
{
    let builder = SpanBuilder {
        span_kind: Some(SpanKind::Server),
        name: target.span_name.clone(),
        start_time: Some(started_at),
        attributes: Some(attributes(target, request, client)),
        ..SpanBuilder::default()
    };
    parent.with_span(tracer.build_with_context(builder, parent))
}

/// Ends the span of `context`. It is an error where the server failed, which a client that goes away says nothing of.
pub(super) fn end(context: &Context, outcome: Outcome, ended_at: SystemTime) {
    let span = context.span();
    if let Some(status) = outcome.status {
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    }
    if let Some(error_type) = outcome.error_type() {
        span.set_attribute(KeyValue::new("error.type", error_type));
        if outcome.ending != Ending::Cancelled {
            span.set_status(Status::error(""));
        }
    }
    span.end_with_timestamp(ended_at);
}

fn attributes<B>(target: &Target, request: &Request<B>, client: Option<IpAddr>) -> Vec<KeyValue> {
    // Room for all of them, status and error type included, so that the list is allocated once.
    let mut attributes = Vec::with_capacity(11);
    attributes.extend_from_slice(&target.attributes);
    if target.labels.method() == OTHER_METHOD {
        let original = cut(request.method().as_str(), LONGEST_WORD);
        attributes.push(KeyValue::new("http.request.method_original", words::value(original)));
    }
    attributes.push(KeyValue::new("url.path", words::value(cut(request.uri().path(), LONGEST_URL_PART))));
    if let Some(query) = request.uri().query() {
        attributes
            .push(KeyValue::new("url.query", cut(&query::redacted(query), LONGEST_URL_PART).to_owned()));
    }
    if let Some(address) = client {
        attributes.push(KeyValue::new("client.address", words::address(address)));
    }
    if let Some(agent) = request.headers().get(USER_AGENT) {
        let agent = agent.to_str().map_or_else(|_| String::from_utf8_lossy(agent.as_bytes()), Cow::Borrowed);
        attributes.push(KeyValue::new("user_agent.original", words::value(cut(&agent, LONGEST_WORD))));
    }
    attributes
}

/// The first `longest` bytes of `text`, or fewer where a character would be cut in two.
fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// Headers that are lists: several of one name are one list, in their order (RFC 9110, 5.3; W3C Trace Context, 3.3.1.4).
const LISTS: [&str; 2] = ["tracestate", "baggage"];
/// The header of which there may be one only: a request with two has no parent (W3C Trace Context, 3.2.1).
const SINGLE: &str = "traceparent";

/// The headers of a request, for a propagator to read.
pub(super) struct Headers<'a> {
    map: &'a HeaderMap,
    /// The [`LISTS`] of which there are several.
    joined: [Option<String>; LISTS.len()],
}

impl<'a> Headers<'a> {
    pub(super) fn of(map: &'a HeaderMap) -> Self {
        let joined = LISTS.map(|name| {
            let mut values = map.get_all(name).iter();
            let _first = values.next()?;
            let _second = values.next()?;
            let values = map.get_all(name).iter().filter_map(|value| value.to_str().ok());
            // An empty element says nothing, but not every reader takes one.
            let elements = values.flat_map(|value| value.split(',')).map(str::trim);
            Some(elements.filter(|element| !element.is_empty()).collect::<Vec<_>>().join(","))
        });
        Self { map, joined }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let list = LISTS.iter().position(|name| name.eq_ignore_ascii_case(key));
        if let Some(joined) = list.and_then(|list| self.joined[list].as_deref()) {
            return Some(joined);
        }
        if key.eq_ignore_ascii_case(SINGLE) && self.map.get_all(SINGLE).iter().nth(1).is_some() {
            return None;
        }
        self.map.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.map.keys().map(|name| name.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values = self.map.get_all(key).iter();
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
    fn a_propagator_reads_all_values_of_a_header() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("baggage", "a=1"),
            ("baggage", "b=2, c=3"),
            ("tracestate", "x=1"),
            ("tracestate", ""),
            ("tracestate", "y=2"),
            ("traceparent", "first"),
        ] {
            map.append(name, value.parse().unwrap());
        }
        let headers = Headers::of(&map);
        assert_eq!(headers.get("Baggage"), Some("a=1,b=2,c=3"));
        assert_eq!(headers.get("tracestate"), Some("x=1,y=2"));
        assert_eq!(headers.get("traceparent"), Some("first"));
        assert_eq!(headers.get_all("baggage"), Some(vec!["a=1", "b=2, c=3"]));
        assert_eq!(headers.get_all("absent"), None);
        assert_eq!(headers.keys(), ["baggage", "tracestate", "traceparent"]);
        map.append("traceparent", "second".parse().unwrap());
        assert_eq!(Headers::of(&map).get("traceparent"), None);
    }
}
