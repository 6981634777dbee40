//! What was learned of the routes: the instruments bound for each method, route and outcome, and the span's name.
//!
//! Reading it must take no lock and allocate nothing for what was seen before; its size must stay bounded, and what
//! is beyond the bound must still be counted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use opentelemetry::{KeyValue, metrics::BoundUpDownCounter};

use super::{
    instruments::{BoundInstruments, Instruments, Measured},
    labels::{Labels, OTHER_METHOD},
    outcome::Outcome,
};

/// How many targets are remembered, and for how many outcomes of them together instruments are bound.
///
/// Below the SDK's limit of 2,000 attribute sets for an instrument. An application has some tens of routes; only one
/// that makes routes out of data could come here.
const REMEMBERED: usize = 1_000;

/// Everything known so far; one for each layer.
pub(super) struct Targets {
    instruments: Arc<Instruments>,
    without_metrics: Box<[Box<str>]>,
    without_traces: Box<[Box<str>]>,
    known: ArcSwap<Known>,
    /// Held while something new is learned, so that two requests do not undo each other's addition.
    learning: Mutex<()>,
    bound: Arc<AtomicUsize>,
}

/// One state of what is known; replaced as a whole.
#[derive(Clone, Default)]
struct Known {
    routeless: Vec<Arc<Target>>,
    routed: HashMap<Arc<str>, Vec<Arc<Target>>>,
    count: usize,
}

impl Known {
    fn find(&self, labels: Labels, route: Option<&str>) -> Option<&Arc<Target>> {
        let targets = match route {
            Some(route) => self.routed.get(route)?,
            None => &self.routeless,
        };
        targets.iter().find(|target| target.labels == labels)
    }
}

impl Targets {
    pub(super) fn new(instruments: Arc<Instruments>) -> Self {
        Self {
            instruments,
            without_metrics: Box::default(),
            without_traces: Box::default(),
            known: ArcSwap::default(),
            learning: Mutex::default(),
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
        if let Some(target) = self.known.load().find(labels, route) {
            return Arc::clone(target);
        }
        self.learn(labels, route)
    }

    fn learn(&self, labels: Labels, route: Option<&str>) -> Arc<Target> {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        if let Some(target) = known.find(labels, route) {
            return Arc::clone(target);
        }
        let remembered = known.count < REMEMBERED;
        let target = Arc::new(self.target(labels, route, remembered));
        if remembered {
            let mut known = Known::clone(&known);
            match &target.route {
                Some(route) => known.routed.entry(Arc::clone(route)).or_default(),
                None => &mut known.routeless,
            }
            .push(Arc::clone(&target));
            known.count += 1;
            self.known.store(Arc::new(known));
        }
        target
    }

    fn target(&self, labels: Labels, route: Option<&str>, remembered: bool) -> Target {
        let is_in = |routes: &[Box<str>]| route.is_some_and(|route| routes.iter().any(|r| **r == *route));
        let counted = (!is_in(&self.without_metrics)).then(|| Counted {
            instruments: Arc::clone(&self.instruments),
            active: self.instruments.active.bind(&[
                KeyValue::new("http.request.method", labels.method),
                KeyValue::new("url.scheme", labels.scheme),
            ]),
            outcomes: ArcSwap::default(),
            learning: Mutex::default(),
            bound: remembered.then(|| Arc::clone(&self.bound)),
        });
        Target {
            labels,
            route: route.map(Arc::from),
            span_name: span_name(labels.method, route),
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
    pub(super) route: Option<Arc<str>>,
    pub(super) span_name: String,
    /// Whether its requests have server spans.
    pub(super) traced: bool,
    /// None where the route is left out of the metrics.
    counted: Option<Counted>,
}

struct Counted {
    instruments: Arc<Instruments>,
    active: BoundUpDownCounter<i64>,
    outcomes: ArcSwap<Vec<Arc<BoundOutcome>>>,
    learning: Mutex<()>,
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
        let is_same =
            |known: &&Arc<BoundOutcome>| known.outcome == outcome && known.request_sized == request_sized;
        if let Some(known) = counted.outcomes.load().iter().find(is_same) {
            return known.instruments.record(measured);
        }
        let attributes = self.attributes(outcome);
        let _learning = counted.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = counted.outcomes.load();
        if let Some(known) = outcomes.iter().find(is_same) {
            return known.instruments.record(measured);
        }
        if !counted.reserve() {
            return counted.instruments.record(measured, &attributes);
        }
        let instruments = counted.instruments.bind(measured, &attributes);
        instruments.record(measured);
        let mut outcomes = Vec::clone(&outcomes);
        outcomes.push(Arc::new(BoundOutcome { outcome, request_sized, instruments }));
        counted.outcomes.store(Arc::new(outcomes));
    }

    fn attributes(&self, outcome: Outcome) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("http.request.method", self.labels.method));
        attributes.push(KeyValue::new("url.scheme", self.labels.scheme));
        if let Some(route) = &self.route {
            attributes.push(KeyValue::new("http.route", Arc::clone(route)));
        }
        if let Some(version) = self.labels.version {
            attributes.push(KeyValue::new("network.protocol.version", version));
        }
        if let Some(status) = outcome.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        if let Some(error_type) = outcome.error_type() {
            attributes.push(KeyValue::new("error.type", error_type));
        }
        attributes
    }
}

impl Counted {
    /// Takes a place among the bound outcomes; false where there is none left.
    fn reserve(&self) -> bool {
        let one_more = |bound| (bound < REMEMBERED).then_some(bound + 1);
        self.bound
            .as_ref()
            .is_some_and(|bound| bound.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok())
    }
}
