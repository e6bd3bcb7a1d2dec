//! tokio-util's `Framed` with its `LengthDelimitedCodec`, on tokio.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed as Codec, LengthDelimitedCodec};

use super::platform::{Platform, Tokio};
use super::{BATCH, End, Protocol};

/// Both ends framed.
#[derive(Debug)]
pub struct Framed;

impl Protocol<Tokio> for Framed {
    const NAME: &'static str = "framed LengthDelimited";
    type End = Codec<TcpStream, LengthDelimitedCodec>;

    async fn connect() -> (Self::End, Self::End) {
        let (client, server) = Tokio::connect().await;
        (framed(client), framed(server))
    }
}

fn framed(stream: TcpStream) -> Codec<TcpStream, LengthDelimitedCodec> {
    let mut framed = Codec::with_capacity(stream, LengthDelimitedCodec::new(), BATCH);
    framed.set_backpressure_boundary(BATCH);
    framed
}

impl End for Codec<TcpStream, LengthDelimitedCodec> {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.feed(payload.clone()).await.expect("a connection");
        }
        SinkExt::<Bytes>::flush(self).await.expect("a connection");
    }

    async fn send(&mut self, payload: Bytes) {
        SinkExt::send(self, payload).await.expect("a connection");
    }

    async fn recv(&mut self) -> Bytes {
        self.next().await.expect("a message").expect("a connection").freeze()
    }
}
