//! tokio-tungstenite, on tokio.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::protocol::Role;

use super::platform::{Platform, Tokio};
use super::{End, Protocol};

/// A WebSocket whose handshake is over.
#[derive(Debug)]
pub struct TokioTungstenite;

impl Protocol<Tokio> for TokioTungstenite {
    const NAME: &'static str = "tokio-tungstenite";
    type End = WebSocketStream<TcpStream>;

    async fn connect() -> (Self::End, Self::End) {
        let (client, server) = Tokio::connect().await;
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        (client, WebSocketStream::from_raw_socket(server, Role::Server, None).await)
    }
}

impl End for WebSocketStream<TcpStream> {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.feed(Message::Binary(payload.clone())).await.expect("a connection");
        }
        self.flush().await.expect("a connection");
    }

    async fn send(&mut self, payload: Bytes) {
        SinkExt::send(self, Message::Binary(payload)).await.expect("a connection");
    }

    async fn recv(&mut self) -> Bytes {
        self.next().await.expect("a message").expect("a connection").into_data()
    }
}
