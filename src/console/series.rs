//! The series table: what was pulled beside what was pushed.
//!
//! It must not judge a difference: the two are read at different moments, so a series that moves differs.

use std::{collections::BTreeMap, time::SystemTime};

use maud::{Markup, html};

use super::{
    pull::{Exposition, Pull},
    text,
};
use crate::{collector::view::Series, exposition::parse::Sample};

/// Services that are listed, and rows that are listed of each.
const MAX_GROUPS: usize = 20;
const MAX_ROWS: usize = 200;
const MAX_LABELS: usize = 16;

/// A sample's name and its labels without those of the target.
type Key = (String, Vec<(String, String)>);

/// The series of one instance of a service, or of one endpoint that does not say whose it is.
#[derive(Debug, Default)]
struct Group {
    /// The address, where only that is known.
    endpoint: Option<String>,
    rows: BTreeMap<Key, Row>,
}

#[derive(Debug, Default)]
struct Row {
    pulled: Option<f64>,
    pushed: Option<Pushed>,
}

#[derive(Debug)]
struct Pushed {
    value: f64,
    at: SystemTime,
    graphite: Option<String>,
}

/// The groups by service, instance and, for a nameless one, the endpoint's place among the pulls.
type Groups = BTreeMap<(String, String, usize), Group>;

/// Number of series, and their table.
pub(super) fn render(pushed: Vec<Series>, pulls: &[Pull], now: SystemTime) -> (usize, Markup) {
    let groups = gather(pushed, pulls);
    let total = groups.values().map(|group| group.rows.len()).sum();
    let more = groups.len().saturating_sub(MAX_GROUPS);
    let mut ordered: Vec<_> = groups.iter().collect();
    ordered.sort_by_key(|((service, ..), _)| service.is_empty());
    let markup = html! {
        @for ((service, instance, _), group) in ordered.into_iter().take(MAX_GROUPS) {
            (table(service, instance, group, !pulls.is_empty(), now))
        }
        @if more > 0 { p.more { "and the series of " (text::counted(more, "more service")) } }
    };
    (total, markup)
}

/// What became of each pull endpoint.
pub(super) fn endpoints(pulls: &[Pull]) -> Markup {
    html! {
        @if !pulls.is_empty() {
            ul.endpoints {
                @for pull in pulls {
                    li {
                        "Pulled from "
                        a href=(pull.url) { (text::clip(pull.url.as_str(), 200)) }
                        " "
                        @match &pull.result {
                            Ok(exposition) => (answered(pull, exposition)),
                            Err(error) => strong.bad {
                                "could not be read: " (text::clip(&error.to_string(), 200))
                            },
                        }
                    }
                }
            }
        }
    }
}

fn answered(pull: &Pull, exposition: &Exposition) -> Markup {
    html! {
        span.dim {
            "at " (text::time(pull.at)) " in " (text::duration(pull.took)) ", "
            (text::counted(exposition.samples.len(), "sample"))
        }
        @if let Some(error) = &exposition.malformed {
            " " strong.bad {
                (text::counted(exposition.malformed_lines, "malformed line")) ", the first: "
                (text::clip(&error.to_string(), 200))
            }
        }
    }
}

fn gather(pushed: Vec<Series>, pulls: &[Pull]) -> Groups {
    let mut groups = Groups::new();
    for Series { service, instance, sample, labels, value, at, graphite } in pushed {
        let key = (sample, own_labels(labels));
        if is_listed(&key) {
            let group = groups.entry((service, instance, 0)).or_default();
            let row = group.rows.entry(key).or_default();
            if row.pushed.as_ref().is_none_or(|pushed| pushed.at <= at) {
                row.pushed = Some(Pushed { value, at, graphite });
            }
        }
    }
    for (index, pull) in pulls.iter().enumerate() {
        let Ok(exposition) = &pull.result else { continue };
        let target = target(&exposition.samples);
        let at = match &target {
            Some((service, instance)) => place(&groups, service, instance),
            None => (String::new(), String::new(), index + 1),
        };
        let group = groups.entry(at).or_default();
        if target.is_none() {
            group.endpoint = Some(pull.url.to_string());
        }
        for Sample { name, labels, value, .. } in &exposition.samples {
            let key = (name.clone(), own_labels(labels.clone()));
            if is_listed(&key) {
                group.rows.entry(key).or_default().pulled = Some(*value);
            }
        }
    }
    groups.retain(|_, group| !group.rows.is_empty());
    groups
}

/// Service and instance that an exposition is of; `None` where it names none, or several.
fn target(samples: &[Sample]) -> Option<(String, String)> {
    let mut targets = samples.iter().filter(|sample| sample.name == "target_info");
    let target = targets.next()?;
    if targets.next().is_some() {
        return None;
    }
    let instance = target.label("service_instance_id")?;
    Some((target.label("service_name").unwrap_or_default().to_owned(), instance.to_owned()))
}

/// Where a pulled target belongs: to what was pushed by the same instance, else to a place of its own.
fn place(groups: &Groups, service: &str, instance: &str) -> (String, String, usize) {
    let own = (service.to_owned(), instance.to_owned(), 0);
    if groups.contains_key(&own) {
        return own;
    }
    groups.keys().find(|(_, pushed, _)| !instance.is_empty() && pushed == instance).cloned().unwrap_or(own)
}

/// Labels as both views can have them: without those of the target, without empty ones (which mean the
/// same as none), sorted.
fn own_labels(mut labels: Vec<(String, String)>) -> Vec<(String, String)> {
    labels.retain(|(name, value)| name != "job" && name != "instance" && !value.is_empty());
    labels.sort();
    labels
}

/// Buckets would bury everything else, and `target_info` is what the headings say.
fn is_listed((sample, labels): &Key) -> bool {
    let bucket = sample.ends_with("_bucket") && labels.iter().any(|(name, _)| name == "le");
    !bucket && sample != "target_info"
}

fn table(service: &str, instance: &str, group: &Group, pulls: bool, now: SystemTime) -> Markup {
    let more = group.rows.len().saturating_sub(MAX_ROWS);
    let title = group.endpoint.as_deref().unwrap_or(text::service(service));
    let dash = || html! { span.dim { "–" } };
    let mut rows: Vec<_> = group.rows.iter().collect();
    // What an application counts for itself has few labels, and is looked for first.
    rows.sort_by_key(|((_, labels), _)| labels.len());
    html! {
        h3 {
            (text::clip(title, 100))
            @if !instance.is_empty() { " " span.id { (text::clip(instance, 100)) } }
        }
        div.scroll tabindex="0" role="region" aria-label={ "Series of " (text::clip(title, 100)) } {
            table.series {
                thead { tr {
                    th scope="col" { "Series" }
                    @if pulls { th.number.pulled scope="col" { "Pulled" } }
                    th.number.pushed scope="col" { "Pushed" }
                    th.number.age scope="col" { "Age" }
                    th scope="col" { "Graphite path" }
                } }
                tbody {
                    @for ((sample, labels), row) in rows.into_iter().take(MAX_ROWS) {
                        tr {
                            th scope="row" { (name(sample, labels)) }
                            @if pulls {
                                td.number { @match row.pulled { Some(value) => (text::value(value)), None => (dash()) } }
                            }
                            @match &row.pushed {
                                Some(pushed) => {
                                    td.number { (text::value(pushed.value)) }
                                    td.number { (text::age(now, pushed.at)) }
                                    td.path {
                                        @match &pushed.graphite {
                                            Some(path) => (graphite(path)),
                                            None => (dash()),
                                        }
                                    }
                                }
                                None => { td.number { (dash()) } td.number { (dash()) } td { (dash()) } }
                            }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.more { "and " (more) " more series" } }
    }
}

/// A path that may break before a tag.
fn graphite(path: &str) -> Markup {
    let path = text::clip(path, 300);
    html! {
        @for (index, part) in path.split(';').enumerate() {
            @if index > 0 { ";" wbr; }
            (part)
        }
    }
}

/// A series as an exposition writes it, in parts between which a line may break.
fn name(sample: &str, labels: &[(String, String)]) -> Markup {
    let shown = labels.len().min(MAX_LABELS);
    let more = labels.len() - shown;
    html! {
        code {
            (text::clip(sample, 120))
            @if shown > 0 {
                span.labels {
                    @for (index, (name, value)) in labels.iter().take(shown).enumerate() {
                        @let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                        wbr;
                        span.label {
                            @if index == 0 { "{" }
                            (text::clip(name, 60)) "=\"" (text::clip(&value, 80)) "\""
                            @if index + 1 < labels.len() { "," } @else { "}" }
                        }
                        @if index + 1 < labels.len() { " " }
                    }
                    @if more > 0 { "and " (more) " more}" }
                }
            }
        }
    }
}
