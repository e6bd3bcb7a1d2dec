//! The tasks of a server: one that accepts and keeps the time, and one for each link.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use steadfast::{CloseReason, LinkId};

use super::{Server, Stage};
use crate::alarm::Alarm;
use crate::bind::Claim;
use crate::handle::lock;
use crate::link::{LinkIo, Wire};
use crate::runtime::{Acceptor, Link, Runtime, Timer};
use crate::tls::{TlsServer, TlsStream};
use crate::udp::UdpDoors;

/// How many links are accepted before others run.
const TURNS: usize = 64;
/// How long accepting pauses when the system has no room for another link.
const PAUSE: Duration = Duration::from_millis(100);

/// Where links come in.
pub(crate) enum Entrance<R: Runtime> {
    /// Each is a stream, and has a task of its own.
    Stream {
        acceptor: R::Acceptor,
        #[expect(dead_code, reason = "it is dropped together with the acceptor")]
        claim: Claim,
        tls: Option<TlsServer>,
    },
    /// All go over one socket, which the server's task serves.
    Udp(Box<UdpDoors<R::Datagrams>>),
}

/// Accepts links and keeps the time of all sockets, until the server is closed and everything is over.
pub(crate) struct ServerTask<R: Runtime> {
    server: Arc<Server>,
    runtime: R,
    entrance: Option<Entrance<R>>,
    alarm: Alarm<R::Timer>,
    pause: Option<R::Timer>,
}

impl<R: Runtime> ServerTask<R> {
    pub(crate) fn new(server: Arc<Server>, runtime: R, entrance: Entrance<R>) -> Self {
        let alarm = Alarm::new(runtime.timer());
        ServerTask { server, runtime, entrance: Some(entrance), alarm, pause: None }
    }

    fn let_in(&mut self, cx: &mut Context<'_>) {
        match &mut self.entrance {
            Some(Entrance::Stream { .. }) => self.accept(cx),
            Some(Entrance::Udp(doors)) => doors.poll(&self.server, cx),
            None => {}
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURNS {
            if self.pause.as_mut().is_some_and(|pause| pause.poll_fired(cx).is_pending()) {
                return;
            }
            self.pause = None;
            let Some(Entrance::Stream { acceptor, tls, .. }) = &mut self.entrance else { return };
            match acceptor.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(link)) => {
                    let tls = tls.clone();
                    self.welcome(link, tls);
                }
                Poll::Ready(Err(error)) if is_of_one_link(&error) => {}
                Poll::Ready(Err(_)) => {
                    let mut timer = self.runtime.timer();
                    timer.set(PAUSE);
                    self.pause = Some(timer);
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn welcome(&self, link: R::Link, tls: Option<TlsServer>) {
        let wire = match &tls {
            None => Ok(Wire::Plain(link)),
            Some(tls) => TlsStream::accept(link, tls).map(|stream| Wire::Tls(Box::new(stream))),
        };
        if let Ok(wire) = wire {
            let id = self.server.link_up();
            let timer = self.runtime.timer();
            self.runtime.spawn(serve_link(self.server.clone(), id, LinkIo::new(wire), timer));
        }
    }
}

impl<R: Runtime> Future for ServerTask<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        task.server.serve(cx);
        task.let_in(cx);
        if task.server.has_emptied() {
            // The links of a UDP socket need it to the end.
            task.entrance.take_if(|entrance| matches!(entrance, Entrance::Stream { .. }));
            if task.server.has_ended(task.entrance.is_some()) {
                return Poll::Ready(());
            }
        }
        let idle = task.server.sleep(&mut task.alarm);
        if !idle || task.alarm.has_fired(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<R: Runtime> Unpin for ServerTask<R> {}

impl<R: Runtime> Drop for ServerTask<R> {
    fn drop(&mut self) {
        self.entrance = None;
        self.server.shut_down();
    }
}

/// For the server's task.
impl Server {
    /// Does what is due. From now on commands wake this task.
    fn serve(&self, cx: &Context<'_>) {
        let former = self.act(|inner, wakes| {
            inner.woken = false;
            let now = inner.clock.read();
            if inner.deadline().is_some_and(|deadline| deadline <= now) {
                inner.machine.handle_timeout(now);
                inner.check_confirmed(wakes);
            }
            inner.alarms.fire(now, wakes);
            inner.task.replace(cx.waker().clone())
        });
        drop(former);
    }

    /// Lets the task sleep; false when there is something to do at once.
    fn sleep(&self, alarm: &mut Alarm<impl Timer>) -> bool {
        let mut inner = lock(&self.inner);
        let (now, deadline) = (inner.clock.recent(), inner.deadline());
        inner.armed = alarm.arm(now, deadline);
        !inner.woken && deadline.is_none_or(|deadline| deadline > now)
    }

    /// Whether the server is closed and no socket is left. Links that still do not know are hung up.
    fn has_emptied(&self) -> bool {
        self.act(|inner, wakes| {
            let emptied = inner.stage > Stage::Open && inner.machine.is_empty();
            if emptied {
                let staying = inner.doors.iter().filter(|(_, door)| !door.is_leaving());
                let links: Vec<LinkId> = staying.map(|(link, _)| *link).collect();
                links.into_iter().for_each(|link| inner.knock(link, true, wakes));
            }
            emptied
        })
    }

    /// Whether no link is left, or the close has taken all the time it may: then the links write their last bytes after it.
    /// Those of a UDP socket (`share`) cannot, and wait for nobody.
    fn has_ended(&self, share: bool) -> bool {
        let mut inner = lock(&self.inner);
        if share {
            inner.close_until = None;
        }
        inner.doors.is_empty() || inner.close_until.is_some_and(|until| until <= inner.clock.recent())
    }

    /// Nobody drives the server any more: everything is over, or the runtime has shut down.
    fn shut_down(&self) {
        self.act(|inner, wakes| {
            let now = inner.clock.read();
            let reason = CloseReason::app(0, "the async runtime has shut down");
            let ids: Vec<_> = inner.machine.sockets().collect();
            for id in ids {
                inner.machine.socket_mut(id).into_iter().for_each(|socket| socket.abort(now, reason.clone()));
            }
            inner.stage = Stage::Over;
            inner.waiting.wake_all(wakes);
        });
    }
}

/// Moves the bytes of one link until it is over.
async fn serve_link(server: Arc<Server>, id: LinkId, mut io: LinkIo<impl Link>, timer: impl Timer) {
    let hung_up = std::future::poll_fn(|cx| poll_link(&server, id, &mut io, cx)).await;
    if hung_up.is_ok() {
        io.hang_up(timer, |batch| server.fill(id, batch)).await;
    }
    server.link_down(id, &hung_up.err().map_or_else(String::new, |error| error.to_string()));
}

/// Ready when the machine wants to hang up, or the link is down.
fn poll_link(server: &Server, id: LinkId, io: &mut LinkIo<impl Link>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    // What was read may have made something to write; then others have their turn, however much more has come.
    for _ in 0..2 {
        let wanted = server.wanted(id, cx);
        if wanted.hang_up {
            return Poll::Ready(Ok(()));
        }
        if wanted.flush {
            io.flush();
        }
        let read = io.poll_read(cx, |bytes| server.receive(id, bytes))?;
        if let Poll::Ready(written) = io.poll_write(cx, |batch| server.fill(id, batch)) {
            written?;
        }
        if !read {
            return Poll::Pending;
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Whether an error of accepting is of the one link that was to be accepted.
fn is_of_one_link(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use steadfast::{Server as Machine, ServerConfig};

    use super::*;
    use crate::handle::CachedClock;
    use crate::link::TURNS;

    /// A peer from which something more has always come: a HELLO of 60,000 bytes, byte by byte.
    struct Busy(Arc<AtomicUsize>);

    impl Link for Busy {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
            let read = self.0.fetch_add(1, Ordering::SeqCst);
            buf.push(*[0xE0, 0xD4, 0x03, 0xD3, 0x73, 0x66, 0x64].get(read).unwrap_or(&0));
            Poll::Ready(Ok(1))
        }

        fn poll_write_vectored(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_link_that_takes_nothing_is_told_once_that_it_is_over() {
        let mut clock = CachedClock::new();
        let machine = Machine::new(Arc::new(ServerConfig::default()), [1; 32], clock.read()).unwrap();
        let server = Server::new(machine, clock, Duration::ZERO);
        let route = crate::udp::Route { remote: ([127, 0, 0, 1], 9).into(), local: None };
        let datagram = bytes::Bytes::from_static(b"?");
        let kind = steadfast::LinkKind::Datagram { mtu: 1200 };
        server.receive_datagrams(kind, std::iter::once((route, datagram)), |_, new| new());
        server.close(CloseReason::app(0, ""));
        // What is wanted waits while the system takes nothing; the server's task runs on.
        let mut wanted = std::collections::VecDeque::new();
        for _ in 0..10 {
            assert!(server.has_emptied());
            server.take_wanted(&mut wanted);
        }
        assert_eq!(wanted.len(), 1);
    }

    #[test]
    fn a_link_on_which_something_always_comes_lets_others_run() {
        let mut clock = CachedClock::new();
        let machine = Machine::new(Arc::new(ServerConfig::default()), [1; 32], clock.read()).unwrap();
        let server = Server::new(machine, clock, Duration::ZERO);
        let id = server.link_up();
        let reads = Arc::<AtomicUsize>::default();
        let mut io = LinkIo::new(Wire::Plain(Busy(reads.clone())));
        let mut cx = Context::from_waker(Waker::noop());
        let _: Poll<io::Result<()>> = poll_link(&server, id, &mut io, &mut cx);
        let reads = reads.load(Ordering::SeqCst);
        assert!(reads <= 4 * TURNS, "{reads} reads in one turn");
    }
}
