//! Stream links: queues of bytes.

use steadfast::LinkId;

use crate::wire::{Packet, packets};

/// A stream link.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) id: LinkId,
    /// Whether the machine of this side has the link.
    pub(crate) is_up: [bool; 2],
    /// By the side that reads.
    pub(crate) pipes: [Pipe; 2],
}

/// One direction of a link.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// What was written and is not delivered.
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: PipeEnd,
    /// The first bytes that the reader got.
    pub(crate) head: Vec<u8>,
    /// How many of the bytes belong to a packet of which the reader has the beginning.
    pub(crate) begun: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum PipeEnd {
    #[default]
    Open,
    /// The reader sees the end behind what is there.
    Finished,
    /// What is written is gone, and nobody is told.
    Hole,
}

impl Pipe {
    /// The whole packets that the reader has nothing of.
    pub(crate) fn packets(&self) -> Vec<Packet> {
        let begun = self.begun.min(self.bytes.len());
        let mut packets = packets(&self.bytes[begun..]);
        for Packet { whole, body } in &mut packets {
            (*whole, *body) = (whole.start + begun..whole.end + begun, body.start + begun..body.end + begun);
        }
        packets
    }

    /// The reader is about to get this many bytes.
    pub(super) fn begin(&mut self, len: usize) {
        let end = if len <= self.begun {
            self.begun
        } else {
            self.packets().iter().map(|packet| packet.whole.end).find(|end| *end >= len).unwrap_or(len)
        };
        self.begun = end - len;
    }
}
