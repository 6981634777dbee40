//! One part of a path: kept as it is, or replaced and told apart by a hash.
//!
//! A part that is kept never ends like a hash, and one that is changed always does: neither can become the
//! other.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

/// The longest name, tag key or tag value, in characters: what graphite-web's tables can hold.
pub(super) const MAX_CHARS: usize = 191;
/// The longest component of a dotted path: a file's name, less `.wsp`.
pub(super) const MAX_COMPONENT: usize = 251;

/// Hexadecimal digits of a hash: 80 bits, which no estate makes equal by chance, nor a sender in a bearable time.
const DIGITS: usize = 20;
/// A hash with the `_` before it.
pub(super) const HASH: usize = DIGITS + 1;

/// A tagged metric's name of at most `limit` characters.
pub(super) fn name(text: &str, limit: usize) -> Cow<'_, str> {
    clean(text, limit, |c| c == ';')
}

/// A tag's key. `name` is the tag that Graphite itself makes of the path's first part.
pub(super) fn key(text: &str) -> Cow<'_, str> {
    if text == "name" {
        return Cow::Owned(hashed_key(text, text.as_bytes()));
    }
    clean(text, MAX_CHARS, bad_in_key)
}

/// A tag's key that must not stay as it is, told apart by `original`.
pub(super) fn hashed_key(text: &str, original: &[u8]) -> String {
    replaced(text, MAX_CHARS, bad_in_key, original)
}

fn bad_in_key(c: char) -> bool {
    matches!(c, ';' | '!' | '^' | '=')
}

/// A tag's value.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    clean(text, MAX_CHARS, |c| c == ';')
}

fn clean(text: &str, limit: usize, forbidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    let good = !text.is_empty()
        && !text.starts_with('~')
        // A path that ends so may be taken for one of OpenMetrics.
        && !text.ends_with("\"}")
        && !looks_hashed(text)
        && text.chars().nth(limit).is_none()
        && !text.chars().any(|c| forbidden(c) || breaks_lines(c));
    if good { Cow::Borrowed(text) } else { Cow::Owned(replaced(text, limit, forbidden, text.as_bytes())) }
}

fn replaced(text: &str, limit: usize, forbidden: impl Fn(char) -> bool, original: &[u8]) -> String {
    let kept = text.chars().take(limit - HASH).enumerate();
    let kept = kept.map(|(at, c)| match c {
        '~' if at == 0 => '_',
        c if forbidden(c) || breaks_lines(c) => '_',
        c => c,
    });
    with_hash(kept.collect(), original)
}

/// Carbon splits lines with Python's `str.split`, whose white space includes four control characters.
pub(super) fn breaks_lines(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// One component of a dotted path.
pub(super) fn component(text: &str) -> Cow<'_, str> {
    let good = !text.is_empty()
        && text.len() <= MAX_COMPONENT
        && text.chars().all(in_component)
        // A component by itself that stands for nothing.
        && text != "_"
        && !looks_hashed(text);
    if good {
        return Cow::Borrowed(text);
    }
    let kept = text.chars().take(MAX_COMPONENT - HASH).map(|c| if in_component(c) { c } else { '_' });
    Cow::Owned(with_hash(kept.collect(), text.as_bytes()))
}

/// A metric's name of at most `limit` bytes as one or more components of a dotted path: its dots stay.
pub(super) fn dotted_name(text: &str, limit: usize) -> Cow<'_, str> {
    let component =
        |part: &str| !part.is_empty() && part.len() <= MAX_COMPONENT - HASH && part.chars().all(in_component);
    if text.len() <= limit && text.split('.').all(component) && !looks_hashed(text) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut length = 0;
    for c in text.chars().take(limit - HASH) {
        // A component that is empty would be none, and one that is too long no file.
        let dot = c == '.' && !kept.is_empty() && length > 0;
        let full = length >= MAX_COMPONENT - HASH;
        length = if dot { 0 } else { length + 1 };
        match c {
            '.' if dot => kept.push('.'),
            _ if full => length -= 1,
            c if in_component(c) => kept.push(c),
            _ => kept.push('_'),
        }
    }
    Cow::Owned(with_hash(kept, text.as_bytes()))
}

const fn in_component(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Whether the text ends as changed parts end.
fn looks_hashed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((rest, digits)) = bytes.split_last_chunk::<DIGITS>() else { return false };
    rest.last() == Some(&b'_') && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn with_hash(mut kept: String, original: &[u8]) -> String {
    kept.push('_');
    kept.push_str(&hash(original));
    kept
}

fn hash(original: &[u8]) -> String {
    const_hex::encode(&Sha256::digest(original)[..DIGITS / 2])
}
