//! TLS over a link: rustls in the middle, the link's bytes on one side, plain bytes on the other.

use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};

use rustls::{ClientConnection, Connection, ServerConnection};
use thiserror::Error;

use super::{CERTIFICATE_REFUSED, TlsClient, TlsServer, words};
use crate::buffer::{self, READ_BUFFER};
use crate::runtime::Link;

/// How much is read at once: what comes out of it, a record that was partly there already included, fits into
/// [`READ_BUFFER`].
const CIPHERTEXT: usize = READ_BUFFER - 17 * 1024;

/// A link under TLS.
pub(crate) struct TlsStream<L> {
    link: L,
    tls: Connection,
    shutting_down: bool,
}

impl<L: Link> TlsStream<L> {
    /// The client's end, its handshake done and the server's certificate checked against the host.
    pub(crate) async fn connect(link: L, tls: &TlsClient, host: &str) -> io::Result<TlsStream<L>> {
        let name = rustls::pki_types::ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("`{host}` is not a name that a certificate could be for")))?;
        let tls = ClientConnection::new(tls.config.clone(), name).map_err(refused)?;
        let mut stream = TlsStream { link, tls: tls.into(), shutting_down: false };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(broken_off)?;
        Ok(stream)
    }

    /// The server's end. Its handshake happens as it is read.
    pub(crate) fn accept(link: L, tls: &TlsServer) -> io::Result<TlsStream<L>> {
        let tls = ServerConnection::new(tls.config.clone()).map_err(refused)?;
        Ok(TlsStream { link, tls: tls.into(), shutting_down: false })
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            ready!(self.poll_flush(cx))?;
            if self.tls.is_handshaking() && ready!(self.poll_receive(cx, &mut Vec::new()))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.poll_flush(cx)
    }

    /// Appends plain bytes, at most the spare capacity; 0 at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let before = buf.len();
        loop {
            let ended = self.take_plain(buf)?;
            if ended || buf.len() > before {
                return Poll::Ready(Ok(buf.len() - before));
            }
            // Handshake messages and alerts go out as they arise; that the link cannot take them now holds up nothing.
            let _ = self.poll_flush(cx)?;
            ready!(self.poll_receive(cx, buf))?;
        }
    }

    /// Reads once from the link, and appends what came out of it. Says how many bytes came from the link.
    fn poll_receive(&mut self, cx: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let mut cipher = buffer::take(CIPHERTEXT);
        let result = ready!(self.link.poll_read(cx, &mut cipher));
        let result = result.and_then(|read| self.decrypt(cx, &cipher, plain).map(|()| read));
        buffer::give(cipher);
        Poll::Ready(result)
    }

    fn decrypt(&mut self, cx: &mut Context<'_>, mut cipher: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let taken = self.tls.read_tls(&mut cipher)?;
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that tells the peer why, if the link takes it.
                let _ = self.poll_flush(cx);
                return Err(refused(error));
            }
            self.take_plain(plain)?;
            // After the end of its direction nothing is taken any more, whatever a peer sends.
            if taken == 0 || cipher.is_empty() {
                return Ok(());
            }
        }
    }

    /// Appends the plain bytes that are there; true when the peer has ended its direction.
    fn take_plain(&mut self, plain: &mut Vec<u8>) -> io::Result<bool> {
        let mut reader = self.tls.reader();
        loop {
            let read = match reader.fill_buf() {
                Ok(chunk) => {
                    plain.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            if read == 0 {
                return Ok(true);
            }
            reader.consume(read);
        }
    }

    /// Takes some of the plain bytes; they go out with this and the following calls.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let taken = self.tls.writer().write_vectored(slices)?;
        if taken == 0 {
            // The handshake comes first. It goes on with what is read, and then the task tries again.
            return Poll::Pending;
        }
        let _ = self.poll_flush(cx)?;
        Poll::Ready(Ok(taken))
    }

    /// Ready when the link has taken everything.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut LinkWriter { link: &mut self.link, cx }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                result => result?,
            };
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shutting_down {
            self.shutting_down = true;
            self.tls.send_close_notify();
        }
        ready!(self.poll_flush(cx))?;
        self.link.poll_shutdown(cx)
    }
}

/// The link as rustls writes to it.
struct LinkWriter<'a, 'b, L> {
    link: &'a mut L,
    cx: &'a mut Context<'b>,
}

impl<L: Link> LinkWriter<'_, '_, L> {
    fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<L: Link> Write for LinkWriter<'_, '_, L> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::blocking(self.link.poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error of TLS in words that people understand.
fn refused(error: rustls::Error) -> io::Error {
    match error {
        rustls::Error::InvalidCertificate(_) => io::Error::other(CertificateRefused(words::problem(&error))),
        _ => io::Error::other(words::problem(&error)),
    }
}

/// An end of the link before the end of the handshake: what a peer makes of a hello that it does not understand.
fn broken_off(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => io::Error::new(
            error.kind(),
            "the peer seems not to speak TLS: it broke the connection off in the handshake",
        ),
        _ => error,
    }
}

/// The server's certificate was refused, and why.
#[derive(Debug, Error)]
#[error("{CERTIFICATE_REFUSED}: {0}")]
pub(crate) struct CertificateRefused(String);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// A link whose other end is held in memory.
    #[derive(Default)]
    struct Memory {
        arrives: Vec<u8>,
        sent: Vec<u8>,
    }

    impl Link for Memory {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
            if self.arrives.is_empty() {
                return Poll::Pending;
            }
            let read = self.arrives.len();
            buf.append(&mut self.arrives);
            Poll::Ready(Ok(read))
        }

        fn poll_write_vectored(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            slices.iter().for_each(|slice| self.sent.extend_from_slice(slice));
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A client and a server's end of its link, the handshake done.
    fn pair() -> (ClientConnection, TlsStream<Memory>) {
        let certified = rcgen::generate_simple_self_signed(["a.test".into()]).unwrap();
        let certificate = certified.cert.pem();
        let trusting = TlsClient::with_ca_pem(certificate.as_bytes()).unwrap();
        let mut client = ClientConnection::new(trusting.config, "a.test".try_into().unwrap()).unwrap();
        let key = certified.signing_key.serialize_pem();
        let tls = TlsServer::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let mut server = TlsStream::accept(Memory::default(), &tls).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..4 {
            while client.wants_write() {
                client.write_tls(&mut server.link.arrives).unwrap();
            }
            assert!(server.poll_read(&mut cx, &mut Vec::new()).is_pending());
            let sent = std::mem::take(&mut server.link.sent);
            let mut sent = &sent[..];
            while !sent.is_empty() {
                client.read_tls(&mut sent).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert!(!client.is_handshaking() && !server.tls.is_handshaking());
        (client, server)
    }

    #[test]
    fn what_follows_the_end_of_a_peer_keeps_no_thread_busy() {
        let (mut client, mut server) = pair();
        client.send_close_notify();
        client.write_tls(&mut server.link.arrives).unwrap();
        server.link.arrives.extend([0; 10_000]);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            tell.send(server.poll_read(&mut cx, &mut Vec::new()).map_err(|error| error.kind())).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Poll::Ready(Ok(0))), "the end, and nothing after it");
    }
}
