//! Where all the lanes of one side stand, as a resume tells it (PROTOCOL.md §3.4).

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::frame::take_distance;
use super::tlv::Tag;
use super::varint;
use crate::config::MAX_LANES;

/// The most lanes that can be live at once: those of both sides and the main lane.
const MAX_STATES: u64 = MAX_LANES as u64 * 2 + 1;

/// The fewest bytes that one state takes.
const MIN_STATE: u64 = 5;

/// Where the lanes of the sender stand.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LaneStates {
    /// How many lanes the sender has opened.
    pub(crate) opened: u64,
    /// How many of the peer's lanes the sender has seen.
    pub(crate) seen: u64,
    /// How many lanes the peer may open in all.
    pub(crate) allowed: u64,
    /// The live lanes, ascending by number.
    pub(crate) lanes: Vec<LaneState>,
}

/// Where one lane stands. `received`, `consumed` and `limit` are of the direction to the sender of the state, `sent` is
/// of the other one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LaneState {
    /// The lane's number.
    pub(crate) lane: u64,
    /// Up to where all has arrived; at least `consumed`.
    pub(crate) received: u64,
    /// Up to where the application has taken all.
    pub(crate) consumed: u64,
    /// Up to where the peer may send; at least `consumed`.
    pub(crate) limit: u64,
    /// The highest offset ever transmitted.
    pub(crate) sent: u64,
}

impl LaneStates {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.opened, self.seen, self.allowed, self.lanes.len() as u64] {
            varint::put(number, &mut out);
        }
        for state in &self.lanes {
            let ahead = state.received.saturating_sub(state.consumed);
            let credit = state.limit.saturating_sub(state.consumed);
            for number in [state.lane, state.consumed, ahead, credit, state.sent] {
                varint::put(number, &mut out);
            }
        }
        out
    }

    pub(super) fn decode(mut value: Bytes) -> Result<LaneStates, WireError> {
        let bytes = &mut value;
        let (opened, seen, allowed) = (varint::take(bytes)?, varint::take(bytes)?, varint::take(bytes)?);
        let count = varint::take(bytes)?;
        if count > MAX_STATES || count > bytes.len() as u64 / MIN_STATE {
            return Err(Tag::Lanes.malformed());
        }
        let mut lanes: Vec<LaneState> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let state = LaneState::decode(bytes)?;
            if lanes.last().is_some_and(|last| last.lane >= state.lane) {
                return Err(Tag::Lanes.malformed());
            }
            lanes.push(state);
        }
        if value.is_empty() { Ok(LaneStates { opened, seen, allowed, lanes }) } else { Err(Tag::Lanes.malformed()) }
    }
}

impl LaneState {
    fn decode(bytes: &mut Bytes) -> Result<LaneState, WireError> {
        let lane = varint::take(bytes)?;
        let consumed = varint::take(bytes)?;
        let received = take_distance(consumed, bytes)?;
        let limit = take_distance(consumed, bytes)?;
        Ok(LaneState { lane, received, consumed, limit, sent: varint::take(bytes)? })
    }
}
