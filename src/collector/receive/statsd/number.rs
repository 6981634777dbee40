//! Numbers as ECMAScript reads and writes them, since statsd is written in it.

/// What `Number(text)` gives; `None` where that is no number.
pub(super) fn parse(text: &str) -> Option<f64> {
    // Its blanks are not quite Rust's.
    let text = text.trim_matches(|c: char| c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}'));
    let radix = |digits: &str, radix| {
        let number = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))?;
        Some(number as f64)
    };
    match text.as_bytes() {
        [] => Some(0.0),
        [b'0', b'x' | b'X', ..] => radix(&text[2..], 16),
        [b'0', b'o' | b'O', ..] => radix(&text[2..], 8),
        [b'0', b'b' | b'B', ..] => radix(&text[2..], 2),
        // Rust reads `inf` and `nan` too.
        bytes if bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok()
        }
        _ => text.trim_start_matches(['+', '-']).eq("Infinity").then_some(f64::INFINITY),
    }
}

/// What `String(value)` gives for a finite number.
pub(super) fn shown(value: f64) -> impl std::fmt::Display {
    struct Shown(f64);
    impl std::fmt::Display for Shown {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(ryu_js::Buffer::new().format_finite(self.0))
        }
    }
    Shown(value)
}
