//! The collector by itself: who may send to it, and what it says of its targets before it is needed.

use std::net::TcpListener;

use crate::{
    http,
    process::{Finished, Launch, Program, eventually},
    tls::Files,
};

/// A service that pushes to a collector over TLS, with the files that these variables of the exporter name.
fn pushing_to(collector: &Program, files: &Files, protocol: &str, named: &[(&str, &str)]) -> Program {
    let listener = if protocol == "grpc" { "otlp_grpc" } else { "otlp_http" };
    let port = collector.address(listener).rsplit_once(':').unwrap().1.to_owned();
    let launch = Launch::serve()
        .exporting_often()
        .quick_database()
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{port}"))
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
        .arguments(&["--stop-within", "1s"]);
    let named = named.iter().fold(launch, |launch, (what, file)| {
        launch.variable(&format!("OTEL_EXPORTER_OTLP_{what}"), &files.path(file))
    });
    let service = named.start();
    service.get("/");
    service
}

fn arrives(collector: &Program, requests: f64) {
    eventually("the requests", || (collector.pushed().sum("requests_total", &[]) == requests).then_some(()));
}

#[test]
fn otlp_is_received_over_tls() {
    let files = Files::new();
    let collector = Launch::collect()
        .arguments(&["--tls-cert", &files.path("server.pem"), "--tls-key", &files.path("server.key")])
        .start();
    for (sent, protocol) in [(1.0, "grpc"), (2.0, "http/protobuf")] {
        let service = pushing_to(&collector, &files, protocol, &[("CERTIFICATE", "server.pem")]);
        arrives(&collector, sent);
        service.stop().assert_orderly();
    }
    // Whoever speaks no TLS gets no answer of HTTP's; the exposition stays plain.
    let plain = http::try_ask(&collector.address("otlp_http"), "POST /v1/metrics");
    assert!(plain.is_err(), "a plain request was answered");
    collector.stop().assert_orderly();
}

#[test]
fn known_clients_alone_are_received() {
    let files = Files::new();
    let collector = Launch::collect()
        .arguments(&["--tls-cert", &files.path("server.pem"), "--tls-key", &files.path("server.key")])
        .arguments(&["--tls-client-ca", &files.path("authority.pem")])
        .start();
    let known =
        [("CERTIFICATE", "server.pem"), ("CLIENT_CERTIFICATE", "client.pem"), ("CLIENT_KEY", "client.key")];
    for (sent, protocol) in [(1.0, "grpc"), (2.0, "http/protobuf")] {
        for stranger in
            [&known[..1], &[known[0], ("CLIENT_CERTIFICATE", "server.pem"), ("CLIENT_KEY", "server.key")]]
        {
            let service = pushing_to(&collector, &files, protocol, stranger);
            eventually("that it is not delivered", || {
                service.stderr().contains("telemetry is").then_some(())
            });
            assert_eq!(collector.pushed().sum("requests_total", &[]), sent - 1.0);
        }
        let service = pushing_to(&collector, &files, protocol, &known);
        arrives(&collector, sent);
        service.stop().assert_orderly();
    }
}

#[test]
fn every_file_that_is_of_no_use_is_named() {
    let files = Files::new();
    let [server, key, another, broken, nowhere] =
        ["server.pem", "server.key", "another.key", "broken.pem", "nowhere.pem"].map(|name| files.path(name));
    for (arguments, told) in [
        (vec!["--tls-cert", &server], vec!["--tls-cert: a certificate without its key; give --tls-key too"]),
        (vec!["--tls-key", &key], vec!["--tls-key: a key without its certificate; give --tls-cert too"]),
        (vec!["--tls-client-ca", &server], vec!["--tls-client-ca: clients show certificates only over TLS"]),
        (
            vec!["--tls-cert", &nowhere, "--tls-key", &server, "--tls-client-ca", &broken],
            vec![
                "nowhere.pem: cannot be read: No such file",
                "holds no PEM private key; name a PEM file with the certificate's private key",
                "broken.pem: holds",
            ],
        ),
        (vec!["--tls-cert", &server, "--tls-key", &another], vec!["another.key: does not go with"]),
        (vec!["--tls-cert", &key, "--tls-key", &key], vec!["server.key: holds no PEM certificate"]),
    ] {
        for check in [&[][..], &["--check"]] {
            let finished = Launch::collect_at_once().arguments(&arguments).arguments(check).finish();
            let message = finished.failure(2);
            assert!(told.iter().all(|told| message.contains(told)), "{told:?}: {message}");
        }
    }
}

/// Runs `--check` with these targets.
fn check(arguments: &[&str]) -> Finished {
    Launch::bare(&["collect", "--check"]).arguments(arguments).finish()
}

#[test]
fn a_check_asks_each_target_and_listens_nowhere() {
    let backend = Launch::collect().start();
    let (grpc, http) = (backend.address("otlp_grpc"), backend.address("otlp_http"));
    let carbon = TcpListener::bind("127.0.0.1:0").unwrap();
    let carbon_address = carbon.local_addr().unwrap().to_string();
    let (grpc, http) = (format!("grpc://{grpc}"), format!("http://{http}"));
    // Its own ports are taken by another of its kind, which is no fault.
    let taken = backend.address("exposition");
    let well = check(&[
        "--graphite",
        &carbon_address,
        "--forward",
        &grpc,
        "--forward",
        &http,
        "--exposition",
        &taken,
    ]);
    well.assert_orderly();
    let takes = "takes metrics, traces, logs";
    assert_eq!(
        well.stdout,
        format!(
            "the settings are good\n--graphite {carbon_address}: takes a connection\n\
             --forward {grpc}: {takes}\n--forward {http}: {takes}\n"
        )
    );
    assert_eq!(backend.pushed().sum("pushpull_collector_accepted_total", &[]), 0.0, "nothing was sent");

    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("new/spool").display().to_string();
    let spooling = check(&["--graphite", &carbon_address, "--spool", &spool]);
    assert!(spooling.stdout.contains(&format!("--spool {spool}: can be made\n")), "{spooling:?}");
    assert!(folder.path().read_dir().unwrap().next().is_none(), "nothing was made");
    let unwritable = check(&["--graphite", &carbon_address, "--spool", "/proc/spool"]);
    assert_eq!(unwritable.code(), Some(1), "{unwritable:?}");
    assert!(unwritable.stdout.contains("--spool /proc/spool: cannot be used: "), "{unwritable:?}");

    drop(carbon);
    backend.stop().assert_orderly();
    let ill = check(&["--graphite", &carbon_address, "--forward", &grpc, "--forward", &http]);
    assert_eq!(ill.code(), Some(1), "{ill:?}");
    assert_eq!(ill.stderr, "pushpull: 3 targets cannot be used\n");
    assert_eq!(ill.stdout.matches("cannot be used: ").count(), 3, "{ill:?}");
    assert_eq!(ill.stdout.matches("onnection refused").count(), 5 + 2, "each signal and why: {ill:?}");
    check(&["--graphite", "nothing"]).failure(2);
    assert!(Launch::bare(&["--check"]).finish().failure(2).contains("it belongs to `pushpull collect`"));
}

#[test]
fn a_check_reads_the_token_file_and_creates_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token").display().to_string();
    let console = ["--console", "0.0.0.0:5001", "--console-token-file", &path];
    let checked = check(&console);
    checked.assert_orderly();
    assert!(checked.stdout.contains(&format!("--console-token-file {path}: can be made\n")), "{checked:?}");
    assert!(folder.path().read_dir().unwrap().next().is_none(), "nothing was made");
    std::fs::write(&path, "short").unwrap();
    assert!(check(&console).failure(2).contains("holds no token"));
    std::fs::write(&path, "long-enough-for-a-token").unwrap();
    check(&console).assert_orderly();
}
