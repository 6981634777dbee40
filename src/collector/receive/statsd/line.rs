//! One line of `StatsD`, with what `DogStatsD` adds to it, taken apart.
//!
//! It must not copy anything off the datagram, nor know what was sent before.
//!
//! `NAME:VALUE|TYPE|@RATE|#KEY:VALUE,FLAG`, as in the `StatsD` protocol (metric types) and `DogStatsD`'s
//! datagram format up to version 1.5 (packed values, timestamp, container, external data, cardinality; all
//! but the first are understood and left aside).

use super::tally::Reason;

/// The longest name in bytes.
const MAX_NAME: usize = 512;
/// The longest tags of one line in bytes, as they were sent.
const MAX_TAGS: usize = 2048;
/// The smallest sample rate: below it, one line would stand for more than 10⁹ events.
const MIN_RATE: f64 = 1e-9;
/// What a tag without a value is taken to say.
const FLAG: &str = "true";

/// The types of `StatsD`. A histogram and a distribution are one: what differs is who computes quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `c`
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

/// A tag's key and value.
pub(super) type Tag<'a> = (&'a str, &'a str);

/// What one line says; its tags are beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line<'a> {
    /// Not empty, and as it was sent.
    pub(super) name: &'a str,
    /// The values as they were sent: see [`Line::values`].
    raw: &'a str,
    pub(super) kind: Kind,
    /// The sample rate: above 0, up to 1.
    pub(super) rate: f64,
}

impl<'a> Line<'a> {
    /// Takes `line` apart, and leaves its tags in `tags` in the order in which they were sent.
    pub(super) fn parse(line: &'a [u8], tags: &mut Vec<Tag<'a>>) -> Result<Self, Reason> {
        tags.clear();
        let line = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8)?;
        if line.starts_with("_e{") || line.starts_with("_sc|") {
            return Err(Reason::Unsupported);
        }
        let (name, rest) = line.split_once(':').ok_or(Reason::MalformedLine)?;
        if name.is_empty() {
            return Err(Reason::EmptyName);
        }
        if name.len() > MAX_NAME {
            return Err(Reason::TooLong);
        }
        let (raw, sections) = rest.split_once('|').ok_or(Reason::MalformedLine)?;
        let mut sections = sections.split('|');
        let kind = match sections.next() {
            Some("c") => Kind::Counter,
            Some("g") => Kind::Gauge,
            Some("ms") => Kind::Timer,
            Some("h" | "d") => Kind::Distribution,
            Some("s") => Kind::Set,
            _ => return Err(Reason::BadType),
        };
        let mut rate = 1.0;
        let mut tag_bytes = 0;
        for section in sections {
            if let Some(text) = section.strip_prefix('@') {
                rate = parse_rate(text)?;
            } else if let Some(text) = section.strip_prefix('#') {
                tag_bytes += text.len();
                if tag_bytes > MAX_TAGS {
                    return Err(Reason::TooLong);
                }
                parse_tags(text, tags)?;
            } else if !is_left_aside(section) {
                return Err(Reason::MalformedLine);
            }
        }
        Ok(Self { name, raw, kind, rate })
    }

    /// The values, at least one. A set's value may hold colons, so sets are never packed.
    pub(super) fn values(self) -> impl Iterator<Item = &'a str> {
        let packed = self.kind != Kind::Set;
        self.raw.split(move |character| packed && character == ':')
    }

    /// How many events each value stands for: a whole number from 1 to 10⁹.
    pub(super) fn weight(self) -> u64 {
        (1.0 / self.rate).round() as u64
    }
}

fn parse_rate(text: &str) -> Result<f64, Reason> {
    text.parse().ok().filter(|rate| (MIN_RATE..=1.0).contains(rate)).ok_or(Reason::BadSampleRate)
}

fn parse_tags<'a>(text: &'a str, tags: &mut Vec<Tag<'a>>) -> Result<(), Reason> {
    // Clients that join their tags carelessly leave a comma over; that says nothing and spoils nothing.
    for tag in text.split(',').filter(|tag| !tag.is_empty()) {
        let (key, value) = tag.split_once(':').unwrap_or((tag, FLAG));
        if key.is_empty() {
            return Err(Reason::BadTag);
        }
        tags.push((key, value));
    }
    Ok(())
}

/// Sections that carry nothing for the series: none at all, the timestamp `T…`, and the ones that begin
/// with a word and a colon (`c:` container, `e:` external data, `card:` cardinality, and what may follow).
fn is_left_aside(section: &str) -> bool {
    if let Some(seconds) = section.strip_prefix('T') {
        return !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    }
    section.is_empty()
        || section
            .split_once(':')
            .is_some_and(|(word, _)| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'a> = (&'a str, Vec<&'a str>, Kind, f64, Vec<Tag<'a>>);

    fn parse(line: &[u8]) -> Result<Parsed<'_>, Reason> {
        let mut tags = Vec::new();
        let line = Line::parse(line, &mut tags)?;
        Ok((line.name, line.values().collect(), line.kind, line.rate, tags))
    }

    #[test]
    fn the_lines_of_the_protocol_descriptions_are_understood() {
        use Kind::{Counter, Distribution, Gauge, Set, Timer};
        let cases: &[(&str, Parsed<'_>)] = &[
            ("gorets:1|c", ("gorets", vec!["1"], Counter, 1.0, vec![])),
            ("gorets:1|c|@0.1", ("gorets", vec!["1"], Counter, 0.1, vec![])),
            ("glork:320|ms|@0.1", ("glork", vec!["320"], Timer, 0.1, vec![])),
            ("gaugor:333|g", ("gaugor", vec!["333"], Gauge, 1.0, vec![])),
            ("gaugor:-10|g", ("gaugor", vec!["-10"], Gauge, 1.0, vec![])),
            ("gaugor:+4|g", ("gaugor", vec!["+4"], Gauge, 1.0, vec![])),
            ("uniques:765|s", ("uniques", vec!["765"], Set, 1.0, vec![])),
            ("fuel.level:0.5|g", ("fuel.level", vec!["0.5"], Gauge, 1.0, vec![])),
            ("song.length:240|h|@0.5", ("song.length", vec!["240"], Distribution, 0.5, vec![])),
            (
                "users.online:1|c|@0.5|#country:china",
                ("users.online", vec!["1"], Counter, 0.5, vec![("country", "china")]),
            ),
            (
                "users.online:1|c|#country:china|@0.5",
                ("users.online", vec!["1"], Counter, 0.5, vec![("country", "china")]),
            ),
            ("page.views:1:2:32|d", ("page.views", vec!["1", "2", "32"], Distribution, 1.0, vec![])),
            ("song.length:240:234|h|@0.5", ("song.length", vec!["240", "234"], Distribution, 0.5, vec![])),
            (
                "page.views:1|g|#env:dev|c:83c0a99c0a54c0c187f461c7980e9b57f3f6a8b0c918c8d93df19a9de6f3fe1d",
                ("page.views", vec!["1"], Gauge, 1.0, vec![("env", "dev")]),
            ),
            (
                "page.views:15|c|#env:dev|T1656581400",
                ("page.views", vec!["15"], Counter, 1.0, vec![("env", "dev")]),
            ),
            (
                "page.views:1|g|#env:dev|c:ci-83c0a99c|e:it-false,cn-nginx,pu-75a2b6d5|card:low",
                ("page.views", vec!["1"], Gauge, 1.0, vec![("env", "dev")]),
            ),
            (
                "a:1|c|#flag,url:http://x:80/,empty:",
                (
                    "a",
                    vec!["1"],
                    Counter,
                    1.0,
                    vec![("flag", "true"), ("url", "http://x:80/"), ("empty", "")],
                ),
            ),
            ("users:a:b|s", ("users", vec!["a:b"], Set, 1.0, vec![])),
            ("a:1|c|#k:v,", ("a", vec!["1"], Counter, 1.0, vec![("k", "v")])),
            ("a:1|c|#", ("a", vec!["1"], Counter, 1.0, vec![])),
            ("a:1|c|", ("a", vec!["1"], Counter, 1.0, vec![])),
            ("größe / ein:1|c", ("größe / ein", vec!["1"], Counter, 1.0, vec![])),
            // Values are judged where they are added, so that a bad one spoils no other.
            ("a::x:3|c", ("a", vec!["", "x", "3"], Counter, 1.0, vec![])),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()).as_ref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_malformed_has_a_reason() {
        let long_name = format!("{}:1|c", "n".repeat(MAX_NAME + 1));
        let long_tags = format!("a:1|c|#k:{}", "v".repeat(MAX_TAGS));
        let many_tags = format!("a:1|c|#k:{0}|#l:{0}", "v".repeat(MAX_TAGS / 2));
        let cases: &[(&[u8], Reason)] = &[
            (b"gorets", Reason::MalformedLine),
            (b"gorets|c", Reason::MalformedLine),
            (b"gorets:1", Reason::MalformedLine),
            (b"  ", Reason::MalformedLine),
            (b":1|c", Reason::EmptyName),
            (b"gorets:1|", Reason::BadType),
            (b"gorets:1|x", Reason::BadType),
            (b"gorets:1|C", Reason::BadType),
            (b"gorets:1|c:2|c", Reason::BadType),
            (b"gorets:1|c|@", Reason::BadSampleRate),
            (b"gorets:1|c|@0", Reason::BadSampleRate),
            (b"gorets:1|c|@-0.5", Reason::BadSampleRate),
            (b"gorets:1|c|@1.5", Reason::BadSampleRate),
            (b"gorets:1|c|@1e-300", Reason::BadSampleRate),
            (b"gorets:1|c|@nan", Reason::BadSampleRate),
            (b"gorets:1|c|@x", Reason::BadSampleRate),
            (b"gorets:1|c|0.1", Reason::MalformedLine),
            (b"gorets:1|c|T", Reason::MalformedLine),
            (b"gorets:1|c|Tomorrow", Reason::MalformedLine),
            (b"gorets:1|c|:x", Reason::MalformedLine),
            (b"gorets:1|c|#:v", Reason::BadTag),
            (b"gorets:1|c|#a,:", Reason::BadTag),
            (b"gorets:1|c|#\xff", Reason::NotUtf8),
            (b"g\xc3:1|c", Reason::NotUtf8),
            (b"_e{21,36}:An exception occurred|Cannot parse CSV file", Reason::Unsupported),
            (b"_sc|Redis connection|2|#env:dev|m:timed out", Reason::Unsupported),
            (long_name.as_bytes(), Reason::TooLong),
            (long_tags.as_bytes(), Reason::TooLong),
            (many_tags.as_bytes(), Reason::TooLong),
        ];
        for (line, reason) in cases {
            assert_eq!(parse(line), Err(*reason), "{}", String::from_utf8_lossy(line));
        }
    }
}
