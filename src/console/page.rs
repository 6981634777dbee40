//! The page: its frame, its sections, and what each says while it is empty.

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, html};
use url::Url;

use super::{Console, Listening, logs, pull::Pull, series, text, traces::Traces};
use crate::collector::view::Service;

/// Rows of the tables that a sender can make longer.
const MAX_SERVICES: usize = 50;
const MAX_LOSSES: usize = 100;

/// Place, signal, reason, items.
type Loss = (String, String, String, u64);

/// One section of the page and its entry in the list at the top.
struct Section {
    id: &'static str,
    title: &'static str,
    count: u64,
    /// Its count is bad news where it is not zero.
    alarming: bool,
    body: Markup,
}

/// The whole page, as of `now`.
pub(super) fn render(console: &Console, pulls: &[Pull], now: SystemTime) -> Markup {
    let sections = sections(console, pulls, now);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "pushpull console" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header.top {
                    div.masthead {
                        h1 { span.pushed { "push" } span.pulled { "pull" } }
                        p { "As of " (text::time(now)) " UTC. Reload to refresh." }
                    }
                    nav aria-label="Sections" {
                        @for section in &sections {
                            a href={ "#" (section.id) } {
                                (section.title) " "
                                span.count.bad[section.alarming && section.count > 0] { (section.count) }
                            }
                        }
                    }
                }
                main {
                    @for section in &sections {
                        section id=(section.id) aria-labelledby={ (section.id) "-title" } {
                            h2 id={ (section.id) "-title" } { (section.title) }
                            (section.body)
                        }
                    }
                }
            }
        }
    }
}

fn sections(console: &Console, pulls: &[Pull], now: SystemTime) -> Vec<Section> {
    let hint = Hint::new(&console.listening);
    let services = console.source.services();
    let (series_total, table) = series::render(console.source.series(), pulls, now);
    let traces = Traces::new(console.source.spans());
    let logs = console.source.logs();
    let losses = console.source.losses();
    let lost = losses.iter().fold(0, |sum: u64, loss| sum.saturating_add(loss.3));
    vec![
        Section {
            id: "listening",
            title: "Listening",
            count: console.listening.len() as u64,
            alarming: false,
            body: listening(&console.listening),
        },
        Section {
            id: "services",
            title: "Services",
            count: services.len() as u64,
            alarming: false,
            body: filled(!services.is_empty(), heard(&services, now), || {
                hint.to_see("No service was heard from yet.", "", "to send it a request")
            }),
        },
        Section {
            id: "series",
            title: "Series",
            count: series_total as u64,
            alarming: false,
            body: html! {
                (series::endpoints(pulls))
                (filled(series_total > 0, table, || hint.to_see("No series yet.", "", "to have a request counted")))
            },
        },
        Section {
            id: "traces",
            title: "Traces",
            count: traces.total as u64,
            alarming: false,
            body: filled(traces.total > 0, traces.render(), || {
                hint.to_see("No trace yet.", "database/", "to have a request and its query traced")
            }),
        },
        Section {
            id: "logs",
            title: "Logs",
            count: logs.len() as u64,
            alarming: false,
            body: filled(!logs.is_empty(), logs::render(&logs, &traces.anchors()), || {
                hint.to_see("No log record yet.", "database/", "to have something logged")
            }),
        },
        Section {
            id: "losses",
            title: "Refused or dropped",
            count: lost,
            alarming: true,
            body: filled(!losses.is_empty(), lost_table(&losses), || {
                html! { p.empty { "Nothing was refused or dropped." } }
            }),
        },
    ]
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
                                    @match one.url.as_deref().filter(|url| is_web(url)) {
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

fn is_web(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn heard(services: &[Service], now: SystemTime) -> Markup {
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
        let service = named("service")
            .and_then(|one| Url::parse(one.url.as_deref()?).ok())
            .filter(|url| is_web(url.as_str()));
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
