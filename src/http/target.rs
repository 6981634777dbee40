//! What was learned of the routes: the instruments bound for each method, route and outcome, and the span's name.
//!
//! Reading it must take no lock and allocate nothing for what was seen before; its size must stay bounded, and what
//! is beyond the bound must still be counted.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use opentelemetry::{KeyValue, StringValue, metrics::BoundUpDownCounter};

use super::{
    chain::Chain,
    instruments::{BoundInstruments, Instruments, Measured},
    labels::{Labels, OTHER_METHOD},
    outcome::Outcome,
    words,
};

/// How many targets are remembered, and for how many outcomes of them together instruments are bound.
///
/// Below the SDK's limit of 2,000 attribute sets for an instrument. An application has some tens of routes; only one
/// that makes routes out of data could come here.
const REMEMBERED: usize = 1_000;
/// Lists that targets are spread over by their routes, so that each is short.
const LISTS: usize = 256;

/// Everything known so far; one for each layer.
pub(super) struct Targets {
    instruments: Arc<Instruments>,
    without_metrics: Box<[Box<str>]>,
    without_traces: Box<[Box<str>]>,
    known: Box<[Chain<Arc<Target>>]>,
    remembered: AtomicUsize,
    bound: Arc<AtomicUsize>,
}

impl Targets {
    pub(super) fn new(instruments: Arc<Instruments>) -> Self {
        Self {
            instruments,
            without_metrics: Box::default(),
            without_traces: Box::default(),
            known: std::iter::repeat_with(Chain::default).take(LISTS).collect(),
            remembered: AtomicUsize::default(),
            bound: Arc::default(),
        }
    }

    /// The same settings and instruments with nothing learned.
    pub(super) fn unlearned(&self) -> Self {
        Self {
            without_metrics: self.without_metrics.clone(),
            without_traces: self.without_traces.clone(),
            ..Self::new(Arc::clone(&self.instruments))
        }
    }

    pub(super) fn without_metrics_for(&self, routes: &[&str]) -> Self {
        Self { without_metrics: routes.iter().map(|&route| route.into()).collect(), ..self.unlearned() }
    }

    pub(super) fn without_traces_for(&self, routes: &[&str]) -> Self {
        Self { without_traces: routes.iter().map(|&route| route.into()).collect(), ..self.unlearned() }
    }

    /// What a request of these labels to this route is counted and named by.
    pub(super) fn find(&self, labels: Labels, route: Option<&str>) -> Arc<Target> {
        let known = &self.known[route.map_or(0, words::hash) % LISTS];
        let is = |target: &Arc<Target>| target.labels == labels && target.route() == route;
        if let Some(target) = known.find(is) {
            return Arc::clone(target);
        }
        if take_place(&self.remembered) {
            Arc::clone(known.find_or_add(is, || Arc::new(self.target(labels, route, true))))
        } else {
            Arc::new(self.target(labels, route, false))
        }
    }

    fn target(&self, labels: Labels, route: Option<&str>, remembered: bool) -> Target {
        let is_in = |routes: &[Box<str>]| route.is_some_and(|route| routes.iter().any(|r| **r == *route));
        let counted = (!is_in(&self.without_metrics)).then(|| Counted {
            instruments: Arc::clone(&self.instruments),
            active: self.instruments.active.bind(&[
                KeyValue::new("http.request.method", labels.method()),
                KeyValue::new("url.scheme", labels.scheme()),
            ]),
            outcomes: Chain::default(),
            bound: remembered.then(|| Arc::clone(&self.bound)),
        });
        let name = words::name(span_name(labels.method(), route));
        let route = route.map(|route| StringValue::from(words::name(route.to_owned())));
        let attributes = [
            Some(KeyValue::new("http.request.method", labels.method())),
            Some(KeyValue::new("url.scheme", labels.scheme())),
            route.clone().map(|route| KeyValue::new("http.route", route)),
            labels.version().map(|version| KeyValue::new("network.protocol.version", version)),
        ];
        Target {
            labels,
            route,
            attributes: attributes.into_iter().flatten().collect(),
            span_name: name,
            traced: !is_in(&self.without_traces),
            counted,
        }
    }
}

/// `METHOD route`, or the method alone; the conventions ask for `HTTP` in place of a method that is not known.
fn span_name(method: &'static str, route: Option<&str>) -> String {
    let method = if method == OTHER_METHOD { "HTTP" } else { method };
    match route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// What requests of the same method, scheme, version and route have in common.
pub(super) struct Target {
    pub(super) labels: Labels,
    route: Option<StringValue>,
    pub(super) span_name: Cow<'static, str>,
    /// What its requests have in common, as metrics and spans take it.
    pub(super) attributes: Box<[KeyValue]>,
    /// Whether its requests have server spans.
    pub(super) traced: bool,
    /// None where the route is left out of the metrics.
    counted: Option<Counted>,
}

struct Counted {
    instruments: Arc<Instruments>,
    active: BoundUpDownCounter<i64>,
    outcomes: Chain<BoundOutcome>,
    /// How many outcomes of all targets are bound; none where this target is not remembered and thus binds none.
    bound: Option<Arc<AtomicUsize>>,
}

struct BoundOutcome {
    outcome: Outcome,
    /// Whether the request's size is among the bound instruments.
    request_sized: bool,
    instruments: BoundInstruments,
}

impl Target {
    /// Counts a request among those that are active, until [`Target::end`].
    pub(super) fn start(&self) {
        if let Some(counted) = &self.counted {
            counted.active.add(1);
        }
    }

    /// Records what a request measured; called exactly once after [`Target::start`].
    pub(super) fn end(&self, outcome: Outcome, measured: Measured) {
        let Some(counted) = &self.counted else {
            return;
        };
        counted.active.add(-1);
        let request_sized = measured.request_size.is_some();
        let is = |known: &BoundOutcome| known.outcome == outcome && known.request_sized == request_sized;
        if let Some(known) = counted.outcomes.find(is) {
            return known.instruments.record(measured);
        }
        let attributes = self.attributes(outcome);
        if !counted.bound.as_deref().is_some_and(take_place) {
            return counted.instruments.record(measured, &attributes);
        }
        let bind = || BoundOutcome {
            outcome,
            request_sized,
            instruments: counted.instruments.bind(measured, &attributes),
        };
        counted.outcomes.find_or_add(is, bind).instruments.record(measured);
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(StringValue::as_str)
    }

    fn attributes(&self, outcome: Outcome) -> Vec<KeyValue> {
        let mut attributes = self.attributes.to_vec();
        if let Some(status) = outcome.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        if let Some(error_type) = outcome.error_type() {
            attributes.push(KeyValue::new("error.type", error_type));
        }
        attributes
    }
}

/// Takes one of the [`REMEMBERED`] places; false where there is none left.
fn take_place(taken: &AtomicUsize) -> bool {
    let one_more = |taken| (taken < REMEMBERED).then_some(taken + 1);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}
