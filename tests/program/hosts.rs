//! The host names that listeners answer to: a web page that points its own name at a loopback address reads nothing
//! and sends nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bytes::Bytes;
use h2::client;

use crate::{
    http::{ask, ask_with},
    process::{DEADLINE, Launch, Program, eventually},
};

/// A name that somebody else points here, with the port that the browser names too.
const REBOUND: &str = "rebound.example:4318";
const COLLECTOR: [&str; 3] = ["otlp_grpc", "otlp_http", "exposition"];

/// Status and body of what is answered to these lines, with no others but the length of the body.
fn answer_to(address: &str, lines: &[&str], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let head = lines.join("\r\n");
    write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What is answered to `GET path` for a host.
fn page(address: &str, path: &str, host: &str) -> (u16, String) {
    answer_to(address, &[&format!("GET {path} HTTP/1.1"), &format!("Host: {host}")], "")
}

/// The status of `GET /` for a host.
fn status(address: &str, host: &str) -> u16 {
    page(address, "/", host).0
}

/// On all addresses; the address for a client on this machine.
fn open(program: &Program, listener: &str) -> String {
    program.address(listener).replace("0.0.0.0", "127.0.0.1")
}

fn assert_refused((status, text): (u16, String), what: &str) {
    assert_eq!(status, 421, "{what}: {text}");
    assert!(
        text.contains("rebound.example") && text.contains("--allowed-hosts rebound.example"),
        "{what}: {text}"
    );
    assert_eq!(text.lines().count(), 1, "{what}: {text}");
}

#[test]
fn a_listener_on_loopback_answers_to_loopback_names_alone() {
    let collector = Launch::collect().arguments(&["--console", "127.0.0.1:0"]).start();
    let service = Launch::serve().variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0").quick_database().start();
    let of_collector = COLLECTOR.iter().chain(&["console"]).map(|listener| (&collector, *listener));
    let of_service = COLLECTOR.iter().chain(&["service", "prometheus"]).map(|listener| (&service, *listener));
    for (program, listener) in of_collector.chain(of_service) {
        let address = program.address(listener);
        for host in
            [&*address, "localhost", "LOCALHOST:1", "localhost.", "a.localhost", "127.1.2.3:80", "[::1]:80"]
        {
            assert_eq!(status(&address, host), 200, "{listener} {host}");
        }
        assert_refused(page(&address, "/", REBOUND), listener);
        for host in
            ["localhost.rebound.example", "192.0.2.1", "0.0.0.0", "[::]", "notlocalhost", "a@localhost", ""]
        {
            assert_eq!(status(&address, host), 421, "{listener} {host:?}");
        }
        // Every name counts, and a request of HTTP/1.0 needs none.
        let refused: [&[&str]; 4] = [
            &["GET / HTTP/1.1", "Host: localhost", "Host: rebound.example"],
            &["GET http://rebound.example/ HTTP/1.1", "Host: localhost"],
            &["GET / HTTP/1.0", "Host: rebound.example"],
            &["GET / HTTP/1.1"],
        ];
        for lines in refused {
            assert_eq!(answer_to(&address, lines, "").0, 421, "{listener} {lines:?}");
        }
        assert_eq!(answer_to(&address, &["GET / HTTP/1.0"], "").0, 200, "{listener}");
    }
    for path in ["/metrics/", "/metrics", "/database/", "/healthz", "/nothing"] {
        assert_refused(page(&service.address("service"), path, REBOUND), path);
    }
    for path in ["/metrics", "/healthz", "/readyz", "/nothing"] {
        assert_refused(page(&collector.address("exposition"), path, REBOUND), path);
    }
    let own = service.get("/metrics/").body;
    assert!(own.contains("http_response_status_code=\"421\""), "they are measured: {own}");
    service.stop().assert_orderly();
    collector.stop().assert_orderly();
}

/// What a page sends is of its own site, so no browser asks before whether it may.
#[test]
fn nothing_is_taken_from_a_page_that_points_its_name_here() {
    const METRIC: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"NAME","gauge":{"dataPoints":[{"asInt":"1","timeUnixNano":"TIME"}]}}]}]}]}"#;
    let collector = Launch::collect().start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let post = |host: &str, name: &str| {
        let host = format!("Host: {host}");
        let lines = ["POST /v1/metrics HTTP/1.1", &host, "Content-Type: application/json"];
        let body = METRIC.replace("NAME", name).replace("TIME", &now.to_string());
        answer_to(&collector.address("otlp_http"), &lines, &body)
    };
    for _ in 0..3 {
        assert_refused(post(REBOUND, "theirs"), "a post");
    }
    assert_eq!(post("localhost:4318", "ours").0, 200);
    let page = collector.pushed();
    assert!(page.body.contains("\nours ") && !page.body.contains("theirs"), "{}", page.body);
    assert_eq!(page.sample("pushpull_collector_misdirected_requests_total"), Some(3.0));
    let finished = collector.stop();
    let said: Vec<_> = finished.stderr.lines().filter(|line| line.contains("--allowed-hosts")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("rebound.example"), "{said:?}");
}

#[test]
fn names_that_are_allowed_are_answered_on_every_port() {
    const ALLOWED: [&str; 2] = ["--allowed-hosts", "Shop.Example,10.1.2.3"];
    let collector = Launch::collect().arguments(&ALLOWED).arguments(&["--console", "127.0.0.1:0"]).start();
    let service = Launch::serve().arguments(&ALLOWED).quick_database().start();
    let of_collector = COLLECTOR.iter().chain(&["console"]).map(|listener| (&collector, *listener));
    for (program, listener) in of_collector.chain([(&service, "service")]) {
        let address = program.address(listener);
        for host in ["shop.example", "SHOP.example.:1", "10.1.2.3:9", "localhost", &*address] {
            assert_eq!(status(&address, host), 200, "{listener} {host}");
        }
        for host in ["a.shop.example", "shop.example.rebound.example", "10.1.2.4"] {
            assert_eq!(status(&address, host), 421, "{listener} {host}");
        }
    }
    let any = Launch::collect().arguments(&["--allowed-hosts", "*"]).start();
    assert_eq!(status(&any.address("exposition"), REBOUND), 200);
}

#[test]
fn a_listener_elsewhere_answers_to_any_name_until_some_are_allowed() {
    let everywhere = |launch: Launch| {
        ["LISTEN", "OTLP_GRPC", "OTLP_HTTP", "EXPOSITION"]
            .iter()
            .fold(launch, |launch, name| launch.variable(&format!("PUSHPULL_{name}"), "0.0.0.0:0"))
    };
    let collector = everywhere(Launch::collect()).start();
    let service = everywhere(Launch::serve().quick_database()).start();
    let listeners = COLLECTOR.iter().map(|listener| (&collector, *listener));
    for (program, listener) in listeners.chain([(&service, "service")]) {
        for host in ["graphite-bridge:8890", "host.docker.internal", "192.0.2.1", "localhost", ""] {
            assert_eq!(status(&open(program, listener), host), 200, "{listener} {host:?}");
        }
    }
    let chosen = [("PUSHPULL_ALLOWED_HOSTS", "graphite-bridge"), ("PUSHPULL_CONSOLE", "0.0.0.0:0")];
    let chosen =
        |launch: Launch| chosen.iter().fold(launch, |launch, (name, value)| launch.variable(name, value));
    // What the process asks itself for is answered whatever is allowed: its load, and what the console reads.
    let service = chosen(everywhere(Launch::serve().quick_database().arguments(&["--load", "20"]))).start();
    for listener in COLLECTOR.iter().chain(&["service"]) {
        let address = open(&service, listener);
        for (host, expected) in [("graphite-bridge:8890", 200), ("localhost", 200), (REBOUND, 421)] {
            assert_eq!(status(&address, host), expected, "{listener} {host}");
        }
    }
    eventually("answers to the load", || {
        let page = ask(&open(&service, "service"), "GET /metrics/");
        (page.sum("requests_total", &["endpoint=\"/\""]) > 3.0).then_some(())
    });
    let console = open(&service, "console");
    assert_eq!(status(&console, "graphite-bridge:5001"), 401, "its token guards it too");
    let bearer = ["GET / HTTP/1.1", "Host: rebound.example", "Authorization: Bearer x"];
    assert_eq!(answer_to(&console, &bearer, "").0, 401);
}

/// A console that asks for a token was always open to every name; one that is given names answers to these alone.
#[test]
fn a_console_with_a_token_answers_to_any_name_until_some_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let file = file.to_str().unwrap();
    let console = || Launch::collect().arguments(&["--console", "127.0.0.1:0", "--console-token-file", file]);
    let page = |program: &Program, host: &str| {
        let lines = ["GET / HTTP/1.1", &format!("Host: {host}"), "Authorization: Bearer 0123456789abcdef"];
        answer_to(&program.address("console"), &lines, "").0
    };
    let open = console().start();
    assert_eq!(page(&open, "console.example"), 200);
    let chosen = console().arguments(&["--allowed-hosts", "console.example"]).start();
    for (host, expected) in [("console.example", 200), ("localhost", 200), ("rebound.example", 421)] {
        assert_eq!(page(&chosen, host), expected, "{host}");
    }
}

/// Status, `grpc-status` and `grpc-message` of the answer to a request of HTTP/2 for an authority.
async fn over_http2(address: &str, authority: &str, media_type: &str) -> (u16, Option<String>, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = client::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
    let driven = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = axum::http::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", media_type)
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    // It may be answered, and ended, before its message.
    let _sent = body.send_data(Bytes::from_static(&[0; 5]), true);
    let answer = answer.await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, message) = (header("grpc-status"), header("grpc-message").unwrap_or_default());
    let answered = (answer.status().as_u16(), status, message);
    driven.abort();
    answered
}

#[test]
fn the_authority_of_http2_and_grpc_counts_too() {
    let collector = Launch::collect().start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let grpc = collector.address("otlp_grpc");
    let asked =
        |address: &str, authority, media_type| runtime.block_on(over_http2(address, authority, media_type));
    for authority in [&*grpc, "localhost", "localhost:4317"] {
        let (status, refused, _) = asked(&grpc, authority, "application/grpc");
        assert_eq!((status, refused), (200, None), "{authority}: its status is behind its message");
    }
    // PERMISSION_DENIED, which no sender tries again.
    let (status, refused, message) = asked(&grpc, REBOUND, "application/grpc");
    assert_eq!((status, refused.as_deref()), (200, Some("7")));
    assert!(message.contains("rebound.example") && message.contains("--allowed-hosts"), "{message}");
    for listener in COLLECTOR {
        assert_eq!(asked(&collector.address(listener), REBOUND, "text/plain").0, 421, "{listener}");
    }
}

#[test]
fn a_name_that_is_none_is_a_bad_setting() {
    for (name, reason) in [
        ("http://shop.example", "a URL, not a host name"),
        ("shop.example:80", "a host name with a port"),
        ("*.example", "a pattern, not a host name"),
        ("a b", "not a host name"),
    ] {
        let finished = Launch::collect_at_once().arguments(&["--allowed-hosts", name]).finish();
        let message = finished.failure(2);
        assert!(message.contains("--allowed-hosts") && message.contains(reason), "{message}");
    }
}

/// The refusal goes before the answer to a browser that asks whether a page may send.
#[test]
fn an_origin_that_may_send_does_not_open_other_names() {
    let collector = Launch::collect().arguments(&["--otlp-cors", "*"]).start();
    let address = collector.address("otlp_http");
    let preflight = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(ask_with(&address, "OPTIONS /v1/metrics", &preflight).status, 200);
    let lines = ["OPTIONS /v1/metrics HTTP/1.1", "Host: rebound.example", "Origin: https://shop.example"];
    let lines: Vec<_> = lines.into_iter().chain(["Access-Control-Request-Method: POST"]).collect();
    assert_refused(answer_to(&address, &lines, ""), "a preflight");
}
