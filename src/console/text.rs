//! How the page writes times, numbers and what came from the wire.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

/// Attributes that are shown of a span or a log record.
const ATTRIBUTES: usize = 8;
const ATTRIBUTE_NAME: usize = 60;
const ATTRIBUTE_VALUE: usize = 120;

/// What a service is called; StatsD's lines name none.
pub(super) fn service(name: &str) -> &str {
    if name.is_empty() { "StatsD" } else { name }
}

/// At most `limit` characters of a text, with a sign for each that would be invisible or would reorder what
/// stands around it. Markup is escaped where the text is put into the page.
pub(super) fn clip(text: &str, limit: usize) -> String {
    let mut clipped = String::with_capacity(text.len().min(limit));
    for (index, c) in text.chars().enumerate() {
        if index == limit {
            clipped.push('…');
            break;
        }
        clipped.push(match c {
            '\n' | '\t' => c,
            '\u{7f}' => '\u{2421}',
            '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
            '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' => '\u{fffd}',
            _ => c,
        });
    }
    clipped
}

/// A moment in UTC to the millisecond, `2026-11-21 10:01:02.123`; the page says once that it is UTC.
pub(super) fn time(at: SystemTime) -> Markup {
    /// The first second of the year 10000, the last that has no four-digit year.
    const END: u64 = 253_402_300_800;
    let known = at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < END);
    if !known {
        return html! { span.dim { "not a time" } };
    }
    let machine = humantime::format_rfc3339_millis(at).to_string();
    let person = machine.trim_end_matches('Z').replacen('T', " ", 1);
    html! { time datetime=(machine) { (person) } }
}

/// How long ago a moment was: `0.8 s`, `12 s`, `3 min 12 s`, `2 h 5 min`, `4 d 2 h`.
pub(super) fn age(now: SystemTime, at: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(age) => span_of_time(age),
        Err(ahead) => format!("{} ahead", span_of_time(ahead.duration())),
    }
}

/// A time in its two largest units.
pub(super) fn span_of_time(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", (age.as_secs_f64() * 10.0).floor() / 10.0),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A duration in three digits or so: `850 ns`, `12.3 µs`, `1.23 ms`, `4.56 s`, `75.0 s`.
pub(super) fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (value, unit) = match nanos {
        0 => return "0 s".to_owned(),
        1..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (duration.as_secs_f64() * 1e6, "µs"),
        1_000_000..1_000_000_000 => (duration.as_secs_f64() * 1e3, "ms"),
        _ => (duration.as_secs_f64(), "s"),
    };
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// A sample's value with all its digits, since pulled and pushed are compared by eye.
pub(super) fn value(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if size != 0.0 && !(1e-6..1e17).contains(&size) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// `1 span`, `2 spans`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A few attributes as `name=value`, with the number of those left out.
pub(super) fn attributes(attributes: &[(String, String)]) -> Markup {
    let more = attributes.len().saturating_sub(ATTRIBUTES);
    html! {
        @if !attributes.is_empty() {
            ul.attributes {
                @for (name, value) in attributes.iter().take(ATTRIBUTES) {
                    li {
                        span.key { (clip(name, ATTRIBUTE_NAME)) "=" }
                        (clip(value, ATTRIBUTE_VALUE))
                    }
                }
                @if more > 0 { li.dim { "and " (more) " more" } }
            }
        }
    }
}

/// The page's anchor of a trace; `None` for an id that is not hexadecimal.
pub(super) fn anchor(trace_id: &str) -> Option<String> {
    let hex = !trace_id.is_empty() && trace_id.len() <= 64 && trace_id.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| format!("trace-{}", trace_id.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_by_characters_and_shows_what_hides() {
        assert_eq!(clip("héllo", 5), "héllo");
        assert_eq!(clip("héllo!", 5), "héllo…");
        assert_eq!(clip("a\u{1b}[31m\0b\u{202e}c\nd\u{7f}", 99), "a␛[31m␀b\u{fffd}c\nd␡");
    }

    #[test]
    fn writes_ages_and_durations_for_people() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ago = |seconds: f64| age(now, now - Duration::from_secs_f64(seconds));
        assert_eq!(ago(0.0), "0.0 s");
        assert_eq!(ago(0.87), "0.8 s");
        assert_eq!(ago(9.99), "9.9 s");
        assert_eq!(ago(12.9), "12 s");
        assert_eq!(ago(192.0), "3 min 12 s");
        assert_eq!(ago(7_500.0), "2 h 5 min");
        assert_eq!(ago(353_000.0), "4 d 2 h");
        assert_eq!(age(now, now + Duration::from_secs(2)), "2.0 s ahead");
        assert_eq!(duration(Duration::ZERO), "0 s");
        assert_eq!(duration(Duration::from_nanos(850)), "850 ns");
        assert_eq!(duration(Duration::from_nanos(12_340)), "12.3 µs");
        assert_eq!(duration(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(duration(Duration::from_millis(250)), "250 ms");
        assert_eq!(duration(Duration::from_secs(75)), "75.0 s");
    }

    #[test]
    fn writes_every_value_in_full() {
        assert_eq!(value(20.0), "20");
        assert_eq!(value(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(value(-0.0), "-0");
        assert_eq!(value(1e300), "1e300");
        assert_eq!(value(5e-324), "5e-324");
        assert_eq!(value(f64::NAN), "NaN");
        assert_eq!(value(f64::INFINITY), "+Inf");
        assert_eq!(value(f64::NEG_INFINITY), "-Inf");
    }

    #[test]
    fn writes_any_time_without_a_panic() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_255_262_123);
        assert_eq!(
            time(at).into_string(),
            "<time datetime=\"2026-11-21T10:01:02.123Z\">2026-11-21 10:01:02.123</time>"
        );
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        for odd in [before, far] {
            assert!(time(odd).into_string().contains("not a time"));
        }
    }
}
