//! The bootstrap as a library: one guard, used by an application that is none of ours, over real sockets.

use std::{
    ffi::OsString,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt as _,
    metrics::Meter,
    trace::{Span as _, TraceContextExt as _, Tracer as _},
};
use pushpull::{
    exposition::{sdk, text},
    http::Layer,
    net,
    telemetry::{self, CollectError, Destination, Environment, Link, Signal, Telemetry},
};
use tokio::runtime::{Builder, Runtime};
use tracing::{Dispatch, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _};

use crate::{
    http::ask_with,
    process::{DEADLINE, eventually},
    receiver::{Receiver, takes},
    watcher::{Watcher, attribute},
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// Exports as an application would have them: on a runtime of their own.
struct Application {
    telemetry: Telemetry,
    // Dropped last: the exports run on it.
    exports: Runtime,
}

impl Application {
    fn start(variables: &[(&str, &str)], destination: Destination) -> Self {
        let exports = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(telemetry::suppress_on_this_thread)
            .enable_all()
            .build()
            .unwrap();
        let environment = Environment::of(
            variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        assert_eq!(environment.warnings(), [""; 0]);
        let telemetry = {
            let _entered = exports.enter();
            let resource = telemetry::resource(&environment, "shop", "1.0.0");
            Telemetry::start(&environment, resource, destination).unwrap()
        };
        Self { telemetry, exports }
    }

    fn pushing_to(variables: &[(&str, &str)], watcher: &Watcher) -> Self {
        Self::start(variables, Destination::Embedded { grpc: watcher.grpc, http: watcher.http })
    }

    fn meter(&self) -> Meter {
        self.telemetry.meter("shop")
    }

    /// The exposition that a scrape would get.
    fn scraped(&self) -> String {
        text::encode(&sdk::families(&self.telemetry.reader().collect().unwrap()))
    }

    /// The sum of the samples of a name that have this text among their labels.
    fn sum(&self, name: &str, label: &str) -> f64 {
        let scraped = self.scraped();
        let lines = scraped.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn stop(self) -> Vec<Signal> {
        let undelivered = self.telemetry.stop(Instant::now() + DEADLINE);
        drop(self.exports);
        undelivered
    }
}

/// While the link is severed, not a byte is sent and each signal's losses are counted as those of an endpoint that
/// is away; then the next push is right.
fn a_severed_link(protocol: &str, reason: &str) {
    let receiver = Receiver::plain(takes);
    let destination = Destination::Embedded { grpc: receiver.address, http: receiver.address };
    let often = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "20"),
    ];
    let application = Application::start(&often, destination);
    let orders = application.meter().u64_counter("orders").build();
    let events = Targets::new().with_default(LevelFilter::INFO);
    let subscriber = Dispatch::new(
        tracing_subscriber::registry().with(application.telemetry.layer(Targets::new(), events)),
    );
    let act = || {
        orders.add(1, &[]);
        application.telemetry.tracer("shop").start("order").end();
        tracing::dispatcher::with_default(&subscriber, || tracing::info!("an order"));
    };
    let everything = Signal::ALL.into_iter().collect();
    eventually("all three signals", || {
        act();
        (receiver.signals() == everything).then_some(())
    });

    let link: Link = application.telemetry.link();
    link.sever();
    assert!(application.telemetry.link().is_severed(), "one switch");
    let lost = format!("error_type=\"{reason}\"");
    // What was under way when the link was cut has arrived once each signal failed twice.
    let failures = |least: f64| {
        eventually("failures of each signal", || {
            act();
            ["metric_data_point", "span", "log"]
                .iter()
                .all(|what| {
                    application.sum(&format!("otel_sdk_exporter_{what}_exported_total"), &lost) >= least
                })
                .then_some(())
        });
    };
    failures(2.0);
    let requests = receiver.heard().1.len();
    let points = application.sum("otel_sdk_exporter_metric_data_point_exported_total", &lost);
    failures(points + 20.0);
    assert_eq!(receiver.heard().1.len(), requests, "nothing is sent");
    let scraped = application.scraped();
    let mut failures =
        scraped.lines().filter(|line| line.starts_with("otel_sdk_exporter") && line.contains("error_type="));
    assert!(failures.all(|line| line.contains(&lost)), "{scraped}");

    link.restore();
    eventually("requests again", || {
        act();
        (receiver.heard().1.len() > requests + 3).then_some(())
    });
    drop(subscriber);
    assert_eq!(application.stop(), []);
}

#[test]
fn a_severed_link_over_grpc() {
    a_severed_link("grpc", "Unavailable");
}

#[test]
fn a_severed_link_over_http() {
    a_severed_link("http/protobuf", "unreachable");
}

#[test]
fn after_an_outage_the_pushed_figures_are_right_again() {
    let watcher = Watcher::new();
    let application = Application::pushing_to(&[("OTEL_METRIC_EXPORT_INTERVAL", "20")], &watcher);
    let orders = application.meter().u64_counter("orders").build();
    let kind = [KeyValue::new("kind", "book")];
    orders.add(3, &kind);
    watcher.series("orders_total", ("kind", "book"), 3.0);
    let link = application.telemetry.link();
    link.sever();
    orders.add(4, &kind);
    eventually("a lost push", || {
        (application.sum("otel_sdk_exporter_metric_data_point_exported_total", "") > 0.0).then_some(())
    });
    assert_eq!(application.sum("orders_total", "book"), 7.0, "pull goes on");
    link.restore();
    watcher.series("orders_total", ("kind", "book"), 7.0);
    assert_eq!(application.stop(), []);
}

#[test]
fn a_stop_while_the_link_is_severed_delivers_nothing_and_says_so() {
    let watcher = Watcher::new();
    let application = Application::pushing_to(&[], &watcher);
    application.meter().u64_counter("orders").build().add(1, &[]);
    application.telemetry.link().sever();
    let began = Instant::now();
    assert!(application.stop().contains(&Signal::Metrics));
    assert!(began.elapsed() < Duration::from_secs(10), "it does not try until its deadline");
}

/// Each span and log record either arrives or is counted as one that found no room.
#[test]
fn what_finds_the_queue_full_is_counted() {
    const EACH: usize = 900;
    let watcher = Watcher::new();
    let small = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ];
    let application = Application::pushing_to(&small, &watcher);
    for what in ["span", "log"] {
        let name = format!("otel_sdk_processor_{what}_processed_total");
        assert!(application.scraped().contains(&format!("{name}{{")), "there from the start");
        assert_eq!(application.sum(&name, ""), 0.0);
    }
    let tracer = application.telemetry.tracer("shop");
    let events = Targets::new().with_default(LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(application.telemetry.layer(Targets::new(), events));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..EACH {
            tracer.start("order").end();
            tracing::info!("an order");
        }
    });
    let full = |what: &str| {
        application.sum(&format!("otel_sdk_processor_{what}_processed_total"), "error_type=\"queue_full\"")
    };
    let (spans, logs) = (full("span"), full("log"));
    assert!(spans > 0.0 && logs > 0.0, "{spans} {logs}");
    watcher.series(
        "otel_sdk_processor_span_processed_total",
        ("otel_component_type", "batching_span_processor"),
        spans,
    );
    watcher.series(
        "otel_sdk_processor_log_processed_total",
        ("otel_component_type", "batching_log_processor"),
        logs,
    );
    assert_eq!(application.stop(), []);
    assert_eq!(watcher.spans().len() as f64 + spans, EACH as f64);
    assert_eq!(watcher.logs().len() as f64 + logs, EACH as f64);
}

#[test]
fn a_guard_that_is_dropped_flushes() {
    let watcher = Watcher::new();
    let rarely = [("OTEL_METRIC_EXPORT_INTERVAL", "3600000"), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let application = Application::pushing_to(&rarely, &watcher);
    application.meter().u64_counter("orders").build().add(2, &[]);
    application.telemetry.tracer("shop").start("order").end();
    drop(application);
    assert_eq!(watcher.spans().len(), 1);
    watcher.series("orders_total", ("job", "shop"), 2.0);
}

/// The metrics are pushed behind spans and log records, so that they tell what was lost of those.
#[test]
fn the_last_push_tells_what_the_last_flush_lost() {
    let watcher = Watcher::new();
    let rarely = [
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "100"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        // The collector's other port does not know what is sent to it.
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ];
    let destination = Destination::Embedded { grpc: watcher.http, http: watcher.http };
    let application = Application::start(&rarely, destination);
    for _ in 0..3 {
        application.telemetry.tracer("shop").start("order").end();
    }
    let undelivered = application.stop();
    assert!(!undelivered.contains(&Signal::Metrics), "{undelivered:?}");
    watcher.series(
        "otel_sdk_exporter_span_exported_total",
        ("otel_component_type", "otlp_grpc_span_exporter"),
        3.0,
    );
}

/// No crypto provider is installed in this process, and none is needed.
#[test]
fn http_works_where_the_application_has_no_crypto_provider() {
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    let watcher = Watcher::new();
    let http = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_METRIC_EXPORT_INTERVAL", "20")];
    let application = Application::pushing_to(&http, &watcher);
    application.meter().u64_counter("orders").build().add(2, &[]);
    watcher.series("orders_total", ("job", "shop"), 2.0);
    assert_eq!(application.stop(), []);
}

/// A foreign axum application whose answer is the baggage that it was called with; asked with a trace and baggage.
fn called_with_context(propagators: &str, watcher: &Watcher) -> (String, Application) {
    let application = Application::pushing_to(
        &[("OTEL_PROPAGATORS", propagators), ("OTEL_BSP_SCHEDULE_DELAY", "20")],
        watcher,
    );
    let layer = Layer::new(&application.meter(), application.telemetry.tracer("shop"))
        .with_propagator(application.telemetry.propagator());
    let customer = async || {
        Context::map_current(|context| {
            let customer = context.baggage().get("customer").map(ToString::to_string).unwrap_or_default();
            context.span().set_attribute(KeyValue::new("customer", customer.clone()));
            customer
        })
    };
    let app = Router::new().route("/", get(customer)).layer(layer);
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(net::serve(listener, app, net::Stop::default()));
    let traceparent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
    let headers = [("traceparent", traceparent.as_str()), ("baggage", "customer=ann%20b")];
    let answer = ask_with(&address, "GET /", &headers);
    assert_eq!(answer.status, 200);
    (answer.body, application)
}

#[test]
fn contexts_are_taken_as_the_variable_says() {
    for (propagators, trace, baggage) in [
        ("", true, true),
        ("tracecontext,baggage", true, true),
        ("baggage, TraceContext,baggage", true, true),
        ("tracecontext", true, false),
        ("baggage", false, true),
        ("none", false, false),
    ] {
        let watcher = Watcher::new();
        let (customer, application) = called_with_context(propagators, &watcher);
        assert_eq!(customer, if baggage { "ann b" } else { "" }, "{propagators}");
        let span = watcher.span("GET /");
        assert_eq!(span.trace_id == TRACE_ID, trace, "{propagators}: {span:?}");
        assert_eq!(attribute(&span.attributes, "customer"), Some(customer.as_str()));
        assert_eq!(application.stop(), []);
    }
}

#[test]
fn a_disabled_sdk_does_nothing_and_costs_no_stop() {
    let receiver = Receiver::plain(takes);
    let destination = Destination::Embedded { grpc: receiver.address, http: receiver.address };
    let application = Application::start(&[("OTEL_SDK_DISABLED", "True")], destination);
    let called = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let _gauge = {
        let called = Arc::clone(&called);
        let callback = move |_: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            called.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        application.meter().u64_observable_gauge("observed").with_callback(callback).build()
    };
    application.telemetry.observe_process();
    application.telemetry.observe_runtime(application.exports.handle());
    let counter = application.meter().u64_counter("orders").build();
    counter.add(1, &[]);
    counter.bind(&[]).add(1);
    let span = application.telemetry.tracer("shop").start("order");
    assert!(!span.is_recording() && !span.span_context().is_valid());
    assert!(matches!(application.telemetry.reader().collect(), Err(CollectError::Off(_))));
    assert!(!called.load(std::sync::atomic::Ordering::Relaxed));
    // The specification exempts propagators.
    assert_eq!(application.telemetry.propagator().fields().count(), 3);
    let began = Instant::now();
    assert_eq!(application.stop(), []);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(receiver.heard().1.len(), 0);
}

/// The figures of the process, beside what the system says of it before and after.
#[cfg(target_os = "linux")]
#[test]
fn the_process_is_described_as_the_system_does() {
    let watcher = Watcher::new();
    let application = Application::pushing_to(&[("OTEL_METRIC_EXPORT_INTERVAL", "20")], &watcher);
    application.telemetry.observe_process();
    let value = |name: &str| application.sum(name, "");
    // Some processor time, at least two of the kernel's ticks.
    eventually("processor time", || (value("process_cpu_time_seconds_total{") >= 0.02).then_some(()));
    let scraped = application.scraped();
    for line in [
        "# TYPE process_cpu_time_seconds_total counter",
        "# TYPE process_memory_usage_bytes gauge",
        "# TYPE process_unix_file_descriptor_count gauge",
        "# TYPE process_uptime_seconds gauge",
    ] {
        assert!(scraped.lines().any(|known| known == line), "{line}: {scraped}");
    }
    for mode in ["user", "system"] {
        assert!(
            scraped.contains(&format!("process_cpu_time_seconds_total{{cpu_mode=\"{mode}\"}}")),
            "{scraped}"
        );
    }
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
    };
    let memory = value("process_memory_usage_bytes ");
    assert!((resident() / 2.0..resident() * 2.0).contains(&memory), "{memory} of {}", resident());
    assert!((0.0..3600.0).contains(&value("process_uptime_seconds ")));

    // Other tests of this process open files too, so that only more can be expected than is opened here.
    let held: Vec<_> = (0..500).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let with = value("process_unix_file_descriptor_count ");
    assert!((500.0..5_000.0).contains(&with), "{with}");
    drop(held);
    assert_eq!(application.stop(), []);
}

#[test]
fn a_busy_runtime_shows() {
    let watcher = Watcher::new();
    let application = Application::pushing_to(&[], &watcher);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    application.telemetry.observe_runtime(runtime.handle());
    let ratio = || application.sum("tokio_runtime_busy_ratio ", "");
    assert!((0.0..=1.0).contains(&ratio()));
    // The only worker is held, and tasks wait behind what holds it.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (begun, began) = std::sync::mpsc::channel();
    let holding = runtime.spawn(async move {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    began.recv().unwrap();
    let waiting: Vec<_> = (0..7).map(|_| runtime.spawn(async {})).collect();
    assert_eq!(application.sum("tokio_runtime_global_queue_depth ", ""), 7.0);
    let since = Instant::now();
    eventually("a second of work", || (since.elapsed() > Duration::from_secs(1)).then_some(()));
    drop(hold);
    runtime.block_on(async {
        holding.await.unwrap();
        for task in waiting {
            task.await.unwrap();
        }
    });
    // A worker's time is counted when it parks.
    eventually("a busy runtime", || (ratio() > 0.25).then_some(()));
    assert_eq!(application.sum("tokio_runtime_global_queue_depth ", ""), 0.0);
}

#[test]
fn a_reader_that_is_off_says_why() {
    let watcher = Watcher::new();
    for (variable, value) in [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "none")] {
        let application = Application::pushing_to(&[(variable, value)], &watcher);
        let error = application.telemetry.reader().collect().unwrap_err();
        assert!(error.to_string().contains(variable), "{error}");
        assert_eq!(application.stop(), []);
    }
}
