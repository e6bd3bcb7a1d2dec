//! Packets on a stream link: a length, then the bytes (PROTOCOL.md §3.2).

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use super::varint;

/// The longest packet, in bytes, without its length prefix: 64 KiB of payload and 1 KiB of what goes with it.
pub(crate) const MAX_PACKET: usize = 65 * 1024;

/// How much room a builder leaves in front of a packet for its length prefix, in bytes.
pub(crate) const LENGTH_ROOM: usize = 4;

/// Writes the length prefix of a packet of `length` bytes into the first [`LENGTH_ROOM`] bytes of `head`, right-aligned,
/// and takes off what stays unused of them. What follows in `head` is the packet or its beginning.
pub(crate) fn write_length_prefix(head: &mut BytesMut, length: usize) {
    debug_assert!(length <= MAX_PACKET, "packet of {length} bytes is over the limit of {MAX_PACKET}");
    let unused = LENGTH_ROOM - varint::len(length as u64);
    varint::put(length as u64, &mut &mut head[unused..LENGTH_ROOM]);
    head.advance(unused);
}

/// `packet` with its length prefix.
pub(crate) fn frame_packet(packet: &[u8]) -> Bytes {
    let length = packet.len() as u64;
    let mut framed = Vec::with_capacity(varint::len(length) + packet.len());
    varint::put(length, &mut framed);
    framed.extend_from_slice(packet);
    framed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_in_place_is_the_same_as_one_in_front() {
        for length in [0, 1, 127, 128, 16_383, 16_384, MAX_PACKET] {
            let packet = Vec::from_iter((0..length).map(|index| index as u8));
            let mut head = BytesMut::zeroed(LENGTH_ROOM);
            head.extend_from_slice(&packet);
            write_length_prefix(&mut head, length);
            assert_eq!(head, frame_packet(&packet));
        }
    }

    #[test]
    fn a_length_counts_what_follows_apart() {
        let mut head = BytesMut::zeroed(LENGTH_ROOM);
        write_length_prefix(&mut head, 300);
        assert_eq!(&head[..], [0xAC, 2]);
    }
}
