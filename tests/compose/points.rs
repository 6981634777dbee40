//! A sender of points whose answers are remembered: each that the bridge answered OK must be in Graphite.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::graphite_api::render_from;
use super::process::eventually;
use super::stack::{BRIDGE_OTLP, GRAPHITE};
use super::views::DELIVERY;
use super::web;

/// The step of deploy/graphite/storage-schemas.conf: two points in one step would be one.
const STEP: u64 = 5;
/// How long ago the first point is, of the six hours that Graphite has room for at that step.
const AGO: u64 = 5 * 3600;
/// Between two points.
const PACE: Duration = Duration::from_millis(100);

/// A sender; its points are [`STEP`] seconds apart in time, whenever they are sent.
pub(super) struct Points {
    name: &'static str,
    first: u64,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Points {
    /// Sends points of the metric `name`, each until it is acknowledged.
    pub(super) fn send(name: &'static str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let first = (now - AGO) / STEP * STEP;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = mpsc::channel();
        let answered = Arc::clone(&acknowledged);
        let thread = thread::spawn(move || {
            let mut number = 0;
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) && number < AGO / STEP {
                if web::post_json(&format!("{BRIDGE_OTLP}/v1/metrics"), &point(name, first, number))
                    == Ok(200)
                {
                    answered.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                    number += 1;
                }
            }
        });
        Self { name, first, acknowledged, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends the sender, and holds that Graphite has every point that was acknowledged; returns how many.
    pub(super) fn are_all_in_graphite(mut self) -> usize {
        self.end();
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(!acknowledged.is_empty(), "no point was acknowledged");
        let target = [format!("seriesByTag('name={}')", self.name)];
        eventually("every acknowledged point to be in Graphite", DELIVERY, || {
            let series = render_from(GRAPHITE, &target, &(self.first - STEP).to_string(), "now")?;
            let [series] = series.as_slice() else { return Err(format!("{} series", series.len())) };
            let found: BTreeMap<u64, f64> =
                series.datapoints.iter().map(|(value, at)| (*at, *value)).collect();
            let lost: Vec<_> = acknowledged
                .iter()
                .filter(|number| found.get(&(self.first + *number * STEP)) != Some(&value(**number)))
                .collect();
            if lost.is_empty() { Ok(()) } else { Err(format!("{} are not there: {lost:?}", lost.len())) }
        });
        acknowledged.len()
    }

    fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        self.end();
    }
}

fn value(number: u64) -> f64 {
    number as f64 + 0.5
}

fn point(name: &str, first: u64, number: u64) -> String {
    let nanoseconds = format!("{}000000000", first + number * STEP);
    let gauge = json!({ "dataPoints": [{ "timeUnixNano": nanoseconds, "asDouble": value(number) }] });
    let service = json!({ "key": "service.name", "value": { "stringValue": "proof" } });
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [service] },
        "scopeMetrics": [{ "metrics": [{ "name": name, "gauge": gauge }] }],
    }] })
    .to_string()
}
