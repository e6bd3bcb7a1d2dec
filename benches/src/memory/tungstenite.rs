//! tungstenite, in memory. It confirms nothing.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

use super::{Pair, take};

/// One end of a connection in memory.
#[derive(Debug, Default)]
struct End {
    incoming: Vec<u8>,
    read: usize,
    outgoing: Vec<u8>,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.incoming[self.read..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that writes to a server; the handshake is over.
pub struct Tungstenite {
    client: WebSocket<End>,
    server: WebSocket<End>,
    written: u64,
}

impl Pair for Tungstenite {
    const NAME: &'static str = "tungstenite";

    fn new() -> Tungstenite {
        Tungstenite {
            client: WebSocket::from_raw_socket(End::default(), Role::Client, None),
            server: WebSocket::from_raw_socket(End::default(), Role::Server, None),
            written: 0,
        }
    }

    fn exchange(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.client.write(Message::Binary(payload.clone())).expect("room");
        }
        self.client.flush().expect("room");
        let (client, server) = (self.client.get_mut(), self.server.get_mut());
        self.written += client.outgoing.len() as u64;
        server.incoming.clear();
        server.read = 0;
        std::mem::swap(&mut server.incoming, &mut client.outgoing);
        loop {
            match self.server.read() {
                Ok(message) => take(message.into_data()),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wire_bytes(&self) -> u64 {
        self.written
    }
}
