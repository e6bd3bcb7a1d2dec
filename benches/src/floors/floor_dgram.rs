//! The least that a reliable protocol over datagrams does while nothing is lost: what [`seqack`](super::seqack) does, packed
//! into numbered datagrams with a CRC-32 each, and an ack for every two of them. No loss recovery, no timers.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::seqack::{Receiver, Sender};

/// What a datagram begins with: data of this number, or the ack of so many messages.
const DATA: u8 = 0;
const ACK: u8 = 1;
/// The kind and the number, and the CRC behind all.
const HEAD: usize = 1 + 8;
const CRC: usize = 4;

/// One end, which sends and receives.
#[derive(Debug, Default)]
pub struct End {
    sender: Sender,
    number: u64,
    receiver: Receiver,
    expected: u64,
    messages: VecDeque<Bytes>,
    acks_due: u64,
}

impl End {
    /// Puts a message into the next datagrams, and retains it.
    pub fn send(&mut self, payload: Bytes) {
        self.sender.send(payload);
    }

    /// Appends a datagram of at most `mtu` bytes; `false` when nothing is to be sent.
    pub fn transmit(&mut self, mtu: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if self.acks_due > 0 {
            self.acks_due -= 1;
            out.push(ACK);
            out.extend_from_slice(&self.receiver.ack().to_le_bytes());
        } else if self.sender.pending() > 0 {
            out.push(DATA);
            out.extend_from_slice(&self.number.to_le_bytes());
            self.number += 1;
            self.sender.transmit_into(mtu - HEAD - CRC, out);
        } else {
            return false;
        }
        out.extend_from_slice(&crc32fast::hash(&out[start..]).to_le_bytes());
        true
    }

    /// Takes a datagram.
    ///
    /// # Panics
    /// When a datagram was lost, damaged or overtaken by another one.
    pub fn handle_datagram(&mut self, mut bytes: Bytes) {
        let crc = bytes.split_off(bytes.len() - CRC).get_u32_le();
        assert_eq!(crc, crc32fast::hash(&bytes), "damaged");
        match (bytes.get_u8(), bytes.get_u64_le()) {
            (ACK, messages) => self.sender.handle_ack(messages),
            (_, number) => {
                assert_eq!(number, self.expected, "lost");
                self.expected += 1;
                self.acks_due += u64::from(self.expected % 2 == 0);
                self.receiver.handle_bytes(bytes);
                self.messages.extend(std::iter::from_fn(|| self.receiver.next_message()));
            }
        }
    }

    /// The next message: a slice of the datagram, or a copy when it came in several.
    pub fn next_message(&mut self) -> Option<Bytes> {
        self.messages.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_and_are_released_when_acknowledged() {
        let messages: Vec<Bytes> =
            [0, 1, 127, 128, 5000, 70_000].map(|size| Bytes::from(vec![size as u8; size])).into();
        let (mut client, mut server) = (End::default(), End::default());
        messages.iter().for_each(|message| client.send(message.clone()));
        let (mut received, mut datagram) = (Vec::new(), Vec::new());
        while client.transmit(1400, &mut datagram) {
            assert!(datagram.len() <= 1400);
            server.handle_datagram(std::mem::take(&mut datagram).into());
            received.extend(std::iter::from_fn(|| server.next_message()));
        }
        assert_eq!(received, messages);
        let mut acks = 0;
        while server.transmit(1400, &mut datagram) {
            client.handle_datagram(std::mem::take(&mut datagram).into());
            acks += 1;
        }
        assert_eq!(acks, client.number / 2);
        assert!(client.sender.retained() <= 1);
    }
}
