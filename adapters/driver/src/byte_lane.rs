//! A lane of plain bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use steadfast::{LaneId, LaneOptions, ReceivedBytes, SendErrorKind};

use crate::handle::Access;
use crate::lane::Lane;
use crate::signals::Interest;
use crate::socket::Finish;
use crate::wait::Waiter;

/// One ordered stream of bytes in both directions: `AsyncRead` and `AsyncWrite`, of `futures-io` and, with the feature
/// `tokio`, of tokio.
///
/// Written bytes are flushed by themselves; flushing does nothing. Closing (shutting down) finishes the lane and waits
/// until everything is confirmed. When this is dropped, the lane is finished, and what still arrives on it is dropped.
///
/// A socket that ends before the peer has finished the lane is an error of kind `ConnectionReset` to a reader; a writer
/// sees `BrokenPipe`.
#[derive(Debug)]
pub struct ByteLane {
    lane: Lane,
    reading: Waiter,
    writing: Waiter,
    finish: Option<Finish>,
    /// The peer's end was read.
    ended: bool,
}

impl ByteLane {
    pub(crate) fn new(lane: Lane) -> ByteLane {
        ByteLane { lane, reading: Waiter::default(), writing: Waiter::default(), finish: None, ended: false }
    }

    /// The lane's name within the socket.
    pub fn id(&self) -> LaneId {
        self.lane.id()
    }

    /// How the lane was opened; `None` when it has ended, in both directions.
    pub fn options(&self) -> Option<LaneOptions> {
        self.lane.options()
    }

    /// The next bytes, at most `max` (at least 1), without copying them; `None` at the end. Cancellation-safe: when
    /// dropped, nothing has been taken.
    ///
    /// # Errors
    /// When the socket has ended before the peer finished the lane.
    pub async fn read_chunk(&mut self, max: usize) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx, max)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Bytes>>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let key = self.lane.key();
        let read = |access: &mut Access<'_>| match access.machine.read(access.recent(), key.id, max) {
            Some(ReceivedBytes::Data(bytes)) => {
                access.received();
                Ok(Ok(Some(bytes)))
            }
            Some(ReceivedBytes::Finished) if access.signals.losses == key.losses => Ok(Ok(None)),
            _ if access.is_over(key) => Ok(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Err(Interest::Readable(key.id)),
        };
        let result = ready!(self.reading.poll(self.lane.handle(), cx, read));
        self.ended = matches!(result, Ok(None));
        Poll::Ready(result)
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let bytes = ready!(self.poll_chunk(cx, buf.len()))?.unwrap_or_default();
        buf[..bytes.len()].copy_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let id = self.lane.id();
        let write = |access: &mut Access<'_>| match access.machine.write(access.recent(), id, data) {
            Ok(written) => {
                access.sent(written);
                Ok(Ok(written))
            }
            Err(SendErrorKind::Full { .. }) => Err(Interest::Writable),
            Err(error) => Ok(Err(io::Error::new(io::ErrorKind::BrokenPipe, error))),
        };
        self.writing.poll(self.lane.handle(), cx, write)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let finish = self.finish.get_or_insert_with(|| self.lane.finish());
        Pin::new(finish).poll(cx).map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error))
    }
}

impl Drop for ByteLane {
    fn drop(&mut self) {
        self.reading.cancel(self.lane.handle());
        self.writing.cancel(self.lane.handle());
    }
}

impl futures_io::AsyncRead for ByteLane {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_copy(cx, buf)
    }
}

impl futures_io::AsyncWrite for ByteLane {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncRead for ByteLane {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            let bytes = ready!(self.poll_chunk(cx, buf.remaining()))?;
            buf.put_slice(&bytes.unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncWrite for ByteLane {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}
