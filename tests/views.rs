//! Pull equals push: under load each pushed value of a counter or a histogram lies between the scrapes around
//! it, and at rest both views are equal to the bit. Over real sockets, by OTLP/gRPC and by OTLP/HTTP.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]
#![expect(
    clippy::print_stdout,
    reason = "how many brackets there were is what a reader of a run wants to know"
)]

#[path = "views/bracket.rs"]
mod bracket;
#[path = "views/readers.rs"]
mod readers;
#[path = "views/served.rs"]
mod served;
#[path = "support/shared_reader.rs"]
mod shared_reader;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Instant, SystemTime},
};

use bracket::{Key, Push, Scrape, differences, judge};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};
use served::{PATIENCE, Served, scrape};

/// Batches and scrapes that the load goes on for.
const BATCHES: usize = 80;
const SCRAPES: usize = 80;
/// Threads that record, and tasks that send requests.
const WRITERS: usize = 3;

#[test]
fn under_load_and_at_rest_by_grpc() {
    under_load_and_at_rest("grpc");
}

#[test]
fn under_load_and_at_rest_by_http() {
    under_load_and_at_rest("http/protobuf");
}

fn under_load_and_at_rest(protocol: &str) {
    let served = Served::start(protocol);
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let scrapes = scrape_under_load(&served, &client);
    let pushes = served.take_pushes();
    let walls: Vec<_> = scrapes.iter().map(|scrape| scrape.received).collect();
    assert!(walls.is_sorted(), "the machine's clock was set back: run this again");

    let verdict = judge(&scrapes, &pushes);
    println!(
        "{protocol}: {} scrapes, {} pushes, {} brackets, {} moving, {} strictly between, {} violations",
        scrapes.len(),
        pushes.len(),
        verdict.brackets,
        verdict.moving,
        verdict.strictly_between,
        verdict.violations.len()
    );
    assert_eq!(verdict.violations, [], "{} of {}", verdict.violations.len(), verdict.brackets);
    assert!(verdict.brackets > 5_000, "{verdict:?}");
    assert!(verdict.moving > verdict.brackets / 10, "{verdict:?}");
    assert!(verdict.strictly_between > verdict.brackets / 20, "{verdict:?}");
    every_kind_of_series_was_judged(&pushes);
    wrong_values_are_seen(&scrapes, &pushes);

    at_rest(served, &client);
}

/// Scrapes until both views have been seen often enough, while requests and recordings go on.
fn scrape_under_load(served: &Served, client: &reqwest::Client) -> Vec<Scrape> {
    let stopped = Arc::new(AtomicBool::new(false));
    let meter = served.telemetry.meter("views.load");
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (load, stopped) = (Load::new(&meter), Arc::clone(&stopped));
            thread::spawn(move || load.record(writer, &stopped))
        })
        .collect();
    let paths = ["/", "/", "/database/"].map(|path| served.url(path));
    let requests: Vec<_> = paths
        .into_iter()
        .map(|url| {
            let (client, stopped) = (client.clone(), Arc::clone(&stopped));
            served.foreground.spawn(async move {
                while !stopped.load(Ordering::Relaxed) {
                    client.get(&url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
                }
            })
        })
        .collect();
    let scrapes = served.foreground.block_on(async {
        let (url, deadline) = (served.url("/metrics/"), Instant::now() + PATIENCE);
        let mut scrapes = Vec::new();
        while scrapes.len() < SCRAPES || served.pushed() < BATCHES {
            assert!(Instant::now() < deadline, "{} scrapes, {} pushes", scrapes.len(), served.pushed());
            scrapes.push(scrape(client, &url).await);
        }
        scrapes
    });
    stopped.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    for request in requests {
        served.foreground.block_on(request).unwrap();
    }
    scrapes
}

/// Instruments of an application, recorded by several threads at once, bound and not.
struct Load {
    calls: Counter<u64>,
    seconds: Counter<f64>,
    latency: Histogram<f64>,
    size: Histogram<u64>,
}

impl Load {
    fn new(meter: &Meter) -> Self {
        Self {
            calls: meter.u64_counter("load.calls").build(),
            seconds: meter.f64_counter("load.busy").with_unit("s").build(),
            latency: meter
                .f64_histogram("load.latency")
                .with_unit("s")
                .with_boundaries(vec![0.1, 0.2, 0.4, 0.8])
                .build(),
            size: meter
                .u64_histogram("load.size")
                .with_unit("By")
                .with_boundaries(vec![16.0, 64.0, 256.0])
                .build(),
        }
    }

    fn record(&self, writer: usize, stopped: &AtomicBool) {
        let shared = [KeyValue::new("writer", "all")];
        let (calls, latency) = (self.calls.bind(&shared), self.latency.bind(&shared));
        for step in 0_u32.. {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            // Tenths have no exact double, so that the order in which they are added shows in the last bits.
            let fraction = f64::from(step % 10) / 10.0;
            let own = [KeyValue::new("writer", i64::try_from(writer).unwrap())];
            calls.add(1);
            latency.record(fraction);
            self.calls.add(u64::from(step % 3), &own);
            self.seconds.add(fraction, &shared);
            self.latency.record(fraction, &own);
            self.size.record(u64::from(step % 300), &shared);
            thread::yield_now();
        }
    }
}

fn every_kind_of_series_was_judged(pushes: &[Push]) {
    let last = &pushes.last().unwrap().readings;
    for name in [
        "requests_total",
        "slow_bucket",
        "slow_sum",
        "http_server_request_duration_seconds_count",
        "load_calls_total",
        "load_busy_seconds_total",
        "load_latency_seconds_bucket",
        "load_latency_seconds_sum",
        "load_size_bytes_sum",
    ] {
        assert!(last.keys().any(|(key, _)| key == name), "{name} was not pushed: {:?}", last.keys());
    }
}

/// The same data with one value changed: the smallest step beyond a bracket is a violation, and only that.
fn wrong_values_are_seen(scrapes: &[Scrape], pushes: &[Push]) {
    let after = |push: &Push| scrapes.iter().find(|scrape| scrape.asked >= push.arrived);
    let (at, key, bound) = pushes
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, push)| {
            let key = push.readings.keys().find(|(name, _)| name == "load_busy_seconds_total")?;
            Some((at, key.clone(), after(push)?.values[key]))
        })
        .expect("no push has a scrape after it");
    let mut wrong = pushes.to_vec();
    wrong[at].readings.get_mut(&key).unwrap().value = bound.next_up();
    let violations = judge(scrapes, &wrong).violations;
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!((&violations[0].key, violations[0].after), (&key, bound));
}

/// Nothing is recorded any more: the last push, which the stop asks for, and a scrape before it are the same.
fn at_rest(served: Served, client: &reqwest::Client) {
    let stopped_at = SystemTime::now();
    let scraped = served.foreground.block_on(scrape(client, &served.url("/metrics/")));
    let Served { telemetry, foreground, pushes, background, .. } = served;
    let undelivered = telemetry.stop(Instant::now() + PATIENCE);
    assert_eq!(undelivered, []);
    let last = pushes.lock().unwrap().pop().expect("nothing was pushed");
    assert!(
        last.readings.values().all(|reading| reading.time >= stopped_at),
        "the last push is an early one"
    );

    let pushed: BTreeMap<Key, f64> =
        last.readings.into_iter().map(|(key, reading)| (key, reading.value)).collect();
    // The connections are counted at the moment that is asked for; only the name ends like a histogram's.
    let cumulative = |name: &str| {
        ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end))
            && name != "db_client_connection_count"
    };
    let scraped: BTreeMap<Key, f64> =
        scraped.values.into_iter().filter(|((name, _), _)| cumulative(name)).collect();
    assert!(scraped.len() > 60, "{} series", scraped.len());
    assert_eq!(differences(&scraped, &pushed), [""; 0]);
    drop((foreground, background));
}
