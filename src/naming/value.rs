//! Attribute values as text, as "Mapping to non-OTLP formats" of the OpenTelemetry specification and the stock Collector
//! write them: the same text in a label, in a tag and in the identity of a series.

use std::fmt::Write as _;

/// A double as ECMAScript writes numbers: `2`, `0.5`, `1e+21`, `1e-7`, `NaN`, `Infinity`, `-Infinity`. Zero keeps its
/// sign, as in the Collector.
#[must_use]
pub fn double(value: f64) -> String {
    if value == 0.0 && value.is_sign_negative() {
        return "-0".to_owned();
    }
    ryu_js::Buffer::new().format(value).to_owned()
}

/// Appends a double of a list or a map: JSON has no word for what is no number, so that is a string.
pub fn push_json_double(json: &mut String, value: f64) {
    match value.is_finite() {
        true => json.push_str(&double(value)),
        false => push_json_text(json, &double(value)),
    }
}

/// Appends a text as a JSON string.
pub fn push_json_text(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            // Writing to a string cannot fail.
            c if c < ' ' => drop(write!(json, "\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_ecmascript_does() {
        for (value, text) in [
            (2.0, "2"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn json_is_escaped() {
        let mut json = String::new();
        push_json_text(&mut json, "a\"b\\c\n\u{1}é");
        push_json_double(&mut json, f64::NAN);
        push_json_double(&mut json, 2.0);
        assert_eq!(json, "\"a\\\"b\\\\c\\n\\u0001é\"\"NaN\"2");
    }
}
