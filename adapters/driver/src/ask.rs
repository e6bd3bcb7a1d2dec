//! Asks of both directions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use steadfast::{AskId, AskRef, Message, Reply, SendError, SendErrorKind};

use crate::error::AskError;
use crate::handle::{Access, Handle};
use crate::lane::{Lane, Offer};
use crate::signals::Interest;
use crate::wait::Waiter;

/// What a socket or a lane receives.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// A message that wants an answer.
    Ask(Ask),
}

impl Received {
    /// The message, whether or not it wants an answer.
    pub fn message(&self) -> &Message {
        match self {
            Received::Message(message) => message,
            Received::Ask(ask) => &ask.message,
        }
    }
}

/// A message of the peer that wants an answer. Dropped without one, the ask ends there as
/// [`NoReply`](steadfast::AskError::NoReply).
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub message: Message,
    handle: Arc<Handle>,
    id: AskRef,
    open: bool,
}

impl Ask {
    pub(crate) fn new(handle: Arc<Handle>, id: AskRef, message: Message) -> Ask {
        Ask { message, handle, id, open: true }
    }

    /// Gives the last answer, waiting for room in the send buffer. When dropped before, the ask is dropped with it.
    ///
    /// # Errors
    /// The answer back, and why it is refused: also when the peer no longer waits for it.
    pub async fn reply(mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.answer(message.into(), false).await?;
        self.open = false;
        Ok(())
    }

    /// Gives an answer after which further ones follow, waiting for room in the send buffer. Cancellation-safe: when
    /// dropped, the answer has not been accepted.
    ///
    /// # Errors
    /// The answer back, and why it is refused: also when the peer no longer waits for it.
    pub async fn reply_more(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.answer(message.into(), true).await
    }

    async fn answer(&self, message: Message, more: bool) -> Result<(), SendError> {
        let (id, mut offer) = (self.id, Offer::new(message));
        let reply = move |access: &mut Access<'_>| {
            let now = access.now();
            offer.make(|message| access.machine.reply(now, id, message, more))
        };
        self.handle.until(reply).await
    }

    /// Refuses to answer, with a code of the application and a text for people of at most 256 bytes.
    ///
    /// # Errors
    /// Why that could not be said: also when the peer no longer waits.
    pub fn refuse(mut self, code: u32, reason: &str) -> Result<(), SendErrorKind> {
        self.open = false;
        self.handle.with(|access| {
            let now = access.now();
            access.machine.refuse(now, self.id, code, reason)
        })
    }

    /// Whether the peer still waits for an answer.
    pub fn is_open(&self) -> bool {
        self.handle.with(|access| access.machine.is_ask_open(self.id))
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if self.open {
            self.handle.with(|access| {
                let now = access.now();
                access.machine.drop_ask(now, self.id);
            });
        }
    }
}

/// The answers to an ask: a [`Stream`] that ends after the last answer or the first error. Dropping it cancels the ask:
/// later answers are dropped, and the peer may or may not have handled it.
#[derive(Debug)]
pub struct AskStream {
    lane: Lane,
    timeout: Option<Duration>,
    waiter: Waiter,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Not accepted yet.
    Offered(Offer),
    Asked(AskId),
    Ended,
}

impl AskStream {
    pub(crate) fn new(lane: Lane, message: Message, timeout: Option<Duration>) -> AskStream {
        AskStream { lane, timeout, waiter: Waiter::default(), stage: Stage::Offered(Offer::new(message)) }
    }

    /// The next answer; `None` after the end. The first call sends the ask, waiting for room in the send buffer.
    /// Cancellation-safe: when dropped, no answer is taken.
    pub async fn next(&mut self) -> Option<Result<Message, AskError>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    pub(crate) async fn first(mut self) -> Result<Message, AskError> {
        self.next().await.unwrap_or(Err(AskError::Closed))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, AskError>>> {
        loop {
            match &mut self.stage {
                Stage::Offered(offer) => {
                    let (lane, timeout) = (self.lane.id(), self.timeout);
                    let ask = |access: &mut Access<'_>| {
                        let now = access.now();
                        offer.make(|message| access.machine.ask(now, lane, message, timeout))
                    };
                    match ready!(self.waiter.poll(self.lane.handle(), cx, ask)) {
                        Ok(id) => self.stage = Stage::Asked(id),
                        Err(error) => return self.end(AskError::NotSent(error)),
                    }
                }
                Stage::Asked(id) => {
                    let id = *id;
                    let look = |access: &mut Access<'_>| {
                        let reply = access.machine.recv_reply(access.recent(), id);
                        access.next_or_end(reply, Interest::Reply(id))
                    };
                    match ready!(self.waiter.poll(self.lane.handle(), cx, look)) {
                        Some(Reply::Answer { message, more }) => {
                            if !more {
                                self.stage = Stage::Ended;
                            }
                            return Poll::Ready(Some(Ok(message)));
                        }
                        Some(Reply::Failed(error)) => return self.end(AskError::Failed(error)),
                        None => return self.end(AskError::Closed),
                    }
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }

    fn end(&mut self, error: AskError) -> Poll<Option<Result<Message, AskError>>> {
        self.stage = Stage::Ended;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for AskStream {
    type Item = Result<Message, AskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for AskStream {
    fn drop(&mut self) {
        let handle = self.lane.handle();
        self.waiter.cancel(handle);
        if let Stage::Asked(id) = self.stage {
            handle.with(|access| {
                let now = access.now();
                access.machine.cancel_ask(now, id);
                // The end of a cancelled ask waits in the machine to be taken.
                while access.machine.recv_reply(now, id).is_some() {}
            });
        }
    }
}
