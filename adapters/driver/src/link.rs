//! One link: what is read from it, what is on its way out, and how it ends.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use steadfast::{RecvBytes, Transmit};

use crate::buffer::{self, READ_BUFFER};
use crate::runtime::{Link, Timer};
use crate::tls::TlsStream;
use crate::udp::Outbox;

/// How much is taken from the machine for one write, in bytes: what has been taken can no longer be overtaken.
const BATCH: usize = 64 * 1024;
/// How many slices go into one write.
const SLICES: usize = 64;
/// How many writes or reads a task does before it lets others run.
pub(crate) const TURNS: usize = 16;
/// How long a link that was hung up may take to write what remains.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(5);
/// How long the peer may take to hang up, too.
const LAST_READS: Duration = Duration::from_millis(500);

/// A link as it came from the runtime, or under TLS.
pub(crate) enum Wire<L> {
    Plain(L),
    Tls(Box<TlsStream<L>>),
}

impl<L: Link> Wire<L> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Wire::Plain(link) => link.poll_read(cx, buf),
            Wire::Tls(stream) => stream.poll_read(cx, buf),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Wire::Plain(link) => link.poll_write_vectored(cx, slices),
            Wire::Tls(stream) => stream.poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(_) => Poll::Ready(Ok(())),
            Wire::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(link) => link.poll_shutdown(cx),
            Wire::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}

/// What was taken from the machine and not yet from us.
#[derive(Default)]
pub(crate) struct Batch {
    transmits: VecDeque<Transmit>,
}

impl Batch {
    /// Takes what the machine gives, up to the size of a batch; true when it has no more.
    pub(crate) fn fill(&mut self, mut poll_transmit: impl FnMut() -> Option<Transmit>) -> bool {
        let mut size = 0;
        while size < BATCH {
            let Some(transmit) = poll_transmit() else { return true };
            size += transmit.remaining();
            self.transmits.push_back(transmit);
        }
        false
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.transmits.is_empty()
    }

    /// Moves datagrams to an outbox, as many as leave together.
    pub(crate) fn pour(&mut self, outbox: &mut Outbox, max_joined: usize) {
        while let Some(datagram) = self.transmits.pop_front() {
            if let Err(datagram) = outbox.push(datagram, max_joined) {
                self.transmits.push_front(datagram);
                break;
            }
        }
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let segments = self.transmits.iter().flat_map(Transmit::segments).filter(|segment| !segment.is_empty());
        slices.iter_mut().zip(segments).map(|(slice, segment)| *slice = IoSlice::new(segment)).count()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.transmits.front_mut() {
            let step = written.min(first.remaining());
            first.advance(step);
            written -= step;
            if first.has_remaining() {
                return;
            }
            self.transmits.pop_front();
        }
    }
}

/// A link with what is on its way out.
pub(crate) struct LinkIo<L> {
    wire: Wire<L>,
    batch: Batch,
    /// The machine may have more for the link.
    flush: bool,
}

impl<L: Link> LinkIo<L> {
    pub(crate) fn new(wire: Wire<L>) -> LinkIo<L> {
        LinkIo { wire, batch: Batch::default(), flush: false }
    }

    /// The machine has said that it has output for the link.
    pub(crate) fn flush(&mut self) {
        self.flush = true;
    }

    /// Reads until nothing is there, or others should run, too. True when something was read.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, mut receive: impl FnMut(RecvBytes)) -> io::Result<bool> {
        for turn in 0..TURNS {
            let mut buf = buffer::take(READ_BUFFER);
            match self.wire.poll_read(cx, &mut buf) {
                Poll::Pending => {
                    buffer::give(buf);
                    return Ok(turn > 0);
                }
                Poll::Ready(Ok(0)) => return Err(hung_up()),
                // TLS takes an end without its own last word for an error.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(hung_up()),
                Poll::Ready(result) => result.map(|_| buffer::hand_over(buf, &mut receive))?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(true)
    }

    /// Writes batch after batch until the machine has no more, the link takes no more, or others should run, too. Ready
    /// when everything was written. Nothing is taken from the machine while the link takes nothing.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut fill: impl FnMut(&mut Batch) -> bool,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            if self.batch.is_empty() && self.flush {
                self.flush = !fill(&mut self.batch);
            }
            if self.batch.is_empty() {
                return self.wire.poll_flush(cx);
            }
            ready!(self.poll_write_batch(cx))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_batch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.batch.slices(&mut slices);
            match ready!(self.wire.poll_write_vectored(cx, &slices[..count]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.batch.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a link that the machine has hung up: writes what remains, ends this side's direction, and reads on until the
    /// peer has done so, too; for a link that is closed with bytes unread is reset, and a reset destroys what the peer
    /// has not read yet. Bounded in time.
    pub(crate) async fn hang_up(mut self, mut timer: impl Timer, mut fill: impl FnMut(&mut Batch) -> bool) {
        let (mut read_to_end, mut shut_down) = (false, false);
        self.flush = true;
        timer.set(LAST_WRITES);
        std::future::poll_fn(|cx| {
            if !shut_down {
                match self.poll_shutdown(cx, &mut fill) {
                    Poll::Ready(Ok(())) => {
                        shut_down = true;
                        timer.set(LAST_READS);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if !read_to_end {
                read_to_end = self.poll_read(cx, drop).is_err();
            }
            if shut_down && read_to_end { Poll::Ready(()) } else { timer.poll_fired(cx) }
        })
        .await;
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>, fill: impl FnMut(&mut Batch) -> bool) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx, fill))?;
        self.wire.poll_shutdown(cx)
    }
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has hung up")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(sizes: &[usize]) -> Batch {
        let mut batch = Batch::default();
        let mut transmits = sizes.iter().map(|size| Transmit::from(Bytes::from(vec![*size as u8; *size])));
        assert!(batch.fill(|| transmits.next()));
        batch
    }

    fn lengths(batch: &Batch) -> Vec<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = batch.slices(&mut slices);
        slices[..count].iter().map(|slice| slice.len()).collect()
    }

    #[test]
    fn a_batch_is_written_piece_by_piece() {
        let mut batch = batch(&[3, 0, 5, 7]);
        assert_eq!(lengths(&batch), [3, 5, 7]);
        for (written, left) in [(2, vec![1, 5, 7]), (1, vec![5, 7]), (6, vec![6]), (6, vec![])] {
            batch.advance(written);
            assert_eq!(lengths(&batch), left);
        }
        assert!(batch.is_empty());
    }

    #[test]
    fn a_batch_takes_no_more_than_it_should() {
        let mut pulled = 0;
        let mut batch = Batch::default();
        let drained = batch.fill(|| {
            pulled += 1;
            Some(Transmit::from(Bytes::from(vec![0; BATCH / 2])))
        });
        assert!(!drained);
        assert_eq!(pulled, 2);
    }
}
