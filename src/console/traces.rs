//! The newest traces, each as its spans indented below their parents.
//!
//! It must take any spans: parents that never came, ids used twice, parents in a ring.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use maud::{Markup, html};

use super::text;
use crate::collector::view::Span;

/// Traces that are shown, and spans that are shown of each.
const MAX_TRACES: usize = 20;
const MAX_SPANS: usize = 60;
/// How deep the page indents; what is deeper stands at this depth.
const MAX_DEPTH: usize = 8;
/// Width of a trace in its bars' own units.
const BAR: f64 = 1000.0;

/// The traces of a page.
pub(super) struct Traces {
    shown: Vec<Trace>,
    /// How many there are, those not shown among them.
    pub(super) total: usize,
}

struct Trace {
    id: String,
    /// Spans in the order of the page.
    spans: Vec<Placed>,
    start: SystemTime,
    end: SystemTime,
}

/// A span and where it stands.
#[derive(Debug)]
struct Placed {
    span: Arc<Span>,
    depth: usize,
    /// It names a parent that is not here.
    orphan: bool,
}

impl Traces {
    /// Groups spans by trace, the trace that began last first.
    pub(super) fn new(spans: Vec<Arc<Span>>) -> Self {
        let mut by_trace: BTreeMap<String, Vec<Arc<Span>>> = BTreeMap::new();
        for span in spans {
            by_trace.entry(span.trace_id.to_ascii_lowercase()).or_default().push(span);
        }
        let total = by_trace.len();
        let mut shown: Vec<_> =
            by_trace.into_iter().filter_map(|(id, spans)| Trace::new(id, spans)).collect();
        shown.sort_by_key(|trace| std::cmp::Reverse(trace.start));
        shown.truncate(MAX_TRACES);
        Self { shown, total }
    }

    /// The anchors of the traces on the page.
    pub(super) fn anchors(&self) -> BTreeSet<String> {
        self.shown.iter().filter_map(|trace| text::anchor(&trace.id)).collect()
    }

    pub(super) fn render(&self) -> Markup {
        let more = self.total.saturating_sub(self.shown.len());
        html! {
            @for trace in &self.shown { (trace.render()) }
            @if more > 0 { p.more { "and " (text::counted(more, "older trace")) } }
        }
    }
}

impl Trace {
    fn new(id: String, spans: Vec<Arc<Span>>) -> Option<Self> {
        let start = spans.iter().map(|span| span.start).min()?;
        let end =
            spans.iter().filter_map(|span| span.start.checked_add(span.duration)).max().unwrap_or(start);
        Some(Self { id, spans: arrange(spans), start, end })
    }

    fn render(&self) -> Markup {
        let Some(first) = self.spans.first() else { return html! {} };
        let total = self.end.duration_since(self.start).unwrap_or_default();
        let more = self.spans.len().saturating_sub(MAX_SPANS);
        let failed = self.spans.iter().any(|placed| placed.span.error);
        html! {
            article.trace id=[text::anchor(&self.id)] {
                header {
                    h3 { (text::clip(&first.span.name, 120)) }
                    @if failed { span.flag.bad { "error" } }
                    p {
                        (text::time(self.start)) " · " (text::duration(total)) " · "
                        (text::counted(self.spans.len(), "span")) " · "
                        span.id { (text::clip(&self.id, 64)) }
                    }
                }
                div.scroll tabindex="0" role="region" aria-label={ "Spans of " (text::clip(&first.span.name, 120)) } {
                    table.spans {
                        thead { tr {
                            th scope="col" { "Span" }
                            th scope="col" { "Service" }
                            th.number scope="col" { "Start" }
                            th.number scope="col" { "Duration" }
                            th.timeline scope="col" { "Timeline" }
                        } }
                        tbody {
                            @for placed in self.spans.iter().take(MAX_SPANS) { (self.row(placed, total)) }
                        }
                    }
                }
                @if more > 0 { p.more { "and " (text::counted(more, "more span")) } }
            }
        }
    }

    fn row(&self, placed: &Placed, total: Duration) -> Markup {
        let Placed { span, depth, orphan } = placed;
        let offset = span.start.duration_since(self.start).unwrap_or_default();
        html! {
            tr.error[span.error] {
                th scope="row" {
                    div class={ "depth d" (depth.min(&MAX_DEPTH)) } {
                        div {
                            @if *depth > 0 { span.hidden { "level " (depth + 1) ": " } }
                            span.name { (text::clip(&span.name, 120)) }
                            @if !span.kind.is_empty() { " " span.flag { (span.kind) } }
                            @if span.error { " " span.flag.bad { "error" } }
                            @if *orphan { " " span.flag { "parent not here" } }
                        }
                        (text::attributes(&span.attributes))
                    }
                }
                td { (text::clip(&span.service, 60)) }
                td.number { "+" (text::duration(offset)) }
                td.number { (text::duration(span.duration)) }
                td.timeline { (bar(offset, span.duration, total)) }
            }
        }
    }
}

/// A bar by attributes alone, since the page's policy forbids inline styles.
fn bar(offset: Duration, duration: Duration, total: Duration) -> Markup {
    let share = |part: Duration| if total.is_zero() { 0.0 } else { part.as_secs_f64() / total.as_secs_f64() };
    let width = if total.is_zero() { BAR } else { (share(duration) * BAR).clamp(6.0, BAR) };
    let x = (share(offset) * BAR).min(BAR - width);
    html! {
        svg.bar viewBox={ "0 0 " (BAR) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect.track x="0" y="0" width=(BAR) height="10" {}
            rect.part x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" {}
        }
    }
}

/// Spans in the order of the page: roots and orphans by start, each followed by its children by start.
fn arrange(mut spans: Vec<Arc<Span>>) -> Vec<Placed> {
    spans.sort_by(|a, b| (a.start, &a.span_id).cmp(&(b.start, &b.span_id)));
    let ids: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut tops = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        if ids.contains(span.parent_id.as_str()) && !span.parent_id.is_empty() {
            children.entry(&span.parent_id).or_default().push(index);
        } else {
            tops.push(index);
        }
    }
    let mut order = Vec::with_capacity(spans.len());
    let mut placed = vec![false; spans.len()];
    // Whatever no top leads to hangs in a ring of parents; its first span is shown as an orphan.
    for top in tops.into_iter().chain(0..spans.len()) {
        let mut open = vec![(top, 0)];
        while let Some((index, depth)) = open.pop() {
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            let span = &spans[index];
            order.push((index, depth, depth == 0 && !span.parent_id.is_empty()));
            // Taken, so that the children of an id that was used twice are walked once.
            let below = children.remove(span.span_id.as_str()).unwrap_or_default();
            open.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
        }
    }
    order
        .into_iter()
        .map(|(index, depth, orphan)| Placed { span: Arc::clone(&spans[index]), depth, orphan })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(span_id: &str, parent_id: &str, start_millis: u64) -> Arc<Span> {
        Arc::new(Span {
            service: "s".to_owned(),
            trace_id: "1".to_owned(),
            span_id: span_id.to_owned(),
            parent_id: parent_id.to_owned(),
            name: span_id.to_owned(),
            kind: "internal",
            start: SystemTime::UNIX_EPOCH + Duration::from_millis(start_millis),
            duration: Duration::from_millis(1),
            error: false,
            attributes: Vec::new(),
        })
    }

    fn outline(spans: Vec<Arc<Span>>) -> Vec<String> {
        let mark = |placed: &Placed| if placed.orphan { "?" } else { "" };
        arrange(spans)
            .iter()
            .map(|placed| format!("{}{}{}", " ".repeat(placed.depth), placed.span.span_id, mark(placed)))
            .collect()
    }

    #[test]
    fn puts_children_below_their_parents_by_start() {
        let spans = vec![
            span("late", "root", 30),
            span("leaf", "early", 40),
            span("early", "root", 10),
            span("root", "", 0),
            span("lost", "elsewhere", 5),
            span("below", "lost", 6),
        ];
        assert_eq!(outline(spans), ["root", " early", "  leaf", " late", "lost?", " below"]);
    }

    #[test]
    fn shows_every_span_once_whatever_the_ids() {
        let ring = vec![span("a", "c", 1), span("b", "a", 2), span("c", "b", 3), span("self", "self", 4)];
        assert_eq!(outline(ring), ["a?", " b", "  c", "self?"]);
        let twice = vec![span("a", "", 1), span("a", "", 2), span("b", "a", 3)];
        assert_eq!(outline(twice), ["a", " b", "a"]);
    }

    #[test]
    fn takes_a_chain_of_any_depth() {
        let chain: Vec<_> = (1..20_000_u64).map(|n| span(&n.to_string(), &(n - 1).to_string(), n)).collect();
        let arranged = arrange(chain);
        assert_eq!(arranged.len(), 19_999);
        assert_eq!(arranged.last().unwrap().depth, 19_998);
    }
}
