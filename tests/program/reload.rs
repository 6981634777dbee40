//! SIGHUP: `collect` reads certificates and token again, `serve` stops, and who was told to ignore it does.

use std::{fs, path::Path};

use crate::{
    delivery::certificate,
    http,
    process::{Launch, Program, eventually},
};

fn write(folder: &Path, of: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    fs::write(folder.join("server.pem"), of.cert.pem()).unwrap();
    fs::write(folder.join("server.key"), of.signing_key.serialize_pem()).unwrap();
}

/// Whether a client that knows this certificate alone gets an answer.
fn is_known(collector: &Program, pem: &str) -> bool {
    // In the product it is the command that installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([certificate]).build();
    let address = collector.address("otlp_http");
    client.unwrap().post(format!("https://{address}/v1/metrics")).send().is_ok()
}

#[test]
fn certificates_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (certificate(), certificate());
    write(folder.path(), &first);
    let collector = Launch::collect()
        .arguments(&["--tls-cert", &path("server.pem"), "--tls-key", &path("server.key")])
        .start();
    assert!(is_known(&collector, &first.cert.pem()));

    write(folder.path(), &second);
    collector.signal("HUP");
    eventually("the second certificate", || is_known(&collector, &second.cert.pem()).then_some(()));
    assert!(!is_known(&collector, &first.cert.pem()));

    // What is of no use changes nothing.
    fs::write(path("server.pem"), "nothing").unwrap();
    collector.signal("HUP");
    eventually("the log", || collector.stderr().contains("a TLS file cannot be used").then_some(()));
    assert!(is_known(&collector, &second.cert.pem()));
    collector.stop().assert_orderly();
}

#[test]
fn the_token_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first-token-of-the-console").unwrap();
    let collector = Launch::collect()
        .variable("PUSHPULL_CONSOLE", "127.0.0.1:0")
        .arguments(&["--console-token-file", file.to_str().unwrap()])
        .start();
    let status = |token: &str| {
        let authorization = format!("Bearer {token}");
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/", collector.address("console"));
        client.get(url).header("authorization", authorization).send().unwrap().status().as_u16()
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(status("first-token-of-the-console"), 200);
    fs::write(&file, "second-token-of-the-console").unwrap();
    collector.signal("HUP");
    eventually("the second token", || (status("second-token-of-the-console") == 200).then_some(()));
    assert_eq!(status("first-token-of-the-console"), 401);
    collector.stop().assert_orderly();
}

#[test]
fn serve_stops_as_at_sigterm() {
    let service = Launch::serve().start();
    service.stop_by("HUP").assert_orderly();
}

#[test]
fn an_inherited_ignore_stays() {
    for command in ["serve", "collect"] {
        let program = Launch::ignoring_hangup(command).start();
        program.signal("HUP");
        let (listener, path) = match command {
            "serve" => ("service", "GET /healthz"),
            _ => ("exposition", "GET /healthz"),
        };
        assert_eq!(http::ask(&program.address(listener), path).status, 200);
        let finished = program.stop();
        finished.assert_orderly();
        assert!(!finished.stderr.contains("SIGHUP"), "{finished:?}");
    }
}
