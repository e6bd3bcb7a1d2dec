//! tokio-util's `LengthDelimitedCodec`, in memory. It confirms nothing.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::wire::Wire;
use super::{Pair, take};

/// How many bytes are written to the wire at once.
const WRITE: usize = 64 * 1024;

/// An encoder and a decoder.
#[derive(Debug, Default)]
pub struct LengthDelimited {
    codec: LengthDelimitedCodec,
    outgoing: BytesMut,
    incoming: BytesMut,
    wire: Wire,
}

impl LengthDelimited {
    fn write(&mut self) {
        let LengthDelimited { codec, outgoing, incoming, wire } = self;
        let mut read = |read: steadfast::RecvBytes| receive(codec, incoming, &read.bytes);
        wire.write(outgoing, &mut read);
        wire.flush(&mut read);
        outgoing.clear();
    }
}

fn receive(codec: &mut LengthDelimitedCodec, incoming: &mut BytesMut, bytes: &[u8]) {
    incoming.extend_from_slice(bytes);
    while let Some(frame) = codec.decode(incoming).expect("a good frame") {
        take(frame.freeze());
    }
}

impl Pair for LengthDelimited {
    const NAME: &'static str = "LengthDelimitedCodec";

    fn new() -> LengthDelimited {
        LengthDelimited::default()
    }

    fn exchange(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.codec.encode(payload.clone(), &mut self.outgoing).expect("not too large");
            if self.outgoing.len() >= WRITE {
                self.write();
            }
        }
        self.write();
    }

    fn wire_bytes(&self) -> u64 {
        self.wire.written
    }
}
