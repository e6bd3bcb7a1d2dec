//! Certificates for tests, made on the spot.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use steadfast_driver::{TlsClient, TlsServer};

/// An authority that signs certificates for servers.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    /// A new one.
    ///
    /// # Panics
    /// When there is no randomness.
    fn default() -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }
}

impl Authority {
    /// A client that trusts this authority.
    ///
    /// # Panics
    /// Never: the certificate is a good one.
    pub fn trusted(&self) -> TlsClient {
        TlsClient::with_ca_pem(self.issuer.pem().as_bytes()).expect("a certificate")
    }

    /// A server with a certificate for this host.
    pub fn server(&self, host: &str) -> TlsServer {
        self.certify(params(host))
    }

    /// A server whose certificate for this host has expired.
    pub fn expired(&self, host: &str) -> TlsServer {
        let mut params = params(host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.certify(params)
    }

    fn certify(&self, params: CertificateParams) -> TlsServer {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        TlsServer::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).expect("they belong together")
    }
}

/// A server whose certificate for this host is signed by its own key, as `openssl req -x509` makes it, and a client that
/// trusts just that. `of_authority`: the certificate says that it is an authority's.
///
/// # Panics
/// When there is no randomness.
pub fn own_certificate(host: &str, of_authority: bool) -> (TlsServer, TlsClient) {
    let mut params = params(host);
    params.is_ca = if of_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let server = TlsServer::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).expect("they belong together");
    (server, TlsClient::with_ca_pem(pem.as_bytes()).expect("a certificate"))
}

fn params(host: &str) -> CertificateParams {
    CertificateParams::new([host.to_owned()]).expect("a host name")
}
