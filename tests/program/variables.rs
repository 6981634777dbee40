//! The standard variables that choose what is exported and how, each at the far end of what it changes.

use std::{collections::BTreeSet, net::TcpListener};

use pushpull::collector::batch::Signal;

use crate::{
    http::{ask, ask_with},
    process::{Launch, Program, eventually},
    receiver::{Receiver, takes},
    watcher::Watcher,
};

const HOME: &str = "Development Prometheus-backed Flash App";

/// Asks all routes once; they answer as ever.
fn use_routes(service: &Program) {
    assert_eq!(service.get("/").body, HOME);
    assert_eq!(service.get("/database/").body, "Completed expensive database operation");
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(service.get("/nothing").status, 404);
}

/// The exposition without metrics: a comment that names this variable.
fn assert_nothing_exposed(service: &Program, variable: &str) {
    for path in ["/metrics", "/metrics/"] {
        let answer = service.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        assert!(answer.body.starts_with("# ") && answer.body.ends_with('\n'), "{answer:?}");
        assert!(answer.body.lines().count() == 1 && answer.body.contains(variable), "{answer:?}");
    }
}

/// What arrives from a service with these variables until it has stopped, which flushes all that it holds.
fn arriving(variables: &[(&str, &str)]) -> BTreeSet<Signal> {
    let receiver = Receiver::plain(takes);
    let launch = Launch::serve().quick_database().pushing_to("grpc", &receiver.address.to_string());
    let service = variables.iter().fold(launch, |launch, (name, value)| launch.variable(name, value)).start();
    use_routes(&service);
    let finished = service.stop();
    finished.assert_orderly();
    assert!(!finished.stderr.contains("WARN"), "{finished:?}");
    receiver.signals()
}

#[test]
fn a_disabled_sdk_sends_nothing() {
    assert_eq!(arriving(&[]), BTreeSet::from(Signal::ALL));
    for value in ["true", "TRUE", "True"] {
        assert_eq!(arriving(&[("OTEL_SDK_DISABLED", value)]), BTreeSet::new(), "{value}");
    }
    assert_eq!(arriving(&[("OTEL_SDK_DISABLED", "false")]), BTreeSet::from(Signal::ALL));
    assert_eq!(arriving(&[("OTEL_SDK_DISABLED", "")]), BTreeSet::from(Signal::ALL), "empty is not set");
}

#[test]
fn a_service_without_the_sdk_serves_and_logs_as_ever() {
    let service = Launch::serve()
        .quick_database()
        .variable("OTEL_SDK_DISABLED", "true")
        .variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
        .variable("RUST_LOG", "debug")
        .start();
    for listener in ["otlp_grpc", "otlp_http", "statsd", "exposition", "prometheus"] {
        assert!(!service.listens(listener), "{listener}: nothing is pushed, so nothing receives");
    }
    use_routes(&service);
    assert_nothing_exposed(&service, "OTEL_SDK_DISABLED");
    let finished = service.stop();
    finished.assert_orderly();
    assert!(finished.stderr.contains("database operation completed"), "{finished:?}");
    assert!(finished.stderr.contains("OTEL_SDK_DISABLED is true: nothing is measured"), "{finished:?}");
}

#[test]
fn signals_go_where_their_variables_say() {
    let all = BTreeSet::from(Signal::ALL);
    let without = |signal| all.iter().copied().filter(|other| *other != signal).collect::<BTreeSet<_>>();
    for (name, value, expected) in [
        ("OTEL_TRACES_EXPORTER", "none", without(Signal::Traces)),
        ("OTEL_LOGS_EXPORTER", "None", without(Signal::Logs)),
        ("OTEL_METRICS_EXPORTER", "none", without(Signal::Metrics)),
        ("OTEL_METRICS_EXPORTER", "prometheus", without(Signal::Metrics)),
        ("OTEL_METRICS_EXPORTER", "prometheus, OTLP", all.clone()),
        ("OTEL_METRICS_EXPORTER", "otlp", all.clone()),
        ("OTEL_TRACES_EXPORTER", "otlp,otlp", all.clone()),
        ("OTEL_LOGS_EXPORTER", "", all.clone()),
    ] {
        assert_eq!(arriving(&[(name, value)]), expected, "{name}={value}");
    }
}

#[test]
fn metrics_are_pulled_where_their_variable_says() {
    for (value, pulled) in
        [("prometheus", true), ("otlp,prometheus", true), ("", true), ("otlp", false), ("none", false)]
    {
        let service = Launch::serve().quick_database().variable("OTEL_METRICS_EXPORTER", value).start();
        use_routes(&service);
        match pulled {
            true => {
                let scrape = service.get("/metrics/");
                assert_eq!(scrape.sample("requests_total{endpoint=\"/\"}"), Some(1.0), "{value}");
            }
            false => assert_nothing_exposed(&service, "OTEL_METRICS_EXPORTER"),
        }
        assert!(service.listens("otlp_grpc"), "traces and logs are pushed");
        service.stop().assert_orderly();
    }
}

/// With trace ids in its log lines all the same: spans are made, and go nowhere.
#[test]
fn without_anything_to_push_there_is_no_collector() {
    let service = Launch::serve()
        .quick_database()
        .variable("OTEL_TRACES_EXPORTER", "none")
        .variable("OTEL_METRICS_EXPORTER", "prometheus")
        .variable("OTEL_LOGS_EXPORTER", "none")
        .variable("RUST_LOG", "debug")
        .start();
    assert!(!service.listens("otlp_grpc") && !service.listens("exposition"));
    use_routes(&service);
    assert_eq!(service.get("/metrics/").sample("requests_total{endpoint=\"/\"}"), Some(1.0));
    let finished = service.stop();
    finished.assert_orderly();
    let completed = finished.stderr.lines().find(|line| line.contains("database operation completed"));
    assert!(completed.is_some_and(|line| line.contains("trace_id")), "{finished:?}");
}

/// The start-up text of a service with these variables.
fn block(variables: &[(&str, &str)]) -> String {
    let launch = Launch::text(&["serve"]).quick_database().text_log();
    let service = variables.iter().fold(launch, |launch, (name, value)| launch.variable(name, value)).start();
    let block = service.stdout();
    service.stop().assert_orderly();
    block
}

#[test]
fn the_start_says_what_goes_where() {
    let traces = ("OTEL_TRACES_EXPORTER", "none");
    let block_of = |variables: &[(&str, &str)], lines: &[&str]| {
        let block = block(variables);
        for line in lines {
            assert!(block.contains(line), "{line:?}: {block}");
        }
        block
    };
    block_of(
        &[traces],
        &[
            "Telemetry (metrics, logs) goes by OTLP to the collector in this process, since no ",
            "Not pushed: traces (OTEL_TRACES_EXPORTER=none)\n",
            "then http://",
        ],
    );
    let elsewhere = block_of(
        &[traces, ("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")],
        &[
            "Telemetry (metrics, logs) goes by OTLP to http://127.0.0.1:1\n",
            "Not pushed: traces (OTEL_TRACES_EXPORTER=none)\n",
            "/metrics/ shows no metrics, since OTEL_METRICS_EXPORTER does not name prometheus\n",
        ],
    );
    assert!(!elsewhere.contains("for what is pulled"), "{elsewhere}");
    let disabled = block_of(
        &[("OTEL_SDK_DISABLED", "true")],
        &["OTEL_SDK_DISABLED is true: nothing is measured, traced or pushed\n"],
    );
    assert!(!disabled.contains("OTLP"), "{disabled}");
    let pulled = block_of(
        &[traces, ("OTEL_LOGS_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "prometheus")],
        &["Not pushed: metrics (OTEL_METRICS_EXPORTER=prometheus), traces (OTEL_TRACES_EXPORTER=none), logs"],
    );
    assert!(!pulled.contains("goes by OTLP"), "{pulled}");
    let second = block(&[("OTEL_EXPORTER_PROMETHEUS_PORT", "0")]);
    assert_eq!(second.lines().filter(|line| line.starts_with("  pull ")).count(), 2, "{second}");
}

#[test]
fn the_second_listener_exposes_the_same() {
    let without = Launch::serve().start();
    assert!(!without.listens("prometheus"), "only where it is asked for");
    let service = Launch::serve()
        .quick_database()
        .variable("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost")
        .variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
        .start();
    let address = service.address("prometheus");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    use_routes(&service);
    for path in ["/metrics", "/metrics/"] {
        let answer = ask(&address, &format!("GET {path}"));
        assert_eq!((answer.status, answer.sample("requests_total{endpoint=\"/\"}")), (200, Some(1.0)));
    }
    assert_eq!(ask(&address, "GET /requests").status, 404);
    assert_eq!(ask(&address, "POST /metrics").status, 405);
    service.stop().assert_orderly();
}

#[test]
fn the_second_listeners_address_is_one_of_this_machine() {
    let listening = |launch: Launch, host: &str, port: &str| {
        launch.variable("OTEL_EXPORTER_PROMETHEUS_HOST", host).variable("OTEL_EXPORTER_PROMETHEUS_PORT", port)
    };
    let refused = |host: &str, port: &str| listening(Launch::text(&["serve"]), host, port).finish();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let taken = refused("127.0.0.1", &port);
    let message = taken.failure(2);
    assert!(message.contains(&format!("port {port} is taken")), "{message}");
    assert!(message.contains("OTEL_EXPORTER_PROMETHEUS_PORT"), "{message}");
    let foreign = refused("192.0.2.1", "0");
    let message = foreign.failure(2);
    assert!(message.contains("192.0.2.1") && message.contains("OTEL_EXPORTER_PROMETHEUS_HOST"), "{message}");
    // A name that nobody has is a bad value, and so is what is no name.
    for host in ["there.is.no.such.host.invalid", "http://localhost"] {
        let service = listening(Launch::serve(), host, "0").start();
        assert!(service.address("prometheus").starts_with("127.0.0.1:"));
        let stderr = service.stderr();
        let warnings = stderr.lines().filter(|line| line.contains("WARN") && line.contains(host));
        assert_eq!(warnings.count(), 1, "{stderr}");
    }
}

#[test]
fn contexts_of_other_processes_are_taken_as_the_variable_says() {
    const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
    for (value, taken, warned) in [
        (None, true, false),
        (Some("baggage,tracecontext,tracecontext"), true, false),
        (Some("none"), false, false),
        (Some("baggage"), false, false),
        (Some("b3"), true, true),
        (Some("b3,none"), true, true),
    ] {
        let watcher = Watcher::new();
        let launch =
            Launch::serve().exporting_often().pushing_to("grpc", &watcher.grpc.to_string()).quick_database();
        let service = match value {
            Some(value) => launch.variable("OTEL_PROPAGATORS", value).start(),
            None => launch.start(),
        };
        let traceparent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
        ask_with(&service.address("service"), "GET /", &[("traceparent", &traceparent)]);
        let span = watcher.span("GET /");
        assert_eq!(span.trace_id == TRACE_ID, taken, "{value:?}: {span:?}");
        assert_eq!(span.parent_id == "b7ad6b7169203331", taken, "{value:?}: {span:?}");
        assert_eq!(service.stderr().contains("WARN"), warned, "{value:?}: {}", service.stderr());
    }
}

#[test]
fn unknown_exporters_are_one_warning_and_the_default() {
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_EXPORTER", "prometheus"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "none,otlp"),
        ("OTEL_METRICS_EXPORTER", "console,prometheus"),
        ("OTEL_SDK_DISABLED", "1"),
        ("OTEL_SDK_DISABLED", "yes"),
    ] {
        let receiver = Receiver::plain(takes);
        let service = Launch::serve()
            .quick_database()
            .pushing_to("http/protobuf", &receiver.address.to_string())
            .variable(name, value)
            .start();
        use_routes(&service);
        assert_eq!(service.get("/metrics/").sample("requests_total{endpoint=\"/\"}"), Some(1.0));
        let finished = service.stop();
        finished.assert_orderly();
        assert_eq!(receiver.signals(), BTreeSet::from(Signal::ALL), "{name}={value}");
        let warnings = finished.stderr.lines().filter(|line| line.contains("WARN") && line.contains(name));
        assert_eq!(warnings.count(), 1, "{name}={value}: {finished:?}");
    }
}

/// `OTEL_SERVICE_NAME` wins; values are percent-decoded; a list with one bad entry is discarded.
#[test]
fn who_it_is_from() {
    for (list, name, labels, warnings) in [
        (
            "service.name=listed,service.instance.id=a%2Fb,team=blue%2C%20and%20r%C3%B6t",
            "named",
            vec!["job=\"named\"", "instance=\"a/b\"", "team=\"blue, and röt\""],
            0,
        ),
        ("service.name=listed,team=red", "", vec!["job=\"listed\"", "team=\"red\""], 0),
        ("service.name=listed,team=%zz", "", vec!["job=\"pushpull\""], 1),
        ("service.name=listed,team", "named", vec!["job=\"named\""], 1),
    ] {
        let collector = Launch::collect().start();
        let service = Launch::serve()
            .pushing_to("grpc", &collector.address("otlp_grpc"))
            .variable("OTEL_RESOURCE_ATTRIBUTES", list)
            .variable("OTEL_SERVICE_NAME", name)
            .start();
        let finished = service.stop();
        finished.assert_orderly();
        assert_eq!(finished.stderr.matches("\"WARN\"").count(), warnings, "{list}: {finished:?}");
        let pushed = collector.pushed().body;
        let info = pushed.lines().find(|line| line.starts_with("target_info{")).unwrap();
        for label in labels {
            assert!(info.contains(label), "{list}: {label} is not in {info}");
        }
        assert_eq!(info.contains("team="), warnings == 0, "{list}: {info}");
    }
}

/// Values at the ends of what a number can be, and beyond: the service runs, and stops in an orderly way.
#[test]
fn no_value_of_any_variable_ends_the_service() {
    let endless =
        ["18446744073709551615", "18446744073709551616", "-1", "1e9", "\u{1f600}", "%", ",", "=", " "];
    let names = [
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "OTEL_PROPAGATORS",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BLRP_SCHEDULE_DELAY",
        "OTEL_BLRP_EXPORT_TIMEOUT",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    ];
    for (value, protocol) in endless.into_iter().zip(["grpc", "http/protobuf"].into_iter().cycle()) {
        let launch = names
            .iter()
            .fold(Launch::serve().quick_database(), |launch, name| launch.variable(name, value))
            .variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
            .variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0");
        let service = launch.start();
        use_routes(&service);
        assert_eq!(service.get("/metrics/").sample("requests_total{endpoint=\"/\"}"), Some(1.0));
        eventually("what was pushed", || {
            let accepted = service.pushed().sum("pushpull_collector_accepted_total", &["traces"]);
            (accepted > 0.0).then_some(())
        });
        let finished = service.stop();
        finished.assert_orderly();
        assert!(!finished.stderr.contains("panicked"), "{value}: {finished:?}");
    }
}
