//! One lane of a socket, and which side opened it.

use alloc::boxed::Box;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::credit::{Credit, Window};
use super::Urgency;
use crate::lane::{RecordLimits, RecvBuffer, SendBuffer};
use crate::message::{LaneKind, LaneOptions};

/// One lane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) send: SendBuffer,
    pub(crate) recv: RecvBuffer,
    /// What the opener said of it; `None` for the main lane and until the peer's OPEN is here.
    pub(crate) options: Option<Box<LaneOptions>>,
    pub(super) window: Window,
    /// What was last reported as consumed.
    pub(super) reported: u64,
    /// Consumption before this offset changes nothing: its report is planned already.
    pub(super) quiet_until: u64,
    /// Where the record ends for which the lane holds the reserve.
    pub(super) reserved: Option<u64>,
    pub(super) gate: Option<Box<LaneGate>>,
    pub(super) scheduled: bool,
    pub(super) to_report: bool,
    /// The application has been told that there is something to read.
    pub(crate) told_readable: bool,
    /// The application has been told that the end it sent is confirmed.
    pub(crate) told_finished: bool,
    /// The application waits for confirmations, so the peer is asked not to delay them.
    pub(crate) prompt: bool,
    /// The peer wants the consumption up to here to be reported without delay.
    pub(crate) prompted: u64,
}

/// What of a durable lane may leave, and what the next commit will let out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct LaneGate {
    pub(super) committed: Covered,
    pub(super) staged: Covered,
}

/// What a record covers of a lane: how much of its stream, and what it may report.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Covered {
    pub(super) end: u64,
    pub(super) consumed: u64,
    pub(super) limit: u64,
}

impl Lane {
    pub(super) fn new(kind: Option<LaneKind>, limits: RecordLimits, limit: u64, window: Window, durable: bool) -> Lane {
        let mut send = SendBuffer::new(0);
        let start = Covered { end: 0, consumed: 0, limit };
        let gate = durable.then(|| Box::new(LaneGate { committed: start, staged: start }));
        if durable {
            send.set_gate(0);
        }
        Lane {
            send,
            recv: RecvBuffer::new(kind, limits, limit),
            options: None,
            window,
            reported: 0,
            quiet_until: 0,
            reserved: None,
            gate,
            scheduled: false,
            to_report: false,
            told_readable: false,
            told_finished: false,
            prompt: false,
            prompted: 0,
        }
    }

    pub(crate) fn kind(&self) -> LaneKind {
        self.options.as_ref().map_or(LaneKind::Messages, |options| options.kind)
    }

    /// The peer is to be asked to confirm without delay: with the last of the data that is left to send, or alone. Whether alone.
    pub(super) fn ask_promptly(&mut self) -> bool {
        self.prompt = true;
        !self.send.has_data() && self.send.confirmed() < self.send.sent()
    }

    pub(super) fn priority(&self) -> u8 {
        self.options.as_ref().map_or(0, |options| options.priority)
    }

    /// Credit that needs no report, because it was agreed on before.
    pub(super) fn grant(&mut self, window: u64) {
        let confirmed = self.send.confirmed();
        let _ = self.send.on_report(confirmed, confirmed, window, &mut |_| ());
    }

    /// Raises the limit as far as the credit allows, and answers it.
    pub(super) fn raise_limit(&mut self, number: u64, credit: &mut Credit) -> u64 {
        let (received, consumed) = (self.recv.received(), self.recv.consumed());
        let limit = credit.advance(&mut self.window, number, consumed, received, self.recv.limit());
        self.recv.set_limit(limit);
        limit
    }

    /// Takes the next message if it is a plain one and taking it changes nothing else.
    #[inline]
    pub(crate) fn next_quietly(&mut self) -> Option<Bytes> {
        self.recv.next_plain(self.quiet_until)
    }

    /// Up to where consumption changes nothing after one of this urgency.
    pub(super) fn hush(&mut self, urgency: Urgency) {
        let planned = match urgency {
            Urgency::Never => 0,
            Urgency::Later if self.prompted > self.reported => {
                self.prompted.min(self.reported + self.window.report_step())
            }
            Urgency::Later => self.reported + self.window.report_step(),
            Urgency::Now => u64::MAX,
        };
        self.quiet_until = planned.min(self.reserved.unwrap_or(u64::MAX));
    }

    /// What may be reported as consumed.
    pub(super) fn reportable(&self) -> u64 {
        let consumed = self.recv.consumed();
        self.gate.as_ref().map_or(consumed, |gate| gate.committed.consumed.min(consumed))
    }

    /// Whether nothing but ends was ever written or received.
    pub(super) fn is_unused(&self) -> bool {
        self.send.messages() == 0 && self.send.sent() == 0 && self.recv.received() == 0 && self.options.is_none()
    }

    /// Whether nothing is buffered, in neither direction, and nothing is to be reported.
    pub(super) fn is_idle(&self) -> bool {
        self.send.is_idle() && self.recv.queued() == 0 && !self.to_report
    }

    /// Whether both directions have ended and nothing of them is left.
    pub(super) fn is_done(&self) -> bool {
        self.send.is_finished() && self.recv.is_finished() && self.recv.consumed() == self.recv.received()
    }
}

/// Which side of the socket this is: it decides about the parity of lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// The number of the n-th lane (from 1) that this side opens.
    pub(super) fn number(self, nth: u64) -> u64 {
        match self {
            Side::Client => nth * 2,
            Side::Server => nth * 2 - 1,
        }
    }

    /// Which one of this side's lanes the number is (from 1); `None` when the other side opens it.
    pub(super) fn nth(self, number: u64) -> Option<u64> {
        match self {
            Side::Client => (number % 2 == 0).then_some(number / 2),
            Side::Server => (number % 2 == 1).then_some(number / 2 + 1),
        }
    }

    pub(super) fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}
