//! What Jaeger shows, asked as a person's tools would.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prometheus::Labels;
use super::web;

/// A Jaeger, by the base of its URL.
pub(super) struct Jaeger(pub(super) String);

/// One span as Jaeger's API v3 shows it.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) id: String,
    /// Empty for a root.
    pub(super) parent: String,
    pub(super) name: String,
    /// OTLP's number: 2 is a server's, 3 a client's.
    pub(super) kind: u64,
    /// The text attributes of who it is from.
    pub(super) resource: Labels,
}

impl Jaeger {
    pub(super) fn trace(&self, id: &str) -> Result<Vec<Span>, String> {
        let body = web::get(&format!("{}/api/v3/traces/{id}", self.0))?;
        spans(&body, id)
    }

    /// The ids of all traces of a service.
    pub(super) fn traces_of(&self, service: &str) -> Result<BTreeSet<String>, String> {
        let body = web::get_with_query(
            &format!("{}/api/v3/traces", self.0),
            &[
                ("query.service_name", service),
                ("query.start_time_min", "2020-01-01T00:00:00Z"),
                ("query.start_time_max", "2100-01-01T00:00:00Z"),
                ("query.num_traces", "1000"),
            ],
        )?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
        let ids = each_span(&answer).filter_map(|(_, span)| Some(span["traceId"].as_str()?.to_owned()));
        Ok(ids.collect())
    }
}

fn spans(body: &str, trace: &str) -> Result<Vec<Span>, String> {
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("{error} in {body}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found: Vec<Span> = each_span(&answer)
        .map(|(resource, span)| {
            assert_eq!(span["traceId"], trace, "{body}");
            let attributes = resource["attributes"].as_array().into_iter().flatten();
            Span {
                id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                name: text(&span["name"]),
                kind: span["kind"].as_u64().unwrap_or_default(),
                resource: attributes
                    .map(|attribute| (text(&attribute["key"]), text(&attribute["value"]["stringValue"])))
                    .collect(),
            }
        })
        .collect();
    if found.is_empty() { Err(format!("no span in {body}")) } else { Ok(found) }
}

fn each_span(answer: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    answer["result"]["resourceSpans"].as_array().into_iter().flatten().flat_map(|of_resource| {
        let scopes = of_resource["scopeSpans"].as_array().into_iter().flatten();
        scopes
            .flat_map(|of_scope| of_scope["spans"].as_array().into_iter().flatten())
            .map(move |span| (&of_resource["resource"], span))
    })
}
