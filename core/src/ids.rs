//! Names of things: links, lanes, sessions, sends, asks.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One transport connection. The adapter chooses it and never uses it twice on one machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// What a link promises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LinkKind {
    /// Ordered and lossless while it lives: TCP, TLS, Unix sockets, WebSocket.
    Stream,
    /// Carries datagrams that may be lost, doubled, reordered or corrupted: UDP, subjects of a fabric.
    Datagram {
        /// The largest datagram that this side sends, in bytes. A link with less than 1,200 is hung up.
        mtu: u16,
    },
}

/// Which life of the socket: it grows by one when the peer has lost the session and a new one takes its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

/// One lane of a socket.
///
/// It names a lane of one incarnation: after a session was lost it names nothing any more, except [`LaneId::MAIN`], which
/// every incarnation has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LaneId {
    incarnation: Incarnation,
    number: u64,
}

impl LaneId {
    /// Lane 0, which every socket has from the start.
    pub const MAIN: LaneId = LaneId { incarnation: Incarnation(0), number: 0 };

    pub(crate) fn new(incarnation: Incarnation, number: u64) -> LaneId {
        if number == 0 { LaneId::MAIN } else { LaneId { incarnation, number } }
    }

    /// The lane's number on the wire: even when the client opened it, odd when the server did.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The incarnation that the lane was opened in; that of [`LaneId::MAIN`] is 0, whichever lives.
    pub fn incarnation(self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn is_of(self, incarnation: Incarnation) -> bool {
        self.number == 0 || self.incarnation == incarnation
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}", self.number)
    }
}

/// A message whose fate the application asked to follow (see [`SendOptions`](crate::SendOptions)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SendId(pub(crate) u64);

/// An ask that this side made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AskId(pub(crate) u64);

/// An ask that the peer made: (incarnation, lane, offset of its record).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AskRef {
    pub(crate) incarnation: Incarnation,
    pub(crate) lane: u64,
    pub(crate) offset: u64,
}

impl AskRef {
    /// The lane it came on, and on which its replies go back.
    pub fn lane(self) -> LaneId {
        LaneId::new(self.incarnation, self.lane)
    }
}

/// The name of a session: a routing part (which server instance holds it) and 112 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId([u8; SessionId::LEN]);

impl SessionId {
    /// Bytes in a session id.
    pub const LEN: usize = 24;

    /// The session of `instance` and `shard` with these random bytes.
    pub fn new(instance: u64, shard: u16, random: [u8; 14]) -> SessionId {
        let mut id = [0; SessionId::LEN];
        id[..8].copy_from_slice(&instance.to_be_bytes());
        id[8..10].copy_from_slice(&shard.to_be_bytes());
        id[10..].copy_from_slice(&random);
        SessionId(id)
    }

    pub(crate) const fn from_bytes(bytes: [u8; SessionId::LEN]) -> SessionId {
        SessionId(bytes)
    }

    /// The bytes as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8; SessionId::LEN] {
        &self.0
    }

    /// The server instance that holds the session.
    pub fn instance(&self) -> u64 {
        u64::from_be_bytes(core::array::from_fn(|index| self.0[index]))
    }

    /// The shard of that instance.
    pub fn shard(&self) -> u16 {
        u16::from_be_bytes([self.0[8], self.0[9]])
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[10..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:x}.{:x}.{self})", self.instance(), self.shard())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_session_id_tells_where_its_session_is() {
        let id = SessionId::new(0x0123_4567_89AB_CDEF, 0xFEDC, [0x5A; 14]);
        assert_eq!((id.instance(), id.shard()), (0x0123_4567_89AB_CDEF, 0xFEDC));
        assert_eq!(SessionId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.to_string(), "5a".repeat(14));
        assert_eq!(format!("{id:?}"), format!("SessionId(123456789abcdef.fedc.{id})"));
    }

    #[test]
    fn a_lane_is_named_in_one_incarnation_and_the_main_lane_in_all() {
        let (first, second) = (Incarnation(0), Incarnation(1));
        let lane = LaneId::new(second, 6);
        assert_eq!((lane.number(), lane.is_of(first), lane.is_of(second)), (6, false, true));
        assert_eq!(LaneId::new(second, 0), LaneId::MAIN);
        assert!(LaneId::MAIN.is_of(first) && LaneId::MAIN.is_of(second));
        assert_eq!(lane.to_string(), "lane 6");
    }
}
