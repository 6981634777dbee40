//! Names that have two types in one request: which of them stands.
//!
//! In an SDK's request the order of scopes is by chance; a scrape of the same SDK shows the type of the scope that sorts
//! first.

use std::collections::{HashMap, HashSet};

use super::{point, target::Scope};
use crate::{
    collector::wire::{Metric, Metrics},
    exposition::family::Kind,
};

/// The metrics of one request by resource and name, once that was asked for.
#[derive(Debug, Default)]
pub(super) struct Rivals<'m>(Option<HashMap<(usize, &'m str), Vec<&'m Metric<'m>>>>);

impl<'m> Rivals<'m> {
    /// The type that the name of `metric` gets, which had none yet: that of the metric with this name, of the same
    /// resource, whose scope sorts first.
    pub(super) fn first_kind(&mut self, metrics: &'m Metrics<'m>, metric: &Metric<'_>, kind: Kind) -> Kind {
        let by_name = self.0.get_or_insert_with(|| {
            let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
            for metric in metrics.metrics.iter().filter(|metric| !metrics.points(metric).is_empty()) {
                by_name.entry((metric.resource, metric.name)).or_default().push(metric);
            }
            by_name
        });
        let of_one =
            by_name.get(&(metric.resource, metric.name)).map(Vec::as_slice).unwrap_or_default().iter();
        let kinds = of_one.clone().filter_map(|other| point::kind(other).ok());
        if kinds.clone().all(|other| other == kind) {
            return kind;
        }
        let mut seen = HashSet::new();
        let of_each_scope = of_one.filter(|other| seen.insert((other.scope, point::kind(other).ok())));
        let scopes = of_each_scope.map(|other| (Scope::new(0, metrics, other), point::kind(other)));
        let first = scopes.min_by(|(a, _), (b, _)| a.compare(b));
        first.and_then(|(_, kind)| kind.ok()).unwrap_or(kind)
    }
}
