//! What quinn needs beside its defaults: a certificate that both ends know, and windows that are no limit.

use std::sync::{Arc, OnceLock};

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, ServerConfig, TransportConfig, VarInt};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

/// The server's name in its certificate.
pub const HOST: &str = "localhost";
/// How much may be on its way, in bytes: more than any path here holds.
const WINDOW: u32 = 64 << 20;

/// Its congestion controllers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Controller {
    /// Its default.
    Cubic,
    /// Rate-based; experimental there.
    Bbr,
}

/// What both sides say of the transport: datagrams of so many bytes from the start.
pub fn transport(mtu: u16, controller: Controller) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(mtu)
        .mtu_discovery_config(None)
        .max_idle_timeout(None)
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(WINDOW.into());
    match controller {
        Controller::Cubic => transport.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Controller::Bbr => transport.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    Arc::new(transport)
}

fn certificate() -> &'static CertifiedKey<KeyPair> {
    static CERTIFICATE: OnceLock<CertifiedKey<KeyPair>> = OnceLock::new();
    CERTIFICATE.get_or_init(|| generate_simple_self_signed([HOST.into()]).expect("a name and a key"))
}

/// A server with the certificate.
pub fn server(transport: Arc<TransportConfig>) -> ServerConfig {
    let key = PrivatePkcs8KeyDer::from(certificate().signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate().cert.der().clone()], key.into())
        .expect("a certificate and its key");
    config.transport_config(transport);
    config
}

/// A client that trusts the certificate.
pub fn client(transport: Arc<TransportConfig>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate().cert.der().to_vec())).expect("a certificate");
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots)).expect("a root");
    config.transport_config(transport);
    config
}
