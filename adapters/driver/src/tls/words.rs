//! What rustls says, in words that people understand.

use rustls::{CertificateError, Error};

/// What went wrong with TLS, as a part of a sentence.
pub(crate) fn problem(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate_problem(error),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            "the peer does not speak TLS: what it sends is something else".to_owned()
        }
        Error::AlertReceived(alert) => format!("the peer refuses the TLS handshake: {}", in_words(&debug(alert))),
        Error::PeerIncompatible(why) => format!("the peer's TLS does not fit: {}", in_words(&debug(why))),
        Error::PeerMisbehaved(why) => format!("the peer breaks the rules of TLS: {}", in_words(&debug(why))),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the peer breaks the rules of TLS: unexpected message".to_owned()
        }
        Error::NoCertificatesPresented => "the peer has shown no certificate".to_owned(),
        Error::InconsistentKeys(_) => "certificate and private key do not belong together".to_owned(),
        Error::General(text) => text.clone(),
        Error::Other(other) => in_words(&other.to_string()),
        other => in_words(&debug(other)),
    }
}

/// Why a certificate was refused, as a sentence about `it`.
pub(crate) fn certificate_problem(error: &CertificateError) -> String {
    let why = match error {
        CertificateError::UnknownIssuer => "no trusted authority has signed it",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::BadSignature => "its signature is not that of the authority it names",
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its signature does not fit the key of the authority it names"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "it is signed in a way that is not supported here"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnknownRevocationStatus => "nobody says whether it was revoked",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the list that says whether it was revoked is out of date"
        }
        CertificateError::NotValidForName => "it is for another host",
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            return format!("it is not for `{}`: it names no host (subjectAltName)", expected.to_str());
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
            return format!("it is not for `{}` but for {}", expected.to_str(), presented.join(", "));
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is for another purpose than a server's (extendedKeyUsage)"
        }
        CertificateError::BadEncoding => "it is damaged",
        CertificateError::UnhandledCriticalExtension => UNKNOWN_EXTENSION,
        CertificateError::ApplicationVerificationFailure => "this application does not want it",
        // What rustls hands on here is webpki's error, whose type it does not export.
        CertificateError::Other(other) => match &*other.to_string() {
            "CaUsedAsEndEntity" => {
                "it is an authority's (CA:TRUE) and cannot be a server's own; \
                 `openssl req -x509 -addext basicConstraints=critical,CA:FALSE \
                 -addext subjectAltName=DNS:HOST` makes one that can"
            }
            "EndEntityUsedAsCa" => "what has signed it is no authority's certificate (CA:TRUE)",
            "UnsupportedCertVersion" => "it is not of version 3, which can name its hosts (subjectAltName)",
            "UnsupportedCriticalExtension" => UNKNOWN_EXTENSION,
            "NameConstraintViolation" => "its authority may not sign for this host",
            "PathLenConstraintViolated" => "more authorities stand between it and the trusted one than that one allows",
            other => return in_words(other),
        },
        other => return in_words(&debug(other)),
    };
    why.to_owned()
}

const UNKNOWN_EXTENSION: &str = "it demands something that is not known here (a critical extension)";

fn debug(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// A variant's name as words: `NoKxGroupsInCommon { .. }` as "no kx groups in common". What is a text already stays one.
fn in_words(text: &str) -> String {
    let name = text.split(['(', '{', ' ']).next().unwrap_or_default();
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|character| character.is_ascii_alphanumeric());
    let is_text = text[name.len()..].trim_start().starts_with(|next| !matches!(next, '(' | '{'));
    if !is_name || is_text {
        return text.to_owned();
    }
    let mut words = String::with_capacity(name.len() + 8);
    let mut after_small = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && after_small {
            words.push(' ');
        }
        after_small = !character.is_ascii_uppercase();
        words.push(character.to_ascii_lowercase());
    }
    words
}

/// The name in rustls's `DnsName("example.org")` or `IpAddress(127.0.0.1)`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{AlertDescription, InconsistentKeys, InvalidMessage, OtherError, PeerIncompatible};

    use super::*;

    fn not_valid_for(presented: &[&str]) -> CertificateError {
        CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.org").unwrap(),
            presented: presented.iter().map(ToString::to_string).collect(),
        }
    }

    fn other(text: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::from(Box::from(text))))
    }

    #[test]
    fn every_reason_to_refuse_a_certificate_is_a_sentence() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1));
        for (error, words) in [
            (CertificateError::UnknownIssuer, "no trusted authority has signed it"),
            (CertificateError::ExpiredContext { time, not_after: time }, "it has expired"),
            (CertificateError::NotValidYetContext { time, not_before: time }, "it is not valid yet"),
            (CertificateError::BadSignature, "its signature is not that of the authority it names"),
            (CertificateError::Revoked, "it was revoked"),
            (not_valid_for(&["DnsName(\"b.org\")", "IpAddress(::1)"]), "it is not for `a.org` but for b.org, ::1"),
            (not_valid_for(&[]), "it is not for `a.org`: it names no host (subjectAltName)"),
            (CertificateError::BadEncoding, "it is damaged"),
            (CertificateError::InvalidOcspResponse, "invalid ocsp response"),
            (other("NameConstraintViolation"), "its authority may not sign for this host"),
            (other("EmptyEkuExtension"), "empty eku extension"),
            (other("MaximumThings { count: 3 }"), "maximum things"),
            (other("The pin is another one"), "The pin is another one"),
            (other("the pin (1) is another one"), "the pin (1) is another one"),
        ] {
            assert_eq!(certificate_problem(&error), words, "{error:?}");
        }
    }

    #[test]
    fn a_certificate_of_an_authority_comes_with_the_way_to_make_another() {
        let words = certificate_problem(&other("CaUsedAsEndEntity"));
        assert!(words.contains("CA:TRUE") && words.contains("basicConstraints=critical,CA:FALSE"), "{words}");
        assert!(super::super::CERTIFICATE_REFUSED.len() + 2 + words.len() <= steadfast::MAX_REASON, "cut on its way");
    }

    #[test]
    fn what_fails_in_a_handshake_is_told_without_names_of_types() {
        for (error, words) in [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "the peer does not speak TLS: what it sends is something else",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the peer refuses the TLS handshake: handshake failure",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "the peer's TLS does not fit: no cipher suites in common",
            ),
            (
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
                "certificate and private key do not belong together",
            ),
            (Error::InvalidCertificate(CertificateError::BadEncoding), "it is damaged"),
            (Error::FailedToGetRandomBytes, "failed to get random bytes"),
        ] {
            assert_eq!(problem(&error), words);
        }
    }
}
