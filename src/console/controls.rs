//! The sections that a person acts in: the signals to copy, and the forms for faults and load.
//!
//! It must need no script: a form is plain HTML, and `forms` takes what it sends.

use std::time::Duration;

use maud::{Markup, html};

use super::text;
use crate::{
    config::faults::{Name, SECONDS},
    service::faults::Active,
    signals::{self, Scope, Signal},
    traffic::Load,
};

/// What to say at the top of the page while faults are on; empty while none is.
pub(super) fn announced(active: &[Active]) -> Markup {
    html! {
        @if !active.is_empty() {
            div.alarm role="status" {
                strong { @if active.len() == 1 { "A fault is on: " } @else { (active.len()) " faults are on: " } }
                @for (index, fault) in active.iter().enumerate() {
                    @if index > 0 { "; " }
                    (called(fault)) ", " (left(fault))
                }
                ". " a href="#faults" { "End it" }
            }
        }
    }
}

/// Every fault with what it does and its form.
pub(super) fn faults(active: &[Active]) -> Markup {
    html! {
        p.dim.lead { "What can go wrong on request. Each fault ends by itself; the signals show what it does." }
        ul.controls {
            @for name in Name::ALL {
                (fault(name, active.iter().find(|active| active.effect.name() == name)))
            }
        }
    }
}

fn fault(name: Name, active: Option<&Active>) -> Markup {
    let action = format!("/faults/{}", name.text());
    let value = active.and_then(|active| active.effect.value());
    let verb = if active.is_some() { "Change" } else { "Start" };
    html! {
        li.on[active.is_some()] {
            h3 { code { (name.text()) } }
            p { (name.meaning()) }
            div.forms {
                @if let Some(active) = active {
                    form method="post" action={ (action) "/end" } {
                        span { strong.bad { "on" } ", " (left(active)) }
                        button type="submit" aria-label={ "End " (name.text()) } { "End" }
                    }
                }
                form method="post" action=(action) {
                    @if let Some(called) = name.value() {
                        label {
                            (called) " "
                            input name="value" value=[value.map(text::value)] inputmode="decimal" required
                                autocomplete="off";
                        }
                    }
                    label {
                        "seconds "
                        input name="seconds" value=(SECONDS) inputmode="decimal" autocomplete="off";
                    }
                    button type="submit" aria-label={ (verb) " " (name.text()) } { (verb) }
                }
            }
        }
    }
}

/// A fault by its name and its value.
fn called(active: &Active) -> Markup {
    let name = active.effect.name();
    html! {
        code { (name.text()) }
        @if let (Some(called), Some(value)) = (name.value(), active.effect.value()) {
            " (" (called) " " (text::value(value)) ")"
        }
    }
}

fn left(active: &Active) -> String {
    // Rounded up, so that one that is on has time left.
    let seconds = active.left().as_secs_f64().ceil();
    format!("{} left", text::span_of_time(Duration::from_secs_f64(seconds)))
}

/// How the load does, and the form that changes it.
pub(super) fn load(load: &Load) -> Markup {
    let state = load.state();
    html! {
        p.dim.lead {
            "Requests that this program sends to its own service, one in ten of them to /database/. They are sent on time, \
             whatever the answers take; one is missed where too many were on their way."
        }
        ul.controls {
            li {
                h3 { (text::value(state.rate)) " a second" }
                p {
                    (state.sent) " sent, " (state.in_flight) " in flight, "
                    span.bad[state.missed > 0] { (state.missed) " missed" }
                }
                div.forms {
                    form method="post" action="/load" {
                        label {
                            "requests a second "
                            input name="rps" value=(text::value(state.rate)) inputmode="decimal" required autocomplete="off";
                        }
                        button type="submit" { "Set the load" }
                    }
                }
            }
        }
    }
}

/// The rate of the load, as the list at the top says it.
pub(super) fn rate(load: &Load) -> String {
    format!("{}/s", text::value(load.state().rate))
}

/// Each signal with its two queries.
pub(super) fn signals(scope: &Scope) -> (usize, Markup) {
    let signals = signals::signals(scope);
    let markup = html! {
        p.dim.lead {
            "The four golden signals of " code { (text::clip(&scope.service, 100)) } " as queries for Prometheus and Graphite. \
             A click on a query selects all of it. " code { "job=\"" (text::clip(&scope.job, 200)) "\"" }
            " is what was pushed; of what is pulled, " code { "job" } " is the name of the scrape configuration."
            @if let Some(note) = scope.objective.note() { " The objective: " (note) "." }
        }
        @for signal in &signals { (one_signal(signal)) }
    };
    (signals.len(), markup)
}

fn one_signal(signal: &Signal) -> Markup {
    html! {
        article.signal {
            header {
                h3 { (signal.title) }
                span.flag { (signal.golden.text()) }
                p.dim { "unit " code { (signal.unit) } @if signal.unit == "1" { ", a share" } }
            }
            p { (signal.meaning) }
            dl {
                dt { "PromQL" }
                dd { code.query { (signal.promql) } }
                dt { "Graphite" }
                dd {
                    @match &signal.graphite {
                        Some(target) => code.query { (target) },
                        None => span.dim { "has no function for it" },
                    }
                }
            }
        }
    }
}
