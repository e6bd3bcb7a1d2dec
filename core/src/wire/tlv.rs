//! The parts of handshake packets: type, length, value (PROTOCOL.md §3.3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::error::WireError;
use super::frame::take_sized;
use super::varint;
use crate::crypto::{Mac, MacKey};

/// The known types. Their numbers and meanings are the same in all versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    OpenId = 1,
    Auth = 2,
    Params = 3,
    Session = 4,
    Epoch = 5,
    Nonce = 6,
    Lanes = 7,
    Secret = 8,
    Retention = 9,
    Mac = 10,
    Code = 11,
    Reason = 12,
    RetryAfter = 13,
    Address = 14,
    CurrentEpoch = 15,
    AppCode = 16,
}

const TAGS: usize = 17;

/// By type: what is said to be malformed when one is missing, double, misplaced, or has a value that it cannot have.
const NAMES: [&str; TAGS] = [
    "handshake",
    "handshake OPEN_ID",
    "handshake AUTH",
    "handshake PARAMS",
    "handshake SESSION",
    "handshake EPOCH",
    "handshake NONCE",
    "handshake LANES",
    "handshake SECRET",
    "handshake RETENTION",
    "handshake MAC",
    "handshake CODE",
    "handshake REASON",
    "handshake RETRY_AFTER",
    "handshake ADDRESS",
    "handshake CURRENT_EPOCH",
    "handshake APP_CODE",
];

impl Tag {
    pub(super) const fn malformed(self) -> WireError {
        WireError::Malformed(NAMES[self as usize])
    }
}

/// The values of a packet's known TLVs that have not been taken yet.
#[derive(Default)]
pub(super) struct TlvReader {
    values: [Option<Bytes>; TAGS],
}

impl TlvReader {
    /// Reads all the TLVs of `packet` from `start` on, and how many bytes of the packet stand before its MAC.
    pub(super) fn new(packet: &Bytes, start: usize) -> Result<(TlvReader, usize), WireError> {
        let mut reader = TlvReader::default();
        let mut rest = packet.slice(start..);
        let mut covered = packet.len();
        while !rest.is_empty() {
            let before = packet.len() - rest.len();
            let tag = varint::take(&mut rest)?;
            let value = take_sized(&mut rest)?;
            if tag == Tag::Mac as u64 {
                covered = before;
                if !rest.is_empty() {
                    return Err(Tag::Mac.malformed());
                }
            }
            let known = usize::try_from(tag).ok().filter(|tag| (1..TAGS).contains(tag));
            if let Some(tag) = known {
                if reader.values[tag].replace(value).is_some() {
                    return Err(WireError::Malformed(NAMES[tag]));
                }
            }
        }
        Ok((reader, covered))
    }

    pub(super) fn has(&self, tag: Tag) -> bool {
        self.values[tag as usize].is_some()
    }

    /// The value of `tag`, when it is there.
    pub(super) fn optional(&mut self, tag: Tag) -> Option<Bytes> {
        self.values[tag as usize].take()
    }

    /// The value of `tag`, which must be there.
    pub(super) fn bytes(&mut self, tag: Tag) -> Result<Bytes, WireError> {
        self.optional(tag).ok_or(tag.malformed())
    }

    pub(super) fn array<const N: usize>(&mut self, tag: Tag) -> Result<[u8; N], WireError> {
        self.bytes(tag)?.as_ref().try_into().map_err(|_| tag.malformed())
    }

    pub(super) fn mac(&mut self) -> Result<Mac, WireError> {
        self.array(Tag::Mac).map(Mac::from_bytes)
    }

    pub(super) fn number(&mut self, tag: Tag) -> Result<u64, WireError> {
        let mut value = self.bytes(tag)?;
        let number = varint::take(&mut value).map_err(|_| tag.malformed())?;
        if value.is_empty() { Ok(number) } else { Err(tag.malformed()) }
    }

    pub(super) fn optional_number(&mut self, tag: Tag) -> Result<Option<u64>, WireError> {
        if self.has(tag) { self.number(tag).map(Some) } else { Ok(None) }
    }

    /// A number of 32 bits.
    pub(super) fn code(&mut self, tag: Tag) -> Result<u32, WireError> {
        u32::try_from(self.number(tag)?).map_err(|_| tag.malformed())
    }

    /// A text of at most `limit` bytes of UTF-8.
    pub(super) fn text(&mut self, tag: Tag, what: &'static str, limit: usize) -> Result<Option<Box<str>>, WireError> {
        let Some(value) = self.optional(tag) else { return Ok(None) };
        WireError::check_size(what, value.len() as u64, limit)?;
        core::str::from_utf8(&value).map(|text| Some(text.into())).map_err(|_| tag.malformed())
    }

    /// Refuses what was not taken: known TLVs that do not belong into this packet.
    pub(super) fn finish(self) -> Result<(), WireError> {
        match self.values.iter().position(Option::is_some) {
            None => Ok(()),
            Some(tag) => Err(WireError::Malformed(NAMES[tag])),
        }
    }
}

/// Appends TLVs to a packet.
pub(super) struct TlvWriter {
    packet: Vec<u8>,
}

impl TlvWriter {
    /// A packet that begins with `head`.
    pub(super) fn new(head: &[&[u8]]) -> TlvWriter {
        TlvWriter { packet: head.concat() }
    }

    pub(super) fn bytes(&mut self, tag: Tag, value: &[u8]) -> &mut TlvWriter {
        varint::put(tag as u64, &mut self.packet);
        varint::put(value.len() as u64, &mut self.packet);
        self.packet.extend_from_slice(value);
        self
    }

    pub(super) fn number(&mut self, tag: Tag, value: u64) -> &mut TlvWriter {
        varint::put(tag as u64, &mut self.packet);
        varint::put(varint::len(value) as u64, &mut self.packet);
        varint::put(value, &mut self.packet);
        self
    }

    /// Appends the MAC of `transcript` and all that the packet holds.
    pub(super) fn mac(&mut self, key: &MacKey, transcript: &[u8]) -> &mut TlvWriter {
        let mac = key.mac(transcript, &self.packet);
        self.bytes(Tag::Mac, mac.as_bytes())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.packet
    }
}
