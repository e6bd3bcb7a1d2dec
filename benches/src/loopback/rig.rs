//! The workloads over a connection.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::platform::Platform;
use super::{End, Protocol};
use crate::measure::{Sample, Watch};

/// How messages are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    /// As fast as the protocol's interface allows.
    Batched,
    /// Each send is awaited.
    Awaited,
}

/// A connection of a protocol on a runtime, at work with messages of one size.
pub struct Rig<'a, P: Platform, K: Protocol<P>> {
    platform: &'a P,
    ends: Option<(K::End, K::End)>,
    payload: Bytes,
}

/// A rig, whatever its protocol.
pub trait Carrier {
    /// What the protocol is called in tables.
    fn name(&self) -> &'static str;

    /// One end sends messages, the other one receives them, each in a task of its own.
    ///
    /// # Panics
    /// When a message does not arrive.
    fn one_way(&mut self, sending: Sending, count: usize) -> Sample;

    /// A message goes to the other end and comes back, again and again: the round trips' times.
    ///
    /// # Panics
    /// When a message does not arrive.
    fn ping_pong(&mut self, count: usize) -> Vec<Duration>;
}

impl<'a, P: Platform, K: Protocol<P>> Rig<'a, P, K> {
    /// Connected.
    pub fn new(platform: &'a P, payload: Bytes) -> Rig<'a, P, K> {
        Rig { platform, ends: Some(platform.run(K::connect())), payload }
    }
}

impl<P: Platform, K: Protocol<P>> Carrier for Rig<'_, P, K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn one_way(&mut self, sending: Sending, count: usize) -> Sample {
        let (mut sender, mut receiver) = self.ends.take().expect("both ends");
        let payload = self.payload.clone();
        let watch = Watch::start();
        let send = async move {
            match sending {
                Sending::Batched => sender.send_batched(&payload, count).await,
                Sending::Awaited => {
                    for _ in 0..count {
                        sender.send(payload.clone()).await;
                    }
                }
            }
            sender
        };
        let receive = async move {
            for _ in 0..count {
                black_box(&receiver.recv().await[..]);
            }
            receiver
        };
        self.ends = Some(self.platform.run_both(send, receive));
        watch.stop(count as u64)
    }

    fn ping_pong(&mut self, count: usize) -> Vec<Duration> {
        let (mut client, mut server) = self.ends.take().expect("both ends");
        let payload = self.payload.clone();
        let ask = async move {
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let start = Instant::now();
                client.send(payload.clone()).await;
                black_box(client.recv().await);
                times.push(start.elapsed());
            }
            (client, times)
        };
        let answer = async move {
            for _ in 0..count {
                let message = server.recv().await;
                server.send(message).await;
            }
            server
        };
        let ((client, times), server) = self.platform.run_both(ask, answer);
        self.ends = Some((client, server));
        times
    }
}
