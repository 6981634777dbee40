//! Numbers that a client announces: what the service measures is what it saw.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use crate::process::{DEADLINE, Launch, eventually};

/// What is answered to a head that nothing follows.
fn answer_to(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // A client that ends its side before a complete request is answered may get no answer.
    if head.contains("Content-Length") {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = String::new();
    // The rest of a body that was never sent may come to a reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_body_that_is_only_announced_moves_no_sum() {
    let service = Launch::serve().quick_database().start();
    let address = service.address("service");
    for path in ["/", "/database/", "/metrics/", "/nowhere", "/healthz"] {
        for _ in 0..3 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000000000000\r\n\r\n"
            );
            let answer = answer_to(&address, &head);
            assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        }
    }
    let scrape = eventually("all of them in the metrics", || {
        let scrape = service.get("/metrics/");
        let ended =
            scrape.sum("http_server_request_duration_seconds_count", &["http_request_method=\"POST\""]);
        (ended >= 9.0).then_some(scrape)
    });
    assert_eq!(scrape.sum("http_server_request_body_size_bytes_sum", &[]), 0.0, "{}", scrape.body);
    assert!(!service.stderr().contains("panicked"), "{}", service.stderr());
    service.stop().assert_orderly();
}

#[test]
fn the_known_methods_are_those_of_the_variable() {
    let variable = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    let service = Launch::serve().quick_database().variable(variable, "GET, PROPFIND").start();
    for method in ["PROPFIND", "POST", "propfind"] {
        let answer = answer_to(
            &service.address("service"),
            &format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        );
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    let counts = ["PROPFIND", "_OTHER", "POST"].map(|method| {
        let label = format!("http_request_method=\"{method}\"");
        service.get("/metrics/").sum("http_server_request_duration_seconds_count", &[&label])
    });
    assert_eq!(counts, [1.0, 2.0, 0.0]);
    service.stop().assert_orderly();

    let service = Launch::serve().quick_database().variable(variable, "GET POST").start();
    assert!(service.stderr().contains("is not a list of HTTP methods"), "{}", service.stderr());
    service.stop().assert_orderly();
}
