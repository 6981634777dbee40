//! One run of the application: the server that clients connect to, what they expect, and the comparison of it with
//! what was recorded.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

use axum::Router;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use pushpull::net::{Stop, serve};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::{
    application::{Gate, Stage, application},
    client::{Sent, within},
    exchange::{Ending, Exchange, Expected, Reaches, Version},
    recorded::{Recorded, Series, Totals, series},
};

/// The attributes that metrics have, and no others.
const ON_METRICS: [&str; 6] = [
    "http.request.method",
    "url.scheme",
    "http.route",
    "network.protocol.version",
    "http.response.status_code",
    "error.type",
];

pub(crate) struct Trial {
    pub(crate) stage: Arc<Stage>,
    pub(crate) recorded: Recorded,
    router: Router,
    server: Mutex<Server>,
    /// What is expected of each request, by its number.
    expected: Mutex<Vec<Expected>>,
    /// The latches of requests that wait for a stop.
    waiting: Mutex<Vec<Arc<Gate>>>,
    wait: Semaphore,
}

struct Server {
    address: SocketAddr,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::default());
        let task = tokio::spawn(serve(listener, router, stop.clone()));
        Self { address, stop, task }
    }
}

impl Trial {
    pub(crate) async fn start() -> Arc<Self> {
        let (recorded, stage) = (Recorded::new(), Arc::default());
        let router = application(&stage, &recorded.layer());
        let server = Mutex::new(Server::start(router.clone()).await);
        let (expected, waiting) = (Mutex::default(), Mutex::default());
        Arc::new(Self { stage, recorded, router, server, expected, waiting, wait: Semaphore::new(0) })
    }

    /// Gives a request its number, and takes note of what must come of it.
    pub(crate) fn expect(&self, exchange: Exchange, version: Version, never: bool) -> Sent {
        let mut expected = exchange.expected(version);
        if never {
            expected.reaches = Reaches::Never;
        }
        let seen = if never { crate::exchange::Seen::Broken } else { expected.seen };
        let mut all = self.expected.lock().unwrap();
        all.push(expected);
        Sent { id: all.len() as u64 - 1, exchange, version, seen }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let address = self.server.lock().unwrap().address;
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Takes note of a request that waits for a stop.
    pub(crate) fn waits(&self, gate: Arc<Gate>) {
        self.waiting.lock().unwrap().push(gate);
        self.wait.add_permits(1);
    }

    /// Stops the server once `count` requests wait for it, and starts another; the requests go on once it drains, or
    /// else it cuts them.
    pub(crate) async fn restart(&self, count: usize, cut: bool) {
        let waiting = self.wait.acquire_many(u32::try_from(count).unwrap());
        within("the requests that wait", waiting).await.unwrap().forget();
        let next = Server::start(self.router.clone()).await;
        let Server { stop, task, .. } = std::mem::replace(&mut *self.server.lock().unwrap(), next);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        stop.drain();
        if cut {
            stop.cut();
        } else {
            waiting.iter().for_each(|gate| gate.open());
        }
        within("the stop", task).await.unwrap();
    }

    /// Waits until everything has ended that clients began, which must all be gone.
    pub(crate) async fn end(&self) {
        // No request comes after the server's end. Streams of HTTP/2 are tasks of their own, which may end later.
        self.restart(0, false).await;
        within("the end of all requests", self.recorded.ended(self.stage.count())).await;
    }

    /// Compares what was recorded with what was expected; nothing may run any more. Returns how many requests there
    /// were by `error.type`, which is empty for those that went well.
    pub(crate) fn check(&self) -> BTreeMap<String, u64> {
        let (expected, arrived) = (self.expected.lock().unwrap(), self.stage.arrived());
        for (id, expected) in expected.iter().enumerate() {
            match (expected.reaches, arrived.contains(&(id as u64))) {
                (Reaches::Always, false) => panic!("request {id} never arrived: {expected:?}"),
                (Reaches::Never, true) => panic!("request {id} arrived: {expected:?}"),
                _ => {}
            }
        }
        assert_eq!(self.recorded.ended_now(), arrived.len(), "spans and requests");
        let spans = self.recorded.take_spans();
        let mut sums = BTreeMap::<Series, Sums>::new();
        for id in arrived {
            let expected = &expected[usize::try_from(id).unwrap()];
            let (on_metric, ending, span) = compare(id, expected, &spans);
            sums.entry(on_metric).or_default().add(expected, ending, span);
        }
        self.check_metrics(&sums);
        let mut ended = BTreeMap::new();
        for (series, sums) in sums {
            *ended.entry(series.get("error.type").cloned().unwrap_or_default()).or_default() += sums.count;
        }
        ended
    }

    fn check_metrics(&self, sums: &BTreeMap<Series, Sums>) {
        let metrics = self.recorded.metrics();
        let counts = |totals: &BTreeMap<Series, Totals>| -> BTreeMap<Series, u64> {
            totals.iter().map(|(series, totals)| (series.clone(), totals.count)).collect()
        };
        let all: BTreeMap<_, _> = sums.iter().map(|(series, sums)| (series.clone(), sums.count)).collect();
        let mut answered = all.clone();
        answered.retain(|series, _| series.contains_key("http.response.status_code"));
        assert_eq!(counts(&metrics.durations), all);
        assert_eq!(counts(&metrics.request_sizes), all);
        assert_eq!(counts(&metrics.response_sizes), answered);
        for (series, sums) in sums {
            let lasted = metrics.durations[series].sum;
            let difference = (lasted - sums.lasted).abs();
            assert!(difference <= 1e-9 * sums.lasted, "{series:?}: {lasted} s, by spans {}", sums.lasted);
            let sent = metrics.request_sizes[series].sum;
            assert!(sums.request_bytes.has(sent), "{series:?}: {sent} B sent, {sums:?}");
            if let Some(received) = metrics.response_sizes.get(series) {
                assert!(sums.response_bytes.has(received.sum), "{series:?}: {received:?}, {sums:?}");
            }
        }
        let none_active = sums.keys().map(|series| {
            let active =
                ["http.request.method", "url.scheme"].map(|key| (key.to_owned(), series[key].clone()));
            (Series::from(active), 0)
        });
        assert_eq!(metrics.active, none_active.collect());
    }
}

/// What is expected of one series of the metrics.
#[derive(Debug, Default)]
struct Sums {
    count: u64,
    lasted: f64,
    request_bytes: Between,
    response_bytes: Between,
}

impl Sums {
    fn add(&mut self, expected: &Expected, ending: &Ending, span: &SpanData) {
        self.count += 1;
        self.lasted += span.end_time.duration_since(span.start_time).unwrap().as_secs_f64();
        self.request_bytes.add(&expected.request_bytes);
        self.response_bytes.add(&ending.response_bytes);
    }
}

/// The least and the most that a sum can be.
#[derive(Debug, Default)]
struct Between(u64, u64);

impl Between {
    fn add(&mut self, range: &RangeInclusive<u64>) {
        self.0 += range.start();
        self.1 += range.end();
    }

    fn has(&self, sum: f64) -> bool {
        (self.0 as f64..=self.1 as f64).contains(&sum)
    }
}

/// Compares a request's only span with what was expected; returns the series that its metrics must be in, and which of
/// the endings it was.
fn compare<'a>(
    id: u64,
    expected: &'a Expected,
    spans: &'a HashMap<u64, Vec<SpanData>>,
) -> (Series, &'a Ending, &'a SpanData) {
    let [span] = spans.get(&id).map_or(&[][..], Vec::as_slice) else {
        panic!("request {id} has not one span but {:?}: {expected:?}", spans.get(&id));
    };
    let mut on_span = series(span.attributes.iter());
    let ending = expected.endings.iter().find(|ending| {
        let status = ending.status.map(|status| status.to_string());
        on_span.get("http.response.status_code") == status.as_ref()
            && on_span.get("error.type").map(String::as_str) == ending.error_type
    });
    let Some(ending) = ending else {
        panic!("request {id} ended otherwise: {expected:?}, {on_span:?}");
    };
    let route = expected.route.map_or(String::new(), |route| format!(" {route}"));
    let method = if expected.method == "_OTHER" { "HTTP" } else { expected.method };
    assert_eq!(span.name, format!("{method}{route}"), "request {id}: {expected:?}");
    let is_error = matches!(span.status, Status::Error { .. });
    let failed = ending.error_type.is_some_and(|kind| kind != "cancelled");
    assert_eq!(is_error, failed, "request {id}: {expected:?}, {span:?}");
    assert_eq!(on_span["url.path"], expected.path, "request {id}: {expected:?}");

    on_span.retain(|key, _| ON_METRICS.contains(&key.as_str()));
    let status = ending.status.map(|status| status.to_string());
    let on_metric = [
        ("http.request.method", Some(expected.method)),
        ("url.scheme", Some("http")),
        ("http.route", expected.route),
        ("network.protocol.version", Some(expected.version.label())),
        ("http.response.status_code", status.as_deref()),
        ("error.type", ending.error_type),
    ];
    let on_metric =
        on_metric.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let on_metric: Series = on_metric.collect();
    assert_eq!(on_span, on_metric, "request {id}: {expected:?}");
    (on_metric, ending, span)
}
