//! The page: its frame, its sections, and what each says while it is empty.

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, html};
use url::Url;

use super::{
    Console, Listening, View,
    api::Controls,
    controls,
    host::Asked,
    logs,
    series::{self, Columns},
    text,
    traces::Traces,
};
use crate::collector::view::{Service, Source};

/// Rows of the tables that a sender can make longer.
const MAX_SERVICES: usize = 50;
const MAX_LOSSES: usize = 100;

/// Place, signal, reason, items.
type Loss = (String, String, String, u64);

/// One section of the page and its entry in the list at the top.
struct Section {
    id: &'static str,
    title: &'static str,
    count: String,
    /// Its count is bad news.
    alarming: bool,
    body: Markup,
}

impl Section {
    fn new(id: &'static str, title: &'static str, count: impl ToString, body: Markup) -> Self {
        Self { id, title, count: count.to_string(), alarming: false, body }
    }

    fn alarming_if(self, alarming: bool) -> Self {
        Self { alarming, ..self }
    }
}

/// The whole page.
pub(super) fn render(console: &Console, view: &View) -> Markup {
    let sections = sections(console, view);
    let active = console.controls.as_ref().map(|controls| controls.faults.active()).unwrap_or_default();
    let body = html! {
        header.top {
            div.masthead {
                h1 { span.pushed { "push" } span.pulled { "pull" } }
                p { "As of " (text::time(view.now)) " UTC. Reload to refresh." }
            }
            (links(&console.links, &view.asked))
            nav aria-label="Sections" {
                @for section in &sections {
                    a href={ "#" (section.id) } {
                        (section.title) " "
                        span.count.bad[section.alarming] { (section.count) }
                    }
                }
            }
            (controls::announced(&active))
        }
        main {
            @for section in &sections {
                section id=(section.id) aria-labelledby={ (section.id) "-title" } {
                    h2 id={ (section.id) "-title" } { (section.title) }
                    (section.body)
                }
            }
        }
    };
    frame("pushpull console", &body)
}

/// The page of a form that was refused.
pub(super) fn refused(why: &str, section: &str) -> Markup {
    let body = html! {
        header.top {
            div.masthead { h1 { span.pushed { "push" } span.pulled { "pull" } } }
        }
        main {
            h2 { "Nothing was changed" }
            p.bad { (text::clip(why, 1000)) }
            p { a href=(section) { "Back to the console" } }
        }
    };
    frame("Nothing was changed – pushpull console", &body)
}

fn frame(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/style.css";
            }
            body { (body) }
        }
    }
}

fn links(links: &[(String, Url)], asked: &Asked) -> Markup {
    html! {
        @if !links.is_empty() {
            p.links {
                "Also here: "
                @for (index, (name, url)) in links.iter().enumerate() {
                    @if index > 0 { ", " }
                    @match asked.url(url) {
                        Some(url) => a href=(url) { (text::clip(name, 60)) },
                        None => (text::clip(name, 60)),
                    }
                }
            }
        }
    }
}

fn sections(console: &Console, view: &View) -> Vec<Section> {
    let listened = shown(&console.listening, &view.asked);
    let hint = Hint::new(&listened);
    let source = console.source.as_deref();
    let mut sections = vec![Section::new("listening", "Listening", listened.len(), listening(&listened))];
    sections.extend(source.map(|source| {
        let services = source.services();
        let body = filled(!services.is_empty(), last_seen(&services, view.now), || {
            hint.to_see("No service has sent anything yet.", "", "to send it a request")
        });
        Section::new("services", "Services", services.len(), body)
    }));
    sections.push(all_series(console, view, &hint));
    sections.extend(source.into_iter().flat_map(|source| received(source, &hint)));
    sections.extend(console.controls.iter().flat_map(controlled));
    sections
}

fn all_series(console: &Console, view: &View, hint: &Hint<'_>) -> Section {
    let received = console.source.is_some();
    let columns =
        Columns { pulled: !console.pull.is_empty(), pushed: received || console.pushed.is_some(), received };
    let hidden = console.source.as_ref().map(|source| source.hidden()).unwrap_or_default();
    let source = console.source.as_ref().map(|source| source.series()).unwrap_or_default();
    let (total, table) = series::render(source, view, columns);
    let body = html! {
        (series::endpoints(view))
        (series::hidden(&hidden))
        @if !received {
            p.dim.lead {
                "What this process pushes goes to a collector elsewhere, with its traces and logs."
                @if !columns.pushed { " " code { "--console-pushed" } " shows the pushed values here too." }
            }
        }
        (filled(total > 0, table, || hint.to_see("No series yet.", "", "to have a request counted")))
    };
    Section::new("series", "Series", total, body)
}

/// What only a process with a collector has.
fn received(source: &dyn Source, hint: &Hint<'_>) -> [Section; 3] {
    let traces = Traces::new(source.spans());
    let logs = source.logs();
    let losses = source.losses();
    let lost = losses.iter().fold(0, |sum: u64, loss| sum.saturating_add(loss.3));
    let traced = filled(traces.total > 0, traces.render(), || {
        hint.to_see("No trace yet.", "database/", "to have a request and its query traced")
    });
    let logged = filled(!logs.is_empty(), logs::render(&logs, &traces.anchors()), || {
        hint.to_see("No log record yet.", "database/", "to have something logged")
    });
    let refused = filled(!losses.is_empty(), lost_table(&losses), || {
        html! { p.empty { "Nothing was refused or dropped." } }
    });
    [
        Section::new("traces", "Traces", traces.total, traced),
        Section::new("logs", "Logs", logs.len(), logged),
        Section::new("losses", "Refused or dropped", lost, refused).alarming_if(lost > 0),
    ]
}

/// What a person can ask for and change.
fn controlled(controls: &Controls) -> [Section; 3] {
    let (count, signals) = controls::signals(&controls.scope);
    let active = controls.faults.active();
    [
        Section::new("signals", "Signals", count, signals),
        Section::new("faults", "Faults", active.len(), controls::faults(&active))
            .alarming_if(!active.is_empty()),
        Section::new("load", "Load", controls::rate(&controls.load), controls::load(&controls.load)),
    ]
}

/// The listeners as this browser can reach them.
fn shown(listening: &[Listening], asked: &Asked) -> Vec<Listening> {
    let one = |one: &Listening| {
        let url = one.url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https")).and_then(|url| asked.url(&url));
        Listening { address: asked.address(&one.address), url: url.map(String::from), ..one.clone() }
    };
    listening.iter().map(one).collect()
}

fn filled(is_filled: bool, body: Markup, empty: impl FnOnce() -> Markup) -> Markup {
    if is_filled { body } else { empty() }
}

fn listening(listening: &[Listening]) -> Markup {
    html! {
        @if listening.is_empty() {
            p.empty { "Nothing is listening but this page." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Listening" {
                table {
                    thead { tr {
                        th scope="col" { "What" }
                        th scope="col" { "Where" }
                        th scope="col" { "What for" }
                    } }
                    tbody {
                        @for one in listening {
                            tr {
                                th scope="row" { (text::clip(&one.what, 60)) }
                                td.address {
                                    @match &one.url {
                                        Some(url) => a href=(url) { (text::clip(url, 200)) },
                                        None => (text::clip(&one.address, 200)),
                                    }
                                }
                                td.note { (text::clip(&one.note, 200)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn last_seen(services: &[Service], now: SystemTime) -> Markup {
    let more = services.len().saturating_sub(MAX_SERVICES);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Services" {
            table {
                thead { tr {
                    th scope="col" { "Service" }
                    th scope="col" { "Version" }
                    th scope="col" { "Instance" }
                    th.number scope="col" { "Heard" }
                    th.number scope="col" { "Points" }
                    th.number scope="col" { "Spans" }
                    th.number scope="col" { "Logs" }
                } }
                tbody {
                    @for service in services.iter().take(MAX_SERVICES) {
                        tr {
                            th scope="row" { (text::clip(text::service(&service.name), 100)) }
                            td { (text::clip(&service.version, 40)) }
                            td.id { (text::clip(&service.instance, 60)) }
                            td.number { (text::age(now, service.heard)) " ago" }
                            td.number { (service.points) }
                            td.number { (service.spans) }
                            td.number { (service.logs) }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.more { "and " (text::counted(more, "more service")) } }
    }
}

fn lost_table(losses: &[Loss]) -> Markup {
    let more = losses.len().saturating_sub(MAX_LOSSES);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Refused or dropped" {
            table {
                thead { tr {
                    th scope="col" { "Where" }
                    th scope="col" { "Signal" }
                    th scope="col" { "Reason" }
                    th.number scope="col" { "Items" }
                } }
                tbody {
                    @for (place, signal, reason, items) in losses.iter().take(MAX_LOSSES) {
                        tr.lost[*items > 0] {
                            th scope="row" { (text::clip(place, 100)) }
                            td { (text::clip(signal, 40)) }
                            td { (text::clip(reason, 100)) }
                            td.number { (items) }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.more { "and " (text::counted(more, "more reason")) } }
    }
}

/// What to do so that a section fills.
struct Hint<'a> {
    service: Option<Url>,
    otlp: Option<&'a str>,
}

impl<'a> Hint<'a> {
    fn new(listening: &'a [Listening]) -> Self {
        let named = |name: &str| listening.iter().find(|one| one.what.eq_ignore_ascii_case(name));
        let service = named("service").and_then(|one| Url::parse(one.url.as_deref()?).ok());
        let otlp = named("OTLP/gRPC").or_else(|| named("OTLP/HTTP")).map(|one| one.address.as_str());
        Self { service, otlp }
    }

    fn to_see(&self, nothing: &str, path: &str, purpose: &str) -> Markup {
        html! {
            p.empty {
                (nothing) " "
                @if let Some(url) = self.service.as_ref().and_then(|service| service.join(path).ok()) {
                    "Open " a href=(url) { (url) } " " (purpose) ", then reload this page."
                } @else if let Some(address) = self.otlp {
                    "Start a program that exports OpenTelemetry with "
                    code { "OTEL_EXPORTER_OTLP_ENDPOINT=http://" (address) }
                    ", then reload this page."
                } @else {
                    "Send some, then reload this page."
                }
            }
        }
    }
}
