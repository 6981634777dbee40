//! Endpoints that ask who their client is: the certificate variables, general and of one signal, by both transports.

use std::collections::BTreeSet;

use pushpull::collector::batch::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{
    delivery::{certificate, changes},
    process::{Launch, Program, eventually},
    receiver::Receiver,
};

/// The files of a server and of a client that it knows, and some that are of no use.
pub(crate) struct Files(TempDir);

impl Files {
    fn of(server: &CertifiedKey<KeyPair>) -> (Self, CertifiedIssuer<'static, KeyPair>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, pem: String| std::fs::write(folder.path().join(name), pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        write("server.pem", server.cert.pem());
        write("server.key", server.signing_key.serialize_pem());
        write("authority.pem", authority.pem());
        write("client.pem", client.signed_by(&key, &authority).unwrap().pem());
        write("client.key", key.serialize_pem());
        write("another.pem", certificate().cert.pem());
        write("another.key", KeyPair::generate().unwrap().serialize_pem());
        write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned());
        (Self(folder), authority)
    }

    pub(crate) fn new() -> Self {
        Self::of(&certificate()).0
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A receiver for known clients, and the files that make one known.
struct Guarded {
    receiver: Receiver,
    files: Files,
}

impl Guarded {
    fn new() -> Self {
        let server = certificate();
        let (files, authority) = Files::of(&server);
        Self { receiver: Receiver::mutual_tls(&server, authority.as_ref()), files }
    }

    /// A service that pushes here, with the files that these variables of the exporter name.
    fn pushed_to(&self, protocol: &str, files: &[(&str, &str)]) -> Program {
        let endpoint = format!("https://localhost:{}", self.receiver.address.port());
        let launch = Launch::serve()
            .exporting_often()
            .quick_database()
            .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
            .arguments(&["--stop-within", "1s"]);
        let named = |launch: Launch, (what, file): &(&str, &str)| {
            launch.variable(&format!("OTEL_EXPORTER_OTLP_{what}"), &self.files.path(file))
        };
        let service = files.iter().fold(launch, named).start();
        service.get("/database/");
        service
    }
}

/// Asks the service until it has said of each of these signals that it is not delivered.
fn are_not_delivered(service: &Program, signals: &[Signal]) {
    let said = eventually("a line for each signal", || {
        assert_eq!(service.get("/database/").status, 200);
        Some(changes(service)).filter(|said| said.len() >= signals.len())
    });
    for signal in signals {
        let named = format!("\"signal\":\"{}\"", signal.as_str());
        assert_eq!(said.iter().filter(|line| line.contains(&named)).count(), 1, "{named}: {said:?}");
    }
    assert_eq!(said.len(), signals.len(), "{said:?}");
}

fn all() -> BTreeSet<Signal> {
    BTreeSet::from(Signal::ALL)
}

const GENERAL: [(&str, &str); 3] =
    [("CERTIFICATE", "server.pem"), ("CLIENT_CERTIFICATE", "client.pem"), ("CLIENT_KEY", "client.key")];

fn known_clients_alone_are_heard(protocol: &str) {
    let guarded = Guarded::new();
    // The server is trusted, but does not know the client.
    let stranger = guarded.pushed_to(protocol, &GENERAL[..1]);
    are_not_delivered(&stranger, &Signal::ALL);
    drop(stranger);
    assert_eq!(guarded.receiver.signals(), BTreeSet::new());

    let known = guarded.pushed_to(protocol, &GENERAL);
    eventually("all three signals", || (guarded.receiver.signals() == all()).then_some(()));
    assert_eq!(changes(&known), [""; 0]);
    known.stop().assert_orderly();
}

#[test]
fn known_clients_alone_are_heard_over_grpc() {
    known_clients_alone_are_heard("grpc");
}

#[test]
fn known_clients_alone_are_heard_over_http() {
    known_clients_alone_are_heard("http/protobuf");
}

fn each_signal_has_files_of_its_own(protocol: &str) {
    for signal in Signal::ALL {
        let guarded = Guarded::new();
        let own = GENERAL.map(|(what, file)| (format!("{}_{what}", signal.as_str().to_uppercase()), file));
        let own = own.each_ref().map(|(what, file)| (what.as_str(), *file));
        // What is for all signals is of no use here; a signal's own wins over it.
        let files = [own[0], own[1], own[2], ("CERTIFICATE", "another.pem")];
        let service = guarded.pushed_to(protocol, &files);
        let others: Vec<_> = Signal::ALL.into_iter().filter(|other| *other != signal).collect();
        are_not_delivered(&service, &others);
        eventually("the one signal", || {
            service.get("/database/");
            (guarded.receiver.signals() == BTreeSet::from([signal])).then_some(())
        });
    }
}

#[test]
fn each_signal_has_files_of_its_own_over_grpc() {
    each_signal_has_files_of_its_own("grpc");
}

#[test]
fn each_signal_has_files_of_its_own_over_http() {
    each_signal_has_files_of_its_own("http/protobuf");
}

/// Files that cannot be used are one warning, and the service runs without them.
#[test]
fn files_that_are_of_no_use_are_one_warning() {
    let guarded = Guarded::new();
    for (files, told) in [
        (vec![("CERTIFICATE", "nowhere.pem")], "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (vec![("CERTIFICATE", "client.key")], "has no certificate"),
        (vec![("CERTIFICATE", "broken.pem")], "has no valid certificate"),
        (vec![("TRACES_CERTIFICATE", "broken.pem")], "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
        (vec![("CLIENT_KEY", "client.pem")], "has no unencrypted private key"),
        (vec![("CLIENT_CERTIFICATE", "client.pem")], "is of no use without OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        (vec![("CLIENT_KEY", "client.key")], "is of no use without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        (
            vec![("CLIENT_CERTIFICATE", "client.pem"), ("CLIENT_KEY", "another.key")],
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY do not go together",
        ),
        (
            vec![("CLIENT_CERTIFICATE", "broken.pem"), ("CLIENT_KEY", "client.key")],
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY do not go together",
        ),
    ] {
        for protocol in ["grpc", "http/protobuf"] {
            let service = guarded.pushed_to(protocol, &files);
            assert_eq!(service.get("/").status, 200);
            let stderr = service.stderr();
            let warnings: Vec<_> =
                stderr.lines().filter(|line| line.contains("pushpull::cli::serve")).collect();
            assert_eq!(warnings.len(), 1, "{files:?}: {stderr}");
            assert!(warnings[0].contains("\"WARN\"") && warnings[0].contains(told), "{told}: {warnings:?}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
    assert_eq!(guarded.receiver.signals(), BTreeSet::new());
}
