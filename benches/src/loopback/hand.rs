//! The floor, over loopback.

use bytes::Bytes;

use super::platform::Platform;
use super::{End, Protocol};
use crate::floors::hand::HandEnd;
use crate::loopback::RawStream;

/// [`HandEnd`] on each side.
#[derive(Debug)]
pub struct Hand;

impl<P: Platform> Protocol<P> for Hand {
    const NAME: &'static str = "hand";
    type End = HandEnd<P::Stream>;

    async fn connect() -> (Self::End, Self::End) {
        let (client, server) = P::connect().await;
        (HandEnd::new(client), HandEnd::new(server))
    }
}

impl<S: RawStream> End for HandEnd<S> {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.write(payload).await.expect("a connection");
        }
        self.flush().await.expect("a connection");
    }

    async fn send(&mut self, payload: Bytes) {
        self.write(&payload).await.expect("a connection");
        self.flush().await.expect("a connection");
    }

    async fn recv(&mut self) -> Bytes {
        self.read().await.expect("a message")
    }
}
