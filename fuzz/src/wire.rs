//! As much of the wire format (PROTOCOL.md §3) as tampering with it needs.

use std::ops::Range;

use bytes::Bytes;

/// With what a handshake packet begins.
const MAGIC: [u8; 4] = [0xD3, b's', b'f', b'd'];
const WELCOME: u8 = 2;
/// The TLV that only the WELCOME to an open has.
const SECRET: u64 = 8;

/// A packet in a stream of bytes, with its length in front.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// All of it.
    pub(crate) whole: Range<usize>,
    /// What stands behind the length.
    pub(crate) body: Range<usize>,
}

/// The whole packets at the beginning of a stream.
pub(crate) fn packets(bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut at = 0;
    while let Some((len, size)) = varint(&bytes[at..]) {
        let body = at + size;
        let Some(end) = usize::try_from(len).ok().and_then(|len| body.checked_add(len)) else { break };
        if end > bytes.len() {
            break;
        }
        packets.push(Packet { whole: at..end, body: body..end });
        at = end;
    }
    packets
}

/// The bytes of the first packet without its length.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<&[u8]> {
    packets(bytes).first().map(|packet| &bytes[packet.body.clone()])
}

/// A packet of this body.
pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 3);
    let mut len = body.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn is_handshake(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Whether the body is a WELCOME to a resume: one that tells no secret.
pub(crate) fn is_welcome_back(body: &[u8]) -> bool {
    if !is_handshake(body) || body.get(4) != Some(&WELCOME) {
        return false;
    }
    let mut rest = &body[6.min(body.len())..];
    while let Some((kind, size)) = varint(rest) {
        let Some((len, more)) = varint(&rest[size..]) else { return false };
        if kind == SECRET {
            return false;
        }
        rest = rest.get(size + more + len as usize..).unwrap_or(&[]);
    }
    true
}

/// Whether frames of this stream bring bytes of a lane twice, which may then differ.
pub(crate) fn has_overlaps(bytes: &[u8]) -> bool {
    let mut pieces: Vec<(u64, Range<u64>)> = Vec::new();
    let whole = packets(bytes);
    let begun = &bytes[whole.last().map_or(0, |packet| packet.whole.end)..];
    let begun = &begun[varint(begun).map_or(0, |(_, size)| size)..];
    for body in whole.iter().map(|packet| &bytes[packet.body.clone()]).chain([begun]) {
        let mut rest = body;
        while let Some((piece, size)) = frame(rest) {
            let overlaps = |piece: &(u64, Range<u64>), other: &(u64, Range<u64>)| {
                piece.0 == other.0 && piece.1.start < other.1.end && other.1.start < piece.1.end
            };
            if piece.as_ref().is_some_and(|piece| pieces.iter().any(|other| overlaps(piece, other))) {
                return true;
            }
            pieces.extend(piece);
            rest = &rest[size..];
        }
    }
    false
}

/// What a frame at the beginning brings of a lane, and the frame's size.
#[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
fn frame(bytes: &[u8]) -> Option<(Option<(u64, Range<u64>)>, usize)> {
    let (kind, mut at) = varint(bytes)?;
    // How many numbers it has, and whether the last one is the size of what follows.
    let (count, is_sized) = match kind {
        0x02 => (3, true),
        0x04 => (4, false),
        0x06 | 0x08 | 0x0C | 0x0E => (1, false),
        0x0A => (2, true),
        0x10 | 0x14 | 0x16 => (1, true),
        0x12 => (0, false),
        0x18 => (2, false),
        kind if kind % 2 == 1 => (1, true),
        _ => return None,
    };
    let mut numbers = [0; 4];
    for number in &mut numbers[..count] {
        let (value, size) = varint(bytes.get(at..)?)?;
        (*number, at) = (value, at + size);
    }
    let sized = if is_sized { numbers[count - 1] } else { 0 };
    let [lane, offset, ..] = numbers;
    let piece = if kind == 0x02 { Some((lane, offset..offset.checked_add(sized)?)) } else { None };
    let end = at.checked_add(usize::try_from(sized).ok()?)?;
    // The beginning of a frame is taken as well.
    Some((piece, end.min(bytes.len())))
}

/// A varint at the beginning, and its size.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let size = 1 + bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..size].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F));
    Some((value, size))
}

/// What closes a datagram.
const TAG: usize = 4;

/// What a datagram of the short form begins with (PROTOCOL.md §14.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShortHead {
    pub(crate) flags: u8,
    pub(crate) id: [u8; 8],
    pub(crate) number: u64,
}

impl ShortHead {
    pub(crate) fn of(bytes: &[u8]) -> Option<ShortHead> {
        let (flags, rest) = bytes.split_first().filter(|(flags, _)| **flags < 0x80)?;
        let (id, rest) = rest.split_first_chunk()?;
        let (number, _) = varint(rest)?;
        Some(ShortHead { flags: *flags, id: *id, number })
    }

    /// The packet with these frames.
    pub(crate) fn packet(&self, frames: &[u8]) -> Bytes {
        let mut bytes = [&[self.flags][..], &self.id].concat();
        let mut number = self.number;
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes.extend_from_slice(frames);
        seal(bytes)
    }
}

/// The datagram of these bytes, with its tag.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Bytes {
    let tag = crc32fast::hash(&bytes);
    bytes.extend(tag.to_le_bytes());
    bytes.into()
}

pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    let Some(body) = bytes.len().checked_sub(TAG) else { return false };
    crc32fast::hash(&bytes[..body]).to_le_bytes() == bytes[body..]
}
