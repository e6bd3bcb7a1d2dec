//! Commands of the application: lanes and plain bytes.

use super::lanes::MAIN;
use super::{Socket, State};
use crate::config::{Config, MAX_NAME};
use crate::error::{LaneError, SendErrorKind};
use crate::ids::LaneId;
use crate::lane::{AskOutcome, Outgoing, ReadBytes};
use crate::message::{LaneKind, LaneOptions, ReceivedBytes};
use crate::time::Time;

/// The longest record of a byte lane.
const BYTES_RECORD: usize = 16 * 1024;

impl Socket {
    /// Opens a lane. What is written on it reaches the peer behind the announcement of the lane.
    ///
    /// # Errors
    /// `Full`, `LaneLimit` when the peer allows no more for now; `Closed`, `Lost`; `TooLarge` for a name, namespace or headers
    /// over their limits, or headers that would not fit into an empty send buffer.
    pub fn open_lane(&mut self, now: Time, options: LaneOptions) -> Result<LaneId, LaneError> {
        self.tick(now);
        self.writable()?;
        let names = [("name", options.name.len(), MAX_NAME), ("namespace", options.namespace.len(), MAX_NAME)];
        let sizes = names.into_iter().chain([("headers", options.headers.len(), self.max_headers())]);
        if let Some((what, size, limit)) = sizes.into_iter().find(|(_, size, limit)| size > limit) {
            return Err(SendErrorKind::TooLarge { what, size, limit }.into());
        }
        self.check_cost("lane with headers and overhead in send_buffer", options.headers.len())?;
        self.check_room(options.headers.len() + Config::MESSAGE_OVERHEAD, 0)?;
        let opened = self.lanes.open(options);
        let number = opened.map_err(|limit| {
            self.wants_lanes = true;
            LaneError::LaneLimit { limit }
        })?;
        self.settle();
        Ok(self.lane_id(number))
    }

    /// Whether the socket as a whole takes new lanes.
    fn writable(&self) -> Result<(), SendErrorKind> {
        if self.lost {
            return Err(SendErrorKind::Lost);
        }
        if self.state == State::Closed || self.ending.is_some() || self.is_draining() || self.finished_all {
            return Err(SendErrorKind::Closed);
        }
        Ok(())
    }

    /// Writes to a byte lane: answers how many of the bytes were taken, at least one (none of no bytes).
    ///
    /// # Errors
    /// `Full` when there is room for none, `Closed`, `Lost`, `Misuse` for a message lane.
    pub fn write(&mut self, now: Time, lane: LaneId, data: &[u8]) -> Result<usize, SendErrorKind> {
        self.tick(now);
        let number = self.writable_lane(lane, LaneKind::Bytes)?;
        let mut taken = 0;
        while taken < data.len() {
            let room = self.config.send_buffer.saturating_sub(self.lanes.buffered().0 + Config::MESSAGE_OVERHEAD);
            let size = room.min(BYTES_RECORD).min(data.len() - taken);
            if size == 0 {
                break;
            }
            self.lanes.push(number, Outgoing::Bytes(bytes::Bytes::copy_from_slice(&data[taken..taken + size])));
            taken += size;
        }
        if taken == 0 && !data.is_empty() {
            self.check_room(Config::MESSAGE_OVERHEAD + 1, 0)?;
        }
        self.settle();
        Ok(taken)
    }

    /// Takes the next bytes of a byte lane, at most `max`, and one where that is 0: what is taken is never empty, and `None` says
    /// that nothing is there. `Finished` is answered again and again.
    pub fn read(&mut self, now: Time, lane: LaneId, max: usize) -> Option<ReceivedBytes> {
        self.tick(now);
        let Some(number) = self.number(lane) else { return Some(ReceivedBytes::Finished) };
        let Some(entry) = self.lanes.get_mut(number) else { return Some(ReceivedBytes::Finished) };
        if entry.kind() == LaneKind::Messages {
            return None;
        }
        let read = match entry.recv.read(max.max(1)) {
            Some(ReadBytes::Data(bytes)) => Some(ReceivedBytes::Data(bytes)),
            Some(ReadBytes::Finished) => Some(ReceivedBytes::Finished),
            None if entry.recv.is_finished() => Some(ReceivedBytes::Finished),
            None => None,
        };
        if self.state != State::Closed {
            self.after_read(number);
            self.settle();
        }
        read
    }

    /// Half-closes a lane: what was written is delivered, then the peer sees `Finished`. Asks of the peer that are open
    /// on it end there as `NoReply`. Idempotent.
    pub fn finish(&mut self, now: Time, lane: LaneId) {
        self.tick(now);
        if let Some(number) = self.number(lane).filter(|_| self.state != State::Closed) {
            self.finish_lane(number);
            self.finish_held(number);
        }
        self.settle();
    }

    /// Half-closes every lane, and opens no more.
    pub fn finish_all(&mut self, now: Time) {
        self.tick(now);
        if self.state != State::Closed {
            self.finished_all = true;
            self.finish_lanes();
            self.finish_held(MAIN);
        }
        self.settle();
    }

    pub(super) fn finish_lanes(&mut self) {
        let numbers: alloc::vec::Vec<u64> = self.lanes.numbers().collect();
        numbers.into_iter().for_each(|number| self.finish_lane(number));
    }

    /// While the old session drains, the main lane ends in the next incarnation, behind what is held for it.
    fn finish_held(&mut self, number: u64) {
        if let Some(drain) = self.drain.as_mut().filter(|_| number == MAIN) {
            drain.finish();
        }
    }

    fn finish_lane(&mut self, number: u64) {
        for (lane, ask) in self.asks.open_on(number) {
            self.asks.close((lane, ask));
            self.push_control(lane, Outgoing::AskEnd { ask, outcome: AskOutcome::NoReply });
        }
        self.lanes.prompt(number);
        self.lanes.with_send(number, |send| send.finish());
    }

    /// No more interest in what the peer sends on this lane: it is taken and dropped as it arrives, and asks end as
    /// `NoReply`. Idempotent.
    pub fn discard(&mut self, now: Time, lane: LaneId) {
        self.tick(now);
        if let Some(number) = self.number(lane).filter(|_| self.state != State::Closed) {
            for (lane, ask) in self.asks.open_on(number) {
                self.asks.close((lane, ask));
                self.push_control(lane, Outgoing::AskEnd { ask, outcome: AskOutcome::NoReply });
            }
            self.discard_lane(number);
        }
        self.settle();
    }

    fn discard_lane(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(number) else { return };
        lane.recv.discard();
        self.scan_records(number);
        self.after_arrival(number);
    }
}
