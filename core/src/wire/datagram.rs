//! Datagrams to bytes and back (PROTOCOL.md §14.1, §14.3).

use core::ops::Range;
use core::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::ack::Ack;
use super::error::WireError;
use super::frame::{Frame, take_sized};
use super::packet::MAX_PACKET;
use super::varint;

/// The size of datagrams that a link must take at least, and up to which those of a HELLO are padded, in bytes.
pub(crate) const MIN_MTU: usize = 1200;
/// The longest cookie, in bytes.
const MAX_COOKIE: usize = 64;

const TAG: usize = 4;
const LONG: u8 = 0x80;
const GREETING: u8 = 0x80;
const COOKIE: u8 = 0x81;
const ACK_SOON: u8 = 0x20;

const ACK: u64 = 0x1A;
const CHALLENGE: u64 = 0x1C;
const RESPONSE: u64 = 0x1E;

/// What a short packet takes beside its packet number and its frames, in bytes.
pub(crate) const SHORT_OVERHEAD: usize = 1 + 8 + TAG;

/// What packets of one session, epoch and direction begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionId(pub(crate) [u8; 8]);

/// A datagram whose tag is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Datagram {
    /// Frames of a session.
    Short(ShortPacket),
    /// A piece of a handshake packet.
    Greeting(Piece),
    /// A server's answer to a HELLO without cookie.
    Cookie { id: [u8; 16], cookie: Bytes },
}

/// Frames, and in which packet they came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ShortPacket {
    pub(crate) connection_id: ConnectionId,
    pub(crate) number: u64,
    /// The sender waits for the acknowledgement.
    pub(crate) ack_soon: bool,
    /// Never empty.
    pub(crate) frames: Bytes,
}

/// A piece of a handshake packet, or all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Which handshake it is a piece of.
    pub(crate) id: [u8; 16],
    pub(crate) cookie: Bytes,
    /// The size of the whole packet; at most [`MAX_PACKET`].
    pub(crate) total: usize,
    /// Where the bytes belong; they end within `total`.
    pub(crate) offset: usize,
    pub(crate) bytes: Bytes,
}

impl Datagram {
    /// The datagram in `bytes`; `None` for all that is to be dropped.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Datagram> {
        let body = bytes.len().checked_sub(TAG).filter(|body| *body > 0)?;
        if bytes[body..] != crc32fast::hash(&bytes[..body]).to_le_bytes() {
            return None;
        }
        let mut rest = bytes.slice(1..body);
        match bytes[0] {
            0 | ACK_SOON => {
                let connection_id = ConnectionId(take_array(&mut rest)?);
                let number = varint::take(&mut rest).ok()?;
                let frames = Some(rest).filter(|frames| !frames.is_empty())?;
                Some(Datagram::Short(ShortPacket { connection_id, number, ack_soon: bytes[0] == ACK_SOON, frames }))
            }
            GREETING => {
                let (id, cookie) = decode_long_head(&mut rest)?;
                let [total, offset] = varint::take_all(&mut rest).ok()?;
                let piece = take_sized(&mut rest).ok()?;
                let fits = total <= MAX_PACKET as u64 && offset.checked_add(piece.len() as u64)? <= total;
                let good = fits && !piece.is_empty() && rest.iter().all(|byte| *byte == 0);
                let (total, offset) = (total as usize, offset as usize);
                good.then_some(Datagram::Greeting(Piece { id, cookie, total, offset, bytes: piece }))
            }
            COOKIE => {
                let (id, cookie) = decode_long_head(&mut rest)?;
                (rest.is_empty() && !cookie.is_empty()).then_some(Datagram::Cookie { id, cookie })
            }
            _ => None,
        }
    }

    /// Whether `bytes` look like a datagram of the long form: one that a link's owner need not be asked about.
    pub(crate) fn is_long(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| first & LONG != 0)
    }
}

fn take_array<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let array = *bytes.first_chunk()?;
    bytes.advance(N);
    Some(array)
}

fn decode_long_head(rest: &mut Bytes) -> Option<([u8; 16], Bytes)> {
    let id = take_array(rest)?;
    let cookie = take_sized(rest).ok().filter(|cookie| cookie.len() <= MAX_COOKIE)?;
    Some((id, cookie))
}

/// Appends what a short packet begins with. Frames follow, then [`seal`].
pub(crate) fn write_short_header(id: ConnectionId, number: u64, ack_soon: bool, out: &mut BytesMut) {
    out.put_u8(if ack_soon { ACK_SOON } else { 0 });
    out.put_slice(&id.0);
    varint::put(number, out);
}

/// Asks for the packet, which begins with its header, to be acknowledged soon.
pub(crate) fn ask_ack_soon(packet: &mut [u8]) {
    if let Some(flags) = packet.first_mut() {
        *flags |= ACK_SOON;
    }
}

/// Closes the datagram that `out` holds with its tag.
pub(crate) fn seal(out: &mut BytesMut) {
    let tag = crc32fast::hash(out);
    out.put_u32_le(tag);
}

/// A datagram of at most `size` bytes with as much of a handshake packet from `offset` on as fits, and how much that is.
/// With `pad` zeros fill it up to [`MIN_MTU`].
pub(crate) fn encode_piece(
    id: &[u8; 16],
    cookie: &[u8],
    packet: &[u8],
    offset: usize,
    size: usize,
    pad: bool,
) -> (Bytes, usize) {
    let mut out = BytesMut::with_capacity(size);
    write_long_head(GREETING, id, cookie, &mut out);
    varint::put_all([packet.len() as u64, offset as u64], &mut out);
    let rest = &packet[offset.min(packet.len())..];
    let length = rest.len().min(size.saturating_sub(out.len() + varint::len(size as u64) + TAG));
    varint::put(length as u64, &mut out);
    out.put_slice(&rest[..length]);
    if pad {
        out.resize(out.len().max(size.min(MIN_MTU) - TAG), 0);
    }
    seal(&mut out);
    (out.freeze(), length)
}

/// The datagram that answers a HELLO without cookie.
pub(crate) fn encode_cookie(id: &[u8; 16], cookie: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    write_long_head(COOKIE, id, cookie, &mut out);
    seal(&mut out);
    out.freeze()
}

fn write_long_head(flags: u8, id: &[u8; 16], cookie: &[u8], out: &mut BytesMut) {
    debug_assert!(cookie.len() <= MAX_COOKIE, "cookie of {} bytes", cookie.len());
    out.put_u8(flags);
    out.put_slice(id);
    varint::put(cookie.len() as u64, out);
    out.put_slice(cookie);
}

/// A frame of a short packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DatagramFrame {
    /// One that stream links have, too.
    Common(Frame),
    /// Which packets have arrived.
    Ack(Ack),
    /// To be answered with the same bytes.
    Challenge([u8; 8]),
    /// The answer to a [`DatagramFrame::Challenge`].
    Response([u8; 8]),
}

impl DatagramFrame {
    /// Takes the next frame off `packet`; `None` at its end.
    ///
    /// # Errors
    /// When the bytes are no frame, or one of an unknown even type.
    pub(crate) fn decode(packet: &mut Bytes) -> Result<Option<DatagramFrame>, WireError> {
        while !packet.is_empty() {
            let (frame_type, length) = varint::read(packet)?.ok_or(WireError::Malformed("varint"))?;
            if !matches!(frame_type, ACK | CHALLENGE | RESPONSE) && frame_type % 2 == 0 {
                return Ok(Frame::decode(packet)?.map(DatagramFrame::Common));
            }
            packet.advance(length);
            return Ok(Some(match frame_type {
                ACK => DatagramFrame::Ack(Ack::decode(packet)?),
                CHALLENGE => DatagramFrame::Challenge(take_bytes(packet, "challenge")?),
                RESPONSE => DatagramFrame::Response(take_bytes(packet, "response")?),
                _ => {
                    take_sized(packet)?;
                    continue;
                }
            }));
        }
        Ok(None)
    }

    /// Appends a CHALLENGE.
    pub(crate) fn encode_challenge(bytes: &[u8; 8], out: &mut BytesMut) {
        out.put_u8(CHALLENGE as u8);
        out.put_slice(bytes);
    }

    /// Appends a RESPONSE.
    pub(crate) fn encode_response(bytes: &[u8; 8], out: &mut BytesMut) {
        out.put_u8(RESPONSE as u8);
        out.put_slice(bytes);
    }

    /// Appends an ACK of at most 32 ranges that descend and leave gaps; there must be one.
    pub(crate) fn encode_ack(delay: Duration, ranges: impl Iterator<Item = Range<u64>> + Clone, out: &mut BytesMut) {
        out.put_u8(ACK as u8);
        Ack::encode(delay, ranges, out);
    }
}

fn take_bytes<const N: usize>(bytes: &mut Bytes, what: &'static str) -> Result<[u8; N], WireError> {
    take_array(bytes).ok_or(WireError::Malformed(what))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::samples;

    fn short(id: [u8; 8], number: u64, ack_soon: bool, frames: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        write_short_header(ConnectionId(id), number, ack_soon, &mut out);
        out.put_slice(frames);
        seal(&mut out);
        out.freeze()
    }

    /// Ranges that descend and leave gaps.
    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        (samples::number(), vec((1..1000_u64, 1..1000_u64), 1..=32)).prop_map(|(top, steps)| {
            let mut end = top.min(u64::MAX - 1) + 1;
            let mut ranges = Vec::new();
            for (length, gap) in steps {
                let start = end.saturating_sub(length);
                ranges.push(start..end);
                match start.checked_sub(gap).filter(|end| *end > 0) {
                    Some(next) => end = next,
                    None => break,
                }
            }
            ranges
        })
    }

    fn datagram_frame() -> impl Strategy<Value = (DatagramFrame, Bytes)> {
        let encoded = |write: &dyn Fn(&mut BytesMut)| {
            let mut out = BytesMut::new();
            write(&mut out);
            out.freeze()
        };
        let decoded = |bytes: Bytes| (DatagramFrame::decode(&mut bytes.clone()).unwrap().unwrap(), bytes);
        prop_oneof![
            samples::frame()
                .prop_map(move |frame| { (DatagramFrame::Common(frame.clone()), encoded(&|out| frame.encode(out))) }),
            any::<[u8; 8]>().prop_map(move |bytes| {
                (DatagramFrame::Challenge(bytes), encoded(&|out| DatagramFrame::encode_challenge(&bytes, out)))
            }),
            any::<[u8; 8]>().prop_map(move |bytes| {
                (DatagramFrame::Response(bytes), encoded(&|out| DatagramFrame::encode_response(&bytes, out)))
            }),
            ranges().prop_map(move |ranges| {
                decoded(encoded(&|out| DatagramFrame::encode_ack(Duration::ZERO, ranges.iter().cloned(), out)))
            }),
        ]
    }

    proptest! {
        #[test]
        fn short_packets_come_back(
            id in any::<[u8; 8]>(), number in samples::number(), ack_soon in any::<bool>(), frames in vec(any::<u8>(), 1..200),
        ) {
            let packet = short(id, number, ack_soon, &frames);
            let expected = ShortPacket { connection_id: ConnectionId(id), number, ack_soon, frames: frames.into() };
            prop_assert_eq!(packet.len(), SHORT_OVERHEAD + varint::len(number) + expected.frames.len());
            prop_assert_eq!(Datagram::decode(&packet), Some(Datagram::Short(expected)));
        }

        #[test]
        fn pieces_of_any_size_make_the_handshake_packet(
            id in any::<[u8; 16]>(), cookie in vec(any::<u8>(), 0..=64), packet in vec(any::<u8>(), 1..5000),
            size in 150..2000_usize, pad in any::<bool>(),
        ) {
            let mut joined = Vec::new();
            while joined.len() < packet.len() {
                let (bytes, length) = encode_piece(&id, &cookie, &packet, joined.len(), size, pad);
                prop_assert!(length > 0 && bytes.len() <= size && (!pad || bytes.len() >= size.min(MIN_MTU)));
                let Some(Datagram::Greeting(piece)) = Datagram::decode(&bytes) else { panic!("no piece") };
                prop_assert_eq!((piece.id, &piece.cookie[..], piece.total, piece.offset),
                    (id, &cookie[..], packet.len(), joined.len()));
                prop_assert_eq!(piece.bytes.len(), length);
                joined.extend_from_slice(&piece.bytes);
            }
            prop_assert_eq!(joined, packet);
        }

        #[test]
        fn cookies_come_back(id in any::<[u8; 16]>(), cookie in vec(any::<u8>(), 1..=64)) {
            let bytes = encode_cookie(&id, &cookie);
            prop_assert_eq!(Datagram::decode(&bytes), Some(Datagram::Cookie { id, cookie: cookie.into() }));
        }

        #[test]
        fn one_changed_byte_or_cut_or_added_makes_it_nothing(
            frames in vec(any::<u8>(), 1..100), long in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
        ) {
            let packet =
                if long { encode_piece(&[7; 16], &[1], &frames, 0, 300, true).0 } else { short([5; 8], 900, true, &frames) };
            let mut changed = packet.to_vec();
            changed[at.index(packet.len())] ^= flip;
            prop_assert_eq!(Datagram::decode(&changed.into()), None);
            prop_assert_eq!(Datagram::decode(&packet.slice(..at.index(packet.len()))), None);
            prop_assert_eq!(Datagram::decode(&[&packet[..], &[flip]].concat().into()), None);
        }

        #[test]
        fn noise_with_a_right_tag_never_panics(mut noise in vec(any::<u8>(), 0..200), first in 0..=255_u8) {
            if let Some(byte) = noise.first_mut() {
                *byte = first;
            }
            let mut out = BytesMut::from(&noise[..]);
            seal(&mut out);
            if let Some(Datagram::Short(ShortPacket { mut frames, .. })) = Datagram::decode(&out.freeze()) {
                while let Ok(Some(frame)) = DatagramFrame::decode(&mut frames) {
                    if let DatagramFrame::Ack(ack) = frame {
                        prop_assert!(ack.ranges().count() <= 32);
                    }
                }
            }
        }

        #[test]
        fn frames_come_back(frames in vec(datagram_frame(), 1..10)) {
            let mut packet = Bytes::from(frames.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>());
            for (frame, _) in frames {
                prop_assert_eq!(DatagramFrame::decode(&mut packet), Ok(Some(frame)));
            }
            prop_assert_eq!(DatagramFrame::decode(&mut packet), Ok(None));
        }

        #[test]
        fn acknowledged_ranges_come_back(ranges in ranges(), delay in any::<u32>()) {
            let delay = Duration::from_micros(delay.into());
            let mut out = BytesMut::new();
            DatagramFrame::encode_ack(delay, ranges.iter().cloned(), &mut out);
            let Ok(Some(DatagramFrame::Ack(ack))) = DatagramFrame::decode(&mut out.freeze()) else { panic!("no ACK") };
            prop_assert_eq!(ack.delay, delay);
            prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges);
        }
    }

    #[test]
    fn frames_of_unknown_odd_types_are_passed_over_and_of_even_ones_refused() {
        let mut packet = Bytes::from_static(&[0x21, 2, 9, 9, 0x1C, 1, 2, 3, 4, 5, 6, 7, 8, 0x20, 0]);
        assert_eq!(DatagramFrame::decode(&mut packet), Ok(Some(DatagramFrame::Challenge([1, 2, 3, 4, 5, 6, 7, 8]))));
        assert_eq!(DatagramFrame::decode(&mut packet), Err(WireError::UnknownFrame(0x20)));
    }

    #[test]
    fn acks_below_zero_or_of_too_many_ranges_are_malformed() {
        for body in [&[5, 0, 0, 6][..], &[5, 0, 1, 5, 0, 0], &[5, 0, 1, 0, 4, 0], &[5, 0, 32, 0], &[5, 0, 1, 0]] {
            let mut packet = Bytes::from([&[ACK as u8], body].concat());
            assert!(DatagramFrame::decode(&mut packet).is_err(), "{body:?}");
        }
    }
}
