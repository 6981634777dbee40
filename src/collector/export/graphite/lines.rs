//! Carbon's plaintext protocol: `PATH VALUE SECONDS\n`, one line for each number.
//!
//! A histogram is `NAME.bucket;le=…` (cumulative), `NAME.sum`, `NAME.count`, and `NAME.min` and `NAME.max` where
//! they were sent; ready quantiles, and those of a summary, are `NAME;quantile=…`. In a dotted path they are
//! further components. What the Collector's exporter made of them is in `exporter`.

mod digits;
mod exporter;
mod rendered;

use self::digits::{push_first, push_number};
pub use self::rendered::Rendered;
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
    rendered: &'a mut Rendered,
    lines: &'a mut Vec<u8>,
    /// Numbers that are none, or infinite: carbon keeps none of the first and shows the second as no JSON.
    pub skipped: u64,
}

impl<'a> Writer<'a> {
    /// Appends to `lines`, at this second since 1970, in the style of what is `rendered`.
    pub fn new(path: &'a Path, seconds: u32, rendered: &'a mut Rendered, lines: &'a mut Vec<u8>) -> Self {
        rendered.set_seconds(seconds);
        Self { path, rendered, lines, skipped: 0 }
    }

    /// All lines of `value`.
    pub fn write(&mut self, value: &Value, beside: &Beside) {
        match (self.rendered.style(), value) {
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
        let of_bounds = histogram.bounds.iter().zip(&histogram.counts).map(|(_, count)| {
            cumulative = cumulative.saturating_add(*count);
            cumulative
        });
        let counts = of_bounds.chain([histogram.count]);
        let (before, after) = self.path.around_le();
        let key = if self.rendered.style() == Style::Dotted { "." } else { ";le=" };
        self.buckets([self.path.name(), ".bucket", before, key], after, &histogram.bounds, counts);
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

    /// A line for each bucket, that of infinity the last: `beginning`, the bound, `rest`, and the count.
    fn buckets(
        &mut self,
        beginning: [&str; 4],
        rest: &str,
        bounds: &[f64],
        counts: impl Iterator<Item = u64>,
    ) {
        self.rendered.set_bounds(bounds);
        self.rendered.set_around(beginning, rest);
        let (before_first, before) = self.rendered.before_bound();
        let behind = self.rendered.behind_bound();
        let start = self.lines.len();
        for (at, ((bound, length), count)) in self.rendered.bounds().zip(counts).enumerate() {
            self.lines.extend_from_slice(if at == 0 { before_first } else { before });
            push_first(self.lines, bound, length);
            self.lines.extend_from_slice(behind);
            push_number(self.lines, Number::Uint(count));
        }
        if self.lines.len() > start {
            self.lines.extend_from_slice(self.rendered.end());
        }
    }

    fn quantile(&mut self, quantile: f64, value: f64) {
        let (before, after) = self.path.around_quantile();
        let (part, key) = match self.rendered.style() {
            Style::Dotted => (".quantile", "."),
            Style::Tagged | Style::CarbonExporter => ("", ";quantile="),
        };
        let value = Number::Float(value);
        if self.is_number(value) {
            self.push([self.path.name(), part, before, key]);
            rendered::push_bound(self.lines, quantile, self.rendered.style());
            self.push([after]);
            end_line(self.lines, value, self.rendered.end());
        }
    }

    /// A number of a part of the series: `""`, `.sum`, `.count`.
    fn part(&mut self, part: &str, value: Number) {
        if self.is_number(value) {
            self.push([self.path.name(), part, self.path.tags()]);
            end_line(self.lines, value, self.rendered.end());
        }
    }

    fn push<const N: usize>(&mut self, parts: [&str; N]) {
        parts.iter().for_each(|part| self.lines.extend_from_slice(part.as_bytes()));
    }

    fn is_number(&mut self, value: Number) -> bool {
        let is_number = value.as_f64().is_finite();
        self.skipped += u64::from(!is_number);
        is_number
    }
}

/// Behind a path: the value, and the `end` of the line.
fn end_line(lines: &mut Vec<u8>, value: Number, end: &[u8]) {
    lines.push(b' ');
    push_number(lines, value);
    lines.extend_from_slice(end);
}

/// The path of one part of a series, for a person to look at: `""`, `.sum`, `.count`.
#[must_use]
pub fn part_path(path: &Path, part: &str) -> String {
    format!("{}{part}{}", path.name(), path.tags())
}

#[cfg(test)]
mod tests;
