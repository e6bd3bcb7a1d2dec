//! kcp, without its own congestion control and flushed whenever something was written or has arrived.

use std::time::Duration;

use bytes::Bytes;
use steadfast::{RecvBytes, Time};

use super::outgoing::Outgoing;
use super::{Ends, MTU, Machine};

/// How many segments may be on their way.
const WINDOW: u16 = 1024;
/// The number of the conversation, which both ends know.
const CONVERSATION: u32 = 7;
/// The shortest interval, in milliseconds, and after how many later acks a segment is sent again: the fastest that kcp has.
const INTERVAL: i32 = 10;
const FAST_RESEND: i32 = 2;

/// Two ends.
#[derive(Debug)]
pub struct Kcp;

/// One end.
#[derive(Debug)]
pub struct KcpEnd {
    kcp: kcp::Kcp<Outgoing>,
    outgoing: Outgoing,
    /// In milliseconds.
    now: u32,
    /// Whether something was written or has arrived since the last flush.
    is_dirty: bool,
}

impl Ends for Kcp {
    const NAME: &'static str = "kcp";
    type Client = KcpEnd;
    type Server = KcpEnd;

    fn new(_: u64, now: Time) -> (KcpEnd, KcpEnd) {
        (KcpEnd::new(now), KcpEnd::new(now))
    }
}

impl KcpEnd {
    fn new(now: Time) -> KcpEnd {
        let outgoing = Outgoing::default();
        let mut kcp = kcp::Kcp::new(CONVERSATION, outgoing.clone());
        kcp.set_mtu(usize::from(MTU)).expect("a good size");
        kcp.set_nodelay(true, INTERVAL, FAST_RESEND, true);
        kcp.set_wndsize(WINDOW, WINDOW);
        let mut end = KcpEnd { kcp, outgoing, now: 0, is_dirty: false };
        end.advance(now);
        end
    }

    fn advance(&mut self, now: Time) {
        self.now = (now.as_micros() / 1000) as u32;
        self.kcp.update(self.now).expect("it writes to memory");
    }
}

impl Machine for KcpEnd {
    fn receive(&mut self, now: Time, datagram: RecvBytes) {
        self.advance(now);
        self.kcp.input(&datagram.bytes).expect("a good datagram");
        self.is_dirty = true;
    }

    fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        self.is_dirty = true;
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let wait = self.kcp.check(self.now).max(1);
        Some(Time::from_millis(u64::from(self.now)) + Duration::from_millis(wait.into()))
    }

    fn transmit(&mut self, _: Time, out: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.is_dirty) {
            self.kcp.flush().expect("it writes to memory");
        }
        self.outgoing.transmit(out)
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn send(&mut self, now: Time, payload: &Bytes) -> bool {
        if self.kcp.wait_snd() >= 2 * usize::from(WINDOW) {
            return false;
        }
        self.advance(now);
        self.kcp.send(payload).expect("not too large");
        self.is_dirty = true;
        true
    }

    fn recv(&mut self, _: Time) -> Option<Bytes> {
        let mut message = vec![0; self.kcp.peeksize().ok()?];
        self.kcp.recv(&mut message).ok()?;
        Some(message.into())
    }
}
