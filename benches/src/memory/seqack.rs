//! The floor, in memory.

use bytes::Bytes;

use super::wire::Wire;
use super::{Pair, take};
use crate::floors::seqack::{Receiver, Sender};

/// How many bytes are written to the wire at once.
const WRITE: usize = 64 * 1024;

/// A [`Sender`] and a [`Receiver`].
#[derive(Debug, Default)]
pub struct SeqAck {
    sender: Sender,
    receiver: Receiver,
    wire: Wire,
    back: Wire,
}

impl SeqAck {
    fn write(&mut self) {
        let receiver = &mut self.receiver;
        self.wire.write(&self.sender.transmit(), &mut |read| receive(receiver, read.bytes));
    }
}

fn receive(receiver: &mut Receiver, bytes: Bytes) {
    receiver.handle_bytes(bytes);
    while let Some(message) = receiver.next_message() {
        take(message);
    }
}

impl Pair for SeqAck {
    const NAME: &'static str = "seqack";

    fn new() -> SeqAck {
        SeqAck::default()
    }

    fn exchange(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.sender.send(payload.clone());
            if self.sender.pending() >= WRITE {
                self.write();
            }
        }
        self.write();
        let SeqAck { sender, receiver, wire, back } = self;
        wire.flush(&mut |read| receive(receiver, read.bytes));
        let mut on_ack = |read: steadfast::RecvBytes| {
            sender.handle_ack(u64::from_le_bytes(read.bytes[..8].try_into().expect("8 bytes")));
        };
        back.write(&receiver.ack().to_le_bytes(), &mut on_ack);
        back.flush(&mut on_ack);
    }

    fn wire_bytes(&self) -> u64 {
        self.wire.written
    }
}
