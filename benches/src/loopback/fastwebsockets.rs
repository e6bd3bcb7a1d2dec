//! fastwebsockets over a buffered stream, on tokio.

use bytes::Bytes;
use fastwebsockets::{Frame, Payload, Role, WebSocket};
use tokio::io::BufStream;
use tokio::net::TcpStream;

use super::platform::{Platform, Tokio};
use super::{BATCH, End, Protocol};

/// A WebSocket whose handshake is over.
#[derive(Debug)]
pub struct FastWebSockets;

impl Protocol<Tokio> for FastWebSockets {
    const NAME: &'static str = "fastwebsockets";
    type End = WebSocket<BufStream<TcpStream>>;

    async fn connect() -> (Self::End, Self::End) {
        let (client, server) = Tokio::connect().await;
        let end = |stream, role| WebSocket::after_handshake(BufStream::with_capacity(BATCH, BATCH, stream), role);
        (end(client, Role::Client), end(server, Role::Server))
    }
}

impl End for WebSocket<BufStream<TcpStream>> {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.write_frame(Frame::binary(Payload::Owned(payload.to_vec()))).await.expect("a connection");
        }
        self.flush().await.expect("a connection");
    }

    async fn send(&mut self, payload: Bytes) {
        self.write_frame(Frame::binary(Payload::Owned(payload.into()))).await.expect("a connection");
        self.flush().await.expect("a connection");
    }

    async fn recv(&mut self) -> Bytes {
        match self.read_frame().await.expect("a message").payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            other => Bytes::copy_from_slice(&other),
        }
    }
}
