//! TLS: whom a client trusts and what a server shows. rustls does the work, the driver moves its bytes.

mod stream;
mod words;

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

pub(crate) use stream::{CertificateRefused, TlsStream};

/// How the reason of a link loss begins when the server's certificate was refused.
pub(crate) const CERTIFICATE_REFUSED: &str = "certificate refused";

/// Whether the attempt failed because the server's certificate was refused: for a wrong host, a date or an unknown
/// authority. Trying again does not help until somebody has changed something.
pub fn is_certificate_refused(loss: &steadfast::LinkLoss) -> bool {
    loss.reason.reason.starts_with(CERTIFICATE_REFUSED)
}

/// Whom a client of `tls://` addresses trusts. The default: the authorities that Mozilla trusts (`webpki-roots`).
#[derive(Clone)]
pub struct TlsClient {
    pub(crate) config: Arc<ClientConfig>,
}

/// The certificate that a server of `tls://` addresses shows.
#[derive(Clone)]
pub struct TlsServer {
    pub(crate) config: Arc<ServerConfig>,
}

/// Certificates or a key that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The text has no certificate in PEM form.
    #[error("there is no certificate in the PEM text")]
    NoCertificate,
    /// The text is not PEM.
    #[error("the certificates cannot be read: {0}")]
    Certificate(pem::Error),
    /// The key's text is not a private key in PEM form.
    #[error("the private key cannot be read: {}", no_key(.0))]
    Key(pem::Error),
    /// Certificate and key cannot be used.
    #[error("the certificate cannot be used: {}", words::problem(.0))]
    Unusable(#[from] rustls::Error),
}

impl TlsClient {
    /// Trusts the authorities of `webpki-roots`, and besides those whose certificates stand in this PEM text.
    ///
    /// # Errors
    /// When there is no usable certificate in the text.
    pub fn with_ca_pem(pem: &[u8]) -> Result<TlsClient, TlsError> {
        let mut roots = webpki_roots();
        for certificate in certificates(pem)? {
            roots.add(certificate)?;
        }
        Ok(TlsClient::trusting(roots)?)
    }

    fn trusting(roots: RootCertStore) -> Result<TlsClient, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(TlsClient { config: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) })
    }
}

impl Default for TlsClient {
    /// Trusts the authorities of `webpki-roots`.
    fn default() -> TlsClient {
        static WEBPKI: OnceLock<TlsClient> = OnceLock::new();
        let make = || TlsClient::trusting(webpki_roots()).expect("ring knows the default versions of TLS");
        WEBPKI.get_or_init(make).clone()
    }
}

impl From<Arc<ClientConfig>> for TlsClient {
    /// A configuration of one's own: other roots, a client certificate.
    fn from(config: Arc<ClientConfig>) -> TlsClient {
        TlsClient { config }
    }
}

impl TlsServer {
    /// A certificate chain, the server's own first, and its private key, both in PEM form.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn from_pem(certificate_chain: &[u8], private_key: &[u8]) -> Result<TlsServer, TlsError> {
        let chain = certificates(certificate_chain)?;
        let key = PrivateKeyDer::from_pem_slice(private_key).map_err(TlsError::Key)?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(TlsServer { config: Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?) })
    }
}

impl From<Arc<ServerConfig>> for TlsServer {
    /// A configuration of one's own: several certificates, certificates of clients.
    fn from(config: Arc<ServerConfig>) -> TlsServer {
        TlsServer { config }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

fn no_key(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none in the PEM text, or it is encrypted".to_owned(),
        error => error.to_string(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn webpki_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates.map_err(TlsError::Certificate)? {
        certificates if certificates.is_empty() => Err(TlsError::NoCertificate),
        certificates => Ok(certificates),
    }
}
