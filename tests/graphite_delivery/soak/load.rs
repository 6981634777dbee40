//! Senders that send at a rate, and send again what was not acknowledged.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;

use super::store::Acknowledged;
use crate::{collect::client, points::Batch};

const SENDERS: usize = 2;
/// The pause before something is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// What the senders do, and what became of it.
pub(super) struct Load {
    /// Where they send to: another one after each start of the program.
    url: Mutex<String>,
    /// The series of each sender, which are the points of each of its requests.
    series: usize,
    /// From request to request of one sender.
    interval: Duration,
    ended: AtomicBool,
    /// The number of each sender's next request: all before it were acknowledged.
    next: [AtomicU64; SENDERS],
    pub(super) refused: AtomicU64,
    pub(super) unanswered: AtomicU64,
}

/// Ends the senders when it goes, also where a test fails.
pub(super) struct Running<'load>(&'load Load);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Of requests with so many points, and of so many points a second; as fast as they are taken where that is
    /// `None`.
    pub(super) fn new(series: usize, rate: Option<f64>) -> Self {
        let interval =
            rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64((SENDERS * series) as f64 / rate));
        Self {
            url: Mutex::default(),
            series,
            interval,
            ended: AtomicBool::new(false),
            next: Default::default(),
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    /// Begins to send; the senders end when what it returns is dropped.
    pub(super) fn start<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) -> Running<'scope> {
        for sender in 0..SENDERS {
            scope.spawn(move || self.send_all(sender));
        }
        Running(self)
    }

    pub(super) fn send_to(&self, address: &str) {
        *self.url.lock().unwrap() = format!("http://{address}/v1/metrics");
    }

    pub(super) fn acknowledged(&self) -> Vec<Acknowledged> {
        let of =
            |(sender, next): (usize, &AtomicU64)| (self.series_of(sender), 0..next.load(Ordering::SeqCst));
        self.next.iter().enumerate().map(of).collect()
    }

    fn send_all(&self, sender: usize) {
        let client = client();
        let mut due = Instant::now();
        for number in 0.. {
            if !self.acknowledge(&client, &Batch::of(number, self.series_of(sender))) {
                return;
            }
            self.next[sender].store(number + 1, Ordering::SeqCst);
            // What a fault held up is not made up for.
            due = (due + self.interval).max(Instant::now());
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Sends it until it is acknowledged; false where the load ends before.
    pub(super) fn acknowledge(&self, client: &reqwest::blocking::Client, batch: &Batch) -> bool {
        let body = bytes::Bytes::from(batch.body());
        while !self.ended.load(Ordering::SeqCst) {
            let url = self.url.lock().unwrap().clone();
            let request = client.post(url).header("content-type", "application/x-protobuf");
            let answer =
                request.body(body.clone()).send().and_then(|answer| Ok((answer.status(), answer.bytes()?)));
            match answer {
                Ok((status, said)) if status == 200 => {
                    let said = ExportMetricsServiceResponse::decode(said).unwrap();
                    assert_eq!(said.partial_success, None, "batch {}", batch.number);
                    return true;
                }
                Ok((status, _)) if status == 503 => self.refused.fetch_add(1, Ordering::SeqCst),
                Ok((status, said)) => panic!("batch {}: {status}: {said:?}", batch.number),
                Err(_) => self.unanswered.fetch_add(1, Ordering::SeqCst),
            };
            thread::sleep(PAUSE);
        }
        false
    }

    /// How many series all of them send.
    pub(super) const fn all_series(&self) -> usize {
        SENDERS * self.series
    }

    const fn series_of(&self, sender: usize) -> Range<usize> {
        sender * self.series..(sender + 1) * self.series
    }
}
