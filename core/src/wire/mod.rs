//! Packets, frames and handshakes to bytes and back (PROTOCOL.md §3). No state but the deframer's.

mod ack;
mod datagram;
mod deframer;
mod error;
mod frame;
mod handshake;
mod lane_states;
mod packet;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod specification;
#[cfg(test)]
mod tests;
mod tlv;
pub(crate) mod varint;

pub(crate) use ack::Ack;
pub(crate) use datagram::{
    ConnectionId, Datagram, DatagramFrame, MIN_MTU, Piece, SHORT_OVERHEAD, ShortPacket, ask_ack_soon, encode_cookie,
    encode_piece, seal, write_short_header,
};
pub(crate) use deframer::{Arrived, Deframer, Packet};
pub(crate) use error::WireError;
pub(crate) use frame::{Frame, encode_data_header};
pub(crate) use handshake::{
    Handshake, Hello, HelloKind, Params, Reject, VERSION, Welcome, WelcomeKind, decode_handshake, is_handshake,
};
pub(crate) use lane_states::{LaneState, LaneStates};
pub(crate) use packet::{LENGTH_ROOM, MAX_PACKET, frame_packet, write_length_prefix};
