//! Protocols over loopback TCP and UDP, both ends in this process, on each runtime.

mod fastwebsockets;
mod framed;
mod hand;
mod platform;
mod quinn;
mod rig;
mod steadfast;
mod tungstenite;

use std::future::Future;

use bytes::Bytes;

pub use self::fastwebsockets::FastWebSockets;
pub use self::framed::Framed;
pub use self::hand::Hand;
pub use self::platform::{Platform, RawStream, Smol, Tokio};
pub use self::quinn::Quinn;
pub use self::rig::{Carrier, Rig, Sending};
pub use self::steadfast::{Steadfast, SteadfastUdp};
pub use self::tungstenite::TokioTungstenite;

/// How many bytes those collect that batch by hand, before they write.
const BATCH: usize = 64 * 1024;

/// A protocol over a connection of a runtime's.
pub trait Protocol<P: Platform>: 'static {
    /// What it is called in tables.
    const NAME: &'static str;
    /// One end.
    type End: End;

    /// Two ends, connected.
    fn connect() -> impl Future<Output = (Self::End, Self::End)> + Send;
}

/// One end of a connection.
pub trait End: Send + 'static {
    /// Sends messages as fast as the protocol's interface allows.
    fn send_batched(&mut self, payload: &Bytes, count: usize) -> impl Future<Output = ()> + Send;

    /// Sends one message in such a way that it is on its way without further calls.
    fn send(&mut self, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// The next message.
    fn recv(&mut self) -> impl Future<Output = Bytes> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::payload;

    fn carries_messages_as_they_were<P: Platform, K: Protocol<P>>(platform: &P) {
        let sizes = [0, 1, 127, 128, 1 << 10, 64 << 10, 300_000];
        let (mut sender, mut receiver) = platform.run(K::connect());
        let send = async move {
            for size in sizes {
                sender.send_batched(&payload(size), 3).await;
                sender.send(payload(size)).await;
            }
            sender
        };
        let receive = async move {
            for size in sizes {
                for _ in 0..4 {
                    assert!(receiver.recv().await == payload(size), "{}, {size} bytes", K::NAME);
                }
            }
            receiver
        };
        platform.run_both(send, receive);
    }

    #[test]
    fn every_protocol_carries_messages_as_they_were() {
        for tokio in [Tokio::current_thread(), Tokio::multi_thread()].map(Result::unwrap) {
            carries_messages_as_they_were::<_, Steadfast>(&tokio);
            carries_messages_as_they_were::<_, Hand>(&tokio);
            carries_messages_as_they_were::<_, Framed>(&tokio);
            carries_messages_as_they_were::<_, FastWebSockets>(&tokio);
            carries_messages_as_they_were::<_, TokioTungstenite>(&tokio);
            carries_messages_as_they_were::<_, SteadfastUdp>(&tokio);
            carries_messages_as_they_were::<_, Quinn>(&tokio);
        }
        carries_messages_as_they_were::<_, Steadfast>(&Smol);
        carries_messages_as_they_were::<_, Hand>(&Smol);
        carries_messages_as_they_were::<_, SteadfastUdp>(&Smol);
    }
}
