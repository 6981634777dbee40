//! Families, samples and labels: Prometheus's data model, ready to be encoded.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt::{self, Write as _},
    ops::Range,
    sync::Arc,
};

use crate::naming::prometheus::label_name;

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The family's name, `_total` of a counter included.
    pub name: String,
    /// One line of text about it.
    pub help: String,
    /// The type on its `# TYPE` line.
    pub kind: Kind,
    /// One entry for each label set.
    pub samples: Vec<Sample>,
}

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// A value that may fall.
    Gauge,
    /// Counts by bucket.
    Histogram,
    /// Quantiles that were computed before.
    Summary,
}

impl Kind {
    /// The word on the `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// The value of one label set.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Labels,
    /// Its value, of the family's kind.
    pub value: Value,
}

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(Number),
    /// Of a histogram.
    Histogram(Histogram),
    /// Of a summary.
    Summary(Summary),
}

/// A number that keeps the exactness of its origin: integers beyond 2^53 are written in full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A double.
    Float(f64),
}

impl Number {
    /// The magnitudes of doubles that are displayed without an exponent, as zero is.
    pub(crate) const PLAIN: Range<f64> = 1e-5..1e17;

    /// As Prometheus and Graphite will read it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "both hold doubles only")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Uint(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// The shortest digits that read back the same, `+Inf`, `-Inf` or `NaN`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) if value == f64::INFINITY => f.write_str("+Inf"),
            Self::Float(value) if value.is_nan() => f.write_str("NaN"),
            Self::Float(value) if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            Self::Float(value) if value != 0.0 && !Self::PLAIN.contains(&value.abs()) => {
                write!(f, "{value:e}")
            }
            Self::Float(value) => write!(f, "{value}"),
        }
    }
}

/// A histogram with explicit bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, inclusive, strictly increasing, without infinity.
    pub bounds: Arc<[f64]>,
    /// Counts by bucket, not cumulative; one more than `bounds`.
    pub counts: Vec<u64>,
    /// The sum of all values, where it is known.
    pub sum: Option<Number>,
    /// The number of all values.
    pub count: u64,
}

/// Quantiles with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Quantile (0 to 1) and value.
    pub quantiles: Vec<(f64, f64)>,
    /// The sum of all values.
    pub sum: f64,
    /// The number of all values.
    pub count: u64,
}

/// A label set, sorted by name and already escaped: `a="1",b="x\"y"`. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<str>);

impl Labels {
    /// Labels of a sample in a family of `kind`: an attribute that is named as the format's own label
    /// (`le`, `quantile`) becomes `exported_le`, as Prometheus itself renames what collides.
    #[must_use]
    pub fn of<'a>(kind: Kind, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::joining(kind, attributes).0
    }

    /// Labels of a sample likewise, with others that are `added` to all of its source: an attribute that would become one
    /// of these makes way, as `exported_NAME`. And whether other keys became equal, so that one label has the values of
    /// several.
    #[must_use]
    pub fn with_added(kind: Kind, attributes: &[(&str, &str)], added: &[(&str, &str)]) -> (Self, bool) {
        let taken: Vec<_> = added.iter().map(|(key, _)| label_name(key)).collect();
        let own: Vec<_> = attributes
            .iter()
            .map(|(key, value)| {
                let key = match taken.is_empty() {
                    true => Cow::Borrowed(*key),
                    false => exported(key, &taken),
                };
                (key, *value)
            })
            .collect();
        let own = own.iter().map(|(key, value)| (key.as_ref(), *value));
        Self::joining(kind, own.chain(added.iter().copied()))
    }

    fn joining<'a>(kind: Kind, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, bool) {
        let reserved = match kind {
            Kind::Counter | Kind::Gauge => return Self::joined(attributes),
            Kind::Histogram => ("le", "exported_le"),
            Kind::Summary => ("quantile", "exported_quantile"),
        };
        let renamed = |(key, value)| if key == reserved.0 { (reserved.1, value) } else { (key, value) };
        Self::joined(attributes.into_iter().map(renamed))
    }

    /// Labels of attributes: keys become label names, the values of keys that become equal are joined by
    /// `;`, empty values are left out.
    #[must_use]
    pub fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::joined(attributes).0
    }

    fn joined<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, bool) {
        let mut pairs: Vec<_> = attributes
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (label_name(key), key, value))
            .collect();
        pairs.sort();
        let mut text = String::new();
        let mut last: Option<&str> = None;
        let mut joined = false;
        for (name, _, value) in &pairs {
            if last == Some(name) {
                // The closing quote makes way for the joined value.
                text.pop();
                text.push(';');
                joined = true;
            } else {
                let comma = if last.is_some() { "," } else { "" };
                // Writing to a string cannot fail.
                let _ = write!(text, "{comma}{name}=\"");
            }
            escape(value, &mut text);
            text.push('"');
            last = Some(name);
        }
        (Self(text.into()), joined)
    }

    /// As between the braces of a sample; empty where there are no labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names and unescaped values.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut rest = self.as_str();
        while let Some((name, quoted)) = rest.split_once("=\"") {
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = characters.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => match characters.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, escaped)) => value.push(escaped),
                        None => {}
                    },
                    c => value.push(c),
                }
            }
            pairs.push((name.to_owned(), value));
            rest = quoted[end..].trim_start_matches(',');
        }
        pairs
    }
}

fn exported<'a>(key: &'a str, taken: &[Cow<'_, str>]) -> Cow<'a, str> {
    let label = label_name(key);
    if taken.contains(&label) { Cow::Owned(format!("exported_{label}")) } else { Cow::Borrowed(key) }
}

/// Keys and values of the labels of an instrumentation scope, as the specification names them; nothing that is empty, and
/// no attribute that is called as a field of the scope.
#[must_use]
pub fn scope_labels<'a>(
    name: &'a str,
    version: &'a str,
    schema_url: &'a str,
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    let own = [("name", name), ("version", version), ("schema_url", schema_url)];
    // The scope's own fields have these names, whether they are empty or not.
    let others = attributes.into_iter().filter(|(key, _)| own.iter().all(|(own, _)| own != key));
    let all = own.into_iter().chain(others).filter(|(_, value)| !value.is_empty());
    all.map(|(key, value)| (format!("otel_scope_{}", distinguishable(key)), value.to_owned())).collect()
}

/// A key that stays one of its own behind a prefix: without an ASCII letter or digit, nothing of it would be left.
fn distinguishable(key: &str) -> Cow<'_, str> {
    match key.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        true => Cow::Borrowed(key),
        false => label_name(key),
    }
}

/// The attributes of a series as they were sent. Of series whose labels became equal, the one with the first of these is
/// shown; wherever the choice is made, it is the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    keys: Vec<Box<str>>,
    /// Left out where equal keys and equal labels mean equal values.
    values: Vec<Box<str>>,
    /// A label has the values of several attributes, of which none need be the series' own.
    joined: bool,
    /// A letter for the type of each value, where one is no string.
    types: Option<Box<str>>,
}

impl Origin {
    /// Of attributes in the order of their keys. Values are stored only where labels are `joined`.
    #[must_use]
    pub fn new(attributes: &[(&str, &str)], joined: bool) -> Self {
        let values = if joined { attributes } else { &[] };
        Self {
            keys: attributes.iter().map(|(key, _)| (*key).into()).collect(),
            values: values.iter().map(|(_, value)| (*value).into()).collect(),
            joined,
            types: None,
        }
    }

    /// The same with the types of the values, a letter each, where one is no string.
    #[must_use]
    pub fn with_types(mut self, types: Option<String>) -> Self {
        self.types = types.map(String::into_boxed_str);
        self
    }

    /// The types of the values, a letter each; none where all are strings.
    #[must_use]
    pub fn types(&self) -> Option<&str> {
        self.types.as_deref()
    }

    /// Whether a label has the values of several attributes.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// The keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }
}

/// The families whose names, and whose samples' names, none before them has, and those that are left out: a name that is
/// there twice makes Prometheus refuse samples, or take one series for another.
#[must_use]
pub fn distinct(families: Vec<Family>) -> (Vec<Family>, Vec<Family>) {
    let mut taken = HashSet::new();
    families.into_iter().partition(|family| {
        let suffixes: &[&str] = match family.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            Kind::Summary => &["", "_sum", "_count"],
        };
        let names = || suffixes.iter().map(|suffix| format!("{}{suffix}", family.name));
        let free = !names().any(|name| taken.contains(&name));
        if free {
            taken.extend(names());
        }
        free
    })
}

fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_back_the_same() {
        for value in [0.1, 1e300, 5e-324, -0.0, 123_456_789.125, f64::MAX, 1e17, 3.0] {
            let text = Number::Float(value).to_string();
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{text}");
            assert!(text.len() < 30, "{text}");
        }
        assert_eq!(Number::Float(f64::NEG_INFINITY).to_string(), "-Inf");
        assert_eq!(Number::Uint(u64::MAX).to_string(), "18446744073709551615");
    }

    #[test]
    fn labels_are_sorted_escaped_and_joined() {
        let labels = Labels::new([("z", "1"), ("a.b", "x\"\\\ny"), ("a_b", "2"), ("none", "")]);
        assert_eq!(labels.as_str(), r#"a_b="x\"\\\ny;2",z="1""#);
        assert_eq!(
            labels.pairs(),
            [("a_b".to_owned(), "x\"\\\ny;2".to_owned()), ("z".to_owned(), "1".to_owned())]
        );
        assert_eq!(Labels::new([]).pairs(), []);
        assert_eq!(Labels::of(Kind::Histogram, [("le", "1")]).as_str(), r#"exported_le="1""#);
        let joined = |attributes: &[(&str, &str)]| Labels::with_added(Kind::Gauge, attributes, &[]).1;
        assert!(joined(&[("a.b", "1"), ("a_b", "2")]) && !joined(&[("a.b", "1"), ("a_b", "")]));
        let added =
            Labels::with_added(Kind::Gauge, &[("a.b", "1"), ("job", "2")], &[("a_b", "3"), ("job", "")]);
        assert_eq!((added.0.as_str(), added.1), (r#"a_b="3",exported_a_b="1",exported_job="2""#, false));
    }
}
