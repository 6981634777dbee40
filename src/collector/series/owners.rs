//! Looks up each resource and each scope once per request.
//!
//! The key of a metric then depends on its own name only, however long its resource and its scope are.

use std::sync::Arc;

use super::{
    Resource, Table,
    identity::{self, TOO_LONG},
    target::{Scope, Tags},
};
use crate::collector::{
    export::graphite::spool::Identity,
    wire::{Metric, Metrics, Receiver},
};

/// What was found for one request.
#[derive(Debug, Default)]
pub(super) struct Owners {
    resources: Vec<Option<Result<Arc<Resource>, &'static str>>>,
    /// A scope is of one resource.
    scopes: Vec<Option<Result<Owner, &'static str>>>,
}

/// A resource with one of its scopes.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) resource: Arc<Resource>,
    pub(super) scope: Arc<Scope>,
    /// The tags of both in Graphite, where the scope has any.
    pub(super) tags: Option<Arc<Tags>>,
    /// The identity of the service with its tags in Graphite, within which a name has one type.
    pub(super) service: u128,
    /// The identity of resource and scope beyond this process; that of a metric goes on from it.
    pub(super) identity: Identity,
}

impl Owner {
    /// Whether nothing is known of the sender, as of those of `StatsD` that another collector forwards.
    pub(super) fn is_anonymous(&self) -> bool {
        self.resource.attributes().next().is_none() && self.scope.labels.is_empty()
    }
}

impl Owners {
    pub(super) fn new(metrics: &Metrics<'_>) -> Self {
        Self { resources: vec![None; metrics.resources.len()], scopes: vec![None; metrics.scopes.len()] }
    }

    /// Whose a metric is.
    pub(super) fn of<'o>(
        &'o mut self,
        table: &mut Table,
        metrics: &Metrics<'_>,
        metric: &Metric<'_>,
    ) -> Result<&'o Owner, &'static str> {
        let known = &mut self.resources[metric.resource];
        let resource = known.get_or_insert_with(|| table.resource(metrics, metric.resource));
        let resource = resource.as_ref().map_err(|reason| *reason)?;
        let known = &mut self.scopes[metric.scope];
        let owner = known.get_or_insert_with(|| {
            let scope = table.scope(metrics, metric)?;
            Ok(table.owner(Arc::clone(resource), scope, metrics.receiver))
        });
        owner.as_ref().map_err(|reason| *reason)
    }
}

impl Table {
    fn resource(&mut self, metrics: &Metrics<'_>, place: usize) -> Result<Arc<Resource>, &'static str> {
        let resource = metrics.attributes(metrics.resources[place]);
        if identity::least_length(resource) > identity::MAX_RESOURCE {
            return Err(TOO_LONG);
        }
        identity::resource_key(resource, &mut self.key)?;
        if let Some(resource) = self.resources.get(&self.key[..]) {
            return Ok(Arc::clone(resource));
        }
        // That of StatsD is one.
        if self.resources.len() >= self.max_series && metrics.receiver == Receiver::Otlp {
            return Err("max_series");
        }
        let key: Arc<[u8]> = self.key[..].into();
        let (tags, labels) = (&self.graphite.tags, &self.exposition);
        let made = Arc::new(Resource::new(self.next_id, resource, Arc::clone(&key), tags, labels));
        self.next_id = self.next_id.wrapping_add(1);
        self.resources.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// The scope of a metric, which many have in common.
    fn scope(&mut self, metrics: &Metrics<'_>, metric: &Metric<'_>) -> Result<Arc<Scope>, &'static str> {
        let attributes = metrics.attributes(metrics.scopes[metric.scope].attributes);
        if identity::least_length(attributes) > identity::MAX_KEY {
            return Err(TOO_LONG);
        }
        identity::scope_key(metrics, metric, &mut self.key)?;
        if let Some(scope) = self.scopes.get(&self.key) {
            return Ok(Arc::clone(scope));
        }
        // Likewise.
        if self.scopes.len() >= self.max_series && metrics.receiver == Receiver::Otlp {
            return Err("max_series");
        }
        let made = Arc::new(Scope::new(self.next_id, metrics, metric));
        self.next_id = self.next_id.wrapping_add(1);
        self.scopes.insert(self.key.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn owner(&self, resource: Arc<Resource>, scope: Arc<Scope>, receiver: Receiver) -> Owner {
        let tags = match receiver {
            Receiver::Otlp => scope.tags(&resource, &self.graphite.tags).map(Arc::new),
            Receiver::Statsd => None,
        };
        let service = tags
            .as_ref()
            .map_or(resource.in_graphite, |tags| identity::service_identity(&resource.service, tags));
        let identity = identity::of_owner(&resource, &scope);
        Owner { resource, scope, tags, service, identity }
    }
}
