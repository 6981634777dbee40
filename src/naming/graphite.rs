//! OpenTelemetry name and attributes to a Graphite path, in one of three styles.
//!
//! What carbon 1.1 would drop, split wrongly, leave out of its index or close the connection for is replaced,
//! and a hash of the original is appended then, so that two different inputs stay two different paths. Every
//! path is a fixed function of its input: a restart makes no new path.

mod clean;
mod dotted;
mod exporter;
mod tagged;

use std::borrow::Cow;

/// What a path looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `NAME;key=value;key=value`: Graphite's tags, sorted as carbon sorts them.
    #[default]
    Tagged,
    /// `PREFIX.service_name.NAME.attribute_value…`: components of ASCII letters, digits, `_` and `-`. The
    /// attributes' keys are not in it, so that two sets of keys with the same values share a path.
    Dotted,
    /// What the OpenTelemetry Collector's own exporter wrote, as far as carbon keeps it.
    CarbonExporter,
}

/// What a series is to Graphite: which numbers each of its points becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One number.
    Number,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
}

/// What a path is made of.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// Its shape.
    pub shape: Shape,
    /// The resource's `service.name`, where it has one.
    pub service: Option<&'a str>,
    /// The resource attributes that become tags.
    pub resource: &'a [(String, String)],
    /// The point's own attributes, as they were sent.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// How the paths of one Graphite are made.
#[derive(Clone, Debug, Default)]
pub struct Names {
    style: Style,
    prefix: String,
}

impl Names {
    /// Paths in this style; `prefix` (components with dots between, or empty) stands before all of them.
    #[must_use]
    pub fn new(style: Style, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        Self { style, prefix }
    }

    /// The style of its paths.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    /// The path of a series.
    #[must_use]
    pub fn path(&self, series: &Series<'_>) -> Path {
        match self.style {
            Style::Tagged => tagged::path(&self.prefix, series),
            Style::Dotted => dotted::path(&self.prefix, series),
            Style::CarbonExporter => exporter::path(&self.prefix, series),
        }
    }
}

/// The path of a series, into which what tells its numbers apart is still to be put. Small: there is one for
/// each series.
#[derive(Debug)]
pub struct Path {
    text: Box<str>,
    /// Where the name ends, and where `;le=` and `;quantile=` have their sorted place.
    name: u16,
    le: u16,
    quantile: u16,
}

impl Path {
    /// A name, and tags in their order; without tags, all there is.
    fn new(name: &str, tags: &[String]) -> Self {
        let place = |tag: &str| {
            let before = tags.partition_point(|other| other.as_str() < tag);
            name.len() + tags[..before].iter().map(String::len).sum::<usize>()
        };
        // A path is never longer than a line of carbon's, 16,384 bytes.
        let [end, le, quantile] =
            [name.len(), place(";le="), place(";quantile=")].map(|at| u16::try_from(at).unwrap_or(u16::MAX));
        let mut text = String::with_capacity(name.len() + tags.iter().map(String::len).sum::<usize>());
        text.push_str(name);
        tags.iter().for_each(|tag| text.push_str(tag));
        Self { text: text.into(), name: end, le, quantile }
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name, to which `.count` and the like are to be appended.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.name.into()]
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &str {
        &self.text[self.name.into()..]
    }

    /// The tags that sort before `;le=`, and those that sort behind it.
    #[must_use]
    pub fn around_le(&self) -> (&str, &str) {
        (&self.text[self.name.into()..self.le.into()], &self.text[self.le.into()..])
    }

    /// The tags that sort before `;quantile=`, and those that sort behind it.
    #[must_use]
    pub fn around_quantile(&self) -> (&str, &str) {
        (&self.text[self.name.into()..self.quantile.into()], &self.text[self.quantile.into()..])
    }
}

/// A metric's name as the first part of a tagged path: dots stay, since tagged names may have them.
#[must_use]
pub fn name(name: &str) -> Cow<'_, str> {
    clean::name(name, clean::MAX_CHARS)
}

/// A tag's value.
#[must_use]
pub fn value(value: &str) -> Cow<'_, str> {
    clean::value(value)
}

#[cfg(test)]
mod tests;
