//! OpenTelemetry name and unit to Prometheus name, attribute key to label name.
//!
//! Follows "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification (OTLP metric
//! points to Prometheus) with underscore escaping and suffixes, as the stock Collector's `prometheus`
//! exporter does by default: a suffix that the name already has is not added again.

use std::borrow::Cow;

/// How a metric's type shapes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// A monotonic cumulative sum: `_total`.
    Total,
    /// A gauge or a sum that may fall: `_ratio` for unit `1`, else only the unit.
    Gauge,
    /// A histogram or a summary: only the unit; their samples add `_bucket`, `_sum`, `_count`.
    Distribution,
}

/// The family name of a metric: `http.server.request.duration` with unit `s` is
/// `http_server_request_duration_seconds`, a counter `requests` is `requests_total`.
#[must_use]
pub fn family_name(name: &str, unit: &str, suffix: Suffix) -> String {
    let mut words: Vec<String> = words(name);
    for word in unit_words(unit, suffix) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if suffix == Suffix::Total {
        words.retain(|word| word != "total");
        words.push("total".to_owned());
    }
    let joined = words.join("_");
    if joined.starts_with(|first: char| first.is_ascii_digit()) || joined.is_empty() {
        return format!("_{joined}");
    }
    joined
}

/// A valid label name for an attribute key: `http.route` is `http_route`.
///
/// None begins with `__`, which is Prometheus's own: readers drop such a label, or refuse the whole page. A key without
/// an ASCII letter or digit becomes `key_` and a hash of it, since nothing else of it would be left. `__name__` is
/// `exported_name`, as Prometheus itself renames what collides.
#[must_use]
pub fn label_name(key: &str) -> Cow<'_, str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit_first = key.starts_with(|first: char| first.is_ascii_digit());
    if !digit_first
        && !key.starts_with("__")
        && key.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && key.chars().all(valid)
    {
        return Cow::Borrowed(key);
    }
    if !key.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Owned(format!("key_{:016x}", fnv1a(key.as_bytes())));
    }
    let mut name = String::with_capacity(key.len() + 4);
    if digit_first {
        name.push_str("key_");
    }
    name.extend(key.chars().map(|c| if valid(c) { c } else { '_' }));
    if name == "__name__" {
        return Cow::Borrowed("exported_name");
    }
    let beginning = name.bytes().take_while(|byte| *byte == b'_').count();
    name.drain(..beginning.saturating_sub(1));
    Cow::Owned(name)
}

/// FNV-1a of 64 bits: the same in every process and on every machine.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The name's parts between characters that Prometheus does not allow, so that runs of them become one `_`.
fn words(name: &str) -> Vec<String> {
    let parts = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'));
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn unit_words(unit: &str, suffix: Suffix) -> Vec<String> {
    let unit = without_annotations(unit);
    if unit == "1" {
        return if suffix == Suffix::Gauge { vec!["ratio".to_owned()] } else { Vec::new() };
    }
    let (main, per) = unit.split_once('/').map_or((unit.as_str(), None), |(main, per)| (main, Some(per)));
    // What is dimensionless adds no word to a rate either: `1/s` is `per_second`.
    let mut result = if main == "1" { Vec::new() } else { words(plural(main)) };
    if let Some(per) = per.map(singular).filter(|per| !per.is_empty()) {
        result.push("per".to_owned());
        result.extend(words(per));
    }
    result
}

/// UCUM annotations say what is counted and are no unit: `{request}` is empty, `By{sent}` is `By`.
fn without_annotations(unit: &str) -> String {
    let mut depth = 0_u32;
    let kept = unit.chars().filter(|c| match c {
        '{' => {
            depth += 1;
            false
        }
        '}' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    });
    kept.collect::<String>().trim().to_owned()
}

fn plural(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tebibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        other => other,
    }
}

fn singular(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of the stock Collector's `prometheus` exporter.
    #[test]
    fn names_follow_the_specification() {
        for (name, unit, suffix, expected) in [
            ("requests", "", Suffix::Total, "requests_total"),
            ("requests_total", "", Suffix::Total, "requests_total"),
            ("requests", "{request}", Suffix::Total, "requests_total"),
            ("requests", "1", Suffix::Total, "requests_total"),
            ("slow", "", Suffix::Distribution, "slow"),
            (
                "http.server.request.duration",
                "s",
                Suffix::Distribution,
                "http_server_request_duration_seconds",
            ),
            ("latency_seconds", "s", Suffix::Distribution, "latency_seconds"),
            (
                "http.server.request.body.size",
                "By",
                Suffix::Distribution,
                "http_server_request_body_size_bytes",
            ),
            ("cpu.utilization", "1", Suffix::Gauge, "cpu_utilization_ratio"),
            ("memory.in.use", "%", Suffix::Gauge, "memory_in_use_percent"),
            ("io", "By/s", Suffix::Gauge, "io_bytes_per_second"),
            ("rate", "{packet}/s", Suffix::Gauge, "rate_per_second"),
            ("rate", "1/s", Suffix::Gauge, "rate_per_second"),
            ("disk..io__time", "ms", Suffix::Total, "disk_io_time_milliseconds_total"),
            ("2xx", "", Suffix::Total, "_2xx_total"),
            ("größe", "", Suffix::Gauge, "gr_e"),
            ("recorded:rule", "", Suffix::Gauge, "recorded:rule"),
            ("…", "", Suffix::Gauge, "_"),
        ] {
            assert_eq!(family_name(name, unit, suffix), expected, "{name} [{unit}]");
        }
    }

    #[test]
    fn label_names_are_valid() {
        for (key, expected) in [
            ("endpoint", "endpoint"),
            ("http.route", "http_route"),
            ("2nd", "key_2nd"),
            ("_private", "_private"),
            ("__private", "_private"),
            ("__meta__x", "_meta__x"),
            ("é.x", "_x"),
            ("größe", "gr__e"),
            ("__name__", "exported_name"),
            ("--name--", "exported_name"),
            ("__name", "_name"),
            // The offset basis of FNV-1a: the hash of nothing.
            ("", "key_cbf29ce484222325"),
            ("_", "key_af64124c8602484e"),
            ("é", "key_0ac21707b7181e01"),
            ("日本", "key_121d7e35a6d3ce91"),
        ] {
            assert_eq!(label_name(key), expected);
        }
    }
}
