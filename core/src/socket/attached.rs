//! The link that a socket is on: its handshake, its liveness and the control frames that wait for it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::datagram::DatagramLink;
use super::heartbeat::Heartbeat;
use crate::config::MAX_LANES;
use crate::ids::LinkId;
use crate::time::Time;
use crate::wire::Deframer;

/// One link, from the moment it is heard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Attached {
    pub(crate) id: LinkId,
    pub(crate) phase: Phase,
    pub(crate) deframer: Deframer,
    pub(crate) heartbeat: Heartbeat,
    /// The HELLO or WELCOME, until it has left.
    pub(crate) opening: Option<Bytes>,
    /// The stage that must be committed before anything leaves on this link.
    pub(crate) gate: u64,
    /// The adapter has been told to pull.
    pub(crate) flush_told: bool,
    pub(crate) pending: Pending,
    /// What a datagram link has beyond that; it has no use for the deframer and the opening.
    pub(crate) datagram: Option<Box<DatagramLink>>,
}

/// How far the handshake is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The client waits for the answer to this HELLO packet.
    Greeting { hello: Bytes, nonce: [u8; 16] },
    /// Both sides have shown who they are.
    Ready,
}

/// Control frames that wait: one place for each kind, so that a flood of causes makes one frame.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) ping: bool,
    pub(crate) pong: Option<u64>,
    pub(crate) close: bool,
    pub(crate) closed: bool,
    pub(crate) go_away: bool,
    lanes_done: BTreeSet<u64>,
}

impl Attached {
    pub(crate) fn new(now: Time, id: LinkId, phase: Phase, opening: Option<Bytes>, gate: u64) -> Attached {
        Attached {
            id,
            phase,
            deframer: Deframer::default(),
            heartbeat: Heartbeat::new(now),
            opening,
            gate,
            flush_told: false,
            pending: Pending::default(),
            datagram: None,
        }
    }

    /// Whether something of this size never goes into one of its packets.
    pub(crate) fn is_too_large(&self, size: usize) -> bool {
        self.datagram.as_ref().is_some_and(|datagram| size > datagram.largest())
    }

    /// Whether the HELLO left more than once, so that the server may have answered it elsewhere.
    pub(crate) fn has_repeated_hello(&self) -> bool {
        let greeting = self.datagram.as_ref().and_then(|datagram| datagram.greeting.as_ref());
        greeting.is_some_and(|greeting| greeting.repeated)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        !self.ping && self.pong.is_none() && !self.close && !self.closed && !self.go_away && self.lanes_done.is_empty()
    }

    /// The peer has to be told that a lane is over. Beyond the bound it is told when it asks again.
    pub(crate) fn lane_done(&mut self, lane: u64) {
        if self.lanes_done.len() < 2 * MAX_LANES as usize {
            self.lanes_done.insert(lane);
        }
    }

    pub(crate) fn next_lane_done(&mut self) -> Option<u64> {
        self.lanes_done.pop_first()
    }
}
