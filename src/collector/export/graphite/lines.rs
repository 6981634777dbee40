//! Carbon's plaintext protocol: `PATH VALUE SECONDS\n`, one line for each number.
//!
//! A histogram is `NAME.bucket;le=…` (cumulative), `NAME.sum`, `NAME.count`, and `NAME.min` and `NAME.max` where
//! they were sent; ready quantiles, and those of a summary, are `NAME;quantile=…`. In a dotted path they are
//! further components. What the Collector's exporter made of them is in `exporter`.

mod exporter;

use std::io::Write as _;

use crate::{
    exposition::family::{Histogram, Number, Summary, Value},
    naming::graphite::{Path, Style},
};

/// The longest value, time stamp (10) and bound with what names the part, and the spaces between them. The
/// Collector's exporter wrote values without an exponent.
const BESIDE_PATH: usize = 96;
const BESIDE_EXPORTERS_PATH: usize = 400;

/// The most bytes of one line of a series.
#[must_use]
pub fn line_bytes(path: &Path, style: Style) -> usize {
    let beside = if style == Style::CarbonExporter { BESIDE_EXPORTERS_PATH } else { BESIDE_PATH };
    path.as_str().len() + beside
}

/// What is known of a histogram's point beside its buckets.
#[derive(Debug, Default)]
pub struct Beside {
    /// The lowest value, where it was sent.
    pub min: Option<f64>,
    /// The highest value, where it was sent.
    pub max: Option<f64>,
    /// Ready quantiles: which, and where it lies.
    pub quantiles: Vec<(f64, f64)>,
}

/// Writes the lines of one point of one series.
#[derive(Debug)]
pub struct Writer<'a> {
    path: &'a Path,
    style: Style,
    lines: &'a mut Vec<u8>,
    seconds: u32,
    /// Numbers that are none, or infinite: carbon keeps none of the first and shows the second as no JSON.
    pub skipped: u64,
}

impl<'a> Writer<'a> {
    /// Appends to `lines`, at this second since 1970.
    pub const fn new(path: &'a Path, style: Style, seconds: u32, lines: &'a mut Vec<u8>) -> Self {
        Self { path, style, lines, seconds, skipped: 0 }
    }

    /// All lines of `value`.
    pub fn write(&mut self, value: &Value, beside: &Beside) {
        match (self.style, value) {
            (Style::CarbonExporter, _) => self.write_as_exporter(value),
            (_, Value::Number(number)) => self.part("", *number),
            (_, Value::Histogram(histogram)) => self.histogram(histogram, beside),
            (_, Value::Summary(summary)) => self.summary(summary),
        }
    }

    /// The lines of the beginning of a stream: zero, for every number of it that only grows.
    pub fn write_zero(&mut self, value: &Value) {
        let zero = match value {
            Value::Number(_) => Value::Number(Number::Int(0)),
            Value::Histogram(histogram) => Value::Histogram(Histogram {
                bounds: histogram.bounds.clone(),
                counts: vec![0; histogram.counts.len()],
                sum: histogram.sum.map(|_| Number::Int(0)),
                count: 0,
            }),
            Value::Summary(_) => return,
        };
        self.write(&zero, &Beside::default());
    }

    fn histogram(&mut self, histogram: &Histogram, beside: &Beside) {
        let mut cumulative = 0_u64;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            cumulative = cumulative.saturating_add(*count);
            self.bucket(*bound, cumulative);
        }
        self.bucket(f64::INFINITY, histogram.count);
        if let Some(sum) = histogram.sum {
            self.part(".sum", sum);
        }
        self.part(".count", Number::Uint(histogram.count));
        for (part, value) in [(".min", beside.min), (".max", beside.max)] {
            if let Some(value) = value {
                self.part(part, Number::Float(value));
            }
        }
        for (quantile, value) in &beside.quantiles {
            self.quantile(*quantile, *value);
        }
    }

    fn summary(&mut self, summary: &Summary) {
        for (quantile, value) in &summary.quantiles {
            self.quantile(*quantile, *value);
        }
        self.part(".sum", Number::Float(summary.sum));
        self.part(".count", Number::Uint(summary.count));
    }

    fn bucket(&mut self, bound: f64, count: u64) {
        let (before, after) = self.path.around_le();
        self.told_apart(".bucket", ("le", bound), (before, after), Number::Uint(count));
    }

    fn quantile(&mut self, quantile: f64, value: f64) {
        let (before, after) = self.path.around_quantile();
        let part = if self.style == Style::Dotted { ".quantile" } else { "" };
        self.told_apart(part, ("quantile", quantile), (before, after), Number::Float(value));
    }

    /// A number of a part of the series: `""`, `.sum`, `.count`.
    fn part(&mut self, part: &str, value: Number) {
        if self.is_number(value) {
            let (name, tags, seconds) = (self.path.name(), self.path.tags(), self.seconds);
            // Writing to a vector cannot fail.
            let _ = writeln!(self.lines, "{name}{part}{tags} {value} {seconds}");
        }
    }

    /// A number that a bound or a quantile tells from the others of its part.
    fn told_apart(&mut self, part: &str, by: (&str, f64), around: (&str, &str), value: Number) {
        if !self.is_number(value) {
            return;
        }
        let (name, seconds, (before, after)) = (self.path.name(), self.seconds, around);
        let (key, number) = (by.0, Number::Float(by.1));
        // Writing to a vector cannot fail.
        let _ = write!(self.lines, "{name}{part}");
        let _ = match self.style {
            Style::Dotted => self.component(number),
            Style::Tagged | Style::CarbonExporter => {
                write!(self.lines, "{before};{key}={number}{after}")
            }
        };
        let _ = writeln!(self.lines, " {value} {seconds}");
    }

    /// A bound as a component of a path: `0_005`, `inf`.
    fn component(&mut self, number: Number) -> std::io::Result<()> {
        self.lines.push(b'.');
        let from = self.lines.len();
        if number.as_f64() == f64::INFINITY {
            return write!(self.lines, "inf");
        }
        write!(self.lines, "{number}")?;
        self.lines[from..].iter_mut().filter(|byte| **byte == b'.').for_each(|byte| *byte = b'_');
        Ok(())
    }

    fn is_number(&mut self, value: Number) -> bool {
        let is_number = value.as_f64().is_finite();
        self.skipped += u64::from(!is_number);
        is_number
    }
}

/// The path of one part of a series, for a person to look at: `""`, `.sum`, `.count`.
#[must_use]
pub fn part_path(path: &Path, part: &str) -> String {
    format!("{}{part}{}", path.name(), path.tags())
}

#[cfg(test)]
mod tests;
