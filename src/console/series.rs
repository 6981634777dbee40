//! The series table: what was pulled beside what was pushed, to this process or to a collector whose exposition is read.
//!
//! It must not judge a difference: the two are read at different moments, so a series that moves differs.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use maud::{Markup, html};

use super::{
    View,
    pull::{Exposition, Pull},
    text,
};
use crate::{
    collector::view::{Hidden, Series},
    exposition::parse::Sample,
};

/// Services that are listed, and rows that are listed of each.
const MAX_GROUPS: usize = 20;
const MAX_ROWS: usize = 200;
const MAX_LABELS: usize = 16;
/// Families that are named since not all of their series are shown.
const MAX_HIDDEN: usize = 20;

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
    /// The data point's own time, where it is known.
    at: Option<SystemTime>,
    graphite: Option<String>,
}

/// The groups by service, instance and, for a nameless one, the endpoint's place among the pulls.
type Groups = BTreeMap<(String, String, usize), Group>;

/// What the table shows beside the names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) pulled: bool,
    pub(super) pushed: bool,
    /// Pushed values are received by this process, which knows their times and paths in Graphite.
    pub(super) received: bool,
}

/// Number of series, and their table.
pub(super) fn render(received: Vec<Series>, view: &View, columns: Columns) -> (usize, Markup) {
    let groups = gather(received, view);
    let total = groups.values().map(|group| group.rows.len()).sum();
    let more = groups.len().saturating_sub(MAX_GROUPS);
    let mut ordered: Vec<_> = groups.iter().collect();
    // What can be compared comes first.
    ordered.sort_by_key(|((service, ..), group)| {
        (service.is_empty(), !group.rows.values().any(|row| row.pulled.is_some()))
    });
    let markup = html! {
        @for ((service, instance, _), group) in ordered.into_iter().take(MAX_GROUPS) {
            (table(service, instance, group, columns, view.now))
        }
        @if more > 0 { p.more { "and the series of " (text::counted(more, "more service")) } }
    };
    (total, markup)
}

/// What the exposition does not show.
pub(super) fn hidden(hidden: &[Hidden]) -> Markup {
    let more = hidden.len().saturating_sub(MAX_HIDDEN);
    html! {
        @if !hidden.is_empty() {
            ul.endpoints {
                @for Hidden { family, series, remedy, .. } in hidden.iter().take(MAX_HIDDEN) {
                    li {
                        strong.bad {
                            (series) " series" " of " code { (text::clip(family, 100)) }
                            @if *series == 1 { " is" } @else { " are" } " not shown to Prometheus"
                        }
                        ": " (text::clip(remedy, 1000))
                    }
                }
                @if more > 0 { li { "and the same of " (text::counted(more, "more name")) } }
            }
        }
    }
}

/// What became of each exposition that was read.
pub(super) fn endpoints(view: &View) -> Markup {
    html! {
        @if !view.pulls.is_empty() || view.pushed.is_some() {
            ul.endpoints {
                @for pull in &view.pulls {
                    li {
                        "Pulled from "
                        @match view.asked.url(&pull.url) {
                            Some(url) => a href=(url) { (text::clip(url.as_str(), 200)) },
                            None => "this process",
                        }
                        " " (outcome(pull))
                    }
                }
                @if let Some(pushed) = &view.pushed {
                    // No link: its name need not be one where the browser runs.
                    li { "Pushed values read from " (text::clip(pushed.url.as_str(), 200)) " " (outcome(pushed)) }
                }
            }
        }
    }
}

fn outcome(pull: &Pull) -> Markup {
    html! {
        @match &pull.result {
            Ok(exposition) => (answered(pull, exposition)),
            Err(error) => strong.bad { "could not be read: " (text::clip(&error.to_string(), 200)) },
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

fn gather(received: Vec<Series>, view: &View) -> Groups {
    let scopes = shows_scopes(&received, view);
    let mut groups = Groups::new();
    for Series { service, instance, sample, labels, value, at, graphite } in received {
        let pushed = Pushed { value, at: Some(at), graphite };
        push(groups.entry((service, instance, 0)).or_default(), (sample, own_labels(labels, scopes)), pushed);
    }
    if let Some(pull) = &view.pushed {
        push_exposed(&mut groups, pull, scopes);
    }
    for (index, pull) in view.pulls.iter().enumerate() {
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
            let key = (name.clone(), own_labels(labels.clone(), scopes));
            if is_listed(&key) {
                group.rows.entry(key).or_default().pulled.get_or_insert(*value);
            }
        }
    }
    groups.retain(|_, group| !group.rows.is_empty());
    groups
}

/// Adds what an exposition shows, each service's by its labels `job` and `instance`.
fn push_exposed(groups: &mut Groups, pull: &Pull, scopes: bool) {
    let Ok(exposition) = &pull.result else { return };
    for sample in &exposition.samples {
        // A Prometheus that federates may have renamed them.
        let of = |renamed, own| sample.label(renamed).or(sample.label(own)).unwrap_or_default().to_owned();
        let (job, instance) = (of("exported_job", "job"), of("exported_instance", "instance"));
        let group = match job.is_empty() && instance.is_empty() {
            // What is nobody's, such as the collector's own counts, is listed under the address.
            true => {
                let group = groups.entry((job, instance, usize::MAX)).or_default();
                group.endpoint = Some(pull.url.to_string());
                group
            }
            false => groups.entry((job, instance, 0)).or_default(),
        };
        let at = sample.timestamp_ms.and_then(|since| u64::try_from(since).ok());
        let at = at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since)));
        let pushed = Pushed { value: sample.value, at, graphite: None };
        push(group, (sample.name.clone(), own_labels(sample.labels.clone(), scopes)), pushed);
    }
}

/// Adds a pushed value; of several that come to one row the first, as in a scrape.
fn push(group: &mut Group, key: Key, pushed: Pushed) {
    if is_listed(&key) {
        group.rows.entry(key).or_default().pushed.get_or_insert(pushed);
    }
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

/// Whether labels of the scope are shown: not where one view has them and the other does not, or no series would be found
/// in both.
fn shows_scopes(received: &[Series], view: &View) -> bool {
    let exposed = |pull: &Pull| -> Option<bool> {
        let samples = &pull.result.as_ref().ok()?.samples;
        (!samples.is_empty()).then(|| samples.iter().any(|sample| has_scope(&sample.labels)))
    };
    let either = |a: Option<bool>, b: bool| Some(a.unwrap_or(false) || b);
    let pulled = view.pulls.iter().filter_map(exposed).fold(None, either);
    let received = received.iter().map(|series| has_scope(&series.labels)).fold(None, either);
    let pushed = view.pushed.iter().filter_map(exposed).fold(received, either);
    pulled.zip(pushed).is_none_or(|(pulled, pushed)| pulled == pushed)
}

const SCOPE: &str = "otel_scope_";

fn has_scope(labels: &[(String, String)]) -> bool {
    labels.iter().any(|(name, _)| name.starts_with(SCOPE))
}

/// Labels as both views can have them: without those of the target, without empty ones (which mean the
/// same as none), sorted; those of the scope where they are compared.
fn own_labels(mut labels: Vec<(String, String)>, scopes: bool) -> Vec<(String, String)> {
    const TARGET: [&str; 4] = ["job", "instance", "exported_job", "exported_instance"];
    labels.retain(|(name, value)| !TARGET.contains(&name.as_str()) && !value.is_empty());
    labels.retain(|(name, _)| scopes || !name.starts_with(SCOPE));
    labels.sort();
    labels
}

/// Buckets would bury everything else, and `target_info` is what the headings say.
fn is_listed((sample, labels): &Key) -> bool {
    let bucket = sample.ends_with("_bucket") && labels.iter().any(|(name, _)| name == "le");
    !bucket && sample != "target_info"
}

fn table(service: &str, instance: &str, group: &Group, columns: Columns, now: SystemTime) -> Markup {
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
            table.series.short[!columns.received] {
                thead { tr {
                    th scope="col" { "Series" }
                    @if columns.pulled { th.number.pulled scope="col" { "Pulled" } }
                    @if columns.pushed { th.number.pushed scope="col" { "Pushed" } }
                    @if columns.received {
                        th.number.age scope="col" { "Age" }
                        th.graphite scope="col" { "Graphite path" }
                    }
                } }
                tbody {
                    @for ((sample, labels), row) in rows.into_iter().take(MAX_ROWS) {
                        tr {
                            th scope="row" { (name(sample, labels)) }
                            @let pushed = row.pushed.as_ref();
                            @if columns.pulled {
                                td.number { (row.pulled.map_or_else(dash, |value| html! { (text::value(value)) })) }
                            }
                            @if columns.pushed {
                                td.number { (pushed.map_or_else(dash, |pushed| html! { (text::value(pushed.value)) })) }
                            }
                            @if columns.received {
                                td.number {
                                    (pushed.and_then(|pushed| pushed.at)
                                        .map_or_else(dash, |at| html! { (text::age(now, at)) }))
                                }
                                td.path {
                                    (pushed.and_then(|pushed| pushed.graphite.as_deref()).map_or_else(dash, graphite))
                                }
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
