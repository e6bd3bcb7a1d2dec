//! Protocols over datagrams as state machines, ours and the peers', behind one interface: datagrams in, datagrams out,
//! deadlines. In memory and in a simulated network they are driven alike.

mod enet;
mod floor;
mod kcp;
mod outgoing;
mod quinn;
mod steadfast;

use ::steadfast::{RecvBytes, Time};
use bytes::Bytes;

pub use self::enet::Enet;
pub use self::floor::FloorDgram;
pub use self::kcp::Kcp;
pub use self::quinn::{QuinnBbr, QuinnCubic, QuinnUncoalesced};
pub use self::steadfast::{Interactive, Steadfast};

/// The largest datagram, in bytes.
pub const MTU: u16 = 1400;

/// One end of a protocol.
pub trait Machine {
    /// A datagram has arrived.
    fn receive(&mut self, now: Time, datagram: RecvBytes);

    /// A deadline may have passed.
    fn handle_timeout(&mut self, now: Time);

    /// When [`Machine::handle_timeout`] is to be called.
    fn poll_timeout(&mut self) -> Option<Time>;

    /// Appends the next datagram to send; `false` when there is none now.
    fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool;

    /// Whether messages can go both ways.
    fn is_ready(&self) -> bool;

    /// Takes a message to send; `false` when there is no room for it now.
    fn send(&mut self, now: Time, payload: &Bytes) -> bool;

    /// The next message that has arrived.
    fn recv(&mut self, now: Time) -> Option<Bytes>;
}

/// Both ends of a protocol.
pub trait Ends {
    /// What it is called in tables.
    const NAME: &'static str;
    /// The end that connects, and sends.
    type Client: Machine + 'static;
    /// The end that waits, and receives.
    type Server: Machine + 'static;

    /// Two ends that are about to connect. What they draw follows from the seed, where the protocol allows that.
    fn new(seed: u64, now: Time) -> (Self::Client, Self::Server);
}
