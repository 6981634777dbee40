//! An OTLP receiver at the far end of what a program pushes, over TLS where it is asked for, whose answers a
//! test chooses, and which remembers the headers that it was sent.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::IntoResponse as _};
use http::HeaderMap;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use pushpull::collector::{
    batch::{self, Accepted, Batch, Refused, Signal},
    receive::{Accept, otlp_grpc, otlp_http},
    wire::Items,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};
use tower_service::Service as _;

/// What a receiver makes of a batch.
pub(crate) type Verdict = fn(&Batch<'_>) -> Answer;

/// How it answers.
pub(crate) enum Answer {
    /// OTLP's own answers.
    Otlp(Result<Accepted, Refused>),
    /// This HTTP status instead, or for gRPC this code.
    Instead(u16),
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    answer: Arc<Mutex<Verdict>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Heard {
    signals: Vec<Signal>,
    headers: Vec<HeaderMap>,
}

/// Takes everything.
pub(crate) fn takes(_: &Batch<'_>) -> Answer {
    Answer::Otlp(Ok(Accepted::default()))
}

impl Receiver {
    /// Over plain TCP.
    pub(crate) fn plain(answer: Verdict) -> Self {
        Self::new(answer, None)
    }

    /// Over TLS with this certificate and key.
    pub(crate) fn tls(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        Self::secured(certificate, None)
    }

    /// The same, for clients alone that show a certificate of `authority`.
    pub(crate) fn mutual_tls(
        certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
        authority: &rcgen::Certificate,
    ) -> Self {
        let mut clients = RootCertStore::empty();
        clients.add(authority.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider);
        Self::secured(certificate, Some(verifier.build().unwrap()))
    }

    fn secured(
        certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Self {
        let key = certificate.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            Some(clients) => config.with_client_cert_verifier(clients),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::new(takes, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn new(answer: Verdict, tls: Option<TlsAcceptor>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, answer) = (Arc::<Mutex<Heard>>::default(), Arc::new(Mutex::new(answer)));
        let router = router(&heard, &answer);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (router, tls) = (router.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, router).await,
                        Some(tls) => {
                            // A client that trusts another authority ends the handshake.
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, router).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, heard, answer, _runtime: runtime }
    }

    /// From now on.
    pub(crate) fn answers(&self, answer: Verdict) {
        *self.answer.lock() = answer;
    }

    /// Each signal that arrived, once.
    pub(crate) fn signals(&self) -> BTreeSet<Signal> {
        self.heard.lock().signals.iter().copied().collect()
    }

    /// The signals that arrived and the headers that they came with.
    pub(crate) fn heard(&self) -> (Vec<Signal>, Vec<HeaderMap>) {
        let heard = self.heard.lock();
        (heard.signals.clone(), heard.headers.clone())
    }
}

fn router(heard: &Arc<Mutex<Heard>>, answer: &Arc<Mutex<Verdict>>) -> Router {
    let accept: Accept = {
        let (heard, answer) = (Arc::clone(heard), Arc::clone(answer));
        Arc::new(move |batch| {
            heard.lock().signals.push(batch.request.signal());
            match (*answer.lock())(&batch) {
                Answer::Otlp(answer) => answer,
                Answer::Instead(_) => Ok(Accepted::default()),
            }
        })
    };
    let http = otlp_http::router(Arc::clone(&accept), Arc::default());
    let grpc = otlp_grpc::router(accept, Arc::default());
    let (heard, answer) = (Arc::clone(heard), Arc::clone(answer));
    Router::new().fallback(async move |request: Request| {
        heard.lock().headers.push(request.headers().clone());
        let over_http = request.uri().path().starts_with("/v1/");
        let verdict = *answer.lock();
        match verdict(&nothing()) {
            Answer::Instead(status) if over_http => {
                http::StatusCode::from_u16(status).unwrap().into_response()
            }
            Answer::Instead(code) => {
                tonic::Status::new(tonic::Code::from_i32(code.into()), "as asked").into_http::<Body>()
            }
            Answer::Otlp(_) => {
                let mut router = if over_http { http } else { grpc };
                router.call(request).await.into_response()
            }
        }
    })
}

/// What is asked about before a request is read: a verdict of its own answer is the same for all.
fn nothing() -> Batch<'static> {
    let records = Items::logs(&[]).unwrap();
    Batch { request: batch::Request::Logs(records), wire: bytes::Bytes::new() }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
