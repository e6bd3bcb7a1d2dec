//! Where the heads of packets are written.

use core::fmt;

use bytes::BytesMut;

/// How much memory is taken at once, in bytes.
const SIZE: usize = 1024;
/// How much of it a packet finds free at least, in bytes.
const LEAST: usize = 128;
/// For how many datagrams memory is taken at once.
const PACKETS: usize = 4;

/// Memory for the heads of packets and for small packets, used again when those that stand in it are gone. It is no part
/// of anybody's state: a copy begins with none, and all are equal.
#[derive(Default)]
pub(crate) struct Arena(BytesMut);

impl Arena {
    /// The memory, with some room. What was not used is to be given back.
    pub(super) fn take(&mut self) -> BytesMut {
        let mut free = core::mem::take(&mut self.0);
        if free.capacity() < LEAST {
            free.reserve(SIZE);
        }
        free
    }

    /// The memory, with this much room.
    pub(super) fn take_at_least(&mut self, room: usize) -> BytesMut {
        let mut free = core::mem::take(&mut self.0);
        if free.capacity() < room {
            free.reserve(PACKETS * room);
        }
        free
    }

    /// Takes back what was not used.
    pub(super) fn give(&mut self, free: BytesMut) {
        debug_assert!(free.is_empty(), "what was written has left");
        self.0 = free;
    }
}

impl Clone for Arena {
    fn clone(&self) -> Arena {
        Arena::default()
    }
}

impl PartialEq for Arena {
    fn eq(&self, _: &Arena) -> bool {
        true
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arena")
    }
}
