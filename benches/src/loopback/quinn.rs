//! quinn, on tokio: one stream both ways, over which each message is written with its length before it.

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use super::platform::Tokio;
use super::steadfast::MTU;
use super::{BATCH, End, Protocol};
use crate::floors::seqack::{Receiver, put_length};
use crate::quic::{self, Controller};

/// From this size on a payload is written from where it is, in bytes.
const LARGE: usize = 16 * 1024;

/// In its default configuration but for the size of datagrams, which it need not find out, and the windows.
#[derive(Debug)]
pub struct Quinn;

/// One end.
#[derive(Debug)]
pub struct QuinnEnd {
    sender: SendStream,
    stream: RecvStream,
    receiver: Receiver,
    batch: BytesMut,
    /// They close when they are dropped.
    _held: (Connection, Endpoint),
}

impl Protocol<Tokio> for Quinn {
    const NAME: &'static str = "quinn";
    type End = QuinnEnd;

    async fn connect() -> (QuinnEnd, QuinnEnd) {
        let transport = quic::transport(MTU, Controller::Cubic);
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let server = Endpoint::server(quic::server(transport.clone()), any).expect("a free port");
        let client = Endpoint::client(any).expect("a free port");
        let address = server.local_addr().expect("an address");
        let connecting = client.connect_with(quic::client(transport), address, quic::HOST).expect("a good address");
        let accept = async { server.accept().await.expect("a client").await.expect("a connection") };
        let (connected, accepted) = futures_util::future::join(connecting, accept).await;
        let connected = connected.expect("a connection");
        let streams = connected.open_bi().await.expect("a stream");
        let mut near = QuinnEnd::new(streams, (connected, client));
        // The server learns of the stream from what comes over it.
        near.send(Bytes::new()).await;
        let streams = accepted.accept_bi().await.expect("a stream");
        let mut far = QuinnEnd::new(streams, (accepted, server));
        far.recv().await;
        (near, far)
    }
}

impl QuinnEnd {
    fn new((sender, stream): (SendStream, RecvStream), held: (Connection, Endpoint)) -> QuinnEnd {
        QuinnEnd { sender, stream, receiver: Receiver::default(), batch: BytesMut::new(), _held: held }
    }

    async fn write(&mut self, payload: &Bytes) {
        put_length(payload.len(), &mut self.batch);
        if payload.len() >= LARGE {
            let head = self.batch.split().freeze();
            self.sender.write_all_chunks(&mut [head, payload.clone()]).await.expect("a connection");
            return;
        }
        self.batch.extend_from_slice(payload);
        if self.batch.len() >= BATCH {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.sender.write_chunk(self.batch.split().freeze()).await.expect("a connection");
        }
    }
}

impl End for QuinnEnd {
    async fn send_batched(&mut self, payload: &Bytes, count: usize) {
        for _ in 0..count {
            self.write(payload).await;
        }
        self.flush().await;
    }

    async fn send(&mut self, payload: Bytes) {
        self.write(&payload).await;
        self.flush().await;
    }

    async fn recv(&mut self) -> Bytes {
        loop {
            if let Some(message) = self.receiver.next_message() {
                return message;
            }
            let chunk = self.stream.read_chunk(BATCH, true).await.expect("a connection").expect("a message");
            self.receiver.handle_bytes(chunk.bytes);
        }
    }
}
