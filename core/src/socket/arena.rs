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

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes until so much is free of what the arena has.
    fn leave(arena: &mut Arena, free: usize) -> BytesMut {
        let mut room = arena.take();
        room.resize(room.capacity() - free, 7);
        let written = room.split();
        arena.give(room);
        written
    }

    #[test]
    fn memory_is_used_until_little_is_left_of_it() {
        for (free, expected) in [(LEAST, LEAST), (LEAST - 1, SIZE), (0, SIZE), (500, 500)] {
            let mut arena = Arena::default();
            let written = leave(&mut arena, free);
            let room = arena.take();
            assert_eq!(room.capacity(), expected, "{free} free");
            assert_eq!(room.as_ptr() == written.as_ptr_range().end, free >= LEAST);
        }
    }

    #[test]
    fn a_datagram_finds_the_room_it_asks_for() {
        for (free, expected) in [(500, 500), (300, 300), (299, 4 * 300), (0, 4 * 300)] {
            let mut arena = Arena::default();
            let _written = leave(&mut arena, free);
            assert_eq!(arena.take_at_least(300).capacity(), expected, "{free} free");
        }
    }

    #[test]
    fn what_was_not_used_is_nobodys_state() {
        let mut arena = Arena::default();
        leave(&mut arena, 500);
        let mut copy = arena.clone();
        assert_eq!(copy, arena);
        assert_eq!((arena.take().capacity(), copy.take().capacity()), (500, SIZE));
    }
}
