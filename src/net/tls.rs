//! TLS of a listener: the certificate that it shows, and, where that is asked for, whose certificates it takes.
//!
//! It must not know which setting names a file.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How a listener speaks TLS, 1.2 or 1.3, with HTTP/2 or HTTP/1.1 as the client prefers. Cheap to clone.
/// All clones change with [`Tls::replace`].
#[derive(Clone)]
pub struct Tls(Arc<RwLock<TlsAcceptor>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").finish()
    }
}

/// The file that something is wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The server's certificate, with those between it and its authority behind it.
    Certificate,
    /// Its private key.
    Key,
    /// The authorities of the clients.
    ClientAuthorities,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FileError {
    /// Which one it is.
    pub file: File,
    path: PathBuf,
    reason: String,
}

impl Tls {
    /// Reads PEM files: the server's certificate with its chain and its key, and, where only clients with a certificate
    /// may come, the authorities that these are to be from.
    ///
    /// # Errors
    /// One for each file that cannot be used.
    pub fn read(
        certificate: &Path,
        key: &Path,
        client_authorities: Option<&Path>,
    ) -> Result<Self, Vec<FileError>> {
        let mut errors = Vec::new();
        let mut note = |file, path: &Path, reason: String| {
            errors.push(FileError { file, path: path.to_owned(), reason });
        };
        let chain =
            certificates(certificate).map_err(|reason| note(File::Certificate, certificate, reason)).ok();
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| note(File::Key, key, unusable(&error, "private key")))
            .ok();
        let verifier = client_authorities.map(|path| {
            client_verifier(path).map_err(|reason| note(File::ClientAuthorities, path, reason)).ok()
        });
        let (Some(chain), Some(private)) = (chain, private) else { return Err(errors) };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let builder = builder.map(|builder| match verifier.flatten() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        });
        match builder.and_then(|builder| builder.with_single_cert(chain, private)) {
            Ok(mut config) if errors.is_empty() => {
                config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                Ok(Self(Arc::new(RwLock::new(TlsAcceptor::from(Arc::new(config))))))
            }
            Ok(_) => Err(errors),
            Err(error) => {
                let reason = format!("does not go with {}: {error}", certificate.display());
                errors.push(FileError { file: File::Key, path: key.to_owned(), reason });
                Err(errors)
            }
        }
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// Where it does not speak TLS, or has no certificate that is taken.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.0.read().clone();
        acceptor.accept(stream).await
    }

    /// Speaks as `new` does from the next connection on.
    pub fn replace(&self, new: Self) {
        let acceptor = new.0.read().clone();
        *self.0.write() = acceptor;
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err("holds no PEM certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(&error, "certificate")),
    }
}

fn client_verifier(path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that is none: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| error.to_string())
}

fn unusable(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no PEM {what}"),
        error => format!("holds no {what} in good PEM: {error}"),
    }
}
