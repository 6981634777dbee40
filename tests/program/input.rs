//! What bad input gets: which setting, which value, what to do about it, and an exit code.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
};

use crate::process::{Launch, eventually};

/// Each of `parts` is in the message.
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn every_bad_flag_is_in_one_message() {
    let finished = Launch::bare(&["serve", "--wrong", "--database-pool", "0", "--log", "yaml"])
        .arguments(&["--listen", "nowhere"])
        .finish();
    let message = finished.failure(2);
    assert_names(message, &["4 invalid settings", "--wrong", "--database-pool \"0\"", "--log \"yaml\""]);
    assert_names(message, &["--listen \"nowhere\"", "127.0.0.1:5000"]);
}

#[test]
fn every_bad_variable_is_in_one_message() {
    let finished = Launch::bare(&[])
        .variable("PUSHPULL_LISTN", "127.0.0.1:0")
        .variable("PUSHPULL_DATABASE_WORK", "much")
        .variable("PUSHPULL_STOP_WITHIN", "0s")
        .variable("DATABASE_URL", "mysql://localhost/x")
        .finish();
    let message = finished.failure(2);
    assert_names(message, &["4 invalid settings", "did you mean PUSHPULL_LISTEN?"]);
    assert_names(message, &["PUSHPULL_DATABASE_WORK \"much\"", "PUSHPULL_STOP_WITHIN \"0s\""]);
    assert_names(message, &["DATABASE_URL \"mysql://localhost/x\"", "sqlite://"]);
}

/// One warning for each, and the default: all three signals still arrive.
#[test]
fn each_bad_standard_variable_is_one_warning_and_the_default() {
    let bad = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1s"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "maybe"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "lonely"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "never"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1.5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-2"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "x"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "x"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "few"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nothing"),
    ];
    let launch = bad
        .iter()
        .fold(Launch::serve().quick_database(), |launch, (name, value)| launch.variable(name, value));
    let service = launch.start();
    service.get("/database/");
    for signal in ["metrics", "traces", "logs"] {
        let series =
            format!("pushpull_collector_accepted_total{{receiver=\"otlp_grpc\",signal=\"{signal}\"}}");
        eventually(&series, || service.pushed().sample(&series).filter(|items| *items > 0.0));
    }
    let finished = service.stop();
    finished.assert_orderly();
    for (name, _) in bad {
        // A message begins with the name; its value or a text follows.
        let named = [format!("\"{name}="), format!("\"{name} ")];
        let warnings = finished.stderr.lines().filter(|line| line.contains("\"level\":\"WARN\""));
        let of_this = warnings.filter(|line| named.iter().any(|named| line.contains(named)));
        assert_eq!(of_this.count(), 1, "{name}: {}", finished.stderr);
    }
    assert_eq!(finished.stderr.lines().count(), bad.len() + 1, "{}", finished.stderr);
}

/// Compression and endpoints of each kind; alone, since a bad endpoint still means one elsewhere.
#[test]
fn a_bad_endpoint_or_compression_is_one_warning() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:///tmp/socket"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://[::1"),
    ] {
        let service = Launch::serve().variable(name, value).arguments(&["--stop-within", "100ms"]).start();
        service.get("/");
        let finished = service.stop();
        finished.assert_orderly();
        let warnings = finished.stderr.lines().filter(|line| line.contains(name) && line.contains("WARN"));
        assert_eq!(warnings.count(), 1, "{name}={value}: {}", finished.stderr);
    }
}

#[test]
fn a_taken_port_of_the_service_names_port_and_flag() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    for finished in [
        Launch::text(&["serve", "--listen", &address.to_string()]).finish(),
        Launch::text(&["serve"]).variable("PUSHPULL_LISTEN", &address.to_string()).finish(),
    ] {
        let message = finished.failure(2);
        assert_names(message, &[&format!("port {} is taken", address.port()), "--listen"]);
    }
}

#[test]
fn the_default_port_of_the_service_is_replaced_by_what_the_message_says() {
    // Where this fails, someone else holds the port, which serves as well.
    let _held = TcpListener::bind("127.0.0.1:5000");
    let finished = Launch::text(&["serve"]).without_variable("PUSHPULL_LISTEN").finish();
    assert_names(finished.failure(2), &["port 5000 is taken", "such as --listen 127.0.0.1:5050"]);
}

#[test]
fn taken_ports_that_were_given_are_all_named() {
    let held: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut ports: Vec<_> = held.iter().map(|held| held.local_addr().unwrap()).collect();
    ports.push(datagrams.local_addr().unwrap());
    let flags = ["--otlp-grpc", "--otlp-http", "--exposition", "--console", "--statsd"];
    for command in ["serve", "collect"] {
        let launch = flags.iter().zip(&ports).fold(Launch::text(&[command]), |launch, (flag, port)| {
            launch.arguments(&[flag, &port.to_string()])
        });
        let finished = launch.finish();
        let message = finished.failure(2);
        for (flag, port) in flags.iter().zip(&ports) {
            assert_names(message, &[&format!("({flag}): port {} is taken", port.port())]);
        }
    }
}

#[test]
fn a_taken_default_port_makes_way_in_serve_and_not_in_collect() {
    // Where this fails, someone else holds the port, which serves as well.
    let _held = TcpListener::bind("127.0.0.1:4317");
    let service = Launch::text(&["serve"]).without_variable("PUSHPULL_OTLP_GRPC").start();
    let text = eventually("the start-up text", || {
        Some(service.stdout()).filter(|text| text.contains("127.0.0.1:4317 is taken"))
    });
    let line = text.lines().find(|line| line.contains("is taken")).unwrap();
    let free = line.split("--otlp-grpc is ").nth(1).unwrap().split(' ').next().unwrap();
    assert_ne!(free, "127.0.0.1:4317");
    assert!(text.lines().any(|line| line.contains("OTLP/gRPC") && line.contains(free)), "{text}");
    let finished = service.stop();
    finished.assert_orderly();
    assert_eq!(finished.stderr, "", "what is pushed goes to the port in its place");

    let collector = Launch::text(&["collect"]).without_variable("PUSHPULL_OTLP_GRPC").finish();
    assert_names(collector.failure(2), &["port 4317 is taken", "--otlp-grpc"]);
}

#[test]
fn a_database_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "This is a text, and no database, however one looks at it.\n".repeat(20)).unwrap();
    let missing = folder.path().join("missing/database.db");
    let read_only = format!("{}?mode=ro", folder.path().join("none.db").display());
    for path in [folder.path().display(), text.display(), missing.display()].map(|path| path.to_string()) {
        let url = format!("sqlite://{path}");
        for launch in [
            Launch::text(&["serve", "--database", &url]),
            Launch::text(&["serve"]).variable("DATABASE_URL", &url),
        ] {
            let finished = launch.finish();
            let message = finished.failure(1);
            assert_names(message, &[&url, "--database"]);
            assert_eq!(message.lines().count(), 1, "{message}");
            assert_eq!(message.matches("(code: ").count(), 1, "told once: {message}");
        }
    }
    let finished = Launch::text(&["serve", "--database", &format!("sqlite://{read_only}")]).finish();
    assert_names(finished.failure(1), &[&read_only]);
    assert!(!folder.path().join("none.db").exists());
}

/// Without an export that waits for whoever does not answer. The log of the exporter shows each that begins.
#[test]
fn a_start_that_fails_ends_without_a_flush() {
    const EXPORT: &str = "ExportStarted";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let launch =
        || Launch::text(&["serve"]).variable("RUST_LOG", "off,opentelemetry=debug,opentelemetry-otlp=debug");
    let file = file.to_str().unwrap();
    for (launch, code, named) in [
        (launch().arguments(&["--graphite", "127.0.0.1:1", "--spool", file]), 2, "--spool"),
        (launch().arguments(&["--database", &format!("sqlite://{file}/x")]), 1, "--database"),
        (
            launch().arguments(&["--database", &format!("sqlite://{file}/x")]).pushing_to("grpc", &endpoint),
            1,
            "--database",
        ),
    ] {
        let finished = launch.finish();
        let message = finished.failure(code);
        assert!(message.contains(named) && !message.contains(EXPORT), "{message}");
    }
    let finished = launch().text_log().start().stop();
    finished.assert_orderly();
    assert!(finished.stderr.contains(EXPORT), "it would be seen: {}", finished.stderr);
}

#[test]
fn a_database_that_is_given_is_made_used_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.db");
    let url = format!("sqlite://{}", file.display());
    for _ in 0..2 {
        let service = Launch::serve().quick_database().variable("DATABASE_URL", &url).start();
        assert_eq!(service.get("/database/").status, 200);
        assert_eq!(service.temporary_files(), [""; 0]);
        service.stop().assert_orderly();
        assert!(fs::metadata(&file).unwrap().len() > 0);
    }
}
