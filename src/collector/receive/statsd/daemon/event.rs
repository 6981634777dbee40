//! What one value of a line says to the daemon, and under which key.

use super::super::{
    line::{Kind, Piece},
    number,
};

/// The longest name with its tags: carbon takes lines of 16,384 bytes.
pub(super) const MAX_KEY: usize = 16_000;

/// One value, as the daemon understands it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event<'a> {
    /// Already times what the sample rate makes it stand for.
    Counter(f64),
    Gauge {
        value: f64,
        relative: bool,
    },
    /// In whatever unit was sent, and how many it stands for.
    Timer {
        value: f64,
        weight: f64,
    },
    Set(&'a str),
}

impl<'a> Event<'a> {
    /// `None` for what the daemon calls a bad line.
    pub(super) fn of(piece: &'a str) -> Option<Self> {
        let mut fields = piece.split('|');
        let text = fields.next().unwrap_or_default();
        let kind = fields.next()?;
        let weight = match fields.next() {
            Some(rate) => 1.0 / sample_rate(rate)?,
            None => 1.0,
        };
        if kind == "s" {
            return Some(Self::Set(text));
        }
        let value = number::parse(text).filter(|_| !text.is_empty()).filter(|value| value.is_finite())?;
        Some(match kind.trim() {
            "ms" if kind == "ms" && value < 0.0 => return None,
            "ms" => Self::Timer { value, weight },
            "g" => Self::Gauge { value, relative: text.starts_with(['+', '-']) },
            "s" => Self::Set(text),
            // Whatever else it is, `h` and `d` too.
            _ => Self::Counter(value * weight),
        })
    }
}

impl<'a> Event<'a> {
    /// A value of a piece that was read by the grammar of the series, which has forms that the daemon does not know;
    /// `None` for what is no value of the piece's type.
    pub(super) fn from_piece(piece: Piece<'a>, text: &'a str) -> Option<Self> {
        if piece.kind == Kind::Set {
            return Some(Self::Set(text));
        }
        let value = number::parse(text).filter(|value| !text.is_empty() && value.is_finite())?;
        let weight = 1.0 / piece.rate;
        match piece.kind {
            Kind::Timer if value < 0.0 => None,
            Kind::Timer => Some(Self::Timer { value, weight }),
            Kind::Gauge => Some(Self::Gauge { value, relative: text.starts_with(['+', '-']) }),
            // A histogram is a counter to the daemon.
            _ => Some(Self::Counter(value * weight)),
        }
    }
}

fn sample_rate(text: &str) -> Option<f64> {
    let text = text.strip_prefix('@').filter(|text| !text.is_empty() && !text.starts_with('-'))?;
    number::parse(text)?;
    // The daemon judges the whole of it, and then reads digits and points alone.
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text, |end| &text[..end]);
    digits.parse().ok().filter(|rate: &f64| *rate > 0.0 && (1.0 / rate).is_finite())
}

/// A name and its tags as the daemon makes one key of them.
pub(super) fn key<T: AsRef<str>>(name: &str, tags: impl Iterator<Item = T>) -> String {
    let mut raw = name.to_owned();
    for tag in tags {
        raw.push(';');
        raw.push_str(&tag.as_ref().replacen(';', "_", 1).replacen(':', "=", 1));
    }
    let mut key = String::with_capacity(raw.len());
    let mut in_space = false;
    for c in raw.chars() {
        let is_space = c == '\u{feff}' || c.is_whitespace() && c != '\u{85}';
        match c {
            _ if is_space => key.extend((!in_space).then_some('_')),
            '/' => key.push('-'),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' | ';' | '=' => key.push(c),
            _ => {}
        }
        in_space = is_space;
    }
    key
}

/// Whether carbon takes a path with this name and these tags, of the characters that are left in a key.
pub(super) fn is_taken_by_carbon(key: &str) -> bool {
    let mut parts = key.split(';');
    let name = parts.next().unwrap_or_default();
    let is_tag = |tag: &str| {
        tag.split_once('=').is_some_and(|(key, value)| !matches!(key, "" | "name") && !value.is_empty())
    };
    !name.is_empty() && key.len() <= MAX_KEY && parts.all(is_tag)
}
