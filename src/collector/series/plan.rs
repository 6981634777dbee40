//! What would happen to each point of a request, before anything is taken in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::{DecodeError, Message as _};

use super::{
    identity::{Key, NamedType},
    point,
};
use crate::collector::{refusals::shortened, wire::Receiver};

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
