//! A short packet in the making.

use bytes::{Bytes, BytesMut};

use super::super::transmit::PacketWriter;
use super::carried::{Carried, Word};
use crate::lane::Outlet;
use crate::wire::{Frame, encode_data_header, varint};

/// What the head of a DATA frame takes at most behind its type, lane and offset: the length of what fits into a datagram.
const LENGTH: usize = 3;

/// Frames up to a limit, and what they carry. A datagram is read over for its tag anyway, so it is written in one piece.
pub(super) struct DatagramBuilder {
    pub(super) bytes: BytesMut,
    limit: usize,
    lane: u64,
    repeats: bool,
    pub(super) carried: Carried,
    /// Bytes of lanes that leave for the first time, and that are repeated.
    pub(super) fresh: usize,
    pub(super) repeated: usize,
    /// Whether anything in it asks for an acknowledgement.
    pub(super) elicits: bool,
}

impl DatagramBuilder {
    /// Frames behind the header that `bytes` holds, up to `limit` bytes with it.
    pub(super) fn new(bytes: BytesMut, limit: usize) -> DatagramBuilder {
        DatagramBuilder {
            bytes,
            limit,
            lane: 0,
            repeats: false,
            carried: Carried::default(),
            fresh: 0,
            repeated: 0,
            elicits: false,
        }
    }

    /// How much is left.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// What follows is carried by other packets, too.
    pub(super) fn repeats(&mut self, repeats: bool) {
        self.repeats = repeats;
    }
}

impl PacketWriter for DatagramBuilder {
    fn has_room(&self, size: usize) -> bool {
        self.room() >= size
    }

    fn frame(&mut self, frame: &Frame) {
        let word = match frame {
            Frame::Lane { lane, .. } => Some(Word::Report(*lane)),
            Frame::Allow(_) => Some(Word::Allow),
            Frame::LaneDone(lane) => Some(Word::LaneDone(*lane)),
            Frame::Close(_) => Some(Word::Close),
            Frame::Closed => Some(Word::Closed),
            Frame::GoAway { .. } => Some(Word::GoAway),
            Frame::Prompt { lane, .. } => Some(Word::Prompt(*lane)),
            Frame::Data { .. } | Frame::Ping(_) | Frame::Pong(_) | Frame::Volatile { .. } | Frame::Abort(_) => None,
        };
        word.into_iter().for_each(|word| self.carried.add_word(word));
        self.elicits = true;
        frame.encode(&mut self.bytes);
    }
}

/// Lane data becomes DATA frames.
impl Outlet for DatagramBuilder {
    fn lane(&mut self, number: u64) {
        self.lane = number;
    }

    fn head(&self, offset: u64) -> usize {
        1 + varint::len(self.lane) + varint::len(offset) + LENGTH
    }

    fn begin(&mut self, offset: u64, length: usize) {
        let range = offset..offset + length as u64;
        if self.repeats {
            self.repeated += length;
            self.carried.add_repeated(self.lane, range);
        } else {
            self.fresh += length;
            self.carried.add_piece(self.lane, range);
        }
        self.elicits = true;
        encode_data_header(self.lane, offset, length, &mut self.bytes);
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: Bytes) {
        self.bytes.extend_from_slice(&bytes);
    }
}
