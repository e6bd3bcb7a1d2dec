//! The least that a reliable protocol over a stream does: a length before each payload, payloads retained until a
//! cumulative ack, owned slices of what arrived. No states, no timers, no limits, no resume.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The sending end.
#[derive(Debug, Default)]
pub struct Sender {
    batch: BytesMut,
    retained: VecDeque<Bytes>,
    confirmed: u64,
}

impl Sender {
    /// Writes a message into the batch, and retains it.
    pub fn send(&mut self, payload: Bytes) {
        put_length(payload.len(), &mut self.batch);
        self.batch.extend_from_slice(&payload);
        self.retained.push_back(payload);
    }

    /// How many bytes the batch has.
    pub fn pending(&self) -> usize {
        self.batch.len()
    }

    /// Takes the batch.
    pub fn transmit(&mut self) -> Bytes {
        self.batch.split().freeze()
    }

    /// Appends the batch's first bytes to `out`, at most so many.
    pub(super) fn transmit_into(&mut self, room: usize, out: &mut Vec<u8>) {
        let len = room.min(self.batch.len());
        out.extend_from_slice(&self.batch[..len]);
        self.batch.advance(len);
    }

    /// How many messages are retained.
    #[cfg(test)]
    pub(super) fn retained(&self) -> usize {
        self.retained.len()
    }

    /// The peer has taken this many messages.
    pub fn handle_ack(&mut self, count: u64) {
        while self.confirmed < count && self.retained.pop_front().is_some() {
            self.confirmed += 1;
        }
    }
}

/// The receiving end.
#[derive(Debug, Default)]
pub struct Receiver {
    input: Bytes,
    partial: BytesMut,
    received: u64,
}

impl Receiver {
    /// Takes bytes that arrived. To be followed by [`Receiver::next_message`] until `None`.
    pub fn handle_bytes(&mut self, bytes: Bytes) {
        self.input = bytes;
    }

    /// The next message: a slice of what arrived, or a copy when it came in parts.
    pub fn next_message(&mut self) -> Option<Bytes> {
        if !self.partial.is_empty() {
            return self.complete();
        }
        match length(&self.input) {
            Some((head, length)) if self.input.len() >= head + length => {
                self.input.advance(head);
                self.received += 1;
                Some(self.input.split_to(length))
            }
            _ => {
                self.partial.extend_from_slice(&self.input);
                self.input = Bytes::new();
                None
            }
        }
    }

    fn complete(&mut self) -> Option<Bytes> {
        while length(&self.partial).is_none() {
            self.partial.put_u8(self.input.try_get_u8().ok()?);
        }
        let (head, length) = length(&self.partial)?;
        let arrived = self.input.split_to((head + length - self.partial.len()).min(self.input.len()));
        self.partial.reserve(head + length - self.partial.len());
        self.partial.extend_from_slice(&arrived);
        if self.partial.len() < head + length {
            return None;
        }
        self.received += 1;
        Some(self.partial.split().freeze().split_off(head))
    }

    /// How many messages were received: the ack.
    pub fn ack(&self) -> u64 {
        self.received
    }
}

/// Writes a LEB128 varint.
pub(crate) fn put_length(mut length: usize, out: &mut BytesMut) {
    while length > 0x7f {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

/// How long a LEB128 varint is, and its value; `None` when it is not whole.
pub(crate) fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= ((byte & 0x7f) as usize) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_whatever_the_pieces_and_are_released_when_acknowledged() {
        let messages: Vec<Bytes> = [0, 1, 127, 128, 5000].map(|size| Bytes::from(vec![size as u8; size])).into();
        for piece in [1, 2, 3, 100, 10_000] {
            let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
            messages.iter().for_each(|message| sender.send(message.clone()));
            let (stream, mut received) = (sender.transmit(), Vec::new());
            for bytes in stream.chunks(piece) {
                receiver.handle_bytes(Bytes::copy_from_slice(bytes));
                received.extend(std::iter::from_fn(|| receiver.next_message()));
            }
            assert_eq!(received, messages, "in pieces of {piece} bytes");
            sender.handle_ack(receiver.ack());
            assert!(sender.retained.is_empty());
        }
    }
}
