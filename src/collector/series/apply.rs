//! Takes the points of a planned request in, one by one, in the order of their times.
//!
//! It must not refuse what a sink was told of: what it refuses beyond the plan comes before anything is written.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::Bytes;
use prost::DecodeError;

use super::{
    Plan, STALE_AFTER, Table,
    cumulative::{self, Rewritten, Total},
    order, plan, point,
    stream::{Form, Ready, Stream},
    times::Times,
};
use crate::collector::{
    batch::Signal,
    export::graphite::{lines::Rendered, spool::Entries},
    refusals,
    wire::{Attributes, Metric, Metrics, Point, Receiver},
};

/// What became of applied points.
#[derive(Debug, Default)]
pub struct Applied {
    /// Carbon lines, where they were asked for.
    pub lines: Vec<u8>,
    /// Points for which lines were written.
    pub points: u64,
    /// What is to be kept beyond this process, with the lines or not at all.
    pub state: Entries,
    /// Points without a line, and numbers of points that are none, by reason.
    pub unwritten: BTreeMap<&'static str, u64>,
    /// Points written under a path that another series writes too, at the same time.
    pub shared: u64,
    /// What is to be said of that, once for each path, and of refused points.
    pub notices: Vec<String>,
    /// Points that were planned and then refused.
    pub refused: u64,
    /// What deltas became, where that is sent on, and there are any.
    pub(super) totals: Option<Vec<Total>>,
}

impl Applied {
    /// What is sent on of a request: without the points that `plan` refuses, and with totals in the place of deltas
    /// where that is wanted; `None` where it is the request as it came.
    ///
    /// # Errors
    /// Where the request cannot be decoded: its readers have different bounds, which they must not.
    pub fn rewritten(&mut self, wire: &Bytes, plan: &Plan) -> Result<Option<Rewritten>, DecodeError> {
        match self.totals.take() {
            Some(totals) => cumulative::rewritten(wire, plan, totals).map(Some),
            None if plan.rejected.is_empty() => Ok(None),
            None => {
                let points = plan.points() - plan.rejected_points();
                Ok(Some(Rewritten { wire: plan::without_refused(wire, plan)?, points }))
            }
        }
    }
}

/// The state of one [`Table::apply`].
#[derive(Debug)]
struct Applying {
    now: SystemTime,
    horizon: u64,
    times: Times,
    rendered: Rendered,
    writes: bool,
    applied: Applied,
    /// Streams whose totals are to be kept.
    totals: Vec<usize>,
    /// Streams whose senders say that they have ended.
    ended: Vec<(usize, Attributes)>,
}

impl Table {
    /// Takes the points of `metrics` as `plan` says, and refuses in `plan` those that would spoil a total; writes carbon
    /// lines into `lines` where it is given.
    #[must_use]
    pub fn apply(
        &mut self,
        metrics: &Metrics<'_>,
        plan: &mut Plan,
        lines: Option<Vec<u8>>,
        now: SystemTime,
    ) -> Applied {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let sends_totals = self.starts.is_some() && metrics.metrics.iter().any(point::is_delta);
        let mut applying = Applying {
            now,
            horizon: u64::try_from((since + STALE_AFTER).as_nanos()).unwrap_or(u64::MAX),
            times: Times::at(now, self.steady(), self.graphite.max_age),
            rendered: Rendered::new(self.names.style()),
            writes: lines.is_some(),
            applied: Applied {
                lines: lines.unwrap_or_default(),
                totals: sends_totals.then(Vec::new),
                ..Applied::default()
            },
            totals: Vec::new(),
            ended: Vec::new(),
        };
        match order::of_times(metrics, &plan.slots) {
            None => {
                let mut index = 0;
                for metric in &metrics.metrics {
                    for point in metrics.points(metric) {
                        self.apply_point(metrics, (metric, point, index), plan, &mut applying);
                        index += 1;
                    }
                }
            }
            Some(places) => {
                for (metric, at) in places {
                    let metric = &metrics.metrics[metric];
                    let place = (metric, &metrics.points(metric)[at], metric.first_point() + at);
                    self.apply_point(metrics, place, plan, &mut applying);
                }
            }
        }
        let Applying { mut applied, totals, ended, .. } = applying;
        // What waits for carbon is counted by its bytes. Shrunk to them each time, the lines would never be of a size
        // that the allocator has at hand: fresh pages cost more than writing them does.
        applied.lines.shrink_to(2 * applied.lines.len());
        self.keep(totals, &mut applied.state);
        if metrics.receiver == Receiver::Statsd {
            self.forget_ended(metrics, &ended);
        }
        applied
    }

    /// Takes one point of a request in, which is the one at `index` among all of them.
    fn apply_point(
        &mut self,
        metrics: &Metrics<'_>,
        (metric, point, index): (&Metric<'_>, &Point<'_>, usize),
        plan: &mut Plan,
        applying: &mut Applying,
    ) {
        let Some(slot) = plan.slots.get(index).copied().flatten() else { return };
        let was_live = self.streams.get(slot).is_some_and(Stream::is_live);
        self.apply_to(slot, metrics, (metric, point, index), plan, applying);
        if let Some(stream) = self.streams.get(slot).filter(|stream| stream.is_live() != was_live) {
            self.changes += 1;
            match was_live {
                true => stream.descriptor.named.remove_live(),
                false => stream.descriptor.named.add_live(),
            }
        }
    }

    fn apply_to(
        &mut self,
        slot: usize,
        metrics: &Metrics<'_>,
        (metric, point, index): (&Metric<'_>, &Point<'_>, usize),
        plan: &mut Plan,
        applying: &mut Applying,
    ) {
        let delta = point::is_delta(metric);
        if delta && self.kept.is_some() {
            self.claim(slot, metrics.attributes(point.attributes));
            applying.totals.push(slot);
        }
        let most_bytes = if applying.writes { self.most_bytes(slot, point, delta) } else { 0 };
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if point::no_recorded_value(point) {
            stream.state.end();
            applying.ended.push((slot, point.attributes));
            return;
        }
        let mut ready = Ready::of(stream, point, delta, &self.histogram_bounds);
        if applying.writes && stream.path.is_some() {
            ready.beside(stream, point, &self.graphite.quantiles);
        }
        let Applying { horizon, times, rendered, applied, .. } = applying;
        let (beginnings, kept) = (&mut self.beginnings, self.kept.as_mut());
        let form = Form { most_bytes, horizon: *horizon, times: *times, rendered, beginnings, kept };
        let has_begun = stream.begun;
        match stream.take(ready, point, form, applied) {
            Ok(added) => {
                if let (true, Some(starts), Some(totals)) = (delta, &mut self.starts, &mut applied.totals) {
                    totals.extend(starts.total((slot, index), point, added, &stream.state));
                }
                if applying.writes {
                    self.note_sharing(slot, point, has_begun, &mut applying.applied);
                }
            }
            Err(reason) => {
                plan.reject(index, reason, metric.name);
                applied.refused += 1;
                applied.notices.extend(self.refusal(metrics, metric, point, reason, applying.now));
            }
        }
    }

    /// What the log is to say of a refused point, once for each service and reason.
    pub(super) fn refusal(
        &mut self,
        metrics: &Metrics<'_>,
        metric: &Metric<'_>,
        point: &Point<'_>,
        reason: &'static str,
        now: SystemTime,
    ) -> Option<String> {
        // Of a second type the log has a line with both.
        if reason == "type_conflict" {
            return None;
        }
        let resource = metrics.attributes(metrics.resources[metric.resource]);
        let service = resource.iter().find(|attribute| attribute.key == "service.name");
        let service = service.map(|service| service.value.text()).unwrap_or_default();
        self.named.is_first(Signal::Metrics, reason, &service).then(|| {
            let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            format!(
                "points of service {:?} are refused and counted as {reason} (the metric {:?} among them{}): {}",
                refusals::shortened(&service),
                refusals::shortened(metric.name),
                refusals::shown(reason, point, now),
                refusals::explain(reason)
            )
        })
    }
}
