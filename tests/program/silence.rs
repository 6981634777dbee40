//! Clients that stop in the middle: each step of a connection has a bound, on every listener, plain and over TLS, in
//! HTTP/1 and in HTTP/2. Each test makes one bound short and leaves the others at an hour, so that it is the one that holds.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    routing::{any, get},
};
use pushpull::{
    collector::{Collector, Sockets},
    config::{self, Command, Outcome},
    net::{Bounds, Listener, Places, Stop, Terms, Tls, serve_over},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::{process::DEADLINE, tls::Files};

const HOUR: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(50);
const LONG: Bounds = Bounds {
    first_byte: HOUR,
    handshake: HOUR,
    head: HOUR,
    body: HOUR,
    idle: HOUR,
    stalled: HOUR,
    ping: HOUR,
    pong: HOUR,
    parting: HOUR,
};
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// HEADERS of stream 1: `GET / http` of no host, with `END_STREAM` and without `END_HEADERS`.
const HEADERS_WITHOUT_END: &[u8] = &[0, 0, 3, 1, 1, 0, 0, 0, 1, 0x82, 0x84, 0x86];
/// SETTINGS that let the server send nothing of a body.
const NO_WINDOW: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
const HEADERS: &[u8] = &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects, and speaks TLS where that is asked for.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Tls,
}

/// A listener with its way in.
#[derive(Clone, Copy, Debug)]
struct Door {
    name: &'static str,
    address: SocketAddr,
    way: Way,
}

impl Door {
    async fn open(self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        match self.way {
            Way::Plain => Box::new(stream),
            Way::Tls => Box::new(shake_hands(stream).await),
        }
    }

    /// Sends these, and waits until the server has closed the connection; returns what it said until then.
    async fn is_closed_after(self, said: &[&[u8]]) -> Vec<u8> {
        let mut stream = self.open().await;
        for part in said {
            stream.write_all(part).await.unwrap();
            stream.flush().await.unwrap();
        }
        closed(self, &mut stream).await
    }
}

/// Reads to the end, which may be a reset.
async fn closed(door: Door, stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{door:?} stays open after it said {:?}", String::from_utf8_lossy(&answer));
    answer
}

async fn shake_hands(stream: TcpStream) -> TlsStream<TcpStream> {
    let authorities = RootCertStore::empty();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let mut config = config;
    config.dangerous().set_certificate_verifier(Arc::new(anyone::Anyone(ring::default_provider())));
    let name = ServerName::try_from("localhost").unwrap();
    timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap().unwrap()
}

/// Whose certificate it is makes no difference to these tests.
mod anyone {
    use tokio_rustls::rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct Anyone(pub(super) CryptoProvider);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

/// The three listeners of a collector, plain and over TLS, and those of an application, all with the same bounds.
struct House {
    doors: Vec<Door>,
    application: Door,
    release: Arc<Notify>,
    collectors: Vec<Collector>,
    terms: Terms,
    stop: Stop,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cut();
    }
}

fn on_a_free_port() -> (Listener, SocketAddr) {
    Listener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap()
}

impl House {
    fn with(bounds: Bounds) -> Self {
        Self::with_places(bounds, Places::default())
    }

    fn with_places(bounds: Bounds, places: Places) -> Self {
        let terms = Terms { bounds, places };
        let files = Files::new();
        let tls =
            Tls::read(files.path("server.pem").as_ref(), files.path("server.key").as_ref(), None).unwrap();
        let (mut doors, mut collectors) = (Vec::new(), Vec::new());
        for (way, tls) in [(Way::Plain, None), (Way::Tls, Some(tls.clone()))] {
            let [grpc, http, exposition] = [(); 3].map(|()| on_a_free_port());
            let door = |name, way, address| Door { name, address, way };
            doors.extend([
                door("OTLP/gRPC", way, grpc.1),
                door("OTLP/HTTP", way, http.1),
                door("exposition", Way::Plain, exposition.1),
            ]);
            let sockets = Sockets {
                otlp_grpc: grpc.0,
                otlp_http: http.0,
                statsd: Vec::new(),
                exposition: exposition.0,
                tls,
                terms: terms.clone(),
            };
            let arguments = ["pushpull", "collect"].map(Into::into);
            let Ok(Outcome::Run(settings)) = config::from_args(arguments, []) else { panic!("no settings") };
            let Command::Collect(settings) = settings.command else { panic!("not collect") };
            collectors.push(Collector::start(&settings.collector, sockets).unwrap());
        }
        let (release, stop) = (Arc::new(Notify::new()), Stop::default());
        let waits = Arc::clone(&release);
        let router = Router::new()
            .route("/", get(async || vec![b'x'; 32 * 1024 * 1024]))
            .route("/slow", get(async move || waits.notified().await))
            .route(
                "/read",
                any(async |request: Request<Body>| {
                    let read = axum::body::to_bytes(request.into_body(), usize::MAX).await;
                    read.unwrap_or_else(|_| Bytes::from_static(b"too late"))
                }),
            );
        let (listener, address) = on_a_free_port();
        let application = Door { name: "application", address, way: Way::Plain };
        doors.push(application);
        tokio::spawn(serve_over(None, listener.into_tokio().unwrap(), router, terms.clone(), stop.clone()));
        Self { doors, application, release, collectors, terms, stop }
    }

    /// Every listener closes a connection that says this and no more.
    async fn closes_after(&self, said: &[&[u8]]) {
        for door in &self.doors {
            door.is_closed_after(said).await;
        }
        assert_eq!(self.collectors.len(), 2);
    }
}

#[tokio::test]
async fn a_first_byte_has_a_bound() {
    House::with(Bounds { first_byte: SHORT, ..LONG }).closes_after(&[]).await;
}

#[tokio::test]
async fn a_tls_handshake_has_a_bound() {
    let house = House::with(Bounds { handshake: SHORT, ..LONG });
    // A record of a handshake of 512 bytes, of which five come.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"] {
        for door in house.doors.iter().filter(|door| matches!(door.way, Way::Tls)) {
            Door { way: Way::Plain, ..*door }.is_closed_after(&[said]).await;
        }
    }
}

#[tokio::test]
async fn a_request_head_has_a_bound() {
    let house = House::with(Bounds { head: SHORT, ..LONG });
    for said in
        [&b"G"[..], b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\n", &PREFACE[..1], &PREFACE[..20]]
    {
        house.closes_after(&[said]).await;
    }
    // The next one on the same connection, too.
    let request = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for door in &house.doors {
        let mut stream = door.open().await;
        stream.write_all(request).await.unwrap();
        let mut first = [0; 8];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1", "{door:?}");
        stream.write_all(b"GET / HT").await.unwrap();
        closed(*door, &mut stream).await;
    }
}

/// What came ahead of an answer, with its request or after it, has its bound when that answer is there.
#[tokio::test]
async fn a_head_that_is_sent_ahead_has_a_bound() {
    let house = House::with(Bounds { head: SHORT, ..LONG });
    let requests = [
        &b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT"[..],
        b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}P",
        b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nPOST / HTTP/1.1\r\nHost: localhost\r\n",
    ];
    for said in requests {
        house.closes_after(&[said]).await;
    }
    let mut stream = house.application.open().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    house.release.notify_one();
    let answer = String::from_utf8(closed(house.application, &mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Neither a PING's answer nor anything else can come in the middle of a head.
#[tokio::test]
async fn a_head_of_http2_without_an_end_has_a_bound() {
    let house = House::with(Bounds { ping: SHORT, pong: SHORT, ..LONG });
    house.closes_after(&[PREFACE, SETTINGS, HEADERS_WITHOUT_END]).await;
    // The beginning of a frame, and of its payload.
    house.closes_after(&[PREFACE, SETTINGS, &HEADERS[..5]]).await;
    house.closes_after(&[PREFACE, SETTINGS, &HEADERS[..10]]).await;
}

#[tokio::test]
async fn a_client_of_http2_that_answers_no_ping_is_closed() {
    let house = House::with(Bounds { ping: SHORT, pong: SHORT, ..LONG });
    house.closes_after(&[PREFACE]).await;
    house.closes_after(&[PREFACE, SETTINGS]).await;
}

#[tokio::test]
async fn a_connection_without_a_request_has_a_bound() {
    let house = House::with(Bounds { idle: SHORT, parting: SHORT, ..LONG });
    house.closes_after(&[PREFACE]).await;
    house.closes_after(&[PREFACE, SETTINGS]).await;
    house.closes_after(&[b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"]).await;
    // A client that answers every PING, and takes its leave where it is asked to.
    for door in &house.doors {
        let (client, connection) = h2::client::handshake(door.open().await).await.unwrap();
        timeout(DEADLINE, connection).await.unwrap_or_else(|_| panic!("{door:?} stays open")).unwrap();
        drop(client);
    }
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let house = House::with(Bounds { body: SHORT, ..LONG });
    let posted = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = house.application.is_closed_after(&[posted]).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with("too late"), "{answer}");
    // What receives OTLP does so itself, and must not wait longer than that.
    for door in house.doors.iter().filter(|door| door.name == "OTLP/HTTP") {
        let posted = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                       Content-Length: 10\r\n\r\nhalf";
        let answer = String::from_utf8(door.is_closed_after(&[posted]).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{door:?}: {answer}");
    }
    for door in house.doors.iter().filter(|door| door.name == "OTLP/gRPC") {
        let (client, connection) = h2::client::handshake(door.open().await).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(
            "http://localhost/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        )
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
        let (answer, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[0, 0]), false).unwrap();
        let answer = timeout(DEADLINE, answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "1", "cancelled: {door:?}");
    }
}

/// In HTTP/1 the socket is full, in HTTP/2 it is the window that never opens.
#[tokio::test]
async fn an_answer_that_is_not_taken_has_a_bound() {
    let house = House::with(Bounds { stalled: SHORT, parting: SHORT, ..LONG });
    let mut stream = TcpStream::connect(house.application.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = house.application.is_closed_after(&[PREFACE, NO_WINDOW, HEADERS]).await;
    assert!(answer.len() < 1_024, "{}", answer.len());
    // Nothing of the answer is read, so only a write finds out that nobody is there any more.
    let refused = async {
        while !stream.try_write(b"G").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, refused).await.unwrap();
}

/// An answer that is one part is all in the library's hands while the client takes it. Others who make requests take the
/// one place that is left by turns, and not those of the clients that take an answer, which asked before them.
#[tokio::test]
async fn an_answer_that_is_taken_is_not_cut_where_places_are_short() {
    let house = House::with_places(Bounds { parting: SHORT, ..LONG }, Places::new(3));
    let mut first = house.application.open().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let (client, connection) = h2::client::handshake(house.application.open().await).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://localhost/").body(()).unwrap();
    let (second, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let mut second = timeout(DEADLINE, second).await.unwrap().unwrap();
    let (mut taken, mut taken_of_second) = (vec![0; 1024 * 1024], 0);
    let mut others = Vec::new();
    for _ in 0..24 {
        first.read_exact(&mut taken).await.unwrap();
        let wanted = taken_of_second + taken.len();
        while taken_of_second < wanted {
            let part = timeout(DEADLINE, second.body_mut().data()).await.unwrap().unwrap().unwrap();
            taken_of_second += part.len();
            second.body_mut().flow_control().release_capacity(part.len()).unwrap();
        }
        let mut other = house.application.open().await;
        other.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        timeout(DEADLINE, other.read_exact(&mut [0; 8])).await.unwrap().unwrap();
        others.push(other);
    }
    assert!(house.terms.places.evicted().load(Ordering::Relaxed) >= 23);
    let rest = closed(house.application, &mut first).await;
    assert!(rest.len() > 7 * 1024 * 1024, "{}", rest.len());
    while let Some(part) = timeout(DEADLINE, second.body_mut().data()).await.unwrap() {
        let part = part.unwrap();
        taken_of_second += part.len();
        second.body_mut().flow_control().release_capacity(part.len()).unwrap();
    }
    assert_eq!(taken_of_second, 32 * 1024 * 1024);
}

/// No bound is for the time that the server takes.
#[tokio::test]
async fn a_handler_may_take_its_time() {
    let house = House::with(Bounds {
        first_byte: SHORT,
        head: SHORT,
        body: SHORT,
        idle: SHORT,
        stalled: SHORT,
        parting: SHORT,
        ..LONG
    });
    let mut waiting = house.application.open().await;
    waiting.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // A stream that says what changes may be silent for as long as nothing does.
    let grpc = house.doors.iter().find(|door| door.name == "OTLP/gRPC").unwrap();
    let (client, connection) = h2::client::handshake(grpc.open().await).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://localhost/grpc.health.v1.Health/Watch");
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (watched, mut asked) = client.ready().await.unwrap().send_request(request, false).unwrap();
    asked.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut watched = timeout(DEADLINE, watched).await.unwrap().unwrap();
    assert!(timeout(DEADLINE, watched.body_mut().data()).await.unwrap().is_some());
    for _ in 0..5 {
        house.application.is_closed_after(&[]).await;
    }
    assert!(timeout(Duration::from_millis(1), watched.body_mut().data()).await.is_err(), "it goes on");
    house.release.notify_one();
    let answer = String::from_utf8(closed(house.application, &mut waiting).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
