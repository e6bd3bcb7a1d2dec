//! Sending and receiving apart, as a `Sink` and a `Stream`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use steadfast::{Message, SendError};

use crate::ask::Received;
use crate::error::SendConfirmedError;
use crate::lane::{Lane, Offer};
use crate::socket::Finish;
use crate::wait::Waiter;

/// The sending half of a lane: a [`Sink`] of messages.
///
/// The sink holds at most one message that the send buffer has no room for; flushed means that the send buffer has taken
/// all, closed means that the lane is finished and everything confirmed.
#[derive(Debug)]
pub struct SendHalf {
    lane: Lane,
    waiter: Waiter,
    offer: Option<Offer>,
    finish: Option<Finish>,
}

impl SendHalf {
    pub(crate) fn new(lane: Lane) -> SendHalf {
        SendHalf { lane, waiter: Waiter::default(), offer: None, finish: None }
    }

    /// The lane, for everything else.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// As [`Lane::send`]. Cancellation-safe: when dropped, the message has not been accepted.
    ///
    /// # Errors
    /// The message back, and why it is refused for good (never `Full`).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.lane.send(message).await
    }

    fn poll_offer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(offer) = &mut self.offer else { return Poll::Ready(Ok(())) };
        let id = self.lane.id();
        let result = ready!(self.waiter.poll(self.lane.handle(), cx, |access| offer.send(access, id)));
        self.offer = None;
        Poll::Ready(result)
    }
}

impl Sink<Message> for SendHalf {
    type Error = SendConfirmedError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendConfirmedError>> {
        self.poll_offer(cx).map_err(SendConfirmedError::NotSent)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendConfirmedError> {
        let mut offer = Offer::new(message);
        let id = self.lane.id();
        let sent = self.lane.handle().with(|access| offer.send(access, id));
        if sent.is_err() {
            self.offer = Some(offer);
        }
        sent.unwrap_or(Ok(())).map_err(SendConfirmedError::NotSent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendConfirmedError>> {
        self.poll_offer(cx).map_err(SendConfirmedError::NotSent)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendConfirmedError>> {
        ready!(self.poll_offer(cx)).map_err(SendConfirmedError::NotSent)?;
        let half = &mut *self;
        let finish = half.finish.get_or_insert_with(|| half.lane.finish());
        Pin::new(finish).poll(cx).map_err(SendConfirmedError::NotConfirmed)
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.waiter.cancel(self.lane.handle());
    }
}

/// The receiving half of a lane: a [`Stream`] of what arrives, which ends when the peer has finished the lane or the
/// socket has ended.
#[derive(Debug)]
pub struct RecvHalf {
    lane: Lane,
    waiter: Waiter,
}

impl RecvHalf {
    pub(crate) fn new(lane: Lane) -> RecvHalf {
        RecvHalf { lane, waiter: Waiter::default() }
    }

    /// The lane, for everything else.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// As [`Lane::recv`]. Cancellation-safe: when dropped, nothing has been taken.
    pub async fn recv(&self) -> Option<Received> {
        self.lane.recv().await
    }
}

impl Stream for RecvHalf {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let RecvHalf { lane, waiter } = &mut *self;
        let raw = ready!(waiter.poll(lane.handle(), cx, |access| lane.look(access)));
        Poll::Ready(raw.and_then(|raw| lane.wrap(raw)))
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        self.waiter.cancel(self.lane.handle());
    }
}
