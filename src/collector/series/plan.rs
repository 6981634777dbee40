//! What would happen to each point of a request, before anything is taken in.

use std::{
    collections::{BTreeMap, HashMap},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::{DecodeError, Message as _};

use super::{
    Described, Table, cumulative,
    identity::{self, Descriptor, Key, NamedType, attribute_key},
    owners::Owners,
    point,
    rivals::Rivals,
    stream,
    times::Times,
};
use crate::collector::{
    export::graphite::lines::line_bytes,
    refusals::shortened,
    wire::{Metric, Metrics, Point, Receiver},
};

/// Bytes of names and labels that one series may have in the exposition, in all of its lines.
const MAX_PAGE_TEXT: usize = 1024 * 1024;

/// How many points' streams are looked up together.
const TOGETHER: usize = 1_024;

/// What would happen to each point of a request, in the order of its points.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) receiver: Receiver,
    /// Streams that will have ended once it is applied.
    pub(super) leaving: usize,
    /// Types of OTLP's metrics that only say that their series have ended, by address, and how many those are.
    pub(super) ending: HashMap<usize, (Arc<NamedType>, usize)>,
    pub(super) slots: Vec<Option<usize>>,
    /// The keys of streams that were made for it.
    pub(super) made: Vec<Key>,
    /// At most so many bytes of carbon lines.
    pub line_bytes: usize,
    /// At most so many bytes of what is kept of its series beside their lines.
    pub state_bytes: usize,
    /// Of that, what is of series that nothing is kept of yet.
    pub new_state_bytes: usize,
    /// At most so many bytes more than the request has, once its deltas are totals.
    pub total_bytes: usize,
    /// Points that are refused for good, by reason, each with the beginning of the name of one of the metrics.
    pub rejected: BTreeMap<&'static str, (u64, String)>,
    /// What is to be said of names that have two types, once for each.
    pub notices: Vec<String>,
}

impl Plan {
    /// How many points the request holds.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many points are refused for good.
    #[must_use]
    pub fn rejected_points(&self) -> u64 {
        self.rejected.values().map(|(points, _)| points).sum()
    }

    /// Refuses the point at `index` for good.
    pub(super) fn reject(&mut self, index: usize, reason: &'static str, metric: &str) {
        match self.slots.get_mut(index) {
            Some(slot) => *slot = None,
            None => self.slots.push(None),
        }
        let (points, _) = self.rejected.entry(reason).or_insert_with(|| (0, shortened(metric).to_owned()));
        *points += 1;
    }
}

impl Table {
    /// Finds the stream of every point, making new ones while there is room, and what the points would take.
    /// `clock` is the time of day.
    #[must_use]
    pub fn plan(&mut self, metrics: &Metrics<'_>, now: Instant, clock: SystemTime) -> Plan {
        let mut plan = Plan { receiver: metrics.receiver, ..Plan::default() };
        plan.slots.reserve_exact(metrics.len());
        let (first, ..) = *self.planned.get_or_insert((now, clock, Duration::ZERO));
        self.planned.iter_mut().for_each(|(.., passed)| *passed = now.saturating_duration_since(first));
        let times = self.written.then(|| Times::at(clock, self.steady(), self.graphite.max_age));
        let (mut owners, mut rivals) = (Owners::new(metrics), Rivals::default());
        let descriptor = |metric| self.descriptor(metrics, metric, &mut owners, &mut rivals, &mut plan);
        let descriptors: Vec<_> = metrics.metrics.iter().map(descriptor).collect();
        let mut points = metrics.metrics.iter().zip(&descriptors).flat_map(|(metric, descriptor)| {
            metrics.points(metric).iter().map(move |point| (metric, descriptor, point))
        });
        loop {
            let batch: Vec<_> = points.by_ref().take(TOGETHER).collect();
            if batch.is_empty() {
                break;
            }
            let key = |(metric, descriptor, point): &(&Metric<'_>, &Described, &Point<'_>)| {
                let descriptor = descriptor.as_ref().map_err(|reason| *reason)?;
                self.key(metrics, metric, descriptor, point, times)
            };
            let keys: Vec<_> = batch.iter().map(key).collect();
            let known = self.known(&keys, now);
            for (((metric, descriptor, point), key), known) in batch.into_iter().zip(keys).zip(known) {
                let ends = metrics.receiver == Receiver::Statsd && point::no_recorded_value(point);
                let made = plan.made.len();
                let slot = match (known, descriptor) {
                    (Some(slot), _) => {
                        plan.leaving += usize::from(ends);
                        Ok(slot)
                    }
                    (None, _) if ends => {
                        plan.slots.push(None);
                        continue;
                    }
                    (None, Ok(descriptor)) => key.and_then(|key| {
                        let attributes = metrics.attributes(point.attributes);
                        self.stream(descriptor, key, attributes, now, &mut plan)
                    }),
                    (None, Err(reason)) => Err(*reason),
                };
                let delta = point::is_delta(metric);
                let attributes = metrics.attributes(point.attributes);
                let slot = slot.and_then(|slot| {
                    self.fits_on_page(slot, point)
                        .and_then(|()| self.plan_state(slot, point, delta, attributes, &mut plan))
                        .inspect_err(|_| self.unmake(&mut plan, made))
                        .map(|()| slot)
                });
                match slot {
                    Ok(slot) => {
                        plan.line_bytes += self.most_bytes(slot, point, delta);
                        plan.slots.push(Some(slot));
                    }
                    Err(reason) => {
                        plan.reject(plan.slots.len(), reason, metric.name);
                        plan.notices.extend(self.refusal(metrics, metric, point, reason, clock));
                    }
                }
            }
        }
        if self.starts.is_some() {
            plan.total_bytes = cumulative::more_bytes(metrics, self.histogram_bounds.len());
        }
        plan.line_bytes = plan.line_bytes.min(stream::MAX_LINES);
        // Of a series that comes again and again in a request, only its last total is kept.
        plan.state_bytes = plan.state_bytes.min(stream::MAX_LINES);
        plan.new_state_bytes = plan.new_state_bytes.min(plan.state_bytes);
        plan
    }

    /// The key of a point's stream, or why the point is refused.
    fn key(
        &mut self,
        metrics: &Metrics<'_>,
        metric: &Metric<'_>,
        descriptor: &Descriptor,
        point: &Point<'_>,
        times: Option<Times>,
    ) -> Result<Key, &'static str> {
        point::check(point, metric)?;
        if let Some(times) = times.filter(|_| descriptor.written && !point::no_recorded_value(point)) {
            times.second(point.time)?;
        }
        attribute_key(descriptor.id, metrics.attributes(point.attributes), &mut self.key)?;
        Ok(self.keys.of(&self.key))
    }

    /// The streams that are there already. They are looked up one behind the other with nothing between them, so that
    /// among a million of them the processor waits for the memory of many at a time.
    fn known(&mut self, keys: &[Result<Key, &'static str>], now: Instant) -> Vec<Option<usize>> {
        let known: Vec<_> = keys.iter().map(|key| self.index.get(key.as_ref().ok()?).copied()).collect();
        for slot in known.iter().flatten() {
            self.streams[*slot].heard = now;
        }
        for slot in known.iter().flatten() {
            // Its lines begin with this.
            black_box(self.streams[*slot].path.as_ref().and_then(|path| path.as_str().bytes().next()));
        }
        known
    }

    /// Refuses a point with which its series would have too much text in the exposition: its labels stand in each line.
    fn fits_on_page(&self, slot: usize, point: &Point<'_>) -> Result<(), &'static str> {
        let stream = &self.streams[slot];
        let line = stream.descriptor.family.len() + stream.labels.as_str().len();
        match line * point::lines(point, self.histogram_bounds.len(), 0) > MAX_PAGE_TEXT {
            true => Err(identity::TOO_LONG),
            false => Ok(()),
        }
    }

    /// The most bytes of carbon lines that a point may become.
    pub(super) fn most_bytes(&self, slot: usize, point: &Point<'_>, delta: bool) -> usize {
        let stream = &self.streams[slot];
        let Some(path) = &stream.path else { return 0 };
        let lines = point::lines(point, self.histogram_bounds.len(), self.graphite.quantiles.len());
        // A beginning has lines of its own.
        (lines << usize::from(stream.may_begin(point, delta))) * line_bytes(path, self.names.style())
    }
}

/// The same request without the points that `plan` refuses.
///
/// # Errors
/// Where it cannot be decoded.
pub(super) fn without_refused(wire: &Bytes, plan: &Plan) -> Result<Bytes, DecodeError> {
    let mut slots = plan.slots.iter();
    let mut request = ExportMetricsServiceRequest::decode(wire.as_ref())?;
    for resource in &mut request.resource_metrics {
        for scope in &mut resource.scope_metrics {
            for metric in &mut scope.metrics {
                point::retain(metric, || slots.next().is_some_and(Option::is_some));
            }
        }
    }
    Ok(request.encode_to_vec().into())
}
