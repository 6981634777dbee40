//! Deltas as the totals that they add up to, for peers that take no deltas.
//!
//! It must not add anything up itself: the totals are those of the series table.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint,
        Metric, NumberDataPoint, metric::Data, number_data_point,
    },
};
use prost::{DecodeError, Message as _};

use super::{Plan, point, state::State};
use crate::{
    collector::wire::{Content, Metrics, Point},
    exposition::family::{Number, Value},
};

/// Bytes that a point may take more than as a delta: its start time and its time with their keys, its value where that
/// was left out, and longer lengths of what it is in.
const MORE_BYTES: usize = 32;
/// Bytes of a bucket with its bound, and of what surrounds all of them.
const BUCKET_BYTES: usize = 16;
const AROUND_BUCKETS: usize = 64;

/// What a delta made of its series.
#[derive(Clone, Debug)]
pub(super) struct Total {
    /// Its place among the points of the request.
    index: usize,
    slot: usize,
    start: u64,
    time: u64,
    value: Value,
}

/// When totals began, by the slots of their series; of one that an earlier process kept, it is not known.
#[derive(Debug, Default)]
pub(super) struct Starts(HashMap<usize, u64>);

impl Starts {
    /// Another series has the slot now.
    pub(super) fn forget(&mut self, slot: usize) {
        self.0.remove(&slot);
    }

    /// The total of a series after the point at `index`, which went on from the total before if it was `added`.
    pub(super) fn total(
        &mut self,
        (slot, index): (usize, usize),
        point: &Point<'_>,
        added: bool,
        state: &State,
    ) -> Option<Total> {
        let start = match self.0.get(&slot).copied() {
            // A late one may be of before.
            Some(start) if added && start > 0 && point.start > 0 => start.min(point.start),
            Some(start) if added => start,
            None if added => 0,
            _ => point.start,
        };
        self.0.insert(slot, start);
        Some(Total { index, slot, start, time: state.time()?, value: state.value()?.into_owned() })
    }
}

/// The most bytes that the totals of these deltas take more than they do; exponential histograms are kept by as many
/// bounds as `bounds`.
pub(super) fn more_bytes(metrics: &Metrics<'_>, bounds: usize) -> usize {
    let deltas = metrics.metrics.iter().filter(|metric| point::is_delta(metric));
    deltas
        .flat_map(|metric| metrics.points(metric))
        .map(|point| match point.content {
            Content::Exponential(_) => AROUND_BUCKETS + BUCKET_BYTES * (bounds + 1),
            _ => MORE_BYTES,
        })
        .sum()
}

/// The request without the points that `plan` refuses, and with `totals` in the place of deltas.
#[derive(Debug)]
pub struct Rewritten {
    /// Its encoding.
    pub wire: Bytes,
    /// How many points are in it.
    pub points: u64,
}

/// Rewrites a request.
///
/// # Errors
/// Where it cannot be decoded.
pub(super) fn rewritten(wire: &Bytes, plan: &Plan, totals: Vec<Total>) -> Result<Rewritten, DecodeError> {
    let mut request = ExportMetricsServiceRequest::decode(wire.as_ref())?;
    let mut turns = Turns::new(plan, totals);
    let scopes = request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        turns.metric(metric);
    }
    Ok(Rewritten { wire: request.encode_to_vec().into(), points: turns.taken })
}

/// The points of a request, one after another.
struct Turns<'a> {
    slots: std::slice::Iter<'a, Option<usize>>,
    index: usize,
    totals: HashMap<usize, Total>,
    /// Totals that another one of the same series and time has been added to.
    superseded: HashSet<usize>,
    taken: u64,
}

impl<'a> Turns<'a> {
    fn new(plan: &'a Plan, totals: Vec<Total>) -> Self {
        let (mut newest, mut superseded) = (HashMap::new(), HashSet::new());
        for total in &totals {
            superseded.extend(newest.insert((total.slot, total.time), total.index));
        }
        let totals = totals.into_iter().map(|total| (total.index, total)).collect();
        Self { slots: plan.slots.iter(), index: 0, totals, superseded, taken: 0 }
    }

    /// Whether the next point is taken, and its total where it is a delta.
    fn next(&mut self) -> (bool, Option<Total>) {
        let index = self.index;
        self.index += 1;
        let taken = self.slots.next().is_some_and(Option::is_some) && !self.superseded.contains(&index);
        self.taken += u64::from(taken);
        (taken, self.totals.remove(&index))
    }

    fn metric(&mut self, metric: &mut Metric) {
        const DELTA: i32 = AggregationTemporality::Delta as i32;
        const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
        match &mut metric.data {
            Some(Data::Sum(sum)) if sum.aggregation_temporality == DELTA => {
                sum.aggregation_temporality = CUMULATIVE;
                sum.data_points.retain_mut(|point| self.of(|total| number(point, total)));
                sum.data_points.sort_by_key(|point| point.time_unix_nano);
            }
            Some(Data::Histogram(histogram)) if histogram.aggregation_temporality == DELTA => {
                histogram.aggregation_temporality = CUMULATIVE;
                histogram.data_points.retain_mut(|point| self.of(|total| buckets(point, total)));
                histogram.data_points.sort_by_key(|point| point.time_unix_nano);
            }
            Some(Data::ExponentialHistogram(histogram)) if histogram.aggregation_temporality == DELTA => {
                // The table keeps it by bounds.
                let mut data_points: Vec<_> = std::mem::take(&mut histogram.data_points)
                    .into_iter()
                    .map(by_bounds)
                    .filter_map(|mut point| self.of(|total| buckets(&mut point, total)).then_some(point))
                    .collect();
                data_points.sort_by_key(|point| point.time_unix_nano);
                let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
                metric.data = Some(Data::Histogram(histogram));
            }
            _ => point::retain(metric, || self.next().0),
        }
    }

    /// Lets the next point, if it is taken, become its total.
    fn of(&mut self, become_total: impl FnOnce(Total)) -> bool {
        let (taken, total) = self.next();
        if let Some(total) = total.filter(|_| taken) {
            become_total(total);
        }
        taken
    }
}

fn number(point: &mut NumberDataPoint, total: Total) {
    point.start_time_unix_nano = total.start;
    point.time_unix_nano = total.time;
    point.value = match total.value {
        Value::Number(Number::Int(value)) => Some(number_data_point::Value::AsInt(value)),
        Value::Number(value) => Some(number_data_point::Value::AsDouble(value.as_f64())),
        Value::Histogram(_) | Value::Summary(_) => return,
    };
}

fn buckets(point: &mut HistogramDataPoint, total: Total) {
    let Value::Histogram(histogram) = total.value else { return };
    point.start_time_unix_nano = total.start;
    point.time_unix_nano = total.time;
    point.count = histogram.count;
    point.sum = histogram.sum.map(|sum| sum.as_f64());
    point.bucket_counts = histogram.counts;
    point.explicit_bounds = histogram.bounds.to_vec();
    // Those of all that was counted are not known.
    (point.min, point.max) = (None, None);
}

/// The same point without its buckets.
fn by_bounds(point: ExponentialHistogramDataPoint) -> HistogramDataPoint {
    let ended = point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0;
    HistogramDataPoint {
        attributes: point.attributes,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: if ended { 0 } else { point.count },
        exemplars: point.exemplars,
        flags: point.flags,
        ..HistogramDataPoint::default()
    }
}
