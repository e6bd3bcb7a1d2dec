//! The future that drives a client's socket: it dials, moves the link's bytes, and keeps the time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use steadfast::{LinkAction, LinkId, LinkKind};

use crate::client::Client;
use crate::dial::{Dialled, Dialler};
use crate::link::{Alarm, LinkIo};
use crate::runtime::Runtime;

/// Drives one client socket to its end. It is a task of its own, so that a close gets out even when nobody waits for it.
pub(crate) struct Driver<R: Runtime> {
    client: Arc<Client>,
    dialler: Dialler<R>,
    dial: Option<Pin<Box<dyn Future<Output = Dialled<R>> + Send>>>,
    link: Option<(LinkId, LinkIo<R::Link>)>,
    alarm: Alarm<R::Timer>,
    actions: Vec<LinkAction>,
    last_link: u64,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(client: Arc<Client>, dialler: Dialler<R>) -> Driver<R> {
        let alarm = Alarm::new(dialler.runtime().timer());
        Driver { client, dialler, dial: None, link: None, alarm, actions: Vec::new(), last_link: 0 }
    }

    /// One round; true when another one may find more to do.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        self.client.serve(cx, &mut self.actions);
        for action in std::mem::take(&mut self.actions) {
            self.act(action);
        }
        let dialled = self.poll_dial(cx);
        let read = match self.poll_link(cx) {
            Ok(read) => read,
            Err(_) => {
                self.link_down();
                true
            }
        };
        dialled || read
    }

    fn act(&mut self, action: LinkAction) {
        match action {
            LinkAction::Dial(address) => self.dial = Some(Box::pin(self.dialler.clone().dial(address))),
            LinkAction::CancelDial => self.dial = None,
            LinkAction::Flush(id) => {
                if let Some((_, io)) = self.link.as_mut().filter(|(link, _)| *link == id) {
                    io.flush();
                }
            }
            LinkAction::HangUp(id) => {
                if let Some((_, io)) = self.link.take_if(|(link, _)| *link == id) {
                    let client = self.client.clone();
                    let runtime = self.dialler.runtime();
                    runtime.spawn(io.hang_up(runtime.timer(), move |batch| client.fill(id, batch)));
                }
            }
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Poll::Ready(dialled)) = self.dial.as_mut().map(|dial| dial.as_mut().poll(cx)) else { return false };
        self.dial = None;
        match dialled {
            Ok(wire) => {
                self.link_down();
                self.last_link += 1;
                let id = LinkId(self.last_link);
                self.link = Some((id, LinkIo::new(wire)));
                self.client.input(|machine, now| machine.handle_link_up(now, id, LinkKind::Stream));
            }
            Err(reason) => self.client.input(|machine, now| machine.handle_dial_failed(now, &reason)),
        }
        true
    }

    fn poll_link(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some((id, io)) = &mut self.link else { return Ok(false) };
        let read = io.poll_read(cx, |bytes| self.client.receive(*id, bytes))?;
        if let Poll::Ready(written) = io.poll_write(cx, |batch| self.client.fill(*id, batch)) {
            written?;
        }
        Ok(read)
    }

    fn link_down(&mut self) {
        if let Some((id, _)) = self.link.take() {
            self.client.input(|machine, now| machine.handle_link_down(now, id));
        }
    }
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        while driver.round(cx) {}
        if driver.client.is_over() && driver.link.is_none() && driver.dial.is_none() {
            return Poll::Ready(());
        }
        let idle = driver.client.sleep(|now, deadline| driver.alarm.arm(now, deadline));
        if !idle || driver.alarm.has_fired(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<R: Runtime> Unpin for Driver<R> {}

impl<R: Runtime> Drop for Driver<R> {
    fn drop(&mut self) {
        self.client.abandon_ship();
    }
}
