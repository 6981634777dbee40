//! How the program stops: in time, in order, whatever the collector does, and with what it counted last.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    http::{ask, ask_meanwhile},
    process::{Finished, Launch, Program, eventually},
};

/// Waits until the service works on one request of the database.
fn in_flight(service: &Program) {
    eventually("a request in flight", || {
        let scrape = service.get("/metrics/");
        let active = scrape.sum("http_server_active_requests", &["http_request_method=\"GET\""]);
        (active == 1.0).then_some(())
    });
}

#[test]
fn a_request_in_flight_is_finished() {
    let service = Launch::serve()
        .arguments(&["--database-work", "8", "--database-timeout", "1h", "--stop-within", "1m"])
        .start();
    assert!(service.temporary_files()[0].starts_with("pushpull-"), "the temporary database");
    let address = service.address("service");
    let answer = ask_meanwhile(&address, "GET /database/");
    in_flight(&service);
    // Connections that have nothing to say, or nothing more, hold nothing up.
    let silent = TcpStream::connect(&address).unwrap();
    let mut idle = TcpStream::connect(&address).unwrap();
    write!(idle, "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();

    let finished = service.stop();
    let answer = answer.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "Completed expensive database operation"));
    finished.assert_orderly();
    assert!(finished.took < Duration::from_secs(30), "within half: {finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "the ready line: {finished:?}");
    drop((silent, idle));
}

#[test]
fn a_request_that_takes_longer_is_cut_and_counted_as_cancelled() {
    let collector = Launch::collect().start();
    let within = Duration::from_secs(6);
    let service = Launch::serve()
        .pushing_to("grpc", &collector.address("otlp_grpc"))
        .arguments(&["--database-work", "1000", "--database-timeout", "1h", "--stop-within", "6s"])
        .start();
    let answer = ask_meanwhile(&service.address("service"), "GET /database/");
    in_flight(&service);
    let finished = service.stop_by("INT");
    finished.assert_orderly();
    assert!(answer.join().unwrap().is_err(), "no answer was made");
    assert!((within / 2..within).contains(&finished.took), "{finished:?}");
    assert!(finished.stderr.contains("requests still ran at half of --stop-within"), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 2, "{finished:?}");

    let pushed = collector.pushed();
    let cancelled = ["error_type=\"cancelled\"", "http_route=\"/database/\""];
    assert_eq!(pushed.sum("http_server_request_duration_seconds_count", &cancelled), 1.0);
    assert_eq!(pushed.sum("http_server_active_requests", &[]), 0.0);
    assert_eq!(pushed.sum("requests_total", &["endpoint=\"/database\""]), 1.0);
    collector.stop().assert_orderly();
}

/// The last request before the stop is in the figures of a collector elsewhere; nothing but the stop pushes.
fn the_last_request_arrives(protocol: &str, receiver: &str, signal: &str) {
    let collector = Launch::collect().start();
    let service = Launch::serve()
        .pushing_to(protocol, &collector.address(receiver))
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .variable("OTEL_BLRP_SCHEDULE_DELAY", "3600000")
        .arguments(&["--stop-within", "20s"])
        .quick_database()
        .start();
    for _ in 0..4 {
        service.get("/");
    }
    service.get("/database/");
    assert_eq!(collector.pushed().sum("requests_total", &[]), 0.0, "nothing was pushed yet");
    let finished = service.stop_by(signal);
    finished.assert_orderly();
    assert!(finished.took < Duration::from_secs(5), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "the ready line: {finished:?}");

    let pushed = collector.pushed();
    assert_eq!(pushed.sum("requests_total", &["endpoint=\"/\""]), 4.0, "{}", pushed.body);
    assert_eq!(pushed.sum("requests_total", &["endpoint=\"/database\""]), 1.0, "{}", pushed.body);
    assert_eq!(pushed.sum("http_server_request_duration_seconds_count", &[]), 5.0, "{}", pushed.body);
    let accepted = |signal: &str| pushed.sum("pushpull_collector_accepted_total", &[signal]);
    assert_eq!(accepted("signal=\"traces\""), 6.0, "five requests and a query");
    assert!(accepted("signal=\"logs\"") >= 1.0);
}

#[test]
fn the_last_request_arrives_by_grpc() {
    the_last_request_arrives("grpc", "otlp_grpc", "TERM");
}

#[test]
fn the_last_request_arrives_by_http() {
    the_last_request_arrives("http/protobuf", "otlp_http", "INT");
}

#[test]
fn the_last_request_reaches_what_the_embedded_collector_forwards_to() {
    let collector = Launch::collect().start();
    let forward = format!("http://{}", collector.address("otlp_http"));
    let service = Launch::serve()
        .arguments(&["--forward", &forward])
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        .start();
    service.get("/");
    service.stop().assert_orderly();
    assert_eq!(collector.pushed().sum("requests_total", &["endpoint=\"/\""]), 1.0);
}

/// Stops with a collector that takes nothing: in time, and with few words.
fn stops_in_time(protocol: &str, endpoint: SocketAddr) {
    let within = Duration::from_secs(6);
    let service = Launch::serve()
        .pushing_to(protocol, &endpoint.to_string())
        .exporting_often()
        .arguments(&["--stop-within", "6s"])
        .quick_database()
        .start();
    for path in ["/", "/database/", "/metrics/"] {
        assert_eq!(service.get(path).status, 200);
    }
    let finished: Finished = service.stop();
    finished.assert_orderly();
    assert!(finished.took < within, "{finished:?}");
    assert!(finished.stderr.contains("stopped before all telemetry was delivered"), "{finished:?}");
    // At most: ready, a warning for each signal, what was not delivered.
    assert!(finished.stderr.lines().count() <= 5, "{finished:?}");
}

/// A port that refuses connections for as long as the socket is held: bound and not listening.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A port where the kernel takes connections and nobody ever answers.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn in_time_where_grpc_is_refused() {
    let (_held, address) = refusing();
    stops_in_time("grpc", address);
}

#[test]
fn in_time_where_http_is_refused() {
    let (_held, address) = refusing();
    stops_in_time("http/protobuf", address);
}

#[test]
fn in_time_where_grpc_is_never_answered() {
    let (_held, address) = silent();
    stops_in_time("grpc", address);
}

#[test]
fn in_time_where_http_is_never_answered() {
    let (_held, address) = silent();
    stops_in_time("http/protobuf", address);
}

#[test]
fn collect_stops_in_time_where_its_sinks_take_nothing() {
    let ((_held, refusing), (_listener, silent)) = (refusing(), silent());
    let collector = Launch::collect()
        .arguments(&["--graphite", &refusing.to_string(), "--forward", &format!("http://{silent}")])
        .arguments(&["--stop-within", "10s"])
        .start();
    let service = Launch::serve().pushing_to("grpc", &collector.address("otlp_grpc")).start();
    service.get("/");
    service.stop().assert_orderly();
    assert_eq!(collector.pushed().sum("requests_total", &["endpoint=\"/\""]), 1.0);
    let finished = collector.stop();
    finished.assert_orderly();
    assert!(finished.took < Duration::from_secs(10), "{finished:?}");
    assert!(finished.stderr.contains("stopped before all that was queued could be sent on"), "{finished:?}");
}

#[test]
fn a_signal_as_soon_as_the_service_answers_is_an_orderly_stop() {
    for signal in ["TERM", "INT"] {
        let service = Launch::text(&["serve"]).quick_database().start();
        // The temporary folder is made after the process began to listen for signals.
        eventually("the temporary database", || service.temporary_files().pop());
        let began = Instant::now();
        service.signal(signal);
        service.finish(began).assert_orderly();
    }
}

#[test]
fn nothing_is_accepted_any_more() {
    let service = Launch::serve()
        .arguments(&["--database-work", "8", "--database-timeout", "1h", "--stop-within", "1m"])
        .start();
    let address = service.address("service");
    let answer = ask_meanwhile(&address, "GET /database/");
    in_flight(&service);
    let began = Instant::now();
    service.signal("TERM");
    eventually("the closed port", || TcpStream::connect(&address).is_err().then_some(()));
    assert_eq!(answer.join().unwrap().unwrap().status, 200);
    service.finish(began).assert_orderly();
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn health_follows_the_service() {
    let service = Launch::serve().start();
    let address = service.address("service");
    assert_eq!(ask(&address, "GET /healthz").status, 200);
    let url = format!("http://{address}/healthz");
    let well = Launch::bare(&["health", &url]).finish();
    well.assert_orderly();
    assert_eq!((well.stdout.as_str(), well.stderr.as_str()), ("", ""));
    let elsewhere = Launch::bare(&["health", &format!("http://{address}/nothing")]).finish();
    assert!(elsewhere.failure(1).contains("404"), "{elsewhere:?}");
    service.stop().assert_orderly();
    let gone = Launch::bare(&["health", &url]).finish();
    assert!(gone.failure(1).contains(&url), "{gone:?}");
}

/// Stops a process that would take long over it, and then again until it has ended.
fn ends_at_once(mut program: Program, closing: &str, signal: &str, code: i32) {
    let began = Instant::now();
    program.signal("TERM");
    eventually("the closed port", || TcpStream::connect(closing).is_err().then_some(()));
    assert!(!program.has_ended(), "it flushes");
    eventually("the end", || {
        program.signal(signal);
        program.has_ended().then_some(())
    });
    let finished = program.finish(began);
    assert_eq!(finished.code(), Some(code), "{finished:?}");
    assert!(finished.took < Duration::from_secs(10), "{finished:?}");
    assert!(finished.stderr.contains("a second signal: stopped at once"), "{finished:?}");
    assert_eq!(finished.left_behind, [""; 0], "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code, protocol) in
        [("TERM", 143, "grpc"), ("INT", 130, "grpc"), ("TERM", 143, "http/protobuf")]
    {
        let (_held, address) = silent();
        let service = Launch::serve()
            .pushing_to(protocol, &address.to_string())
            .arguments(&["--stop-within", "1h"])
            .quick_database()
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")
            .start();
        service.get("/database/");
        let closing = service.address("service");
        ends_at_once(service, &closing, signal, code);
    }
}

#[test]
fn a_second_signal_ends_at_once_while_a_request_is_in_flight() {
    let service = Launch::serve()
        .arguments(&["--database-work", "1000", "--database-timeout", "1h", "--stop-within", "1h"])
        .start();
    let closing = service.address("service");
    let answer = ask_meanwhile(&closing, "GET /database/");
    in_flight(&service);
    ends_at_once(service, &closing, "INT", 130);
    assert!(answer.join().unwrap().is_err());
}

#[test]
fn a_second_signal_ends_collect_at_once() {
    let (_listener, silent) = silent();
    let collector = Launch::collect()
        .arguments(&["--forward", &format!("http://{silent}"), "--stop-within", "1h"])
        .start();
    let service = Launch::serve().pushing_to("grpc", &collector.address("otlp_grpc")).start();
    service.get("/");
    service.stop().assert_orderly();
    let closing = collector.address("otlp_grpc");
    ends_at_once(collector, &closing, "TERM", 143);
}

/// `timeout` and others send a signal to the process and to its group. It stands still meanwhile, so that no stall
/// of whoever sends them comes between.
#[test]
fn two_signals_in_one_moment_are_one() {
    let service = Launch::serve().quick_database().start();
    service.get("/");
    let began = Instant::now();
    service.signals(&["STOP", "TERM", "INT", "CONT"]);
    service.finish(began).assert_orderly();
}
