//! The newest log records, the newest first.

use std::{collections::BTreeSet, sync::Arc};

use maud::{Markup, html};

use super::text;
use crate::collector::view::Log;

/// Records that are shown.
const MAX_LOGS: usize = 50;
/// Characters that are shown of a body.
const MAX_BODY: usize = 500;

/// The table; `anchors` are those of the traces on the page.
pub(super) fn render(logs: &[Arc<Log>], anchors: &BTreeSet<String>) -> Markup {
    let more = logs.len().saturating_sub(MAX_LOGS);
    html! {
        @if !logs.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Logs" {
                table.logs {
                    thead { tr {
                        th scope="col" { "Time (UTC)" }
                        th scope="col" { "Severity" }
                        th scope="col" { "Service" }
                        th scope="col" { "Record" }
                        th scope="col" { "Trace" }
                    } }
                    tbody { @for log in logs.iter().rev().take(MAX_LOGS) { (row(log, anchors)) } }
                }
            }
            @if more > 0 { p.more { "and " (text::counted(more, "older record")) } }
        }
    }
}

fn row(log: &Log, anchors: &BTreeSet<String>) -> Markup {
    html! {
        tr {
            td.when { (text::time(log.at)) }
            td { span class={ "severity " (weight(&log.severity)) } { (text::clip(&log.severity, 20)) } }
            td { (text::clip(&log.service, 60)) }
            td.record {
                div.body { (text::clip(&log.body, MAX_BODY)) }
                (text::attributes(&log.attributes))
            }
            td.id { (trace(&log.trace_id, anchors)) }
        }
    }
}

fn trace(trace_id: &str, anchors: &BTreeSet<String>) -> Markup {
    let short = text::clip(trace_id, 8);
    html! {
        @match text::anchor(trace_id).filter(|anchor| anchors.contains(anchor)) {
            Some(anchor) => a href={ "#" (anchor) } title=(text::clip(trace_id, 64)) { (short) },
            None => span.dim title=[(!trace_id.is_empty()).then(|| text::clip(trace_id, 64))] {
                @if trace_id.is_empty() { "–" } @else { (short) }
            },
        }
    }
}

/// The class of a severity, from the short names of the data model (`ERROR`, `ERROR2`).
fn weight(severity: &str) -> &'static str {
    let name = severity.trim_end_matches(|c: char| c.is_ascii_digit());
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(&["error", "fatal", "critical"]) {
        "bad"
    } else if is(&["warn", "warning"]) {
        "warn"
    } else if is(&["debug", "trace"]) {
        "dim"
    } else {
        "plain"
    }
}
