//! Any OTLP backend by the standard variables alone, and what becomes of a service whose backend is away,
//! refuses, or is not who it says it is.

use std::time::Duration;

use pushpull::collector::batch::{Accepted, Batch, Refused};

use crate::{
    process::{Launch, Program, eventually},
    receiver::{Answer, Receiver, takes},
};

pub(crate) fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

/// The lines in which the program says that deliveries began to fail, and that they work again.
pub(crate) fn changes(program: &Program) -> Vec<String> {
    let lines = program.stderr();
    let lines = lines.lines().filter(|line| line.contains("telemetry is"));
    lines.map(str::to_owned).collect()
}

pub(crate) fn failures(program: &Program, reason: &str) -> f64 {
    let metrics = program.get("/metrics/");
    ["metric_data_point", "span", "log"]
        .iter()
        .map(|what| {
            metrics.sum(
                &format!("otel_sdk_exporter_{what}_exported_total"),
                &[&format!("error_type=\"{reason}\"")],
            )
        })
        .sum()
}

fn pushes_over_tls(protocol: &str) {
    let certificate = certificate();
    let receiver = Receiver::tls(&certificate);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, certificate.cert.pem()).unwrap();
    let service = Launch::serve()
        .exporting_often()
        .quick_database()
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{}", receiver.address.port()))
        .variable("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.to_str().unwrap())
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        .variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "30000")
        .start();
    service.get("/");
    service.get("/database/");
    let headers = eventually("all three signals over TLS", || {
        let (signals, headers) = receiver.heard();
        pushpull::collector::batch::Signal::ALL
            .iter()
            .all(|signal| signals.contains(signal))
            .then_some(headers)
    });
    for headers in &headers {
        assert_eq!(headers["x-tenant"], "blue");
        let encoding = headers.get("grpc-encoding").or_else(|| headers.get("content-encoding")).unwrap();
        assert_eq!(encoding, "gzip");
    }
    assert!(changes(&service).is_empty(), "{:?}", changes(&service));
    service.stop().assert_orderly();
}

#[test]
fn any_backend_over_grpc_and_tls() {
    pushes_over_tls("grpc");
}

#[test]
fn any_backend_over_http_and_tls() {
    pushes_over_tls("http/protobuf");
}

/// A backend that does this costs no request anything, is named in one line for each signal, and counted.
fn is_named_and_counted(protocol: &str, answer: fn(&Batch<'_>) -> Answer, reason: &str) {
    let receiver = Receiver::plain(answer);
    let service = Launch::serve()
        .exporting_often()
        .quick_database()
        .pushing_to(protocol, &receiver.address.to_string())
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
        .start();
    eventually(reason, || {
        assert_eq!(service.get("/database/").status, 200);
        (failures(&service, reason) >= 3.0 && changes(&service).len() >= 3).then_some(())
    });
    let said = changes(&service);
    assert_eq!(said.len(), 3, "once for each signal: {said:?}");
    for signal in ["metrics", "traces", "logs"] {
        let of_signal = said.iter().filter(|line| line.contains(&format!("\"signal\":\"{signal}\"")));
        assert_eq!(of_signal.count(), 1, "{said:?}");
    }
    assert!(said.iter().all(|line| line.contains(&receiver.address.to_string())), "{said:?}");

    receiver.answers(takes);
    eventually("delivery again", || {
        service.get("/database/");
        (changes(&service).len() == 6).then_some(())
    });
    service.stop().assert_orderly();
}

#[test]
fn a_backend_that_is_exhausted() {
    is_named_and_counted("grpc", |_| Answer::Instead(8), "ResourceExhausted");
}

#[test]
fn a_backend_that_has_no_room() {
    let refused = |_: &Batch<'_>| {
        Answer::Otlp(Err(Refused { sink: "test".to_owned(), retry_after: Duration::from_millis(50) }))
    };
    is_named_and_counted("grpc", refused, "Unavailable");
}

#[test]
fn a_backend_with_errors() {
    is_named_and_counted("http/protobuf", |_| Answer::Instead(500), "500");
    is_named_and_counted("grpc", |_| Answer::Instead(13), "Internal");
}

#[test]
fn a_backend_that_takes_a_part() {
    let part =
        |_: &Batch<'_>| Answer::Otlp(Ok(Accepted { rejected: 1, message: "one is too many".to_owned() }));
    is_named_and_counted("grpc", part, "rejected");
    is_named_and_counted("http/protobuf", part, "rejected");
}

/// A number that a backend sends is its word: no more can be rejected than was sent.
#[test]
fn a_backend_that_rejects_more_than_there_was() {
    let receiver = Receiver::plain(|_: &Batch<'_>| {
        Answer::Otlp(Ok(Accepted { rejected: i64::MAX as u64, message: "all of them".to_owned() }))
    });
    let service = Launch::serve()
        .exporting_often()
        .quick_database()
        .pushing_to("http/protobuf", &receiver.address.to_string())
        .start();
    let rejected = eventually("what was rejected of each signal", || {
        service.get("/");
        (changes(&service).len() >= 3).then(|| failures(&service, "rejected"))
    });
    assert!(rejected < 100_000.0, "{rejected}");
}

#[test]
fn a_backend_that_is_not_who_it_says() {
    let (served, trusted) = (certificate(), certificate());
    let receiver = Receiver::tls(&served);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, trusted.cert.pem()).unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let service = Launch::serve()
            .exporting_often()
            .quick_database()
            .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
            .variable(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("https://localhost:{}", receiver.address.port()),
            )
            .variable("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.to_str().unwrap())
            .start();
        let said = eventually("a line about the certificate", || {
            assert_eq!(service.get("/database/").status, 200);
            Some(changes(&service)).filter(|said| said.len() == 3)
        });
        assert!(said.iter().all(|line| line.contains("certificate")), "{said:?}");
        assert_eq!(receiver.heard().0, [], "nothing is told to a stranger");
    }
}
