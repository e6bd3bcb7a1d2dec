//! What a socket tells its application.

use alloc::boxed::Box;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::code::CloseReason;
use crate::ids::{AskId, Incarnation, LaneId, SendId};
use crate::message::Message;
use crate::socket::State;

/// What a socket tells its application. `Readable`, `ReplyReadable` and `Writable` are edges: after one of them read
/// (write) until there is nothing left (no room).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The socket's state has changed. Every change is told, in order; an application that does not look for long is told
    /// the newest only.
    State(State),
    /// The last attempt to connect failed or the link went down, and why. Precedes the `State(Disconnected)`.
    LinkLost(Box<LinkLoss>),
    /// The lane has something to receive.
    Readable(LaneId),
    /// After a `Full` there is room again: the buffer has fallen to its low-water mark.
    Writable,
    /// The peer has opened a lane.
    LaneOpened(LaneId),
    /// After a `LaneLimit` the peer allows more lanes.
    LanesAvailable,
    /// The peer's application has taken the message (sent with a receipt).
    Confirmed(SendId),
    /// The message's time to live ran out before it was transmitted; it is dropped.
    Expired(SendId),
    /// A newer message of the same key has taken this one's place before it was transmitted.
    Replaced(SendId),
    /// The ask has an answer or an end to take.
    ReplyReadable(AskId),
    /// All that was sent on the lane, and its end, is confirmed.
    LaneFinished(LaneId),
    /// A volatile message.
    Volatile(LaneId, Message),
    /// The session was lost. Writes are refused until the application takes what is unconfirmed
    /// ([`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed)).
    SessionLost(Box<SessionLost>),
    /// The server is going away: what was sent and asked drains, new messages wait for the next incarnation.
    GoingAway(Box<GoingAway>),
    /// The peer closes: nothing can be written any more, what it wrote before can still be read.
    Closing(Box<CloseReason>),
    /// The socket has ended. The last event, told exactly once.
    Closed(Box<Closed>),
}

/// Why a link or an attempt to get one ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkLoss {
    /// Why.
    pub reason: CloseReason,
    /// In how many microseconds the next attempt starts; `None` when there will be none by itself.
    pub retry_in_micros: Option<u64>,
}

/// A session that was lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionLost {
    /// Why: unknown to the server (it restarted, or the session expired), states that do not match, or a drain's deadline.
    pub reason: CloseReason,
    /// Which incarnation was lost.
    pub incarnation: Incarnation,
    /// How many messages wait in [`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed).
    pub unconfirmed: usize,
}

/// A server's announcement that it is going away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GoingAway {
    /// How many microseconds are left to drain.
    pub within_micros: u64,
    /// Where to go instead; empty: the same addresses.
    pub alternative: Bytes,
}

/// How a socket ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// What this side said, when it closed or aborted.
    pub local: Option<CloseReason>,
    /// What the peer said, when it closed, aborted or rejected.
    pub remote: Option<CloseReason>,
    /// Whether everything this side sent was taken by the peer's application and everything the peer sent has arrived
    /// here. When false, [`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed) has what is in doubt.
    pub clean: bool,
    /// How many messages wait in `take_unconfirmed`.
    pub unconfirmed: usize,
}

impl Closed {
    /// The reason that matters most: the peer's, else this side's.
    pub fn reason(&self) -> Option<&CloseReason> {
        self.remote.as_ref().or(self.local.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_peer_said_matters_more_than_what_this_side_said() {
        let said = |text| Some(CloseReason::app(1, text));
        let closed = |local, remote| Closed { local, remote, clean: true, unconfirmed: 0 };
        assert_eq!(closed(said("mine"), said("theirs")).reason(), said("theirs").as_ref());
        assert_eq!(closed(said("mine"), None).reason(), said("mine").as_ref());
        assert_eq!(closed(None, None).reason(), None);
    }
}
