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

    /// What `openssl req -x509` makes: a certificate signed by its own key. Alone it says that it is an authority's, with
    /// the extension that help and README name it does not.
    fn own(is_ca: IsCa) -> Certificates {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        for (name, pem) in [("cert", certificate.pem()), ("key", key.serialize_pem())] {
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
fn a_servers_own_certificate_is_trusted_by_name_and_by_address() {
    let certificates = Certificates::own(IsCa::ExplicitNoCa);
    let (_server, url) = certificates.listen();
    for url in [url.replace("127.0.0.1", "localhost"), url] {
        let ended = Tool::run(&["connect", &url, "--ca", &certificates.path("cert")], b"secret\n");
        assert_eq!((ended.code, ended.stdout), (Some(0), vec!["secret".to_owned()]), "{url}: {:?}", ended.stderr);
    }
}

#[test]
fn the_certificate_of_an_authority_is_refused_with_the_way_to_make_another() {
    let certificates = Certificates::own(IsCa::Ca(BasicConstraints::Unconstrained));
    let (_server, url) = certificates.listen();
    let ended = Tool::run(&["connect", &url, "--ca", &certificates.path("cert")], b"secret\n");
    let begin = format!("error: cannot connect to {url}: certificate refused: it is an authority's (CA:TRUE)");
    fails(&ended, 1, &[&begin, "-addext basicConstraints=critical,CA:FALSE", "makes one that can"]);
}

#[test]
fn help_and_readme_make_certificates_alike() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&Tool::run(&["listen", "--help"], b"").stdout.join("\n"));
    let command = &help[help.find("openssl req -x509").unwrap()..];
    assert!(command.ends_with("-addext basicConstraints=critical,CA:FALSE"), "{command}");
    assert!(words(include_str!("../../../../README.md")).contains(command), "the README lacks: {command}");
}

#[test]
fn a_peer_that_does_not_speak_tls_is_one_line() {
    let (_server, url) = Tool::listen(&["tcp://127.0.0.1:0"]);
    let url = url.replace("tcp", "tls");
    let ended = Tool::run(&["connect", &url, "--no-reconnect"], b"");
    fails(&ended, 1, &[&format!("error: cannot connect to {url}: the peer seems not to speak TLS")]);
    assert!(!ended.stderr[0].contains("http"), "{ended:?}");
}

#[test]
fn certificates_that_cannot_be_read_are_one_line() {
    let certificates = Certificates::of("127.0.0.1");
    let (cert, key) = (certificates.path("cert"), certificates.path("key"));
    fails(&Tool::run(&["listen", "tls://127.0.0.1:0"], b""), 2, &["--cert and --key"]);
    let listen = |cert: &str, key: &str| Tool::run(&["listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key], b"");
    fails(&listen("/nothing/here", &key), 1, &["/nothing/here"]);
    fails(&listen(&cert, "/nothing/here"), 1, &["/nothing/here"]);
    fails(&listen(&key, &key), 1, &[&key]);
    fails(&listen(&cert, &cert), 1, &[&cert, "private key"]);
    let others = Certificates::of("127.0.0.1");
    fails(&listen(&cert, &others.path("key")), 1, &[&cert, "do not belong together"]);
    fails(&Tool::run(&["connect", "tls://127.0.0.1:1", "--ca", "/nothing/here"], b""), 1, &["/nothing/here"]);
    fails(&Tool::run(&["connect", "tls://127.0.0.1:1", "--ca", &key], b""), 1, &[&key]);
}
