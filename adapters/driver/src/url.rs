//! Addresses as people write them: `tcp://host:port`, `tls://host:port`, `udp://host:port`, `unix:/path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// A parsed address. The scheme may be written in capitals, too (RFC 3986 §3.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Url {
    /// `tcp://host:port`: TCP without encryption.
    Tcp {
        /// A name or an address; an IPv6 address stands without its brackets here.
        host: String,
        /// The port.
        port: u16,
    },
    /// `tls://host:port`: TLS over TCP. A client checks the server's certificate against the host.
    Tls {
        /// A name or an address; an IPv6 address stands without its brackets here.
        host: String,
        /// The port.
        port: u16,
    },
    /// `udp://host:port`: UDP without encryption.
    Udp {
        /// A name or an address; an IPv6 address stands without its brackets here.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path`: a Unix socket in the file system.
    Unix(PathBuf),
}

/// An address that cannot be understood, and why.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{url}` is not an address: {problem}")]
pub struct UrlError {
    /// The address as it was given.
    pub url: String,
    /// What is wrong with it.
    pub problem: UrlProblem,
}

/// What is wrong with an address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum UrlProblem {
    /// There is no scheme.
    #[error("it must begin with tcp://, tls://, udp:// or unix:")]
    NoScheme,
    /// The scheme is none that is known.
    #[error("the scheme `{0}` is not known: tcp, tls, udp and unix are")]
    UnknownScheme(String),
    /// There is no host.
    #[error("the host is missing")]
    NoHost,
    /// There is no port.
    #[error("the port is missing: it must end in :port")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("the port `{0}` is not a number from 0 to 65535")]
    BadPort(String),
    /// An IPv6 address without brackets, or with one only.
    #[error("an IPv6 address stands in brackets: [address]:port")]
    Brackets,
    /// Something follows the port.
    #[error("nothing may follow the port, and `{0}` does")]
    Trailing(String),
    /// There is no path.
    #[error("the path is missing: unix:/path")]
    NoPath,
    /// The system has no Unix sockets.
    #[error("this system has no Unix sockets")]
    Unsupported,
}

impl Url {
    /// Whether both are of the same scheme.
    pub(crate) fn is_same_kind(&self, other: &Url) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Url::Tls { .. })
    }

    /// Whether it is an address that can be dialled: port 0 is a listener's wish for any free one.
    pub(crate) fn is_dialable(&self) -> bool {
        !matches!(self, Url::Tcp { port: 0, .. } | Url::Tls { port: 0, .. } | Url::Udp { port: 0, .. })
    }

    /// The same address with another port.
    pub(crate) fn with_port(&self, port: u16) -> Url {
        match self.clone() {
            Url::Tcp { host, .. } => Url::Tcp { host, port },
            Url::Tls { host, .. } => Url::Tls { host, port },
            Url::Udp { host, .. } => Url::Udp { host, port },
            unix @ Url::Unix(_) => unix,
        }
    }

    fn parse(url: &str) -> Result<Url, UrlProblem> {
        let (scheme, rest) = url.split_once(':').ok_or(UrlProblem::NoScheme)?;
        match &*scheme.to_ascii_lowercase() {
            "tcp" => authority(rest).map(|(host, port)| Url::Tcp { host, port }),
            "tls" => authority(rest).map(|(host, port)| Url::Tls { host, port }),
            "udp" => authority(rest).map(|(host, port)| Url::Udp { host, port }),
            "unix" if cfg!(not(unix)) => Err(UrlProblem::Unsupported),
            "unix" => match rest.strip_prefix("//").unwrap_or(rest) {
                "" => Err(UrlProblem::NoPath),
                path => Ok(Url::Unix(path.into())),
            },
            _ if rest.starts_with("//") => Err(UrlProblem::UnknownScheme(scheme.to_owned())),
            _ => Err(UrlProblem::NoScheme),
        }
    }
}

/// `//host:port` in its parts.
fn authority(rest: &str) -> Result<(String, u16), UrlProblem> {
    let rest = rest.strip_prefix("//").ok_or(UrlProblem::NoScheme)?;
    let (authority, trailing) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !matches!(trailing, "" | "/") {
        return Err(UrlProblem::Trailing(trailing.to_owned()));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or(UrlProblem::Brackets)?;
            (host, rest.strip_prefix(':').ok_or(UrlProblem::NoPort)?)
        }
        None => authority.rsplit_once(':').ok_or(UrlProblem::NoPort)?,
    };
    if !authority.starts_with('[') && host.contains(':') {
        return Err(UrlProblem::Brackets);
    }
    if host.is_empty() {
        return Err(UrlProblem::NoHost);
    }
    match (port, port.parse()) {
        ("", _) => Err(UrlProblem::NoPort),
        (_, Ok(number)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host.to_owned(), number)),
        _ => Err(UrlProblem::BadPort(port.to_owned())),
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Url, UrlError> {
        Url::parse(url).map_err(|problem| UrlError { url: url.to_owned(), problem })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Url::Tcp { host, port } => ("tcp", host, port),
            Url::Tls { host, port } => ("tls", host, port),
            Url::Udp { host, port } => ("udp", host, port),
            Url::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_read_and_written_alike() {
        for url in ["tcp://example.org:7000", "tls://[::1]:0", "udp://[::1]:9", "tcp://127.0.0.1:65535"] {
            assert_eq!(url.parse::<Url>().unwrap().to_string(), url);
        }
        assert_eq!("tcp://a:1/".parse(), Ok(Url::Tcp { host: "a".into(), port: 1 }));
    }

    #[test]
    fn a_scheme_may_stand_in_capitals() {
        assert_eq!("TCP://A:1".parse(), Ok(Url::Tcp { host: "A".into(), port: 1 }));
        assert_eq!("Tls://a:1".parse::<Url>().unwrap().to_string(), "tls://a:1");
        #[cfg(unix)]
        assert_eq!("UNIX:/Path".parse(), Ok(Url::Unix("/Path".into())));
    }

    #[test]
    fn port_0_cannot_be_dialled() {
        for (url, is_dialable) in
            [("tcp://a:0", false), ("tls://[::1]:0", false), ("udp://a:0", false), ("tls://a:1", true)]
        {
            assert_eq!(url.parse::<Url>().unwrap().is_dialable(), is_dialable, "{url}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_path_may_stand_with_or_without_slashes() {
        for url in ["unix:/run/x.sock", "unix:///run/x.sock"] {
            assert_eq!(url.parse(), Ok(Url::Unix("/run/x.sock".into())));
        }
        assert_eq!("unix:x.sock".parse(), Ok(Url::Unix("x.sock".into())));
    }

    #[test]
    fn each_error_names_what_is_wrong() {
        for (url, problem) in [
            ("", UrlProblem::NoScheme),
            ("localhost:80", UrlProblem::NoScheme),
            ("tcp:localhost:80", UrlProblem::NoScheme),
            ("http://a:1", UrlProblem::UnknownScheme("http".into())),
            ("tcp://:80", UrlProblem::NoHost),
            ("tcp://a", UrlProblem::NoPort),
            ("tcp://a:", UrlProblem::NoPort),
            ("tcp://[::1]", UrlProblem::NoPort),
            ("tcp://a:65536", UrlProblem::BadPort("65536".into())),
            ("tcp://a:+1", UrlProblem::BadPort("+1".into())),
            ("tcp://::1:80", UrlProblem::Brackets),
            ("tcp://[::1:80", UrlProblem::Brackets),
            ("tcp://a:1/x", UrlProblem::Trailing("/x".into())),
        ] {
            assert_eq!(url.parse::<Url>(), Err(UrlError { url: url.into(), problem }));
        }
        let error = "tcp://a".parse::<Url>().unwrap_err();
        assert_eq!(error.to_string(), "`tcp://a` is not an address: the port is missing: it must end in :port");
    }
}
