//! Groups of Prometheus's rules as the YAML that it reads.
//!
//! Every text is quoted as JSON quotes it, which YAML reads the same; an expression stands in a block of its own lines.

use std::{fmt::Write as _, time::Duration};

use crate::signals::time;

/// A group of rules, evaluated one after another.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
}

/// A rule that records or alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// What it is: the name of a series, or of an alert with how long it must hold.
    pub(super) kind: Kind,
    pub(super) expr: String,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) annotations: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record(String),
    Alert(&'static str, Duration),
}

/// The file with these groups.
pub(super) fn file(heading: &str, interval: Duration, groups: &[Group]) -> String {
    let mut text = String::new();
    for line in heading.lines() {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "# {line}");
    }
    text.push_str("groups:\n");
    for group in groups {
        let _ =
            writeln!(text, "  - name: {}\n    interval: {}\n    rules:", quoted(&group.name), time(interval));
        for rule in &group.rules {
            write_rule(&mut text, rule);
        }
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule) {
    let (key, name) = match &rule.kind {
        Kind::Record(name) => ("record", name.as_str()),
        Kind::Alert(name, _) => ("alert", *name),
    };
    let _ = writeln!(text, "      - {key}: {name}\n        expr: |-");
    for line in rule.expr.lines() {
        let _ = writeln!(text, "          {line}");
    }
    if let Kind::Alert(_, hold) = rule.kind
        && !hold.is_zero()
    {
        let _ = writeln!(text, "        for: {}", time(hold));
    }
    for (key, pairs) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
        if pairs.is_empty() {
            continue;
        }
        let _ = writeln!(text, "        {key}:");
        for (name, value) in pairs {
            let _ = writeln!(text, "          {name}: {}", quoted(value));
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
