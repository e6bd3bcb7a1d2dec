//! The future that drives a client's socket: it dials, moves the link's bytes, and keeps the time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use steadfast::{LinkAction, LinkId};

use crate::alarm::Alarm;
use crate::any_link::AnyLink;
use crate::client::Client;
use crate::dial::{Dialled, Dialler};
use crate::runtime::Runtime;

/// Drives one client socket to its end. It is a task of its own, so that a close gets out even when nobody waits for it.
pub(crate) struct Driver<R: Runtime> {
    client: Arc<Client>,
    dialler: Dialler<R>,
    dial: Option<Pin<Box<dyn Future<Output = Dialled<R>> + Send>>>,
    link: Option<(LinkId, AnyLink<R>)>,
    alarm: Alarm<R::Timer>,
    actions: Vec<LinkAction>,
    last_link: u64,
    /// Something has begun that may not have been polled yet.
    begun: bool,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(client: Arc<Client>, dialler: Dialler<R>) -> Driver<R> {
        let alarm = Alarm::new(dialler.runtime().timer());
        Driver { client, dialler, dial: None, link: None, alarm, actions: Vec::new(), last_link: 0, begun: false }
    }

    fn act_on_all(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        actions.drain(..).for_each(|action| self.act(action));
        self.actions = actions;
    }

    fn act(&mut self, action: LinkAction) {
        match action {
            LinkAction::Dial(address) => {
                self.dial = Some(Box::pin(self.dialler.clone().dial(address)));
                self.begun = true;
            }
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

    fn poll_dial(&mut self, cx: &mut Context<'_>) {
        let Some(Poll::Ready(dialled)) = self.dial.as_mut().map(|dial| dial.as_mut().poll(cx)) else { return };
        self.dial = None;
        let Driver { client, actions, .. } = self;
        match dialled {
            Ok(link) => {
                self.last_link += 1;
                let (id, kind) = (LinkId(self.last_link), link.kind());
                self.link = Some((id, link));
                client.input(actions, |machine, now| machine.handle_link_up(now, id, kind));
            }
            Err(reason) => client.input(actions, |machine, now| machine.handle_dial_failed(now, &reason)),
        }
        self.act_on_all();
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) {
        let Driver { client, actions, .. } = self;
        let Some((id, io)) = &mut self.link else { return };
        let id = *id;
        let receive = |bytes| client.input(actions, |machine, now| machine.handle_bytes(now, id, bytes));
        if let Err(error) = io.poll_read(cx, receive) {
            self.link_down(&error);
        }
        self.act_on_all();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        let Some((id, io)) = &mut self.link else { return };
        if let Poll::Ready(Err(error)) = io.poll_write(cx, |batch| self.client.fill(*id, batch)) {
            self.link_down(&error);
            self.act_on_all();
        }
    }

    fn link_down(&mut self, error: &io::Error) {
        if let Some((id, _)) = self.link.take() {
            let why = error.to_string();
            self.client.input(&mut self.actions, |machine, now| machine.handle_link_failed(now, id, &why));
        }
    }
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        loop {
            driver.begun = false;
            driver.client.serve(cx, &mut driver.actions);
            driver.act_on_all();
            driver.poll_dial(cx);
            driver.poll_read(cx);
            driver.poll_write(cx);
            if !driver.begun {
                break;
            }
        }
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
        self.client.shut_down();
    }
}
