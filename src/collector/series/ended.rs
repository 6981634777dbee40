//! Series whose sender says that they have ended. Those of `StatsD`, of which its receiver says so, make room at once; a
//! name of which all series have ended is free for another type at once.

use std::{sync::Arc, time::Instant};

use super::{
    Plan, Table, beginning,
    identity::{Descriptor, NamedType, attribute_key},
    point,
    share::Shares,
    stream::forget,
};
use crate::{
    collector::wire::{Attributes, Metric, Metrics, Receiver},
    exposition::family::Kind,
};

impl Plan {
    /// Notes a metric that only says that its series have ended.
    pub(super) fn note_end(
        &mut self,
        metrics: &Metrics<'_>,
        metric: &Metric<'_>,
        descriptor: &Arc<Descriptor>,
    ) {
        let points = metrics.points(metric);
        let only_ends = points.first().is_some_and(point::no_recorded_value)
            && points.iter().all(point::no_recorded_value);
        if only_ends && metrics.receiver == Receiver::Otlp {
            let named = &descriptor.named;
            let (_, series) =
                self.ending.entry(Arc::as_ptr(named).addr()).or_insert_with(|| (Arc::clone(named), 0));
            *series += points.len();
        }
    }

    /// Whether all series that have this type have ended, or end in this request before the metric that asks.
    fn has_ended(&self, named: &Arc<NamedType>) -> bool {
        let ending = self.ending.get(&Arc::as_ptr(named).addr()).map_or(0, |(_, series)| *series);
        named.has_ended(ending)
    }
}

impl Table {
    /// The same with a share for `StatsD`, where it is received, that OTLP cannot take, and the other way round.
    #[must_use]
    pub const fn with_statsd(mut self, received: bool) -> Self {
        self.shares = Shares::new(self.max_series, received);
        self.described = Shares::new(2 * self.max_series, received);
        self
    }

    /// How many series of `StatsD` there may be beside those of OTLP that there are.
    pub fn max_statsd_series(&self) -> usize {
        self.shares.room(Receiver::Statsd)
    }

    /// Forgets the streams at these places, with these attributes, unless a later point began them anew.
    pub(super) fn forget_ended(&mut self, metrics: &Metrics<'_>, ended: &[(usize, Attributes)]) {
        if ended.is_empty() {
            return;
        }
        let now = Instant::now();
        for (slot, attributes) in ended {
            let Some(stream) = self.streams.get(*slot).filter(|stream| stream.state.time().is_none()) else {
                continue;
            };
            // Its key was not too long when it was planned.
            if attribute_key(stream.descriptor.id, metrics.attributes(*attributes), &mut self.key).is_err()
                || self.index.remove(&self.keys.of(&self.key)) != Some(*slot)
            {
                continue;
            }
            self.changes += 1;
            let stream = self.streams.remove(*slot);
            if let (Some(path), Some(second)) = (&stream.path, stream.beginning) {
                self.beginnings.remember(beginning::identity(path.as_str(), second.get()), now);
            }
            forget(&stream, &mut self.paths);
            self.shares.remove(stream.descriptor.receiver);
        }
        self.tidy();
    }

    /// Frees the name whose type is looked up, where that is another type and all its series have ended.
    pub(super) fn free_type(&mut self, kind: Kind, plan: &Plan) {
        let has_ended = |named: &Arc<NamedType>| named.kind != kind && plan.has_ended(named);
        if self.types.get(&self.key).is_some_and(has_ended) {
            self.types.insert(self.key.clone(), Arc::new(NamedType::new(kind)));
        }
    }

    /// Forgets what only streams needed that are not there any more.
    pub(super) fn tidy(&mut self) {
        let described = &mut self.described;
        self.descriptors.retain(|_, descriptor| {
            let is_used = Arc::strong_count(descriptor) > 1;
            if !is_used {
                described.remove(descriptor.receiver);
            }
            is_used
        });
        self.resources.retain(|_, resource| Arc::strong_count(resource) > 1);
        self.types.retain(|_, named| Arc::strong_count(named) > 1);
        self.scopes.retain(|_, scope| Arc::strong_count(scope) > 1);
        self.origins.retain(|origin| Arc::strong_count(origin) > 1);
    }
}
