//! The lines of the OpenTelemetry Collector's carbon exporter, as its last versions wrote them.
//!
//! Counts of buckets are not cumulative, the sum has the bare name (0 where there is none), quantiles are
//! percentages. Values have no exponent, bounds are as Go prints them.

use std::io::Write as _;

use super::{Writer, end_line};
use crate::exposition::family::{Number, Value};

impl Writer<'_> {
    pub(super) fn write_as_exporter(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.plain("", *number),
            Value::Histogram(histogram) => {
                self.plain(".count", Number::Uint(histogram.count));
                self.plain("", histogram.sum.unwrap_or(Number::Int(0)));
                if !histogram.bounds.is_empty() {
                    let beginning = [self.path.name(), ".bucket", self.path.tags(), ";upper_bound="];
                    self.buckets(beginning, "", &histogram.bounds, histogram.counts.iter().copied());
                }
            }
            Value::Summary(summary) => {
                self.plain(".count", Number::Uint(summary.count));
                self.plain("", Number::Float(summary.sum));
                for (quantile, value) in &summary.quantiles {
                    let percent = go_shortest(quantile * 100.0);
                    let tag = [";quantile=", &percent].concat();
                    self.exporters_line([".quantile", self.path.tags(), &tag], Number::Float(*value));
                }
            }
        }
    }

    fn plain(&mut self, part: &str, value: Number) {
        self.exporters_line([part, self.path.tags(), ""], value);
    }

    fn exporters_line(&mut self, behind_name: [&str; 3], value: Number) {
        if !self.is_number(value) {
            return;
        }
        self.push([self.path.name()]);
        self.push(behind_name);
        match value {
            // Not as the exposition prints it: without an exponent. Writing to a vector cannot fail.
            Number::Float(value) => {
                let _ = write!(self.lines, " {value}");
                self.lines.extend_from_slice(self.rendered.end());
            }
            Number::Int(_) | Number::Uint(_) => end_line(self.lines, value, self.rendered.end()),
        }
    }
}

/// A double as `strconv.FormatFloat(value, 'g', -1, 64)` of Go prints it: the fewest digits that read back the
/// same, with an exponent of at least two digits below 1e-4 and from 1e6 on.
pub(super) fn go_shortest(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a run of Go's own.
    #[test]
    fn bounds_are_printed_as_go_prints_them() {
        for (value, printed) in [
            (0.005, "0.005"),
            (2.5, "2.5"),
            (10.0, "10"),
            (99.9, "99.9"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (-0.5, "-0.5"),
            (1_234_567.0, "1.234567e+06"),
        ] {
            assert_eq!(go_shortest(value), printed);
        }
    }
}
