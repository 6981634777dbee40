//! An attribute's value as text: what is in labels, tags and the identity of a series.
//!
//! It must not know where the value came from.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};

use crate::naming::value;

/// An attribute's value as text: "Mapping to non-OTLP formats" of the OpenTelemetry specification (strings
/// as they are, bytes in base64, lists and maps as JSON).
pub(crate) fn text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Cow::Borrowed(""),
        Some(Any::StringValue(text)) => Cow::Borrowed(text),
        Some(Any::BoolValue(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Some(Any::IntValue(value)) => Cow::Owned(value.to_string()),
        Some(Any::DoubleValue(number)) => Cow::Owned(value::double(*number)),
        Some(Any::BytesValue(bytes)) => Cow::Owned(STANDARD.encode(bytes)),
        Some(list_or_map) => {
            let mut text = String::new();
            push_json(Some(list_or_map), &mut text);
            Cow::Owned(text)
        }
    }
}

fn push_json(any: Option<&Any>, json: &mut String) {
    let inner = |any: &AnyValue, json: &mut String| push_json(any.value.as_ref(), json);
    match any {
        Some(Any::StringValue(text)) => value::push_json_text(json, text),
        Some(Any::BoolValue(value)) => json.push_str(if *value { "true" } else { "false" }),
        // Writing to a string cannot fail.
        Some(Any::IntValue(value)) => drop(write!(json, "{value}")),
        Some(Any::DoubleValue(number)) => value::push_json_double(json, *number),
        Some(Any::BytesValue(bytes)) => value::push_json_text(json, &STANDARD.encode(bytes)),
        Some(Any::ArrayValue(list)) => {
            json.push('[');
            for (at, value) in list.values.iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                inner(value, json);
            }
            json.push(']');
        }
        Some(Any::KvlistValue(map)) => {
            // Sorted, as the stock Collector writes them; of a key that is there twice the last one stands.
            let entries: BTreeMap<&str, Option<&Any>> = map
                .values
                .iter()
                .map(|entry| (&*entry.key, entry.value.as_ref().and_then(|value| value.value.as_ref())))
                .collect();
            json.push('{');
            for (at, (key, any)) in entries.into_iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                value::push_json_text(json, key);
                json.push(':');
                push_json(any, json);
            }
            json.push('}');
        }
        _ => json.push_str("null"),
    }
}
