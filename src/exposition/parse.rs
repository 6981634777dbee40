//! Reads the Prometheus text format 0.0.4 line by line.
//!
//! It checks each line by itself and goes on after a bad one, so that a malformed sample costs only
//! itself. It must not check what spans lines (the grouping of families, a repeated series): whoever needs
//! that has all the lines.

use std::collections::BTreeSet;

/// How much of a bad line an error quotes, in characters.
const QUOTED: usize = 40;

/// A line that says something. Empty lines and plain comments say nothing and are passed over.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `# HELP family text`.
    Help {
        /// The family's name.
        family: String,
        /// What it means, unescaped.
        text: String,
    },
    /// `# TYPE family kind`.
    Type {
        /// The family's name.
        family: String,
        /// Its kind.
        kind: Kind,
    },
    /// `name{label="value"} value timestamp`.
    Sample(Sample),
}

/// The kind of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Samples `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Samples by quantile, `_sum` and `_count`.
    Summary,
    /// Not said.
    Untyped,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The sample's name, with its suffix: `slow_bucket`.
    pub name: String,
    /// Labels in the order of the text, values unescaped.
    pub labels: Vec<(String, String)>,
    /// The value; NaN and the infinities are values too.
    pub value: f64,
    /// Milliseconds since 1970, where the text gives a time.
    pub timestamp_ms: Option<i64>,
}

impl Sample {
    /// The value of a label; `None` where it has none of that name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// A line that is not in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Error {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No metric name where one must be.
    #[error("expected a metric name, found `{0}`")]
    MetricName(String),
    /// No label name where one must be.
    #[error("expected a label name, found `{0}`")]
    LabelName(String),
    /// Another sign where the format has only this.
    #[error("expected {expected}, found `{found}`")]
    Expected {
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A backslash before a character that has no escape.
    #[error("`\\{0}` is no escape; the format has \\\\, \\n and, in label values, \\\"")]
    Escape(char),
    /// A label value without its closing quote.
    #[error("the value of label `{0}` has no closing quote")]
    Unclosed(String),
    /// A label that is there twice.
    #[error("label `{0}` is given twice")]
    RepeatedLabel(String),
    /// No number where the value must be.
    #[error("expected a value, found `{0}`")]
    Value(String),
    /// No whole number of milliseconds where the timestamp must be.
    #[error("expected a timestamp in milliseconds, found `{0}`")]
    Timestamp(String),
    /// No known kind in a TYPE line.
    #[error("expected counter, gauge, histogram, summary or untyped, found `{0}`")]
    Kind(String),
    /// More after the line's end.
    #[error("unexpected `{0}` at the end of the line")]
    Trailing(String),
    /// The text stops within a line, so that its last value may be cut.
    #[error("the text ends without a line feed, so that it may be cut short")]
    Cut,
}

/// The lines of a text, each read or said to be wrong.
///
/// Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, text format 0.0.4.
pub fn lines(text: &str) -> impl Iterator<Item = Result<Line, Error>> + '_ {
    text.split_inclusive('\n').zip(1..).filter_map(|(line, number)| {
        read(line).map_err(|problem| Error { line: number, problem }).transpose()
    })
}

/// Only the samples of a text, and the lines that are wrong.
pub fn samples(text: &str) -> impl Iterator<Item = Result<Sample, Error>> + '_ {
    lines(text).filter_map(|line| match line {
        Ok(Line::Sample(sample)) => Some(Ok(sample)),
        Ok(Line::Help { .. } | Line::Type { .. }) => None,
        Err(error) => Some(Err(error)),
    })
}

fn read(line: &str) -> Result<Option<Line>, Problem> {
    let ended = line.strip_suffix('\n');
    let mut rest = Rest(ended.unwrap_or(line));
    rest.skip_blanks();
    if rest.0.is_empty() {
        return Ok(None);
    }
    if rest.eat('#') {
        return comment(rest);
    }
    // Without its line feed `20` may be the beginning of `2000`.
    if ended.is_none() {
        return Err(Problem::Cut);
    }
    sample(rest).map(|sample| Some(Line::Sample(sample)))
}

fn comment(mut rest: Rest<'_>) -> Result<Option<Line>, Problem> {
    rest.skip_blanks();
    match rest.token() {
        "HELP" => {
            let family = rest.metric_name()?;
            rest.separated()?;
            let text = unescape_help(rest.0)?;
            Ok(Some(Line::Help { family, text }))
        }
        "TYPE" => {
            let family = rest.metric_name()?;
            rest.separated()?;
            let kind = match rest.token() {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                "summary" => Kind::Summary,
                "untyped" => Kind::Untyped,
                other => return Err(Problem::Kind(quote(other))),
            };
            rest.ended()?;
            Ok(Some(Line::Type { family, kind }))
        }
        _ => Ok(None),
    }
}

fn sample(mut rest: Rest<'_>) -> Result<Sample, Problem> {
    let name = rest.metric_name()?;
    rest.skip_blanks();
    let labels = if rest.eat('{') { labels(&mut rest)? } else { Vec::new() };
    rest.skip_blanks();
    let token = rest.token();
    let value = token.parse().map_err(|_| Problem::Value(quote(token)))?;
    rest.skip_blanks();
    let timestamp_ms = match rest.token() {
        "" => None,
        token => Some(token.parse().map_err(|_| Problem::Timestamp(quote(token)))?),
    };
    rest.ended()?;
    Ok(Sample { name, labels, value, timestamp_ms })
}

/// What stands between the braces, the closing one included.
fn labels(rest: &mut Rest<'_>) -> Result<Vec<(String, String)>, Problem> {
    let mut labels = Vec::new();
    let mut names = BTreeSet::new();
    loop {
        rest.skip_blanks();
        if rest.eat('}') {
            return Ok(labels);
        }
        let name = rest.take(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Problem::LabelName(if name.is_empty() { quote(rest.0) } else { quote(name) }));
        }
        if !names.insert(name) {
            return Err(Problem::RepeatedLabel(quote(name)));
        }
        rest.skip_blanks();
        rest.expect('=', "`=` after a label name")?;
        rest.skip_blanks();
        rest.expect('"', "`\"` before a label value")?;
        let value = rest.quoted(name)?;
        labels.push((name.to_owned(), value));
        rest.skip_blanks();
        if !rest.eat(',') {
            rest.expect('}', "`,` or `}` after a label")?;
            return Ok(labels);
        }
    }
}

fn unescape_help(text: &str) -> Result<String, Problem> {
    let mut unescaped = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            unescaped.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => unescaped.push('\\'),
            Some('n') => unescaped.push('\n'),
            Some(other) => return Err(Problem::Escape(other)),
            None => return Err(Problem::Escape(' ')),
        }
    }
    Ok(unescaped)
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take(is_blank);
    }

    fn token(&mut self) -> &'a str {
        self.take(|c| !is_blank(c))
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.0.strip_prefix(wanted).map(|rest| self.0 = rest).is_some()
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), Problem> {
        if self.eat(wanted) { Ok(()) } else { Err(Problem::Expected { expected, found: quote(self.0) }) }
    }

    fn metric_name(&mut self) -> Result<String, Problem> {
        self.skip_blanks();
        let name = self.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Problem::MetricName(if name.is_empty() { quote(self.0) } else { quote(name) }));
        }
        Ok(name.to_owned())
    }

    /// After a family's name: a blank, or the line's end.
    fn separated(&mut self) -> Result<(), Problem> {
        if !self.0.is_empty() && self.take(is_blank).is_empty() {
            return Err(Problem::Expected { expected: "a blank after a metric name", found: quote(self.0) });
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(), Problem> {
        self.skip_blanks();
        if self.0.is_empty() { Ok(()) } else { Err(Problem::Trailing(quote(self.0))) }
    }

    /// A label's value after its opening quote, up to and with the closing one.
    fn quoted(&mut self, label: &str) -> Result<String, Problem> {
        let mut value = String::new();
        loop {
            value.push_str(self.take(|c| c != '"' && c != '\\'));
            if self.eat('"') {
                return Ok(value);
            }
            let mut chars = self.0.chars();
            chars.next();
            let escaped = chars.next();
            self.0 = chars.as_str();
            match escaped {
                Some('\\') => value.push('\\'),
                Some('"') => value.push('"'),
                Some('n') => value.push('\n'),
                Some(other) => return Err(Problem::Escape(other)),
                None => return Err(Problem::Unclosed(quote(label))),
            }
        }
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == QUOTED {
            quoted.push('…');
            break;
        }
        // A carriage return or the like would be invisible, or worse, on a terminal.
        if c.is_control() { quoted.extend(c.escape_debug()) } else { quoted.push(c) }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Sample {
        let mut samples: Vec<_> = samples(text).collect::<Result<_, _>>().unwrap();
        assert_eq!(samples.len(), 1, "{text}");
        samples.remove(0)
    }

    fn problem(line: &str) -> String {
        let text = format!("# a comment\nfirst 1\n{line}\nlast 2\n");
        let read: Vec<_> = samples(&text).collect();
        assert_eq!(read.len(), 3, "{line}: {read:?}");
        assert!(read[0].is_ok() && read[2].is_ok(), "the lines around a bad one are kept: {read:?}");
        let error = read[1].clone().unwrap_err();
        assert_eq!(error.line, 3);
        error.to_string()
    }

    #[test]
    fn reads_the_example_of_the_format() {
        let text = "# HELP http_requests_total The total number of HTTP requests.\n\
            # TYPE http_requests_total counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
            \n\
            # Escaping in label values:\n\
            msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\n\
            # Minimalistic line:\n\
            metric_without_timestamp_and_labels 12.47\n\
            # A weird metric from before the epoch:\n\
            something_weird{problem=\"division by zero\"} +Inf -3982045\n\
            http_request_duration_seconds_bucket{le=\"0.05\"} 24054\n";
        let read: Vec<_> = lines(text).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            read[0],
            Line::Help {
                family: "http_requests_total".to_owned(),
                text: "The total number of HTTP requests.".to_owned()
            }
        );
        assert_eq!(read[1], Line::Type { family: "http_requests_total".to_owned(), kind: Kind::Counter });
        let samples: Vec<_> = samples(text).collect::<Result<_, _>>().unwrap();
        assert_eq!(samples.len(), 5);
        assert_eq!(samples[0].timestamp_ms, Some(1_395_066_363_000));
        assert_eq!(samples[0].label("code"), Some("200"));
        assert_eq!(samples[1].label("path"), Some("C:\\DIR\\FILE.TXT"));
        assert_eq!(samples[1].label("error"), Some("Cannot find file:\n\"FILE.TXT\""));
        assert_eq!(samples[1].value.to_bits(), 1_458_255_915_f64.to_bits());
        assert_eq!(samples[3].timestamp_ms, Some(-3_982_045));
        assert_eq!(samples[3].value, f64::INFINITY);
    }

    #[test]
    fn takes_every_number_of_the_format() {
        assert_eq!(one("a +Inf\n").value, f64::INFINITY);
        assert_eq!(one("a -Inf\n").value, f64::NEG_INFINITY);
        assert!(one("a NaN\n").value.is_nan());
        assert_eq!(one("a -1.5e-3\n").value.to_bits(), (-0.0015_f64).to_bits());
        assert_eq!(one("a 9007199254740993\n").value.to_bits(), 9_007_199_254_740_992_f64.to_bits());
    }

    #[test]
    fn takes_blanks_where_the_format_has_them() {
        let expected = one("a{b=\"c\",d=\"e\"} 1 2\n");
        assert_eq!(one(" \ta\t{ b = \"c\" ,\td=\"e\" , }  1\t2 \n"), expected);
        assert_eq!(one("a{b=\"c\",d=\"e\"}1 2\n"), expected);
        assert_eq!(one("a{} 1\n"), one("a 1\n"));
        assert_eq!(one("a:b:c 1\n").name, "a:b:c");
    }

    #[test]
    fn passes_over_comments_and_empty_lines() {
        assert_eq!(lines("").count(), 0);
        assert_eq!(lines("\n  \n#\n# HELPING is a comment\n#TYPES\n # EOF").count(), 0);
        let help = Line::Help { family: "a".to_owned(), text: "one\\two\nthree \"four\"".to_owned() };
        assert_eq!(lines("# HELP  a  one\\\\two\\nthree \"four\"\n").next(), Some(Ok(help)));
        let help = Line::Help { family: "a".to_owned(), text: String::new() };
        assert_eq!(lines("#\tHELP a\n").next(), Some(Ok(help)));
    }

    #[test]
    fn says_which_line_is_wrong_and_why() {
        assert_eq!(problem("1up 1"), "line 3: expected a metric name, found `1up`");
        assert_eq!(problem("{a=\"b\"} 1"), "line 3: expected a metric name, found `{a=\"b\"} 1`");
        assert_eq!(problem("up"), "line 3: expected a value, found ``");
        assert_eq!(problem("up one"), "line 3: expected a value, found `one`");
        assert_eq!(problem("up 1_000"), "line 3: expected a value, found `1_000`");
        assert_eq!(problem("up 1\r"), "line 3: expected a value, found `1\\r`");
        assert_eq!(problem("up 1 now"), "line 3: expected a timestamp in milliseconds, found `now`");
        assert_eq!(problem("up 1 2 3"), "line 3: unexpected `3` at the end of the line");
        assert_eq!(
            problem("up{a=\"b\" c=\"d\"} 1"),
            "line 3: expected `,` or `}` after a label, found `c=\"d\"} 1`"
        );
        assert_eq!(problem("up{a} 1"), "line 3: expected `=` after a label name, found `} 1`");
        assert_eq!(problem("up{a=b} 1"), "line 3: expected `\"` before a label value, found `b} 1`");
        assert_eq!(
            problem("up{a.b=\"c\"} 1"),
            "line 3: expected `=` after a label name, found `.b=\"c\"} 1`"
        );
        assert_eq!(problem("up{1=\"c\"} 1"), "line 3: expected a label name, found `1`");
        assert_eq!(problem("up{,} 1"), "line 3: expected a label name, found `,} 1`");
        assert_eq!(problem("up{a=\"b\",a=\"c\"} 1"), "line 3: label `a` is given twice");
        assert_eq!(problem("up{a=\"b} 1"), "line 3: the value of label `a` has no closing quote");
        assert_eq!(
            problem("up{a=\"\\t\"} 1"),
            "line 3: `\\t` is no escape; the format has \\\\, \\n and, in label values, \\\""
        );
        assert_eq!(
            problem("# TYPE up timer"),
            "line 3: expected counter, gauge, histogram, summary or untyped, found `timer`"
        );
        assert_eq!(problem("# TYPE up gauge gauge"), "line 3: unexpected `gauge` at the end of the line");
        assert_eq!(problem("# HELP"), "line 3: expected a metric name, found ``");
        assert_eq!(problem("# HELP a.b c"), "line 3: expected a blank after a metric name, found `.b c`");
    }

    #[test]
    fn refuses_a_last_line_that_may_be_cut() {
        let read: Vec<_> = samples("a 1\na 20").collect();
        assert!(read[0].is_ok());
        assert_eq!(read[1], Err(Error { line: 2, problem: Problem::Cut }));
    }

    fn written(sample: &Sample) -> String {
        let labels: Vec<_> = sample
            .labels
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let timestamp = sample.timestamp_ms.map_or_else(String::new, |time| format!(" {time}"));
        format!("{}{{{}}} {}{timestamp}\n", sample.name, labels.join(","), sample.value)
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
            labels in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", any::<String>(), 0..4),
            value in any::<f64>().prop_filter("NaN is equal to nothing", |value| !value.is_nan()),
            timestamp_ms in any::<Option<i64>>(),
        ) {
            let sample = Sample { name, labels: labels.into_iter().collect(), value, timestamp_ms };
            prop_assert_eq!(one(&written(&sample)), sample);
        }

        #[test]
        fn gives_at_most_one_answer_a_line(text in "([a-z{}=\"\\\\,# \t\n+0-9.é-]|HELP|TYPE){0,60}") {
            prop_assert!(lines(&text).count() <= text.lines().count());
        }
    }
}
