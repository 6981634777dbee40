//! A scrape where nothing can be collected: an answer that says so, never an empty exposition.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry_sdk::Resource;
use pushpull::{
    http::Layer,
    net,
    service::{
        self,
        database::{Database, Settings},
    },
    telemetry::{Destination, Environment, Telemetry},
};
use tokio::runtime::Runtime;

use crate::{http::ask, watcher::Watcher};

#[test]
fn a_callback_that_panics_makes_503_and_harms_no_other_route() {
    let watcher = Watcher::new();
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let destination = Destination::Embedded { grpc: watcher.grpc, http: watcher.http };
    let often = [("OTEL_METRIC_EXPORT_INTERVAL".into(), "50".into())];
    let environment = Environment::of(often);
    let telemetry = Telemetry::start(
        &environment,
        Resource::builder_empty().with_service_name("test").build(),
        destination,
    )
    .unwrap();
    let meter = telemetry.meter("test");
    let panics = Arc::new(AtomicBool::new(false));
    let _gauge = {
        let panics = Arc::clone(&panics);
        let callback = move |gauge: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            assert!(!panics.load(Ordering::Relaxed), "as the test wants it");
            gauge.observe(7, &[]);
        };
        meter.u64_observable_gauge("fragile").with_callback(callback).build()
    };
    let settings = Settings { url: None, pool: 1, queue: 1, timeout: Duration::from_secs(5), work: 0.01 };
    let database = runtime.block_on(Database::open(&settings, &meter)).unwrap();
    let layer = Layer::new(&meter, telemetry.tracer("test"));
    let router = service::router(
        &meter,
        layer,
        telemetry.reader().clone(),
        database,
        Arc::default(),
        &pushpull::hosts::Hosts::default(),
    );
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = net::Stop::default();
    let served = runtime.spawn(net::serve(listener, router, stop.clone()));
    drop(entered);

    ask(&address, "GET /");
    let well = ask(&address, "GET /metrics/");
    assert_eq!((well.status, well.sample("fragile")), (200, Some(7.0)), "{}", well.body);
    watcher.series("fragile", ("job", "test"), 7.0);
    panics.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let broken = ask(&address, "GET /metrics/");
        assert_eq!((broken.status, broken.body.is_empty()), (503, false), "{broken:?}");
        assert_eq!(ask(&address, "GET /").status, 200);
    }

    stop.cut();
    runtime.block_on(served).unwrap();
    let undelivered = telemetry.stop(Instant::now() + Duration::from_secs(5));
    assert_eq!(undelivered, [pushpull::telemetry::Signal::Metrics], "and the push loop still answers");
}
