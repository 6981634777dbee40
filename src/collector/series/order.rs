//! The order in which the points of a request are taken in.

use super::point;
use crate::collector::wire::Metrics;

/// The place of a point: its metric's, and its own in it.
pub(super) type Place = (usize, usize);

/// A delta point of a request.
#[derive(Clone, Copy)]
struct Delta {
    slot: usize,
    time: u64,
    /// Where it is among all points of the request.
    index: usize,
}

/// The places of all points, where the deltas of a series do not come in the order of their times; `None` where they
/// do, as from nearly every sender. Taken in as they come, a total would stand at the newest second before the points of
/// earlier seconds are in it. `slots` are those of the series.
pub(super) fn of_times(metrics: &Metrics<'_>, slots: &[Option<usize>]) -> Option<Vec<Place>> {
    let deltas = metrics.metrics.iter().filter(|metric| point::is_delta(metric));
    if deltas.clone().flat_map(|metric| metrics.points(metric)).is_sorted_by_key(|point| point.time) {
        return None;
    }
    let mut deltas: Vec<Delta> = deltas
        .flat_map(|metric| (metric.first_point()..).zip(metrics.points(metric)))
        .filter_map(|(index, point)| {
            Some(Delta { slot: slots.get(index).copied()??, time: point.time, index })
        })
        .collect();
    deltas.sort_by_key(|delta| delta.slot);
    let as_they_came = deltas.clone();
    // Stable: what has one time stays as it came.
    deltas.sort_by_key(|delta| (delta.slot, delta.time));
    if deltas.iter().zip(&as_they_came).all(|(a, b)| a.index == b.index) {
        return None;
    }
    let each = metrics.metrics.iter().enumerate();
    let places: Vec<Place> = each
        .flat_map(|(at, metric)| (0..metrics.points(metric).len()).map(move |point| (at, point)))
        .collect();
    let mut ordered = places.clone();
    // Each series keeps its turns, and has its points in them by their times.
    for (turn, delta) in as_they_came.iter().zip(deltas) {
        ordered[turn.index] = places[delta.index];
    }
    Some(ordered)
}
