//! Getting a listening socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;
use crate::runtime::{Listening, Runtime};
use crate::udp;
use crate::url::Url;

/// How many links may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listening socket and the address at which it listens.
pub(crate) struct Bound {
    pub(crate) socket: BoundSocket,
    pub(crate) url: Url,
}

/// A listening socket.
pub(crate) enum BoundSocket {
    /// Accepts links; and what has to be undone in the end.
    Stream(Listening, Claim),
    /// Carries all its links.
    Udp(UdpSocket),
}

/// Listens at an address.
pub(crate) async fn bind<R: Runtime>(runtime: &R, url: &Url) -> Result<Bound, BindError> {
    let refused = |source| BindError::Bind { url: url.to_string(), source };
    match url {
        Url::Unix(path) => bind_unix(path).map_err(refused),
        Url::Tcp { host, port } | Url::Tls { host, port } | Url::Udp { host, port } => {
            let unknown = |source| BindError::Resolve { url: url.to_string(), source };
            let addresses = runtime.resolve(host, *port).await.map_err(unknown)?;
            bind_host(url, &addresses).map_err(refused)
        }
    }
}

/// The first of the addresses that the system gives.
fn bind_host(url: &Url, addresses: &[SocketAddr]) -> io::Result<Bound> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match bind_address(url, *address) {
            Ok((socket, address)) => return Ok(Bound { socket, url: url.with_port(address.port()) }),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn bind_address(url: &Url, address: SocketAddr) -> io::Result<(BoundSocket, SocketAddr)> {
    if let Url::Udp { .. } = url {
        let socket = udp::bind(address)?;
        let address = socket.local_addr()?;
        return Ok((BoundSocket::Udp(socket), address));
    }
    let listener = listen_tcp(address)?;
    let address = listener.local_addr()?;
    Ok((BoundSocket::Stream(Listening::Tcp(listener), Claim::default()), address))
}

fn listen_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this would let another process take the address over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The file of a Unix socket, which goes when nobody listens any more. Nothing for other addresses.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    #[cfg(unix)]
    file: Option<(std::path::PathBuf, FileId)>,
}

#[cfg(unix)]
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &std::path::Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(unix)]
impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((path, id)) = self.file.take() {
            // Somebody else may listen there by now. A file that cannot be removed is found stale by the next listener.
            if file_id(&path).is_ok_and(|now| now == id) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

#[cfg(unix)]
fn bind_unix(path: &std::path::Path) -> io::Result<Bound> {
    use std::os::unix::net::UnixListener;
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        result => result?,
    };
    let claim = Claim { file: Some((path.to_owned(), file_id(path)?)) };
    listener.set_nonblocking(true)?;
    Ok(Bound { socket: BoundSocket::Stream(Listening::Unix(listener), claim), url: Url::Unix(path.to_owned()) })
}

/// Whether a socket's file was left behind by a process that is gone.
#[cfg(unix)]
fn is_stale(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    // Who has no room for another link lives, and is not waited for.
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&socket2::SockAddr::unix(path)?)
    };
    is_socket && connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(not(unix))]
fn bind_unix(_: &std::path::Path) -> io::Result<Bound> {
    Err(io::ErrorKind::Unsupported.into())
}
