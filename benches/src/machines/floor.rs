//! The floor for datagrams: always ready, and without deadlines.

use bytes::Bytes;
use steadfast::{RecvBytes, Time};

use super::{Ends, MTU, Machine};
use crate::floors::floor_dgram::End;

/// Two [`End`]s.
#[derive(Debug)]
pub struct FloorDgram;

impl Ends for FloorDgram {
    const NAME: &'static str = "floor-dgram";
    type Client = End;
    type Server = End;

    fn new(_: u64, _: Time) -> (End, End) {
        (End::default(), End::default())
    }
}

impl Machine for End {
    fn receive(&mut self, _: Time, datagram: RecvBytes) {
        self.handle_datagram(datagram.bytes);
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_timeout(&mut self) -> Option<Time> {
        None
    }

    fn transmit(&mut self, _: Time, out: &mut Vec<u8>) -> bool {
        self.transmit(usize::from(MTU), out)
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn send(&mut self, _: Time, payload: &Bytes) -> bool {
        self.send(payload.clone());
        true
    }

    fn recv(&mut self, _: Time) -> Option<Bytes> {
        self.next_message()
    }
}
