//! Ours, over loopback, through the adapters' public interface and in the default configuration.

use std::collections::VecDeque;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use steadfast_driver::{Connector, Listener, Message, Received, Socket};

use super::platform::Platform;
use super::{BATCH, End, Protocol};

/// How many messages are received together at most.
const MANY: usize = 256;

/// A client's socket and the server's end of it, over TCP.
#[derive(Debug)]
pub struct Steadfast;

/// The same over UDP.
#[derive(Debug)]
pub struct SteadfastUdp;

/// The largest datagram, in bytes: as quinn has it.
pub(super) const MTU: u16 = 1452;

/// One end.
#[derive(Debug)]
pub struct SteadfastEnd<T> {
    socket: Socket,
    queue: VecDeque<Message>,
    /// What was received together.
    received: vec::IntoIter<Received>,
    /// It closes its sockets when it is dropped.
    _listener: Arc<T>,
}

impl<P: Platform> Protocol<P> for Steadfast {
    const NAME: &'static str = "ours";
    type End = SteadfastEnd<Listener<P::Adapter>>;

    async fn connect() -> (Self::End, Self::End) {
        connect::<P>("tcp://127.0.0.1:0").await
    }
}

impl<P: Platform> Protocol<P> for SteadfastUdp {
    const NAME: &'static str = "ours over UDP";
    type End = SteadfastEnd<Listener<P::Adapter>>;

    async fn connect() -> (Self::End, Self::End) {
        connect::<P>("udp://127.0.0.1:0").await
    }
}

type Ends<P> = SteadfastEnd<Listener<<P as Platform>::Adapter>>;

async fn connect<P: Platform>(url: &str) -> (Ends<P>, Ends<P>) {
    let listener = Listener::<P::Adapter>::builder(url).mtu(MTU).bind().await.expect("a free port");
    let listener = Arc::new(listener);
    let client = Connector::<P::Adapter>::new(listener.local_url()).mtu(MTU).connect().expect("a good address");
    let server = listener.accept().await.expect("a client").accept().expect("it waits");
    client.ready().await.expect("ready");
    let end = |socket| SteadfastEnd {
        socket,
        queue: VecDeque::new(),
        received: Vec::new().into_iter(),
        _listener: listener.clone(),
    };
    (end(client), end(server))
}

impl<T: Send + Sync + 'static> End for SteadfastEnd<T> {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        let batch = (BATCH / payload.len().max(1)).max(1);
        let mut left = count;
        while left > 0 {
            let next = batch.min(left);
            self.queue.extend(std::iter::repeat_n(payload, next).map(|payload| Message::new(payload.clone())));
            self.socket.send_many(&mut self.queue).await.expect("a live socket");
            left -= next;
        }
    }

    async fn send(&mut self, payload: Bytes) {
        self.socket.send(payload).await.expect("a live socket");
    }

    async fn recv(&mut self) -> Bytes {
        if self.received.len() == 0 {
            let mut received = Vec::new();
            self.socket.recv_many(&mut received, MANY).await;
            self.received = received.into_iter();
        }
        match self.received.next() {
            Some(Received::Message(message)) => message.payload,
            other => panic!("{other:?}"),
        }
    }
}
