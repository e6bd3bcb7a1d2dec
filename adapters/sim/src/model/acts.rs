//! What an application does by itself: writes, asks, opens and finishes lanes, takes back.

use std::time::Duration;

use steadfast::{LaneError, LaneId, LaneKind, LaneOptions, OnLoss, SendErrorKind, SendOptions};

use crate::model::app::App;
use crate::model::content::{Kind, Shape, extend_with_pattern};
use crate::model::ledger::Ledger;
use crate::model::stream::{Stream, StreamEnd};
use crate::rng::Rng;
use crate::world::{World, ends::quietly};

impl App {
    /// One random act.
    pub(super) fn act(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        match rng.below(100) {
            0..=49 => {
                for _ in 0..*rng.pick(&[1, 1, 1, 3, 10, 40]) {
                    self.write(world, ledger, rng);
                }
            }
            50..=59 => self.ask(world, ledger, rng),
            60..=74 => self.answer(false, world, ledger, rng),
            75..=79 => self.volatile(world, ledger, rng),
            80..=85 => self.open_lane(world, ledger, rng),
            86..=88 => self.finish(world, ledger, rng),
            89..=92 => self.take_back_a_message(world, ledger, rng),
            93..=95 => self.cancel_an_ask(world, ledger, rng),
            96 if rng.one_in(4) => self.discard_a_lane(world, ledger, rng),
            _ => self.nudge(world, rng),
        }
    }

    /// A random lane that it may write to.
    fn writable_lane(&self, rng: &mut Rng) -> Option<LaneId> {
        let open: Vec<LaneId> = self.lanes.iter().filter(|(_, lane)| !lane.is_finished).map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| *rng.pick(&open))
    }

    fn write(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        // Sometimes it tries although it was told to wait.
        if self.is_full && !rng.one_in(8) {
            return;
        }
        let Some(lane) = self.writable_lane(rng) else { return };
        match self.lanes[&lane].kind {
            LaneKind::Messages => self.write_message(lane, world, ledger, rng),
            LaneKind::Bytes => self.write_bytes(lane, world, ledger, rng),
        }
    }

    fn write_message(&mut self, lane: LaneId, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let stream = self.lanes[&lane].out;
        let mark = ledger.next_mark(stream, Kind::Plain);
        let options = SendOptions {
            time_to_live: rng.one_in(6).then(|| Duration::from_micros(rng.number(0..=500_000))),
            key: rng.one_in(8).then(|| vec![b'a' + rng.below(2) as u8].into()),
            receipt: rng.one_in(4),
        };
        let is_plain = options == SendOptions::default() && rng.percent(95);
        let may_drop = options.time_to_live.is_some() || options.key.is_some();
        let mut shape = Shape::random(rng, world.socket(self.end).max_message(), 1000);
        if mark.index == 0 || !is_plain {
            shape = shape.marked();
        }
        let message = shape.compose(mark);
        let sent = if is_plain {
            world.send_on(self.end, lane, message.clone()).map(|()| None)
        } else {
            world.with(self.end, |socket, now| socket.send_with(now, lane, message.clone(), &options)).map(Some)
        };
        match sent {
            Ok(id) => {
                ledger.accepted(stream, Kind::Plain, shape, id, may_drop);
                self.sends.extend(id);
            }
            Err(error) => {
                assert!(error.message == message, "a refused message came back changed");
                self.refused(error.kind, Some(stream), world, ledger);
            }
        }
    }

    fn write_bytes(&mut self, lane: LaneId, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let stream = self.lanes[&lane].out;
        let mut bytes = Vec::new();
        let most = *rng.pick(&[10, 1000, 30_000]);
        let len = rng.size(1..=most);
        extend_with_pattern(&mut bytes, stream as u64, ledger.streams[stream].written, len);
        match world.with(self.end, |socket, now| quietly(socket, |socket| socket.write(now, lane, &bytes))) {
            Ok(taken) => {
                assert!(1 <= taken && taken <= len, "{taken} of {len} bytes were taken");
                ledger.streams[stream].written += taken as u64;
            }
            Err(kind) => self.refused(kind, Some(stream), world, ledger),
        }
    }

    /// A refusal that must have its reason.
    fn refused(&mut self, kind: SendErrorKind, stream: Option<usize>, world: &World, ledger: &Ledger) {
        let end = self.end;
        match kind {
            SendErrorKind::Full { .. } => self.is_full = true,
            SendErrorKind::Closed => {
                let is_unwanted = stream.is_some_and(|stream| ledger.streams[stream].is_discarded);
                let will_hear = world.has_events(end);
                assert!(
                    self.is_closing || self.has_moved || is_unwanted || will_hear,
                    "{end:?}: closed for writing, and nobody closes"
                );
            }
            SendErrorKind::Lost => {
                assert!(self.is_over || world.has_events(end), "{end:?}: lost, and it was never told")
            }
            SendErrorKind::TooLarge { .. } | SendErrorKind::Misuse(_) => panic!("{end:?}: {kind}"),
        }
    }

    fn ask(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let lane = self.writable_lane(rng).filter(|lane| self.lanes[lane].kind == LaneKind::Messages);
        let Some(lane) = lane.filter(|_| !self.is_full) else { return };
        let stream = self.lanes[&lane].out;
        let mark = ledger.next_mark(stream, Kind::Ask);
        let shape = Shape::random(rng, world.socket(self.end).max_message(), 1000).marked();
        let message = shape.compose(mark);
        let timeout = rng.one_in(3).then(|| Duration::from_micros(rng.number(1..=2_000_000)));
        match world.with(self.end, |socket, now| socket.ask(now, lane, message.clone(), timeout)) {
            Ok(id) => {
                // An ask that is cancelled, or whose time runs out, while it waits is dropped.
                ledger.accepted(stream, Kind::Ask, shape, None, true);
                ledger.asks.asked(self.end, id, mark, timeout.map(|timeout| world.now() + timeout));
                self.asks.push(id);
            }
            Err(error) => self.refused(error.kind, Some(stream), world, ledger),
        }
    }

    fn volatile(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let lane = self.writable_lane(rng).filter(|lane| self.lanes[lane].kind == LaneKind::Messages);
        let Some(lane) = lane else { return };
        let stream = self.lanes[&lane].out;
        let mark = ledger.next_volatile(stream);
        let largest = world.socket(self.end).max_message().min(10_000);
        let message = Shape::random(rng, largest, 1000).marked().compose(mark);
        match world.with(self.end, |socket, now| socket.send_volatile(now, lane, message.clone())) {
            Ok(_) => {}
            Err(error) => self.refused(error.kind, Some(stream), world, ledger),
        }
    }

    fn open_lane(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        if self.is_out_of_lanes && !rng.one_in(8) {
            return;
        }
        let options = LaneOptions {
            kind: *rng.pick(&[LaneKind::Messages, LaneKind::Messages, LaneKind::Bytes]),
            name: ledger.streams.len().to_string(),
            namespace: if rng.one_in(3) { "space".into() } else { String::new() },
            priority: rng.below(4) as u8,
            headers: if rng.one_in(3) { "{\"a\":[1,2]}".into() } else { Default::default() },
        };
        match world.with(self.end, |socket, now| socket.open_lane(now, options.clone())) {
            Ok(lane) => {
                let kind = options.kind;
                let out = ledger.open(Stream::new(self.end, lane, options));
                self.add_lane(lane, out, None, kind);
            }
            Err(LaneError::LaneLimit { .. }) => self.is_out_of_lanes = true,
            Err(LaneError::Send(kind)) => self.refused(kind, None, world, ledger),
        }
    }

    fn finish(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let lane = self.writable_lane(rng);
        // Across incarnations the main lane is one stream of the ledger, which ends once.
        let closes = world.socket(self.end).config().on_loss == OnLoss::Close;
        let Some(lane) = lane.filter(|lane| *lane != LaneId::MAIN || closes && rng.one_in(10)) else { return };
        world.with(self.end, |socket, now| socket.finish(now, lane));
        self.finished(lane, ledger);
    }

    /// Notes that a lane was finished.
    pub(super) fn finished(&mut self, lane: LaneId, ledger: &mut Ledger) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.is_finished = true;
            let end = &mut ledger.streams[lane.out].end;
            *end = (*end).max(StreamEnd::Finished);
        }
    }

    fn take_back_a_message(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        if self.sends.is_empty() {
            return;
        }
        // The newest has the best chance to be still waiting.
        let at = self.sends.len() - 1 - rng.below(self.sends.len().min(4) as u64) as usize;
        let id = self.sends.swap_remove(at);
        if world.with(self.end, |socket, now| socket.cancel_send(now, id)).is_some() {
            ledger.dropped(self.end, id, true);
        }
    }

    fn cancel_an_ask(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        if !self.asks.is_empty() {
            let ask = *rng.pick(&self.asks);
            ledger.asks.cancelled(self.end, ask);
            world.with(self.end, |socket, now| socket.cancel_ask(now, ask));
            self.read_cancelled(ask, world, ledger);
        }
    }

    fn discard_a_lane(&mut self, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let lanes: Vec<LaneId> = self.lanes.keys().copied().filter(|lane| *lane != LaneId::MAIN).collect();
        if !lanes.is_empty() {
            let lane = *rng.pick(&lanes);
            self.discard(lane, world, ledger);
        }
    }

    /// Something that changes nothing for the data.
    fn nudge(&mut self, world: &mut World, rng: &mut Rng) {
        match rng.below(4) {
            0 => world.with(self.end, |socket, now| socket.disconnect(now)),
            1 => world.with(self.end, |socket, now| socket.reconnect_now(now)),
            2 => world.with(self.end, |socket, now| socket.connect(now)),
            _ => world.with(self.end, |socket, _| socket.set_auth("fresh".into()).expect("a short payload")),
        }
    }
}
