//! `localhost` is both loopback addresses, and one port number.

use std::net::{TcpListener, UdpSocket};

use crate::{
    http::ask,
    process::{Launch, Program, eventually},
};

const NAMED: [&str; 4] = ["OTLP_GRPC", "OTLP_HTTP", "STATSD", "EXPOSITION"];

/// The port of a listener, whose address is shown as that of version 4.
fn port(program: &Program, listener: &str) -> u16 {
    let address = program.address(listener);
    let port = address.strip_prefix("127.0.0.1:");
    port.unwrap_or_else(|| panic!("{listener}: {address}")).parse().unwrap()
}

fn on_localhost(launch: Launch, variables: &[&str]) -> Launch {
    let named = |launch: Launch, name: &&str| launch.variable(&format!("PUSHPULL_{name}"), "localhost:0");
    variables.iter().fold(launch, named)
}

/// Sends a counter of this name to StatsD at both addresses, and waits until the page has the sum.
fn both_are_counted(program: &Program, exposition: &str) {
    let port = port(program, "statsd");
    for (own, theirs) in [("127.0.0.1:0", format!("127.0.0.1:{port}")), ("[::1]:0", format!("[::1]:{port}"))]
    {
        UdpSocket::bind(own).unwrap().send_to(b"hits:1|c", theirs).unwrap();
    }
    eventually("one counter of both", || {
        let page = ask(exposition, "GET /metrics").body;
        page.lines().any(|line| line.starts_with("hits_total") && line.ends_with(" 2")).then_some(())
    });
}

#[test]
fn localhost_listens_on_both_families_under_one_port_number() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let program = on_localhost(Launch::collect(), &NAMED)
        .variable("PUSHPULL_CONSOLE", "localhost:0")
        .variable("PUSHPULL_STATSD_FLUSH", "50ms")
        .start();
    for family in ["127.0.0.1", "[::1]"] {
        let at = |listener| format!("{family}:{}", port(&program, listener));
        assert_eq!(ask(&at("exposition"), "GET /healthz").status, 200);
        assert_eq!(ask(&at("otlp_http"), "GET /").status, 200);
        assert_eq!(ask(&at("otlp_grpc"), "GET /").status, 200);
        assert_eq!(ask(&at("console"), "GET /style.css").status, 200);
    }
    both_are_counted(&program, &program.address("exposition"));
    program.stop().assert_orderly();

    let service = on_localhost(Launch::serve().quick_database(), &["LISTEN"])
        .variable("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
        .start();
    for family in ["127.0.0.1", "[::1]"] {
        let at = |listener| format!("{family}:{}", port(&service, listener));
        assert_eq!(ask(&at("service"), "GET /healthz").status, 200);
        assert_eq!(ask(&at("prometheus"), "GET /metrics").status, 200);
    }
    service.stop().assert_orderly();
}

#[test]
fn a_port_that_is_taken_in_either_family_is_taken() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(held) = TcpListener::bind(address) else { continue };
        let port = held.local_addr().unwrap().port();
        let launch = Launch::collect_at_once().arguments(&["--otlp-http", &format!("localhost:{port}")]);
        let refused = launch.finish();
        let message = refused.failure(2);
        assert!(message.contains(&format!("port {port} is taken")), "{address}: {message}");
    }
}
