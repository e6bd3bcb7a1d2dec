//! Packets cut out of the bytes of a stream link (PROTOCOL.md §3.2).

use alloc::vec::Vec;
use core::mem;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::packet::MAX_PACKET;
use super::varint;
use crate::link::RecvBytes;

/// What a partial packet's buffer has at least, in bytes, unless the packet is shorter.
const MIN_BUFFER: usize = 1024;

/// A whole packet, and the size of the buffer it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    /// The packet without its length.
    pub(crate) bytes: Bytes,
    /// How many bytes of memory live as long as a slice of them.
    pub(crate) capacity: usize,
}

/// Cuts packets out of a stream that arrives in pieces of any size.
///
/// A packet that lies inside one piece is a slice of it. Only a packet that spans pieces is copied, once, into a buffer
/// that grows with what arrives and never beyond the packet's size: at most [`MAX_PACKET`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deframer {
    /// What was pushed and not yet looked at. Empty whenever `next` has answered `None`.
    input: Bytes,
    capacity: usize,
    progress: Progress,
}

/// How much of the packet at the front has been taken off the input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Progress {
    Length(varint::Partial),
    Body { length: usize, bytes: Vec<u8> },
    Failed,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::Length(varint::Partial::default())
    }
}

impl Deframer {
    /// Takes the next piece of the stream. Call [`next`](Deframer::next) until it answers `None` before the next piece:
    /// what is left of the former one is copied otherwise.
    pub(crate) fn push(&mut self, piece: RecvBytes) {
        if matches!(self.progress, Progress::Failed) || piece.bytes.is_empty() {
            return;
        }
        if self.input.is_empty() {
            self.input = piece.bytes;
            self.capacity = piece.capacity;
        } else {
            let mut joined = BytesMut::with_capacity(self.input.len() + piece.bytes.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&piece.bytes);
            self.capacity = joined.capacity();
            self.input = joined.freeze();
        }
    }

    /// The next whole packet.
    ///
    /// # Errors
    /// Once, when the stream is malformed or a packet is over [`MAX_PACKET`]; it yields nothing more then.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, WireError> {
        let packet = self.advance();
        match &packet {
            Ok(Some(_)) => {}
            Ok(None) => (self.input, self.capacity) = (Bytes::new(), 0),
            Err(_) => *self = Deframer { progress: Progress::Failed, ..Deframer::default() },
        }
        packet
    }

    fn advance(&mut self) -> Result<Option<Packet>, WireError> {
        while let Progress::Length(partial) = &mut self.progress {
            let Some(byte) = self.input.first() else { return Ok(None) };
            let length = partial.push(*byte)?;
            self.input.advance(1);
            if let Some(length) = length {
                WireError::check_size("packet", length, MAX_PACKET)?;
                self.progress = Progress::Body { length: length as usize, bytes: Vec::new() };
            }
        }
        let Progress::Body { length, bytes } = &mut self.progress else { return Ok(None) };
        if bytes.is_empty() && self.input.len() >= *length {
            let bytes = self.input.split_to(*length);
            self.progress = Progress::default();
            return Ok(Some(Packet { bytes, capacity: self.capacity }));
        }
        let arrived = self.input.len().min(*length - bytes.len());
        reserve(bytes, arrived, *length);
        bytes.extend_from_slice(&self.input.split_to(arrived));
        if bytes.len() < *length {
            return Ok(None);
        }
        let bytes = mem::take(bytes);
        self.progress = Progress::default();
        Ok(Some(Packet { capacity: bytes.capacity(), bytes: bytes.into() }))
    }
}

/// Makes room for `more` bytes of a packet of `length`, by doubling and never beyond the packet's end.
fn reserve(bytes: &mut Vec<u8>, more: usize, length: usize) {
    let needed = bytes.len() + more;
    if bytes.capacity() < needed {
        let target = needed.max(2 * bytes.capacity()).max(MIN_BUFFER).min(length);
        bytes.reserve_exact(target - bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::packet::frame_packet;

    fn drain(deframer: &mut Deframer) -> Result<Vec<Packet>, WireError> {
        let mut packets = Vec::new();
        while let Some(packet) = deframer.next()? {
            packets.push(packet);
        }
        Ok(packets)
    }

    fn feed(deframer: &mut Deframer, piece: &[u8]) -> Result<Vec<Packet>, WireError> {
        deframer.push(Bytes::copy_from_slice(piece).into());
        drain(deframer)
    }

    fn held(deframer: &Deframer) -> usize {
        let partial = if let Progress::Body { bytes, .. } = &deframer.progress { bytes.capacity() } else { 0 };
        deframer.input.len() + partial
    }

    fn packet_of(length: usize) -> Vec<u8> {
        (0..length).map(|index| index as u8).collect()
    }

    #[test]
    fn a_deframer_is_small() {
        assert!(size_of::<Deframer>() <= 80, "{} bytes", size_of::<Deframer>());
    }

    #[test]
    fn whole_packets_are_slices_of_the_piece() {
        let mut piece = BytesMut::with_capacity(1000);
        piece.extend_from_slice(&[3, 1, 2, 3, 0, 1, 9]);
        let start = piece.as_ptr();
        let mut deframer = Deframer::default();
        deframer.push(piece.into());
        let packets = drain(&mut deframer).unwrap();
        assert_eq!(packets.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(), [&[1, 2, 3][..], &[], &[9]]);
        assert_eq!(packets[0].bytes.as_ptr(), start.wrapping_add(1));
        assert!(packets.iter().all(|packet| packet.capacity == 1000));
        assert_eq!(held(&deframer), 0);
    }

    #[test]
    fn a_packet_in_pieces_gets_a_buffer_of_its_size() {
        let stream = frame_packet(&packet_of(5000));
        let mut deframer = Deframer::default();
        for piece in stream[..stream.len() - 1].chunks(7) {
            assert_eq!(feed(&mut deframer, piece), Ok(Vec::new()));
        }
        let packets = feed(&mut deframer, &stream[stream.len() - 1..]).unwrap();
        assert_eq!(packets, [Packet { bytes: packet_of(5000).into(), capacity: 5000 }]);
        assert_eq!(held(&deframer), 0);
    }

    #[test]
    fn a_length_alone_allocates_nothing_big() {
        let stream = frame_packet(&packet_of(MAX_PACKET));
        let mut deframer = Deframer::default();
        assert_eq!(feed(&mut deframer, &stream[..3]), Ok(Vec::new()));
        assert_eq!(held(&deframer), 0);
        for (index, byte) in stream[3..].iter().enumerate().take(MAX_PACKET - 1) {
            assert_eq!(feed(&mut deframer, &[*byte]), Ok(Vec::new()));
            let arrived = index + 1;
            assert!(held(&deframer) <= (2 * arrived).clamp(MIN_BUFFER, MAX_PACKET));
        }
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_by_its_length_and_ends_the_stream() {
        let mut deframer = Deframer::default();
        let mut stream = BytesMut::from(&[1, 42][..]);
        varint::put(MAX_PACKET as u64 + 1, &mut stream);
        deframer.push(stream.into());
        assert_eq!(deframer.next().unwrap().unwrap().bytes, [42][..]);
        let (size, limit) = (MAX_PACKET as u64 + 1, MAX_PACKET as u64);
        assert_eq!(deframer.next(), Err(WireError::TooLarge { what: "packet", size, limit }));
        assert_eq!(feed(&mut deframer, &[1, 42]), Ok(Vec::new()));
        assert_eq!(held(&deframer), 0);
    }

    #[test]
    fn a_length_in_a_longer_form_than_needed_is_malformed_even_in_pieces() {
        let mut deframer = Deframer::default();
        assert_eq!(feed(&mut deframer, &[0x81]), Ok(Vec::new()));
        assert_eq!(feed(&mut deframer, &[0]), Err(WireError::Malformed("varint")));
    }

    #[test]
    fn an_empty_piece_changes_nothing() {
        let mut deframer = Deframer::default();
        deframer.push(Bytes::from_static(&[1, 7]).into());
        let before = deframer.clone();
        deframer.push(Bytes::new().into());
        assert_eq!((&deframer, deframer.input.as_ptr()), (&before, before.input.as_ptr()));
    }

    #[test]
    fn a_piece_pushed_too_early_waits_behind_the_former() {
        let mut deframer = Deframer::default();
        deframer.push(Bytes::from_static(&[2, 7]).into());
        deframer.push(Bytes::from_static(&[8, 1, 9]).into());
        let packets = drain(&mut deframer).unwrap();
        assert_eq!(packets.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_packets(
            lengths in vec(prop_oneof![0..4_usize, 0..400_usize, 0..=MAX_PACKET], 0..6),
            cuts in vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let packets: Vec<Bytes> = lengths.into_iter().map(|length| packet_of(length).into()).collect();
            let stream: Vec<u8> = packets.iter().flat_map(|packet| frame_packet(packet)).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();

            let (mut deframer, mut received) = (Deframer::default(), Vec::new());
            for cut in cuts.windows(2) {
                received.extend(feed(&mut deframer, &stream[cut[0]..cut[1]]).unwrap());
                prop_assert!(held(&deframer) <= MAX_PACKET);
                let snapshot = postcard::to_allocvec(&deframer).unwrap();
                prop_assert_eq!(&postcard::from_bytes::<Deframer>(&snapshot).unwrap(), &deframer);
            }
            prop_assert!(received.iter().all(|packet| packet.capacity >= packet.bytes.len()));
            prop_assert_eq!(received.into_iter().map(|packet| packet.bytes).collect::<Vec<_>>(), packets);
            prop_assert_eq!(deframer, Deframer::default());
        }

        #[test]
        fn noise_never_panics_and_ends_in_one_error_at_most(pieces in vec(vec(any::<u8>(), 0..300), 0..8)) {
            let mut deframer = Deframer::default();
            let errors = pieces.iter().filter(|piece| feed(&mut deframer, piece).is_err()).count();
            prop_assert!(errors <= 1);
        }
    }
}
