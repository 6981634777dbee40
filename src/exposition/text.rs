//! The Prometheus text format 0.0.4.

use std::fmt::Write as _;

use super::family::{Family, Histogram, Labels, Number, Summary, Value};

/// The content type of what [`encode`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the families in their order, without time stamps.
#[must_use]
pub fn encode(families: &[Family]) -> String {
    let mut text = String::with_capacity(families.iter().map(|family| 128 + 96 * family.samples.len()).sum());
    for family in families {
        // Writing to a string cannot fail.
        let _ = encode_family(family, &mut text);
    }
    text
}

fn encode_family(family: &Family, text: &mut String) -> std::fmt::Result {
    let name = &family.name;
    if !family.help.is_empty() {
        writeln!(text, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"))?;
    }
    writeln!(text, "# TYPE {name} {}", family.kind.as_str())?;
    for sample in &family.samples {
        match &sample.value {
            Value::Number(number) => line(text, name, "", &sample.labels, None, *number)?,
            Value::Histogram(histogram) => encode_histogram(text, name, &sample.labels, histogram)?,
            Value::Summary(summary) => encode_summary(text, name, &sample.labels, summary)?,
        }
    }
    Ok(())
}

fn encode_histogram(
    text: &mut String,
    name: &str,
    labels: &Labels,
    histogram: &Histogram,
) -> std::fmt::Result {
    let mut cumulative = 0_u64;
    for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
        cumulative = cumulative.saturating_add(*count);
        line(text, name, "_bucket", labels, Some(("le", *bound)), Number::Uint(cumulative))?;
    }
    line(text, name, "_bucket", labels, Some(("le", f64::INFINITY)), Number::Uint(histogram.count))?;
    if let Some(sum) = histogram.sum {
        line(text, name, "_sum", labels, None, sum)?;
    }
    line(text, name, "_count", labels, None, Number::Uint(histogram.count))
}

fn encode_summary(text: &mut String, name: &str, labels: &Labels, summary: &Summary) -> std::fmt::Result {
    for (quantile, value) in &summary.quantiles {
        line(text, name, "", labels, Some(("quantile", *quantile)), Number::Float(*value))?;
    }
    line(text, name, "_sum", labels, None, Number::Float(summary.sum))?;
    line(text, name, "_count", labels, None, Number::Uint(summary.count))
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels,
    extra: Option<(&str, f64)>,
    value: Number,
) -> std::fmt::Result {
    text.push_str(name);
    text.push_str(suffix);
    let labels = labels.as_str();
    if let Some((label, bound)) = extra {
        let comma = if labels.is_empty() { "" } else { "," };
        write!(text, "{{{labels}{comma}{label}=\"{}\"}}", Number::Float(bound))?;
    } else if !labels.is_empty() {
        write!(text, "{{{labels}}}")?;
    }
    writeln!(text, " {value}")
}

#[cfg(test)]
mod tests {
    use super::super::family::{Kind, Sample};
    use super::*;

    #[test]
    fn the_contract_is_kept_letter_by_letter() {
        let family = Family {
            name: "requests_total".into(),
            help: "Application Request Count".into(),
            kind: Kind::Counter,
            samples: vec![Sample {
                labels: Labels::new([("endpoint", "/")]),
                value: Value::Number(Number::Uint(20)),
            }],
        };
        assert_eq!(
            encode(&[family]),
            "# HELP requests_total Application Request Count\n\
             # TYPE requests_total counter\n\
             requests_total{endpoint=\"/\"} 20\n"
        );
    }

    #[test]
    fn histograms_are_cumulative_and_closed_by_infinity() {
        let histogram = Histogram {
            bounds: [0.5, 1.0].into(),
            counts: vec![1, 2, 3],
            sum: Some(Number::Float(9.25)),
            count: 6,
        };
        let family = Family {
            name: "slow".into(),
            help: "a\\b\nc".into(),
            kind: Kind::Histogram,
            samples: vec![Sample { labels: Labels::default(), value: Value::Histogram(histogram) }],
        };
        assert_eq!(
            encode(&[family]),
            "# HELP slow a\\\\b\\nc\n# TYPE slow histogram\nslow_bucket{le=\"0.5\"} 1\nslow_bucket{le=\"1\"} 3\n\
             slow_bucket{le=\"+Inf\"} 6\nslow_sum 9.25\nslow_count 6\n"
        );
    }
}
