//! One line of `StatsD`, with what `DogStatsD` and others add to it, taken apart.
//!
//! It must not copy what it need not off the datagram, nor know what was sent before.
//!
//! `NAME:VALUE|TYPE|@RATE|#KEY:VALUE,FLAG`, as in the `StatsD` protocol (metric types) and `DogStatsD`'s
//! datagram format up to version 1.5 (packed values, timestamp, container, external data, cardinality; the last
//! three are understood and left aside). As in statsd, what follows a type, a rate or a timestamp behind a colon is
//! the next value with a type of its own: `NAME:3|ms:6|ms|@0.1`. Blanks around any part say nothing.

use std::borrow::Cow;

use super::{
    tags::{self, Tag},
    tally::Reason,
};
use crate::config::StatsdTags;

/// The longest name in bytes, without the tags in it.
const MAX_NAME: usize = 512;
/// The smallest sample rate: below it, one line would stand for more than 10⁹ events.
const MIN_RATE: f64 = 1e-9;

/// The types of `StatsD`. A histogram and a distribution are one: what differs is who computes quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `c`, and `m`, which is a meter: a counter whose rate its server computes.
    Counter,
    /// `g`
    Gauge,
    /// `ms`
    Timer,
    /// `h` and `d`
    Distribution,
    /// `s`
    Set,
}

impl Kind {
    /// All of them, each at the place of its number.
    pub(super) const ALL: [Self; 5] =
        [Self::Counter, Self::Gauge, Self::Timer, Self::Distribution, Self::Set];

    fn of(text: &str) -> Result<Self, Reason> {
        match text {
            "c" | "m" => Ok(Self::Counter),
            "g" => Ok(Self::Gauge),
            "ms" => Ok(Self::Timer),
            "h" | "d" => Ok(Self::Distribution),
            "s" => Ok(Self::Set),
            _ => Err(Reason::BadType),
        }
    }

    /// The type as a bit of a set of types.
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The word for it, in logs and in names.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Timer => "timer",
            Self::Distribution => "distribution",
            Self::Set => "set",
        }
    }
}

/// Values of one type in a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece<'a> {
    /// The values as they were sent: see [`Piece::values`].
    raw: &'a str,
    pub(super) kind: Kind,
    /// The sample rate: above 0, up to 1.
    pub(super) rate: f64,
    /// The second of its timestamp, if it has one.
    pub(super) second: Option<u64>,
}

impl<'a> Piece<'a> {
    /// The values, at least one. A set's value may hold colons, so sets are never packed.
    pub(super) fn values(self) -> impl Iterator<Item = &'a str> {
        let packed = self.kind != Kind::Set;
        self.raw.split(move |character| packed && character == ':').map(str::trim)
    }
}

/// What is in a line besides its name; its capacity is used for the next line of a datagram.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    /// The pieces in their order, each good or bad by itself.
    pub(super) pieces: Vec<Result<Piece<'a>, Reason>>,
    /// All tags, those in the name first.
    pub(super) tags: Vec<Tag<'a>>,
}

impl<'a> Parts<'a> {
    /// Takes `line` apart; its name, without the tags in it, is not empty and otherwise as it was sent. An error
    /// is one of the whole line.
    pub(super) fn parse(&mut self, line: &'a [u8], dialects: StatsdTags) -> Result<Cow<'a, str>, Reason> {
        let (sent, rest) = self.split(line, dialects)?;
        let name = tags::of_name(sent, dialects, &mut self.tags)?;
        if name.is_empty() {
            return Err(Reason::EmptyName);
        }
        if name.len() > MAX_NAME {
            return Err(Reason::TooLong);
        }
        self.sections(rest)?;
        Ok(name)
    }

    /// The same with the name as it was sent, tags and all; `tags` are those behind it.
    pub(super) fn parse_as_sent(&mut self, line: &'a [u8], dialects: StatsdTags) -> Result<&'a str, Reason> {
        let (sent, rest) = self.split(line, dialects)?;
        self.sections(rest)?;
        Ok(sent)
    }

    fn split(&mut self, line: &'a [u8], dialects: StatsdTags) -> Result<(&'a str, &'a str), Reason> {
        self.pieces.clear();
        self.tags.clear();
        let line = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8)?;
        if line.starts_with("_e{") || line.starts_with("_sc|") {
            return Err(Reason::Unsupported);
        }
        tags::split_name(line, dialects).ok_or(Reason::MalformedLine)
    }

    fn sections(&mut self, rest: &'a str) -> Result<(), Reason> {
        if !rest.contains('|') {
            return Err(Reason::MalformedLine);
        }
        let mut sections = rest.split('|');
        let mut next = sections.next();
        while let Some(raw) = next {
            let (piece, behind) = self.piece(raw, &mut sections)?;
            self.pieces.push(piece);
            next = behind;
        }
        tags::within(&self.tags)
    }

    /// The piece with these values, its type and all else in the next sections; and the values of the next piece.
    fn piece(
        &mut self,
        raw: &'a str,
        sections: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(Result<Piece<'a>, Reason>, Option<&'a str>), Reason> {
        // A last one without a type: `1|c:2`.
        let Some(section) = sections.next() else { return Ok((Err(Reason::MalformedLine), None)) };
        let (kind, mut behind) = before_colon(section);
        let kind = Kind::of(kind);
        let (mut rate, mut second, mut unknown) = (Ok(1.0), Ok(None), Ok(()));
        while behind.is_none() {
            let Some(section) = sections.next() else { break };
            let section = section.trim();
            if let Some(text) = section.strip_prefix('#') {
                tags::of_section(text, &mut self.tags)?;
            } else if section.starts_with('@') {
                let (text, values) = before_colon(section);
                (rate, behind) = (parse_rate(&text[1..]), values);
            } else if section.starts_with('T') {
                let (text, values) = before_colon(section);
                (second, behind) = (parse_second(&text[1..]).map(Some), values);
            } else if !is_left_aside(section) {
                unknown = Err(Reason::MalformedLine);
            }
        }
        let piece = kind.and_then(|kind| unknown.map(|()| kind));
        let piece = piece.and_then(|kind| Ok(Piece { raw, kind, rate: rate?, second: second? }));
        Ok((piece, behind))
    }
}

/// What stands before the first colon, without blanks, and what behind it.
fn before_colon(section: &str) -> (&str, Option<&str>) {
    match section.split_once(':') {
        Some((text, behind)) => (text.trim(), Some(behind)),
        None => (section.trim(), None),
    }
}

fn parse_rate(text: &str) -> Result<f64, Reason> {
    text.trim().parse().ok().filter(|rate| (MIN_RATE..=1.0).contains(rate)).ok_or(Reason::BadSampleRate)
}

fn parse_second(text: &str) -> Result<u64, Reason> {
    let digits = text.trim();
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().map_err(|_| Reason::MalformedLine),
        false => Err(Reason::MalformedLine),
    }
}

/// Sections that carry nothing for the series: none at all, and the ones that begin with a word and a colon (`c:`
/// container, `e:` external data, `card:` cardinality, and what may follow).
fn is_left_aside(section: &str) -> bool {
    section.is_empty()
        || section
            .split_once(':')
            .is_some_and(|(word, _)| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests;
