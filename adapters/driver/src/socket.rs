//! A socket as the application holds it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use steadfast::{
    CloseReason, Closed, ConfigError, Incarnation, LaneError, LaneId, LaneKind, LaneOptions, Message, SendError,
    SendErrorKind, SendOptions, SessionId, SessionLost, State, Stats, Unconfirmed,
};

use crate::ask::{AskStream, Received};
use crate::byte_lane::ByteLane;
use crate::changes::Changes;
use crate::error::{AskError, NotConfirmed, ReadyError, SendConfirmedError};
use crate::halves::{RecvHalf, SendHalf};
use crate::handle::{Access, Handle, LaneKey};
use crate::lane::{AnyLane, Lane};
use crate::sent::Sent;
use crate::signals::Interest;
use crate::wait::{Attempt, Waiter};

/// One end of a socket that outlives its links.
///
/// A cheap handle: clones, lanes, halves and streams all hold the same socket. When the last of them is dropped, the
/// socket is closed in the background: what was sent is still delivered, what arrives is dropped.
///
/// Messages sent and received here go over the main lane.
///
/// # Cancellation
/// Every future of this crate is cancellation-safe: dropped before it is ready it has done nothing, except where its
/// documentation says what it has done.
#[derive(Clone, Debug)]
pub struct Socket {
    main: Lane,
}

impl Socket {
    pub(crate) fn new(handle: Arc<Handle>) -> Socket {
        Socket { main: Lane::main(handle) }
    }

    fn handle(&self) -> &Arc<Handle> {
        self.main.handle()
    }

    /// Takes a message for sending, waiting for room in the send buffer. Accepted is not yet delivered: see
    /// [`confirmed`](Socket::confirmed). Cancellation-safe: when dropped, the message has not been accepted.
    ///
    /// # Errors
    /// The message back, and why it is refused for good (never `Full`).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.main.send(message).await
    }

    /// Takes a message for sending if there is room.
    ///
    /// # Errors
    /// The message back, and why it is refused.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.main.try_send(message)
    }

    /// Takes the messages of a queue for sending, in order, as [`send`](Socket::send) takes one: for many small messages,
    /// which cost less together. Cancellation-safe: when dropped, what has not been accepted is still in the queue.
    ///
    /// # Errors
    /// Why the first message that is left is refused for good (never `Full`).
    pub async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendErrorKind> {
        self.main.send_many(messages).await
    }

    /// Takes a message for sending as the options say, waiting for room; what becomes of it can be followed.
    /// Cancellation-safe: when dropped, the message has not been accepted.
    ///
    /// # Errors
    /// The message back, and why it is refused for good (never `Full`).
    pub async fn send_with(&self, message: impl Into<Message>, options: SendOptions) -> Result<Sent, SendError> {
        self.main.send_with(message, options).await
    }

    /// Sends a message and waits until the peer's application has taken it. Dropped before the message was accepted, it
    /// has not been sent; dropped later, it is delivered all the same.
    ///
    /// # Errors
    /// [`SendConfirmedError::NotSent`] with the message, or why no confirmation will come.
    pub async fn send_confirmed(&self, message: impl Into<Message>) -> Result<(), SendConfirmedError> {
        self.main.send_confirmed(message).await
    }

    /// Sends a message that may be lost: at most once, unordered, at most 16 KiB, over UDP at most one packet, into which
    /// 1,150 bytes with name and headers fit. False when it could not go at once.
    ///
    /// # Errors
    /// The message back, and why it is refused.
    pub fn send_volatile(&self, message: impl Into<Message>) -> Result<bool, SendError> {
        self.main.send_volatile(message)
    }

    /// The next message or ask; `None` when the peer has finished, or the socket has ended. Cancellation-safe: when
    /// dropped, nothing has been taken.
    pub async fn recv(&self) -> Option<Received> {
        self.main.recv().await
    }

    /// Appends the next messages and asks to a buffer, at most `limit`: as many as are there, but one at least. Answers how
    /// many; 0 when the peer has finished, or the socket has ended. For many small messages, which cost less together.
    /// Cancellation-safe: when dropped, nothing has been taken.
    pub async fn recv_many(&self, buffer: &mut Vec<Received>, limit: usize) -> usize {
        self.main.recv_many(buffer, limit).await
    }

    /// The next message or ask, if there is one.
    pub fn try_recv(&self) -> Option<Received> {
        self.main.try_recv()
    }

    /// The next volatile message, with the lane it is tagged with; `None` when the socket has ended.
    /// Cancellation-safe: when dropped, nothing has been taken.
    pub async fn recv_volatile(&self) -> Option<(LaneId, Message)> {
        let take = |access: &mut Access<'_>| {
            let next = access.signals.next_volatile();
            access.next_or_end(next, Interest::Volatile)
        };
        self.handle().until(take).await
    }

    /// Asks, and waits for the (first) answer as long as it takes. When dropped, the ask is cancelled; the peer may have
    /// handled it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, message: impl Into<Message>) -> Result<Message, AskError> {
        self.main.ask(message).await
    }

    /// Asks, and waits for the (first) answer for a limited time, counted from when the ask was accepted for sending.
    /// When dropped, the ask is cancelled; the peer may have handled it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask_timeout(&self, message: impl Into<Message>, timeout: Duration) -> Result<Message, AskError> {
        self.main.ask_timeout(message, timeout).await
    }

    /// Asks for a stream of answers. When dropped, the ask is cancelled.
    pub fn ask_stream(&self, message: impl Into<Message>, timeout: Option<Duration>) -> AskStream {
        self.main.ask_stream(message, timeout)
    }

    /// The socket's present state.
    pub fn state(&self) -> State {
        self.handle().with(|access| access.machine.state())
    }

    /// Waits until the socket is ready. Cancellation-safe.
    ///
    /// # Errors
    /// How the socket ended before.
    pub async fn ready(&self) -> Result<(), Closed> {
        self.wait_state(State::Ready).await
    }

    /// Waits until the socket is ready, for a limited time. Cancellation-safe.
    ///
    /// # Errors
    /// That the time is over, or how the socket ended before.
    pub async fn ready_timeout(&self, within: Duration) -> Result<(), ReadyError> {
        let mut reached = Reached::new(State::Ready);
        match self.handle().until_deadline(within, move |access| reached.look(access)).await {
            Some(result) => result.map_err(ReadyError::Closed),
            None => Err(ReadyError::Timeout),
        }
    }

    /// Waits until the socket is in this state, or has been since the wait began. Cancellation-safe.
    ///
    /// # Errors
    /// How the socket ended before (never when `Closed` is waited for).
    pub async fn wait_state(&self, state: State) -> Result<(), Closed> {
        let mut reached = Reached::new(state);
        self.handle().until(move |access| reached.look(access)).await
    }

    /// What happened and happens in the socket's life: states, link losses, the end.
    pub fn changes(&self) -> Changes {
        Changes::new(self.handle())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.handle().with(|access| access.machine.stats())
    }

    /// The id of the session; `None` before the first handshake of the incarnation is done.
    pub fn session_id(&self) -> Option<SessionId> {
        self.handle().with(|access| access.machine.session_id())
    }

    /// Which life of the socket this is: it grows when a session was lost and another has taken its place.
    pub fn incarnation(&self) -> Incarnation {
        self.handle().with(|access| access.machine.incarnation())
    }

    /// Client: starts to connect. No effect unless disconnected.
    pub fn connect(&self) {
        self.command(|machine, now| machine.connect(now));
    }

    /// Client: gives up the present link, if any, and connects at once: for wake-ups and changes of the network.
    pub fn reconnect_now(&self) {
        self.command(|machine, now| machine.reconnect_now(now));
    }

    /// Drops the link. With `reconnect` on a client connects again by itself.
    pub fn disconnect(&self) {
        self.command(|machine, now| machine.disconnect(now));
    }

    /// Client: the authentication payload of the next handshakes.
    ///
    /// # Errors
    /// When it is over [`MAX_AUTH`](steadfast::MAX_AUTH) bytes; the former one stays.
    pub fn set_auth(&self, auth: impl Into<Bytes>) -> Result<(), ConfigError> {
        let auth = auth.into();
        self.handle().with(|access| access.machine.set_auth(auth))
    }

    /// Opens a lane of messages, waiting while the peer allows no further one. The lane's kind in the options does not
    /// matter. Cancellation-safe: when dropped, no lane has been opened.
    ///
    /// # Errors
    /// Why no lane can be opened.
    pub async fn open_lane(&self, options: LaneOptions) -> Result<Lane, LaneError> {
        let key = self.open(LaneOptions { kind: LaneKind::Messages, ..options }).await?;
        Ok(Lane::new(self.handle().clone(), key))
    }

    /// Opens a lane of plain bytes, waiting while the peer allows no further one. The lane's kind in the options does not
    /// matter. Cancellation-safe: when dropped, no lane has been opened.
    ///
    /// # Errors
    /// Why no lane can be opened.
    pub async fn open_byte_lane(&self, options: LaneOptions) -> Result<ByteLane, LaneError> {
        let key = self.open(LaneOptions { kind: LaneKind::Bytes, ..options }).await?;
        Ok(ByteLane::new(Lane::new(self.handle().clone(), key)))
    }

    async fn open(&self, options: LaneOptions) -> Result<LaneKey, LaneError> {
        let open = move |access: &mut Access<'_>| {
            let now = access.now();
            match access.machine.open_lane(now, options.clone()) {
                Err(LaneError::LaneLimit { .. }) => Err(Interest::LanesAvailable),
                Err(LaneError::Send(SendErrorKind::Full { .. })) => Err(Interest::Writable),
                result => Ok(result.map(|id| access.key(id))),
            }
        };
        self.handle().until(open).await
    }

    /// The next lane that the peer opened; `None` when the socket has ended. Cancellation-safe: when dropped, no lane
    /// has been taken.
    pub async fn accept_lane(&self) -> Option<AnyLane> {
        let accept = |access: &mut Access<'_>| {
            let next = AnyLane::next(access);
            access.next_or_end(next, Interest::LaneOpened)
        };
        let (key, kind) = self.handle().until(accept).await?;
        Some(AnyLane::new(self.handle().clone(), key, kind))
    }

    /// Half-closes all lanes: nothing more can be sent, what was sent is delivered, then the peer's receivers end.
    /// Starts at once; awaiting it waits until all of it is confirmed. Cancellation-safe: the half-close stands.
    pub fn finish(&self) -> Finish {
        self.end(|machine, now| machine.finish_all(now));
        Finish::new(self.handle(), None)
    }

    /// Waits for a moment at which nothing that was accepted on any lane is unconfirmed. Cancellation-safe.
    ///
    /// # Errors
    /// Why no confirmation will come.
    pub async fn confirmed(&self) -> Result<(), NotConfirmed> {
        Finish::new(self.handle(), None).await
    }

    /// Closes the socket: nothing more can be sent by either side, what was sent is delivered in both directions, at
    /// most for `Config::close_timeout`. Starts at once; awaiting it waits for the end. Cancellation-safe: the close stands.
    ///
    /// What the peer sent before can still be received, and has to be: whoever does not want it any more calls
    /// [`discard`](Socket::discard), or the close takes all the time it may.
    pub fn close(&self, reason: CloseReason) -> Close {
        self.end(|machine, now| machine.close(now, reason));
        Close { handle: self.handle().clone(), waiter: Waiter::default() }
    }

    /// Ends the socket at once. What is unconfirmed can be taken.
    pub fn abort(&self, reason: CloseReason) {
        self.end(|machine, now| machine.abort(now, reason));
    }

    /// Waits until the socket has ended. Cancellation-safe.
    pub async fn closed(&self) -> Closed {
        self.handle().until(|access| access.closed().cloned().ok_or(Interest::Life)).await
    }

    /// Waits until a session is lost; at once when one is and its unconfirmed messages have not been taken. `None` when
    /// the socket has ended without. Cancellation-safe.
    pub async fn lost(&self) -> Option<SessionLost> {
        let look = |access: &mut Access<'_>| access.next_or_end(access.signals.lost.clone(), Interest::Life);
        self.handle().until(look).await
    }

    /// What was accepted and never confirmed, in order, lane by lane: after the session was lost or the socket has
    /// ended. Taking it after a loss lets sends go on (`OnLoss::Reopen`). Empty at other times.
    pub fn take_unconfirmed(&self) -> Vec<Unconfirmed> {
        self.handle().with(|access| {
            access.signals.lost = None;
            let now = access.now();
            access.machine.take_unconfirmed(now)
        })
    }

    /// No more interest in what the peer sends, on any lane: it is dropped as it arrives and counts as taken, and the
    /// peer's asks end without an answer.
    pub fn discard(&self) {
        self.handle().with(|access| access.discard());
    }

    /// The main lane.
    pub fn main_lane(&self) -> &Lane {
        &self.main
    }

    /// Sending and receiving apart: the main lane's halves.
    pub fn split(self) -> (SendHalf, RecvHalf) {
        self.main.split()
    }

    fn end(&self, command: impl FnOnce(&mut steadfast::Socket, steadfast::Time)) {
        self.handle().with(|access| {
            access.startle();
            let now = access.now();
            command(access.machine, now);
        });
    }

    fn command(&self, command: impl FnOnce(&mut steadfast::Socket, steadfast::Time)) {
        self.handle().with(|access| {
            let now = access.now();
            command(access.machine, now);
        });
    }
}

/// Looks whether a state is or was reached.
struct Reached {
    state: State,
    since: Option<u64>,
}

impl Reached {
    fn new(state: State) -> Reached {
        Reached { state, since: None }
    }

    fn look(&mut self, access: &mut Access<'_>) -> Attempt<Result<(), Closed>> {
        let entered = access.signals.entered(self.state);
        let since = *self.since.get_or_insert(entered);
        if access.machine.state() == self.state || entered > since {
            return Ok(Ok(()));
        }
        access.closed().map(|closed| Err(closed.clone())).ok_or(Interest::Life)
    }
}

/// Waits until everything is confirmed: see [`Socket::finish`]. It need not be awaited.
#[derive(Debug)]
pub struct Finish {
    handle: Arc<Handle>,
    waiter: Waiter,
    lane: Option<LaneId>,
    /// How many sessions had been lost when there was something to confirm.
    losses: u64,
}

impl Finish {
    /// Of one lane, or of all.
    pub(crate) fn new(handle: &Arc<Handle>, lane: Option<LaneKey>) -> Finish {
        let of_session = lane.filter(|lane| lane.id != LaneId::MAIN).map(|lane| lane.losses);
        let losses = of_session.unwrap_or_else(|| handle.with(|access| access.signals.losses));
        Finish { handle: handle.clone(), waiter: Waiter::default(), lane: lane.map(|lane| lane.id), losses }
    }
}

impl Future for Finish {
    type Output = Result<(), NotConfirmed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), NotConfirmed>> {
        let Finish { handle, waiter, lane, losses } = &mut *self;
        waiter.poll(handle, cx, |access| {
            // What was lost is not confirmed, whether or not it was taken back since.
            if access.signals.losses != *losses || access.signals.lost.is_some() {
                return Ok(Err(NotConfirmed::Lost));
            }
            // Nothing is left on the lanes then, although not all of it was confirmed.
            if let Some(closed) = access.machine.closed() {
                return Ok(if closed.unconfirmed == 0 { Ok(()) } else { Err(NotConfirmed::Closed) });
            }
            let is_open = |id: &LaneId| lane.is_none_or(|lane| lane == *id) && !access.machine.is_confirmed(*id);
            let open = access.machine.lanes().find(is_open);
            open.map_or(Ok(Ok(())), |open| Err(Interest::Confirmed(open)))
        })
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.waiter.cancel(&self.handle);
    }
}

/// Waits for the end of the socket: see [`Socket::close`]. It need not be awaited.
#[derive(Debug)]
pub struct Close {
    handle: Arc<Handle>,
    waiter: Waiter,
}

impl Future for Close {
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let Close { handle, waiter } = &mut *self;
        waiter.poll(handle, cx, |access| access.closed().cloned().ok_or(Interest::Life))
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        self.waiter.cancel(&self.handle);
    }
}
