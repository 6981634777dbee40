//! What is written to Graphite, and under which names; and the labels of the exposition.
//!
//! Must not make a path: that is for whoever knows the metric.

use std::time::Duration;

use super::flag::Flag;
use super::flags;
use super::invalid::Fault;
use super::reader::Reader;
use super::values;

/// What the paths in Graphite look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GraphiteNames {
    /// `NAME;key=value`.
    #[default]
    Tagged,
    /// `PREFIX.service_name.NAME.attribute_value…`.
    Dotted,
    /// As the OpenTelemetry Collector's own exporter wrote them.
    CarbonExporter,
}

/// Labels that the exposition adds to those of the points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpositionLabels {
    /// Whether the instrumentation scope is shown.
    pub scope: bool,
    /// Keys of resource attributes that become labels.
    pub resource: Vec<String>,
}

/// What is written to Graphite, and under which names.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphiteLines {
    /// What the paths look like.
    pub names: GraphiteNames,
    /// What stands before every path: components with dots between, or nothing.
    pub prefix: String,
    /// Keys of resource attributes that become tags; `otel.scope.name` and `otel.scope.version` are those of the scope.
    pub tags: Vec<String>,
    /// Metrics that are written; all where there is none.
    pub include: Vec<Pattern>,
    /// Metrics that are not written, whatever includes them.
    pub exclude: Vec<Pattern>,
    /// Quantiles of histograms that are written, 0 to 1, ascending.
    pub quantiles: Vec<f64>,
    /// The age from which on a point is refused; none where any age is taken.
    pub max_age: Option<Duration>,
}

impl Default for GraphiteLines {
    fn default() -> Self {
        Self {
            names: GraphiteNames::default(),
            prefix: String::new(),
            tags: vec![SERVICE.to_owned()],
            include: Vec::new(),
            exclude: Vec::new(),
            quantiles: Vec::new(),
            max_age: Some(values::TEN_YEARS),
        }
    }
}

impl GraphiteLines {
    /// Whether the metric of this name is written.
    #[must_use]
    pub fn writes(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// A metric's name, in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether the whole of `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut in_name) = (0, 0);
        // Where the last star stands, and how far what it stands for reaches.
        let mut star = None;
        while in_name < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[in_name] => {
                    at += 1;
                    in_name += 1;
                }
                _ => {
                    let Some((stood, reached)) = star else { return false };
                    star = Some((stood, reached + 1));
                    (at, in_name) = (stood + 1, reached + 1);
                }
            }
        }
        pattern[at..].iter().all(|c| *c == '*')
    }
}

const SERVICE: &str = "service.name";
/// Characters of a prefix: names have the rest of what graphite-web's tables can hold.
const LONGEST_PREFIX: usize = 64;
// Each function reads all of its settings before a bad one ends it, so that every bad one is noted.
impl Reader<'_> {
    /// `scope` is the command's own flag, since its default is.
    pub(super) fn exposition_labels(&mut self, scope: &Flag) -> Option<ExpositionLabels> {
        let scope = self.read(scope, |given| values::word(given.text, &[("on", true), ("off", false)]));
        let resource = self.read_list(&flags::EXPOSITION_LABELS, |given| tag(given.text));
        let mut resource = resource?;
        resource.sort();
        resource.dedup();
        Some(ExpositionLabels { scope: scope?, resource })
    }

    pub(super) fn graphite_lines(&mut self) -> Option<GraphiteLines> {
        let names = self.read(&flags::GRAPHITE_NAMES, |given| {
            values::word(
                given.text,
                &[
                    ("tagged", GraphiteNames::Tagged),
                    ("dotted", GraphiteNames::Dotted),
                    ("carbonexporter", GraphiteNames::CarbonExporter),
                ],
            )
        });
        let prefix = self.read_if_given(&flags::GRAPHITE_PREFIX, |given| prefix(given.text));
        let tags = self.read_list(&flags::GRAPHITE_TAGS, |given| tag(given.text));
        let include = self.read_list(&flags::GRAPHITE_INCLUDE, |given| pattern(given.text));
        let exclude = self.read_list(&flags::GRAPHITE_EXCLUDE, |given| pattern(given.text));
        let quantiles =
            self.read_list(&flags::GRAPHITE_QUANTILES, |given| values::number(given.text.trim(), 0.0..=1.0));
        let max_age = self.read(&flags::MAX_AGE, |given| {
            values::time_or_off(given.text, Duration::from_secs(1)..=values::TEN_YEARS)
        });
        let (names, mut tags, mut quantiles) = (names?, tags?, quantiles?);
        // The Collector's exporter wrote the attributes of points alone.
        if tags.is_empty() && names != GraphiteNames::CarbonExporter {
            tags.push(SERVICE.to_owned());
        }
        tags.sort();
        tags.dedup();
        quantiles.sort_by(f64::total_cmp);
        quantiles.dedup();
        Some(GraphiteLines {
            names,
            prefix: prefix?.unwrap_or_default(),
            tags,
            include: include?,
            exclude: exclude?,
            quantiles,
            max_age: max_age?,
        })
    }
}

fn prefix(text: &str) -> Result<String, Fault> {
    let fault = |reason: &str| {
        Fault::new(reason, "give letters, digits, _ and -, with dots between, such as otel or prod.otel")
    };
    let component = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if text.len() > LONGEST_PREFIX {
        return Err(fault("longer than 64 characters"));
    }
    match text.split('.').all(component) {
        true => Ok(text.to_owned()),
        false => Err(fault("not the beginning of a path")),
    }
}

fn tag(text: &str) -> Result<String, Fault> {
    match text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err(Fault::new("not an attribute's key", "give a key such as service.instance.id")),
        false => Ok(text.to_owned()),
    }
}

fn pattern(text: &str) -> Result<Pattern, Fault> {
    let fault = |reason: String| {
        Fault::new(reason, "give a metric's name, in which * stands for any characters and ? for one")
    };
    let strange = |c: &char| c.is_whitespace() || c.is_control() || r"[]{}()^$|\!".contains(*c);
    match text.chars().find(strange) {
        Some(c) => Err(fault(format!("{c:?} has no meaning in a pattern"))),
        None if text.len() > 1024 => Err(fault("longer than any name".to_owned())),
        None => Ok(Pattern(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_whole_names() {
        for (text, name, matches) in [
            ("http.*", "http.server.request.duration", true),
            ("http.*", "https", false),
            ("*", "anything", true),
            ("*.duration", "http.server.request.duration", true),
            ("*.duration", "http.duration.max", false),
            ("a?c", "abc", true),
            ("a?c", "aüc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("requests", "requests", true),
            ("requests", "requests.total", false),
            ("**", "", true),
            ("?*", "", false),
        ] {
            assert_eq!(pattern(text).unwrap().matches(name), matches, "{text} {name}");
        }
        let many = "a*".repeat(500);
        assert!(!pattern(&many).unwrap().matches(&"a".repeat(499)), "and it ends");
        for text in ["a[bc]", "a{b,c}", "^a", "a b", "a|b", "a\\b", "!a"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn exclusion_wins() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| pattern(text).unwrap()).collect();
        let lines = GraphiteLines {
            include: patterns(&["http.*", "requests"]),
            exclude: patterns(&["*.size"]),
            ..GraphiteLines::default()
        };
        let written = ["http.duration", "http.body.size", "requests", "slow"].map(|name| lines.writes(name));
        assert_eq!(written, [true, false, true, false]);
    }

    #[test]
    fn prefixes_are_components() {
        assert_eq!(prefix("prod.otel-1"), Ok("prod.otel-1".to_owned()));
        for text in [".a", "a.", "a..b", "a b", "a;b", "ä", "~a"] {
            assert!(prefix(text).is_err(), "{text}");
        }
        assert!(prefix(&"a".repeat(65)).is_err());
    }
}
