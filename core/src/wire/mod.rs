//! Packets, frames and handshakes to bytes and back (PROTOCOL.md §3). No state but the deframer's.

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

pub(crate) use deframer::{Arrived, Deframer, Packet};
pub(crate) use error::WireError;
pub(crate) use frame::{Frame, encode_data_header};
pub(crate) use handshake::{
    Handshake, Hello, HelloKind, Params, Reject, VERSION, Welcome, WelcomeKind, decode_handshake, is_handshake,
};
pub(crate) use lane_states::{LaneState, LaneStates};
pub(crate) use packet::{LENGTH_ROOM, MAX_PACKET, frame_packet, write_length_prefix};
