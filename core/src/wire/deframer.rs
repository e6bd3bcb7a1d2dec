//! Packets cut out of the bytes of a stream link (PROTOCOL.md §3.2).

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::frame::Outline;
use super::handshake::starts_like_handshake;
use super::packet::MAX_PACKET;
use super::varint;
use crate::link::RecvBytes;

/// What a partial packet's buffer has at least, in bytes, unless the packet is shorter.
const MIN_BUFFER: usize = 1024;

/// What a link has brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arrived {
    /// A handshake packet, or whole frames of a packet.
    Packet(Packet),
    /// A part of a DATA frame of which the rest is under way.
    Data {
        lane: u64,
        offset: u64,
        /// Never empty.
        payload: Bytes,
        /// See [`Packet::capacity`].
        capacity: usize,
    },
}

/// A packet or some of its frames, and the size of the buffer they stand in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    /// Without the packet's length.
    pub(crate) bytes: Bytes,
    /// How many bytes of memory live as long as a slice of them.
    pub(crate) capacity: usize,
    /// Whether the packet begins with them.
    pub(crate) is_start: bool,
}

/// Cuts packets out of a stream that arrives in pieces of any size.
///
/// What stands in a piece is given out at once, as slices of it, also when the rest of its packet is still under way:
/// so every byte of a lane counts that a link has carried before it was cut. Only handshakes and the heads of frames are
/// put together when they span pieces, in a buffer that grows with what arrives and never beyond the packet's size: at
/// most [`MAX_PACKET`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deframer {
    /// What was pushed and not yet looked at. Empty whenever `next` has answered `None`.
    input: Bytes,
    capacity: usize,
    progress: Progress,
}

/// Where in the stream the input goes on. `left` is how many bytes of the packet are not yet taken off the input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Progress {
    Length(varint::Partial),
    /// Where a handshake or a frame begins, and what is already here of it when it does not stand in one piece.
    Frame {
        left: u32,
        is_start: bool,
        held: Vec<u8>,
    },
    /// In the payload of a DATA frame.
    Data {
        left: u32,
        lane: u64,
        offset: u64,
        missing: u32,
    },
    Failed,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::Length(varint::Partial::default())
    }
}

const CUT_SHORT: WireError = WireError::Malformed("frame: it goes on beyond the packet's end");

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

    /// Whether nothing is here of a packet that is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.progress == Progress::default()
    }

    /// What has arrived next.
    ///
    /// # Errors
    /// Once, when the stream is malformed or a packet is over [`MAX_PACKET`]; it yields nothing more then.
    pub(crate) fn next(&mut self) -> Result<Option<Arrived>, WireError> {
        let arrived = loop {
            let step = match self.progress {
                Progress::Length(_) => self.read_length(),
                Progress::Frame { .. } => self.read_frames(),
                Progress::Data { .. } => self.read_data(),
                Progress::Failed => Ok(Step::Wait),
            };
            match step {
                Ok(Step::Go) => {}
                Ok(Step::Wait) => break Ok(None),
                Ok(Step::Give(arrived)) => break Ok(Some(arrived)),
                Err(error) => break Err(error),
            }
        };
        match &arrived {
            Ok(Some(_)) => {}
            Ok(None) => (self.input, self.capacity) = (Bytes::new(), 0),
            Err(_) => *self = Deframer { progress: Progress::Failed, ..Deframer::default() },
        }
        arrived
    }

    fn read_length(&mut self) -> Result<Step, WireError> {
        while let Progress::Length(partial) = &mut self.progress {
            let Some(byte) = self.input.first() else { return Ok(Step::Wait) };
            let length = partial.push(*byte)?;
            self.input.advance(1);
            if let Some(length) = length {
                WireError::check_size("packet", length, MAX_PACKET)?;
                self.progress = Progress::Frame { left: length as u32, is_start: true, held: Vec::new() };
            }
        }
        Ok(Step::Go)
    }

    fn read_frames(&mut self) -> Result<Step, WireError> {
        let Progress::Frame { left, is_start, held } = &mut self.progress else { return Ok(Step::Go) };
        if held.is_empty() && self.input.len() >= *left as usize {
            let (left, is_start) = (*left as usize, *is_start);
            self.progress = Progress::default();
            return Ok(self.give(left, is_start));
        }
        if *is_start && starts_like_handshake(held.first().or(self.input.first())) {
            return Ok(self.collect_packet());
        }
        if !held.is_empty() {
            return self.complete_frame();
        }
        let mut whole = 0;
        let next = loop {
            match Outline::of(&self.input[whole..])? {
                Outline::Whole(len) => whole += len,
                next => break next,
            }
        };
        if whole > 0 {
            *left -= whole as u32;
            let is_start = core::mem::take(is_start);
            return Ok(self.give(whole, is_start));
        }
        match next {
            Outline::Data { lane, offset, head, length } => {
                self.input.advance(head);
                let left = *left - head as u32;
                self.begin_data(left, lane, offset, length)
            }
            Outline::More(least) if least > u64::from(*left) => Err(CUT_SHORT),
            _ => {
                *left -= self.input.len() as u32;
                held.extend_from_slice(&self.input);
                Ok(Step::Wait)
            }
        }
    }

    /// Gives out bytes that stand in the input.
    fn give(&mut self, count: usize, is_start: bool) -> Step {
        let bytes = self.input.split_to(count);
        Step::Give(Arrived::Packet(Packet { bytes, capacity: self.capacity, is_start }))
    }

    /// Puts a packet together that does not stand in one piece.
    fn collect_packet(&mut self) -> Step {
        let Progress::Frame { left, is_start, held } = &mut self.progress else { return Step::Go };
        let arrived = self.input.len().min(*left as usize);
        reserve(held, arrived, held.len() + *left as usize);
        held.extend_from_slice(&self.input.split_to(arrived));
        *left -= arrived as u32;
        if *left > 0 {
            return Step::Wait;
        }
        let packet = Packet { capacity: held.capacity(), bytes: core::mem::take(held).into(), is_start: *is_start };
        self.progress = Progress::default();
        Step::Give(Arrived::Packet(packet))
    }

    /// Puts a frame together, or the head of a DATA frame, that does not stand in one piece.
    fn complete_frame(&mut self) -> Result<Step, WireError> {
        let Progress::Frame { left, is_start, held } = &mut self.progress else { return Ok(Step::Go) };
        loop {
            let missing = match Outline::of(held)? {
                Outline::More(least) => least - held.len() as u64,
                Outline::Whole(_) => {
                    let (capacity, bytes) = (held.capacity(), core::mem::take(held).into());
                    let packet = Packet { bytes, capacity, is_start: core::mem::take(is_start) };
                    if *left == 0 {
                        self.progress = Progress::default();
                    }
                    return Ok(Step::Give(Arrived::Packet(packet)));
                }
                Outline::Data { lane, offset, length, .. } => {
                    let left = *left;
                    return self.begin_data(left, lane, offset, length);
                }
            };
            if missing > u64::from(*left) {
                return Err(CUT_SHORT);
            }
            let arrived = self.input.len().min(missing as usize);
            if arrived == 0 {
                return Ok(Step::Wait);
            }
            reserve(held, arrived, held.len() + *left as usize);
            held.extend_from_slice(&self.input.split_to(arrived));
            *left -= arrived as u32;
        }
    }

    fn begin_data(&mut self, left: u32, lane: u64, offset: u64, length: u64) -> Result<Step, WireError> {
        if length > u64::from(left) {
            return Err(CUT_SHORT);
        }
        self.progress = Progress::Data { left, lane, offset, missing: length as u32 };
        Ok(Step::Go)
    }

    fn read_data(&mut self) -> Result<Step, WireError> {
        let Progress::Data { left, lane, offset, missing } = &mut self.progress else { return Ok(Step::Go) };
        let arrived = self.input.len().min(*missing as usize);
        if arrived == 0 {
            return Ok(Step::Wait);
        }
        let (lane, start) = (*lane, *offset);
        *offset += arrived as u64;
        *missing -= arrived as u32;
        *left -= arrived as u32;
        if *left == 0 {
            self.progress = Progress::default();
        } else if *missing == 0 {
            self.progress = Progress::Frame { left: *left, is_start: false, held: Vec::new() };
        }
        let payload = self.input.split_to(arrived);
        Ok(Step::Give(Arrived::Data { lane, offset: start, payload, capacity: self.capacity }))
    }
}

/// What a step came to.
enum Step {
    Go,
    Wait,
    Give(Arrived),
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
mod tests;
