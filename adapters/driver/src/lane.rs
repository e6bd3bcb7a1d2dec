//! One ordered stream of messages within a socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use steadfast::{LaneId, LaneKind, LaneOptions, Message, Received as Raw, SendError, SendErrorKind, SendOptions};

use crate::ask::{Ask, AskStream, Received};
use crate::byte_lane::ByteLane;
use crate::error::{AskError, NotConfirmed, SendConfirmedError};
use crate::halves::{RecvHalf, SendHalf};
use crate::handle::{Access, Handle, LaneKey};
use crate::sent::Sent;
use crate::signals::Interest;
use crate::socket::Finish;
use crate::wait::Attempt;

/// How many messages are sent or taken under the lock at once. Another thread that wants it meanwhile gets it before it would
/// have to sleep.
const STRIDE: usize = 64;

/// One ordered stream of messages in both directions. Lanes do not hold each other up.
///
/// A cheap handle, which holds the socket open. When the last clone of a lane that was opened is dropped, the lane is
/// finished, and what still arrives on it is dropped.
#[derive(Clone, Debug)]
pub struct Lane {
    life: Arc<LaneLife>,
}

/// What all handles of a lane share.
#[derive(Debug)]
struct LaneLife {
    handle: Arc<Handle>,
    key: LaneKey,
}

impl Drop for LaneLife {
    fn drop(&mut self) {
        let id = self.key.id;
        if id != LaneId::MAIN {
            self.handle.with(|access| {
                let now = access.now();
                access.machine.finish(now, id);
                access.machine.discard(now, id);
            });
        }
    }
}

impl Lane {
    pub(crate) fn new(handle: Arc<Handle>, key: LaneKey) -> Lane {
        Lane { life: Arc::new(LaneLife { handle, key }) }
    }

    pub(crate) fn main(handle: Arc<Handle>) -> Lane {
        Lane::new(handle, LaneKey { id: LaneId::MAIN, losses: 0 })
    }

    pub(crate) fn key(&self) -> LaneKey {
        self.life.key
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.life.handle
    }

    /// The lane's name within the socket.
    pub fn id(&self) -> LaneId {
        self.life.key.id
    }

    /// How the lane was opened; `None` when it has ended, in both directions.
    pub fn options(&self) -> Option<LaneOptions> {
        self.handle().with(|access| access.machine.lane_options(self.id()).cloned())
    }

    /// As [`Socket::send`](crate::Socket::send), on this lane. Cancellation-safe: when dropped, the message has not been
    /// accepted. Now and then it lets other tasks run before it goes on, so that what was sent can leave.
    ///
    /// # Errors
    /// The message back, and why it is refused for good (never `Full`).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let (id, mut offer) = (self.id(), Offer::new(message.into()));
        self.handle().until(move |access| offer.send(access, id)).await
    }

    /// As [`Socket::try_send`](crate::Socket::try_send), on this lane.
    ///
    /// # Errors
    /// The message back, and why it is refused.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        self.handle().with(|access| access.send(self.id(), message))
    }

    /// As [`Socket::send_many`](crate::Socket::send_many), on this lane. Cancellation-safe: when dropped, what has not been
    /// accepted is still in the queue.
    ///
    /// # Errors
    /// Why the first message that is left is refused for good (never `Full`).
    pub async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendErrorKind> {
        while !messages.is_empty() {
            self.handle().until(|access| self.send_some(access, messages)).await?;
        }
        Ok(())
    }

    fn send_some(
        &self,
        access: &mut Access<'_>,
        messages: &mut VecDeque<Message>,
    ) -> Attempt<Result<(), SendErrorKind>> {
        for _ in 0..STRIDE {
            access.next_turn()?;
            let Some(message) = messages.pop_front() else { break };
            if let Err(SendError { kind, message }) = access.send(self.id(), message) {
                messages.push_front(message);
                return match kind {
                    SendErrorKind::Full { .. } => Err(Interest::Writable),
                    kind => Ok(Err(kind)),
                };
            }
        }
        Ok(Ok(()))
    }

    /// As [`Socket::send_with`](crate::Socket::send_with), on this lane. Cancellation-safe: when dropped, the message has
    /// not been accepted.
    ///
    /// # Errors
    /// The message back, and why it is refused for good (never `Full`).
    pub async fn send_with(&self, message: impl Into<Message>, options: SendOptions) -> Result<Sent, SendError> {
        let options = SendOptions { receipt: true, ..options };
        let (id, mut offer) = (self.id(), Offer::new(message.into()));
        let send = move |access: &mut Access<'_>| {
            let now = access.now();
            let sent = offer.make(|message| access.machine.send_with(now, id, message, &options))?;
            access.signals.fates.extend(sent.iter().map(|id| (*id, None)));
            Ok(sent)
        };
        let sent = self.handle().until(send).await?;
        Ok(Sent::new(self.handle().clone(), sent))
    }

    /// As [`Socket::send_confirmed`](crate::Socket::send_confirmed), on this lane. Dropped before the message was
    /// accepted, it has not been sent; dropped later, it is delivered all the same.
    ///
    /// # Errors
    /// [`SendConfirmedError::NotSent`] with the message, or why no confirmation will come.
    pub async fn send_confirmed(&self, message: impl Into<Message>) -> Result<(), SendConfirmedError> {
        let sent = self.send_with(message, SendOptions::default()).await?;
        Ok(sent.confirmed().await?)
    }

    /// As [`Socket::send_volatile`](crate::Socket::send_volatile), tagged with this lane.
    ///
    /// # Errors
    /// The message back, and why it is refused.
    pub fn send_volatile(&self, message: impl Into<Message>) -> Result<bool, SendError> {
        let message = message.into();
        self.handle().with(|access| access.machine.send_volatile(access.recent(), self.id(), message))
    }

    /// The next message or ask; `None` when the peer has finished the lane, or the socket has ended.
    /// Cancellation-safe: when dropped, nothing has been taken.
    pub async fn recv(&self) -> Option<Received> {
        let raw = self.handle().until(|access| self.look(access)).await?;
        self.wrap(raw)
    }

    /// As [`Socket::recv_many`](crate::Socket::recv_many), on this lane. Cancellation-safe: when dropped, nothing has been
    /// taken.
    pub async fn recv_many(&self, buffer: &mut Vec<Received>, limit: usize) -> usize {
        let start = buffer.len();
        let mut taken = self.handle().until(|access| self.take_some(access, buffer, limit)).await;
        while taken == STRIDE {
            let rest = limit - (buffer.len() - start);
            taken = self.handle().with(|access| self.take_some(access, buffer, rest)).unwrap_or(0);
        }
        buffer.len() - start
    }

    fn take_some(&self, access: &mut Access<'_>, buffer: &mut Vec<Received>, limit: usize) -> Attempt<usize> {
        let start = buffer.len();
        while buffer.len() - start < limit.min(STRIDE) {
            match self.look(access) {
                Ok(Some(Raw::Message(message))) => buffer.push(Received::Message(message)),
                Ok(Some(raw)) => buffer.extend(self.wrap(raw)),
                Err(interest) if buffer.len() == start => return Err(interest),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(buffer.len() - start)
    }

    /// The next message or ask, if there is one.
    pub fn try_recv(&self) -> Option<Received> {
        let raw = self.handle().with(|access| self.look(access)).ok()??;
        self.wrap(raw)
    }

    /// The next thing that was received; nothing at the end.
    pub(crate) fn look(&self, access: &mut Access<'_>) -> Attempt<Option<Raw>> {
        match access.machine.recv(access.recent(), self.id()) {
            Some(Raw::Finished) => Ok(None),
            Some(received) => {
                access.received();
                Ok(Some(received))
            }
            None if access.is_over(self.key()) => Ok(None),
            None => Err(Interest::Readable(self.id())),
        }
    }

    pub(crate) fn wrap(&self, raw: Raw) -> Option<Received> {
        match raw {
            Raw::Message(message) => Some(Received::Message(message)),
            Raw::Ask(id, message) => Some(Received::Ask(Ask::new(self.handle().clone(), id, message))),
            Raw::Finished => None,
        }
    }

    /// As [`Socket::ask`](crate::Socket::ask), on this lane. When dropped, the ask is cancelled; the peer may have handled
    /// it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, message: impl Into<Message>) -> Result<Message, AskError> {
        self.ask_stream(message, None).first().await
    }

    /// As [`Socket::ask_timeout`](crate::Socket::ask_timeout), on this lane. When dropped, the ask is cancelled; the peer
    /// may have handled it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask_timeout(&self, message: impl Into<Message>, timeout: Duration) -> Result<Message, AskError> {
        self.ask_stream(message, Some(timeout)).first().await
    }

    /// As [`Socket::ask_stream`](crate::Socket::ask_stream), on this lane. When dropped, the ask is cancelled.
    pub fn ask_stream(&self, message: impl Into<Message>, timeout: Option<Duration>) -> AskStream {
        AskStream::new(self.clone(), message.into(), timeout)
    }

    /// Half-closes the lane: nothing more can be sent on it, what was sent is delivered, then the peer's receiver ends.
    /// Starts at once; awaiting it waits until all of it is confirmed. Cancellation-safe: the half-close stands.
    pub fn finish(&self) -> Finish {
        self.handle().with(|access| {
            access.startle();
            let now = access.now();
            access.machine.finish(now, self.id());
        });
        Finish::new(self.handle(), Some(self.key()))
    }

    /// Waits for a moment at which nothing that was accepted on this lane is unconfirmed. Cancellation-safe.
    ///
    /// # Errors
    /// Why no confirmation will come.
    pub async fn confirmed(&self) -> Result<(), NotConfirmed> {
        Finish::new(self.handle(), Some(self.key())).await
    }

    /// No more interest in what the peer sends on this lane: it is dropped as it arrives and counts as taken, and the
    /// peer's asks end without an answer.
    pub fn discard(&self) {
        self.handle().with(|access| {
            let now = access.now();
            access.machine.discard(now, self.id());
        });
    }

    /// Sending and receiving apart.
    pub fn split(self) -> (SendHalf, RecvHalf) {
        (SendHalf::new(self.clone()), RecvHalf::new(self))
    }
}

/// A lane that the peer opened.
#[derive(Debug)]
pub enum AnyLane {
    /// A lane of messages.
    Messages(Lane),
    /// A lane of plain bytes.
    Bytes(ByteLane),
}

impl AnyLane {
    /// The next one that is still there, and its kind.
    pub(crate) fn next(access: &mut Access<'_>) -> Option<(LaneKey, LaneKind)> {
        loop {
            let id = access.signals.opened.pop_front()?;
            if let Some(options) = access.machine.lane_options(id) {
                return Some((access.key(id), options.kind));
            }
        }
    }

    pub(crate) fn new(handle: Arc<Handle>, key: LaneKey, kind: LaneKind) -> AnyLane {
        let lane = Lane::new(handle, key);
        match kind {
            LaneKind::Messages => AnyLane::Messages(lane),
            LaneKind::Bytes => AnyLane::Bytes(ByteLane::new(lane)),
        }
    }
}

/// A message that is offered to the machine until it is taken or refused for good.
#[derive(Debug)]
pub(crate) struct Offer(Option<Message>);

impl Offer {
    pub(crate) fn new(message: Message) -> Offer {
        Offer(Some(message))
    }

    /// One attempt to send it plainly.
    pub(crate) fn send(&mut self, access: &mut Access<'_>, lane: LaneId) -> Attempt<Result<(), SendError>> {
        access.next_turn()?;
        self.make(|message| access.send(lane, message))
    }

    /// One attempt; when there is no room, the message stays for the next one.
    pub(crate) fn make<T>(
        &mut self,
        send: impl FnOnce(Message) -> Result<T, SendError>,
    ) -> Attempt<Result<T, SendError>> {
        match send(self.0.take().unwrap_or_default()) {
            Err(SendError { kind: SendErrorKind::Full { .. }, message }) => {
                self.0 = Some(message);
                Err(Interest::Writable)
            }
            result => Ok(result),
        }
    }
}
