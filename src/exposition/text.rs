//! The Prometheus text format 0.0.4.

use std::{fmt::Write as _, vec};

use super::family::{Family, Histogram, Labels, Number, Sample, Summary, Value};

/// The content type of what [`encode`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// About so many bytes are in a piece of [`pieces`].
const PIECE: usize = 64 * 1024;

/// Writes the families in their order, without time stamps.
#[must_use]
pub fn encode(families: &[Family]) -> String {
    let mut text = String::with_capacity(families.iter().map(|family| 128 + 96 * family.samples.len()).sum());
    for family in families {
        // Writing to a string cannot fail.
        let _ = encode_head(family, &mut text);
        for sample in &family.samples {
            let _ = encode_sample(&family.name, sample, &mut text);
        }
    }
    text
}

/// The same text in pieces of about 64 KiB, each made when it is asked for: a page that is larger than its samples is never
/// there as a whole. No piece is empty.
#[must_use]
pub fn pieces(families: Vec<Family>) -> Pieces {
    Pieces { families: families.into_iter(), family: None }
}

/// The pieces of a text: see [`pieces`].
#[derive(Debug)]
pub struct Pieces {
    families: vec::IntoIter<Family>,
    /// The family that is being written: its name and the samples that are left.
    family: Option<(String, vec::IntoIter<Sample>)>,
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        while text.len() < PIECE {
            let Some((name, samples)) = &mut self.family else {
                let Some(mut family) = self.families.next() else { break };
                // Writing to a string cannot fail.
                let _ = encode_head(&family, &mut text);
                let samples = std::mem::take(&mut family.samples);
                self.family = Some((family.name, samples.into_iter()));
                continue;
            };
            match samples.next() {
                Some(sample) => drop(encode_sample(name, &sample, &mut text)),
                None => self.family = None,
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

fn encode_head(family: &Family, text: &mut String) -> std::fmt::Result {
    let name = &family.name;
    if !family.help.is_empty() {
        writeln!(text, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"))?;
    }
    writeln!(text, "# TYPE {name} {}", family.kind.as_str())
}

fn encode_sample(name: &str, sample: &Sample, text: &mut String) -> std::fmt::Result {
    match &sample.value {
        Value::Number(number) => line(text, name, "", &sample.labels, None, *number),
        Value::Histogram(histogram) => encode_histogram(text, name, &sample.labels, histogram),
        Value::Summary(summary) => encode_summary(text, name, &sample.labels, summary),
    }
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
    use super::super::family::Kind;
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
    fn the_pieces_are_the_text() {
        let family = |name: &str, samples| Family {
            name: name.into(),
            help: "a".into(),
            kind: Kind::Gauge,
            samples: (0..samples)
                .map(|at: u64| Sample {
                    labels: Labels::new([("at", at.to_string().as_str())]),
                    value: Value::Number(Number::Uint(at)),
                })
                .collect(),
        };
        for samples in [vec![], vec![0], vec![1], vec![10_000, 0, 3], vec![1, 20_000]] {
            let families: Vec<_> = samples.iter().map(|samples| family("a", *samples)).collect();
            let whole = encode(&families);
            let pieces: Vec<_> = pieces(families).collect();
            assert_eq!(pieces.concat(), whole);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < PIECE + 100));
            assert!(pieces.len() >= whole.len() / (PIECE + 100), "{}", pieces.len());
        }
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
