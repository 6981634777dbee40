//! Finds or makes what a new series needs: its metric's descriptor, the type of its name, and the stream itself.
//!
//! What is made is bounded: beyond the bounds a point is refused.

use std::{sync::Arc, time::Instant};

use super::{
    Described, Plan, Table,
    identity::{self, Descriptor, Key, NamedType, Shown},
    owners::Owners,
    point,
    rivals::Rivals,
    state::State,
    stream::Stream,
    target::{SCOPE_NAME, SCOPE_VERSION},
};
use crate::{
    collector::{
        refusals,
        wire::{Attribute, Metric, Metrics, Receiver},
    },
    exposition::family::Kind,
};

impl Table {
    /// The descriptor of a metric, or why its points are refused.
    pub(super) fn descriptor<'m>(
        &mut self,
        metrics: &'m Metrics<'m>,
        metric: &Metric<'_>,
        owners: &mut Owners,
        rivals: &mut Rivals<'m>,
        plan: &mut Plan,
    ) -> Described {
        if metric.name.is_empty() {
            return Err("no_name");
        }
        let kind = point::kind(metric)?;
        let owner = owners.of(self, metrics, metric)?;
        identity::descriptor_key(owner, metric, kind, &mut self.key)?;
        if metrics.receiver == Receiver::Statsd {
            identity::push("StatsD", &mut self.key);
        }
        if let Some(descriptor) = self.descriptors.get(&self.key) {
            plan.note_end(metrics, metric, descriptor);
            return Ok(Arc::clone(descriptor));
        }
        if !self.described.has_room(metrics.receiver, 0) {
            return Err("max_series");
        }
        let descriptor_key = std::mem::take(&mut self.key);
        identity::type_key(owner, metric, &mut self.key);
        // Where scopes are tags, each has a type of its own.
        let is_of_statsd = metrics.receiver == Receiver::Statsd || owner.is_anonymous();
        let apart = is_of_statsd
            || self.graphite.tags.iter().any(|tag| [SCOPE_NAME, SCOPE_VERSION].contains(&tag.as_str()));
        let first = || if apart { kind } else { rivals.first_kind(metrics, metric, kind) };
        if is_of_statsd {
            // Its receiver sees to it that two types of one name can stand side by side; so they can where another
            // collector forwards them.
            identity::push(kind.as_str(), &mut self.key);
        }
        let named = self.named_type(&owner.resource.service, metric, kind, first, plan)?;
        self.key = descriptor_key;
        let written = self.graphite.writes(metric.name);
        let made = Descriptor::new(self.next_id, owner, named, metric, metrics.receiver, written);
        let made = Arc::new(made);
        self.described.add(metrics.receiver);
        self.next_id = self.next_id.wrapping_add(1);
        self.descriptors.insert(self.key.clone(), Arc::clone(&made));
        Ok(made)
    }

    /// The place of a stream that was not there, or why it cannot be made.
    pub(super) fn stream(
        &mut self,
        descriptor: &Arc<Descriptor>,
        key: Key,
        attributes: &[Attribute<'_>],
        now: Instant,
        plan: &mut Plan,
    ) -> Result<usize, &'static str> {
        // A point before it may have made it.
        if let Some(slot) = self.index.get(&key) {
            return Ok(*slot);
        }
        if !self.shares.has_room(plan.receiver, plan.leaving) {
            return Err("max_series");
        }
        self.shares.add(plan.receiver);
        let Shown { labels, origin, path } = descriptor.series(attributes, &self.names, &self.exposition);
        let stream = Stream {
            descriptor: Arc::clone(descriptor),
            labels,
            origin: self.origin(origin),
            path,
            state: State::default(),
            heard: now,
            shares: None,
            begun: false,
            beginning: None,
            identity: None,
        };
        let slot = self.streams.insert(stream);
        self.changes += 1;
        self.starts.iter_mut().for_each(|starts| starts.forget(slot));
        self.index.insert(key, slot);
        if self.written {
            self.join(slot);
        }
        plan.made.push(key);
        Ok(slot)
    }

    /// Notes who writes the path of a new stream.
    fn join(&mut self, slot: usize) {
        let Some(path) = self.streams[slot].shared_path() else { return };
        let joined = self.paths.join(&path, slot);
        self.streams[slot].shares = joined.group;
        if let Some(first) = joined.first.and_then(|first| self.streams.get_mut(first)) {
            first.shares = joined.group;
        }
    }

    /// The type that a name has for one service, by the key that was made of them; of two, the one that came first.
    fn named_type(
        &mut self,
        service: &str,
        metric: &Metric<'_>,
        kind: Kind,
        first: impl FnOnce() -> Kind,
        plan: &mut Plan,
    ) -> Result<Arc<NamedType>, &'static str> {
        self.free_type(kind, plan);
        let named = match self.types.get(&self.key) {
            Some(named) => Arc::clone(named),
            None => {
                let made = Arc::new(NamedType::new(first()));
                self.types.insert(self.key.clone(), Arc::clone(&made));
                made
            }
        };
        if named.kind == kind {
            return Ok(named);
        }
        if named.first_conflict() {
            plan.notices.push(format!(
                "the metric {:?} of service {:?} is a {} already: points of it as a {} are refused; give one of the \
                 two another name",
                refusals::shortened(metric.name),
                refusals::shortened(service),
                named.kind.as_str(),
                kind.as_str()
            ));
        }
        Err("type_conflict")
    }
}
