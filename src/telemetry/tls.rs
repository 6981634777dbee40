//! TLS towards an OTLP endpoint: what the certificate variables name, checked before it is used.
//!
//! It must not read a variable, nor use or set the crypto provider of the process: the provider is `ring`.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// PEM of a client's own certificate, with those between it and its authority, and of its key.
pub(super) type Identity = (Vec<u8>, Vec<u8>);

/// The certificates in a PEM file.
///
/// # Errors
/// Where there is none, or one cannot be read.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("has no certificate in PEM".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("has a broken certificate ({error})")),
    }
}

/// Those whose signature on a server's certificate is trusted.
///
/// # Errors
/// Where none of them can be used. A bundle may have some that are too old to be read.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(pem)?) {
        (0, _) => Err("has no valid certificate".to_owned()),
        _ => Ok(roots),
    }
}

/// The private key in a PEM file.
///
/// # Errors
/// Where there is none that can be read; one that asks for a password cannot.
pub(super) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "has no unencrypted private key in PEM".to_owned())
}

/// Whether certificate and key belong to each other.
///
/// # Errors
/// What is wrong with them, for a person to read.
pub(super) fn check_identity(identity: &Identity) -> Result<(), String> {
    client(RootCertStore::empty(), Some(identity)).map(drop)
}

/// A client that trusts `roots`, and shows who it is to servers that ask for it.
///
/// # Errors
/// Where certificate and key are not a pair, or of no kind that is known here.
pub(super) fn client(roots: RootCertStore, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let told = |error: rustls::Error| error.to_string();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(told)?
        .with_root_certificates(roots);
    match identity {
        Some((chain, own)) => builder.with_client_auth_cert(certificates(chain)?, key(own)?).map_err(told),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities that this machine trusts; none where it has no list of them.
pub(super) fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
