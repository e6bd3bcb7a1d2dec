//! TLS as a user runs it, with certificates made for the test.

use std::path::Path;

use crate::errors::fails;
use crate::harness::Tool;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority and a certificate that it has signed, as files.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn of(host: &str) -> Certificates {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        for (name, pem) in [("ca", authority.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())] {
            std::fs::write(folder.path().join(name), pem).unwrap();
        }
        Certificates { folder }
    }

    fn path(&self, name: &str) -> String {
        Path::to_str(&self.folder.path().join(name)).unwrap().to_owned()
    }

    fn listen(&self) -> (Tool, String) {
        Tool::listen(&["tls://127.0.0.1:0", "--echo", "--cert", &self.path("cert"), "--key", &self.path("key")])
    }
}

#[test]
fn tls_carries_lines_when_the_authority_is_trusted() {
    let certificates = Certificates::of("127.0.0.1");
    let (_server, url) = certificates.listen();
    assert!(url.starts_with("tls://127.0.0.1:"), "{url}");
    let ended = Tool::run(&["connect", &url, "--ca", &certificates.path("ca")], b"secret\n");
    assert_eq!((ended.code, ended.stdout), (Some(0), vec!["secret".to_owned()]), "{:?}", ended.stderr);
}

#[test]
fn a_refused_certificate_is_one_line() {
    let (certificates, other) = (Certificates::of("127.0.0.1"), Certificates::of("127.0.0.1"));
    let (_server, url) = certificates.listen();
    fails(&Tool::run(&["connect", &url, "--ca", &other.path("ca")], b"secret\n"), 1, &["certificate"]);
    fails(&Tool::run(&["connect", &url], b"secret\n"), 1, &["certificate"]);

    let elsewhere = Certificates::of("example.org");
    let (_server, url) = elsewhere.listen();
    fails(&Tool::run(&["connect", &url, "--ca", &elsewhere.path("ca")], b"secret\n"), 1, &["certificate"]);
}

#[test]
fn certificates_that_cannot_be_read_are_one_line() {
    let certificates = Certificates::of("127.0.0.1");
    let (cert, key) = (certificates.path("cert"), certificates.path("key"));
    fails(&Tool::run(&["listen", "tls://127.0.0.1:0"], b""), 1, &["certificate"]);
    let listen = |cert: &str, key: &str| Tool::run(&["listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key], b"");
    fails(&listen("/nothing/here", &key), 1, &["/nothing/here"]);
    fails(&listen(&cert, "/nothing/here"), 1, &["/nothing/here"]);
    fails(&listen(&key, &key), 1, &[&key]);
    fails(&Tool::run(&["connect", "tls://127.0.0.1:1", "--ca", "/nothing/here"], b""), 1, &["/nothing/here"]);
    fails(&Tool::run(&["connect", "tls://127.0.0.1:1", "--ca", &key], b""), 1, &[&key]);
}
