//! Carbon's plaintext protocol: `PATH VALUE SECONDS\n`, one line for each number.
//!
//! A histogram is `NAME.bucket;le=…` (cumulative), `NAME.sum` and `NAME.count`; a summary is
//! `NAME;quantile=…`, `NAME.sum` and `NAME.count`.

use std::{fmt, io::Write as _};

use crate::exposition::family::{Histogram, Number, Summary, Value};

/// Carbon closes the connection on a longer line, and loses what is behind it.
const MAX_LINE: usize = 16_384;
/// The longest value (a double, 24), time stamp (10), bound (24) and suffix, with the spaces between them.
const BESIDE_PATH: usize = 80;
const NANOSECONDS: u64 = 1_000_000_000;

/// The path of a series, ready to be written again and again.
#[derive(Debug)]
pub struct Template {
    name: Box<str>,
    /// The key of the tag that tells a histogram's buckets or a summary's quantiles apart, as `;le=`.
    reserved: Box<str>,
    /// Tags that sort before the reserved one, as `;a=1;b=2`.
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    /// A path of a clean name and clean, sorted tags (each as `;key=value`).
    #[must_use]
    pub fn new(name: &str, tags: &[String], reserved: Option<&str>) -> Self {
        let reserved = reserved.map_or_else(String::new, |key| format!(";{key}="));
        let split =
            if reserved.is_empty() { tags.len() } else { tags.partition_point(|tag| *tag < reserved) };
        Self {
            name: name.into(),
            reserved: reserved.into(),
            before: tags[..split].concat().into(),
            after: tags[split..].concat().into(),
        }
    }

    /// The path of one part of the series: `""`, `.sum`, `.count`.
    #[must_use]
    pub fn path(&self, part: &str) -> String {
        format!("{}{part}{}{}", self.name, self.before, self.after)
    }

    /// The most bytes of one line; 0 where no line is ever written, since carbon would not take it.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        let bytes =
            self.name.len() + self.reserved.len() + self.before.len() + self.after.len() + BESIDE_PATH;
        if bytes > MAX_LINE { 0 } else { bytes }
    }

    /// Appends the lines of `value` at the point's own second.
    ///
    /// # Errors
    /// The reason why no line was written: carbon would drop it, or close the connection for it.
    pub fn write(&self, value: &Value, time_unix_nano: u64, lines: &mut Vec<u8>) -> Result<(), &'static str> {
        let seconds = u32::try_from(time_unix_nano / NANOSECONDS).map_err(|_| "timestamp")?;
        if seconds == 0 {
            return Err("timestamp");
        }
        if self.line_bytes() == 0 {
            return Err("path_too_long");
        }
        let before = lines.len();
        let written = match value {
            Value::Number(number) => self.line("", None, *number, seconds, lines),
            Value::Histogram(histogram) => self.histogram(histogram, seconds, lines),
            Value::Summary(summary) => self.summary(summary, seconds, lines),
        };
        if written.is_err() {
            lines.truncate(before);
        }
        written
    }

    fn histogram(
        &self,
        histogram: &Histogram,
        seconds: u32,
        lines: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let mut cumulative = 0_u64;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            cumulative = cumulative.saturating_add(*count);
            self.line(".bucket", Some(Number::Float(*bound)), Number::Uint(cumulative), seconds, lines)?;
        }
        let infinity = Some(Number::Float(f64::INFINITY));
        self.line(".bucket", infinity, Number::Uint(histogram.count), seconds, lines)?;
        // A sum that is no number is no value; the counts beside it are.
        if let Some(sum) = histogram.sum.filter(|sum| sum.as_f64().is_finite()) {
            self.line(".sum", None, sum, seconds, lines)?;
        }
        self.line(".count", None, Number::Uint(histogram.count), seconds, lines)
    }

    fn summary(&self, summary: &Summary, seconds: u32, lines: &mut Vec<u8>) -> Result<(), &'static str> {
        for (quantile, value) in &summary.quantiles {
            // A summary without observations in its window has no quantiles: NaN, which is no value.
            if value.is_finite() {
                self.line("", Some(Number::Float(*quantile)), Number::Float(*value), seconds, lines)?;
            }
        }
        if summary.sum.is_finite() {
            self.line(".sum", None, Number::Float(summary.sum), seconds, lines)?;
        }
        self.line(".count", None, Number::Uint(summary.count), seconds, lines)
    }

    fn line(
        &self,
        part: &str,
        reserved: Option<Number>,
        value: Number,
        seconds: u32,
        lines: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if !value.as_f64().is_finite() {
            return Err("not_a_number");
        }
        let Self { name, before, after, .. } = self;
        let key = if reserved.is_some() { &*self.reserved } else { "" };
        let bound = Optional(reserved);
        // Writing to a vector cannot fail.
        let _ = writeln!(lines, "{name}{part}{before}{key}{bound}{after} {value} {seconds}");
        Ok(())
    }
}

struct Optional(Option<Number>);

impl fmt::Display for Optional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| number.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| format!(";{tag}")).collect()
    }

    fn written(template: &Template, value: &Value, time_unix_nano: u64) -> Result<String, &'static str> {
        let mut lines = Vec::new();
        template.write(value, time_unix_nano, &mut lines)?;
        Ok(String::from_utf8(lines).unwrap())
    }

    #[test]
    fn a_counter_is_one_line_at_its_own_second() {
        let template = Template::new("requests", &tags(&["endpoint=/", "service.name=pushpull"]), None);
        let line = written(&template, &Value::Number(Number::Int(20)), 1_700_000_000_999_999_999);
        assert_eq!(line.unwrap(), "requests;endpoint=/;service.name=pushpull 20 1700000000\n");
    }

    #[test]
    fn histograms_are_cumulative_with_le_in_its_sorted_place() {
        let template = Template::new("slow", &tags(&["endpoint=/database", "service.name=p"]), Some("le"));
        let histogram = Histogram {
            bounds: [0.5, 1.0].into(),
            counts: vec![1, 2, 3],
            sum: Some(Number::Float(9.25)),
            count: 6,
        };
        assert_eq!(
            written(&template, &Value::Histogram(histogram), 5_000_000_000).unwrap(),
            "slow.bucket;endpoint=/database;le=0.5;service.name=p 1 5\n\
             slow.bucket;endpoint=/database;le=1;service.name=p 3 5\n\
             slow.bucket;endpoint=/database;le=+Inf;service.name=p 6 5\n\
             slow.sum;endpoint=/database;service.name=p 9.25 5\n\
             slow.count;endpoint=/database;service.name=p 6 5\n"
        );
    }

    #[test]
    fn what_carbon_would_choke_on_is_refused_with_its_reason() {
        let template = Template::new("x", &[], None);
        let number = |value| Value::Number(Number::Float(value));
        assert_eq!(written(&template, &number(f64::NAN), 5_000_000_000), Err("not_a_number"));
        assert_eq!(written(&template, &number(f64::INFINITY), 5_000_000_000), Err("not_a_number"));
        assert_eq!(written(&template, &number(1.0), 999_999_999), Err("timestamp"));
        assert_eq!(written(&template, &number(1.0), u64::MAX), Err("timestamp"));
        let long = Template::new(&"x".repeat(MAX_LINE), &[], None);
        assert_eq!(written(&long, &number(1.0), 5_000_000_000), Err("path_too_long"));
        assert_eq!(written(&template, &number(1.0), 5_000_000_000).unwrap(), "x 1 5\n");
    }

    #[test]
    fn a_line_is_never_longer_than_its_reservation() {
        let template = Template::new("x", &tags(&["a=1"]), Some("le"));
        let histogram = Histogram {
            bounds: [-f64::MAX].into(),
            counts: vec![u64::MAX, 0],
            sum: Some(Number::Float(-f64::MIN_POSITIVE)),
            count: u64::MAX,
        };
        let lines = written(&template, &Value::Histogram(histogram), 4_294_967_295_000_000_000).unwrap();
        assert!(lines.lines().all(|line| line.len() < template.line_bytes()), "{lines}");
    }
}
