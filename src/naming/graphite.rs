//! OpenTelemetry name and attributes to a tagged Graphite path.
//!
//! What carbon 1.1 would drop, split wrongly or close the connection for is replaced, and a short hash of
//! the original is appended then, so that two different inputs stay two different paths. The hash is a
//! fixed function: a restart makes no new path.

use std::borrow::Cow;

/// The longest name, tag key or tag value, in characters: what graphite-web's tag database can hold.
const MAX_CHARS: usize = 191;
/// What is left of a part that was changed, so that the hash still fits.
const KEPT_CHARS: usize = MAX_CHARS - 9;

/// A metric's name as the first part of a path: dots stay, since tagged names may have them.
#[must_use]
pub fn name(name: &str) -> Cow<'_, str> {
    clean(name, |c| matches!(c, ';' | '{' | '}' | '"'), "unnamed")
}

/// One tag, or `None` where its value is empty: Graphite has no empty tags, and to Prometheus an empty
/// label is none either.
#[must_use]
pub fn tag<'a>(key: &'a str, value: &'a str) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    if value.is_empty() {
        return None;
    }
    let key = clean(key, |c| matches!(c, ';' | '!' | '^' | '=' | '{' | '}' | '"'), "unnamed");
    // `name` is the tag that Graphite itself makes of the path's first part.
    let key = if key == "name" { Cow::Owned(with_hash("name", "name")) } else { key };
    Some((key, clean(value, |c| matches!(c, ';' | '{' | '}' | '"'), "_")))
}

/// Tags in the order in which carbon stores them: by code point of `;key=value`. The first of two equal
/// keys is kept.
#[must_use]
pub fn sorted<'a>(tags: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Vec<String> {
    let mut keys: Vec<&str> = Vec::with_capacity(tags.len());
    let mut result = Vec::with_capacity(tags.len());
    for (key, value) in &tags {
        if !keys.contains(&key.as_ref()) {
            keys.push(key);
            result.push(format!(";{key}={value}"));
        }
    }
    result.sort_unstable();
    result
}

fn clean<'a>(text: &'a str, forbidden: impl Fn(char) -> bool, empty: &str) -> Cow<'a, str> {
    if text.is_empty() {
        return Cow::Owned(empty.to_owned());
    }
    // Carbon splits lines with Python's `str.split`, whose white space includes four control characters.
    let bad = |c: char| forbidden(c) || c.is_whitespace() || c.is_control();
    if !text.starts_with('~') && !text.chars().any(bad) && text.chars().nth(MAX_CHARS).is_none() {
        return Cow::Borrowed(text);
    }
    let kept: String = text
        .chars()
        .take(KEPT_CHARS)
        .enumerate()
        .map(|(at, c)| if bad(c) || (at == 0 && c == '~') { '_' } else { c })
        .collect();
    Cow::Owned(with_hash(&kept, text))
}

fn with_hash(kept: &str, original: &str) -> String {
    format!("{kept}_{:08x}", fnv1a(original.as_bytes()))
}

/// FNV-1a, 32 bit: fixed for good by its definition, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_is_the_published_function() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn good_parts_stay_as_they_are() {
        assert_eq!(name("http.server.request.duration"), "http.server.request.duration");
        assert_eq!(tag("endpoint", "/database"), Some(("endpoint".into(), "/database".into())));
        assert_eq!(tag("k", "a=b,ü"), Some(("k".into(), "a=b,ü".into())));
    }

    #[test]
    fn changed_parts_stay_different() {
        let values =
            ["a b", "a;b", "a\u{2003}b", "a\u{1f}b", "a\nb", "a_b", "~a", "_a", "{\"a\":1}", "{\"a\":2}"];
        let cleaned: std::collections::HashSet<_> =
            values.iter().map(|value| tag("k", value).unwrap().1).collect();
        assert_eq!(cleaned.len(), values.len());
        for value in cleaned {
            assert!(!value.contains([';', '{', '}', '"']) && !value.starts_with('~'), "{value}");
            assert!(!value.chars().any(|c| c.is_whitespace() || c.is_control()), "{value}");
        }
    }

    #[test]
    fn long_parts_are_cut_and_stay_different() {
        let (a, b) = ("x".repeat(192), "x".repeat(193));
        let (a, b) = (name(&a).into_owned(), name(&b).into_owned());
        assert_ne!(a, b);
        assert_eq!((a.chars().count(), b.chars().count()), (191, 191));
        assert_eq!(name(&"y".repeat(191)), "y".repeat(191));
    }

    #[test]
    fn reserved_empty_and_repeated_tags() {
        assert_eq!(tag("empty", ""), None);
        assert_ne!(tag("name", "x").unwrap().0, "name");
        let tags = ["b", "a", "b"].map(|key| (Cow::Borrowed(key), Cow::Borrowed("1"))).to_vec();
        assert_eq!(sorted(tags), [";a=1", ";b=1"]);
    }
}
