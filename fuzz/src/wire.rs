//! As much of the wire format (PROTOCOL.md §3) as tampering with it needs.

use std::ops::Range;

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

/// A varint at the beginning, and its size.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let size = 1 + bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..size].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F));
    Some((value, size))
}
