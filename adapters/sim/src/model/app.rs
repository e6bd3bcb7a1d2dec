//! An application at one end of a socket: hears, reads, answers, and writes all of it into the ledger.

use std::collections::{BTreeMap, BTreeSet};

use steadfast::{
    AskId, AskRef, Event, Incarnation, LaneId, LaneKind, LaneOptions, Received, ReceivedBytes, SendErrorKind, SendId,
};

use crate::model::asks::HandlerEnd;
use crate::model::content::Shape;
use crate::model::ledger::Ledger;
use crate::model::stream::Stream;
use crate::rng::Rng;
use crate::world::{End, World};

/// An application and what it knows.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) end: End,
    pub(super) lanes: BTreeMap<LaneId, Lane>,
    /// Asks of which more can be read, and those that are open.
    readable_asks: BTreeSet<AskId>,
    pub(super) asks: Vec<AskId>,
    /// Asks of the peer that wait for an answer.
    pub(super) handling: Vec<AskRef>,
    /// Messages that can perhaps still be taken back.
    pub(super) sends: Vec<SendId>,
    /// It waits for `Writable`, for `LanesAvailable`.
    pub(super) is_full: bool,
    pub(super) is_out_of_lanes: bool,
    /// A side has begun to close.
    pub(super) is_closing: bool,
    /// The server has gone away at least once: lanes of the old session take no more.
    pub(super) has_moved: bool,
    incarnation: Incarnation,
    pub(super) is_over: bool,
    taken_at_loss: usize,
}

/// A lane as an application sees it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// The stream that this end writes.
    pub(super) out: usize,
    /// The stream that it reads, once that is known.
    incoming: Option<usize>,
    pub(super) kind: LaneKind,
    /// There may be something to read: `Readable` was told, and since then there always was.
    may_read: bool,
    /// The end was read.
    has_ended: bool,
    pub(super) is_finished: bool,
}

impl App {
    /// The application of a new end. `incoming` is the stream that it reads on its main lane, where that is known.
    pub(super) fn new(end: End, incoming: Option<usize>, ledger: &mut Ledger) -> App {
        let mut app = App {
            end,
            lanes: BTreeMap::new(),
            readable_asks: BTreeSet::new(),
            asks: Vec::new(),
            handling: Vec::new(),
            sends: Vec::new(),
            is_full: false,
            is_out_of_lanes: false,
            is_closing: false,
            has_moved: false,
            incarnation: Incarnation::default(),
            is_over: false,
            taken_at_loss: 0,
        };
        let out = ledger.open(Stream::new(end, LaneId::MAIN, LaneOptions::default()));
        ledger.mains.insert(end, out);
        if let Some(incoming) = incoming {
            ledger.add_reader(incoming, end);
        }
        app.add_lane(LaneId::MAIN, out, incoming, LaneKind::Messages);
        app
    }

    pub(super) fn main(&self) -> usize {
        self.lanes[&LaneId::MAIN].out
    }

    pub(super) fn add_lane(&mut self, lane: LaneId, out: usize, incoming: Option<usize>, kind: LaneKind) {
        let lane_view = Lane { out, incoming, kind, may_read: false, has_ended: false, is_finished: false };
        self.lanes.insert(lane, lane_view);
    }

    /// Takes the events that were told and does what each asks for.
    pub(super) fn hear(&mut self, world: &mut World, ledger: &mut Ledger) {
        for event in world.events(self.end) {
            assert!(!self.is_over, "{event:?} after Closed");
            match event {
                Event::Readable(lane) => self.lane_mut(lane).may_read = true,
                Event::Writable => self.is_full = false,
                Event::LanesAvailable => self.is_out_of_lanes = false,
                Event::LaneOpened(lane) => self.lane_opened(lane, world, ledger),
                Event::Confirmed(id) => ledger.confirmed(self.end, id),
                Event::Expired(id) | Event::Replaced(id) => ledger.dropped(self.end, id, false),
                Event::ReplyReadable(ask) => {
                    self.readable_asks.insert(ask);
                    self.read_replies(world, ledger);
                }
                Event::LaneFinished(lane) => ledger.finish_confirmed(self.lane_mut(lane).out),
                Event::Volatile(_, message) => ledger.volatile_arrived(&message),
                Event::SessionLost(lost) => {
                    let taken = self.take_back(world, ledger);
                    assert_eq!(taken, lost.unconfirmed, "{:?}: what SessionLost announced", self.end);
                    self.taken_at_loss = taken;
                    if world.socket(self.end).incarnation() != self.incarnation {
                        self.forget_session();
                    }
                }
                Event::Closing(_) => self.closes(world, ledger),
                Event::GoingAway(_) => self.has_moved = true,
                Event::Closed(closed) => {
                    let taken = self.take_back(world, ledger);
                    // A loss that closes the socket is announced twice, and handed back once.
                    let is_right =
                        taken == closed.unconfirmed || (taken, self.taken_at_loss) == (0, closed.unconfirmed);
                    assert!(is_right, "{:?}: {taken} came back of {closed:?}", self.end);
                    self.closes(world, ledger);
                    self.is_over = true;
                }
                Event::State(_) | Event::LinkLost(_) => {}
            }
            self.notice_move(world);
        }
    }

    /// A drained session is replaced without a word.
    fn notice_move(&mut self, world: &World) {
        let incarnation = world.socket(self.end).incarnation();
        if incarnation != self.incarnation {
            self.incarnation = incarnation;
            let main = self.lane_mut(LaneId::MAIN);
            (main.incoming, main.has_ended) = (None, false);
        }
    }

    /// This side closes, or the peer does.
    pub(super) fn closes(&mut self, world: &World, ledger: &mut Ledger) {
        self.is_closing = true;
        ledger.closing(self.end);
        world.peer(self.end).into_iter().for_each(|peer| ledger.closing(peer));
    }

    fn lane_mut(&mut self, lane: LaneId) -> &mut Lane {
        let end = self.end;
        self.lanes.get_mut(&lane).unwrap_or_else(|| panic!("{end:?} was told of {lane:?} and does not know it"))
    }

    fn lane_opened(&mut self, lane: LaneId, world: &mut World, ledger: &mut Ledger) {
        let Some(options) = world.socket(self.end).lane_options(lane).cloned() else {
            // Opened and finished by both sides before anybody looked.
            let out = ledger.open(Stream::new(self.end, lane, LaneOptions::default()));
            self.add_lane(lane, out, None, LaneKind::Messages);
            return;
        };
        let incoming: usize = options.name.parse().expect("a lane that the model has opened");
        assert_eq!(ledger.streams[incoming].options, options, "{lane:?} was opened otherwise");
        assert_eq!(ledger.streams[incoming].lane.number(), lane.number(), "{lane:?} was opened under another number");
        let kind = options.kind;
        let mut stream = Stream::new(self.end, lane, options);
        stream.reverse = Some(incoming);
        let out = ledger.open(stream);
        ledger.streams[incoming].reverse = Some(out);
        self.add_lane(lane, out, Some(incoming), kind);
    }

    fn take_back(&mut self, world: &mut World, ledger: &mut Ledger) -> usize {
        self.read_replies(world, ledger);
        let unconfirmed = world.with(self.end, |socket, now| socket.take_unconfirmed(now));
        ledger.handed_back(self.end, &unconfirmed);
        unconfirmed.len()
    }

    /// The lanes and asks of a session that is lost name nothing any more.
    fn forget_session(&mut self) {
        self.lanes.retain(|lane, _| *lane == LaneId::MAIN);
        let main = self.lane_mut(LaneId::MAIN);
        (main.incoming, main.may_read, main.has_ended, main.is_finished) = (None, false, false, false);
        self.handling.clear();
        self.is_full = false;
        self.is_out_of_lanes = false;
    }

    /// Reads at most `limit` messages or pieces of each lane that has some.
    pub(super) fn read(&mut self, limit: usize, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        let readable: Vec<LaneId> = self.lanes.iter().filter(|(_, lane)| lane.may_read).map(|(id, _)| *id).collect();
        for lane in readable {
            for _ in 0..limit {
                let found = match self.lanes[&lane].kind {
                    LaneKind::Messages => self.read_message(lane, world, ledger),
                    LaneKind::Bytes => self.read_bytes(lane, rng.size(1..=20_000), world, ledger),
                };
                if !found {
                    self.lane_mut(lane).may_read = false;
                    break;
                }
            }
        }
    }

    /// The stream that is read on a lane; unknown when the writer's process is gone.
    fn incoming(&self, lane: LaneId, world: &World, ledger: &Ledger) -> Option<usize> {
        let known = self.lanes[&lane].incoming.or(ledger.streams[self.lanes[&lane].out].reverse);
        // The peer of a client is another one with each session.
        let of_peer = || ledger.mains.get(&world.peer(self.end)?).copied();
        if lane == LaneId::MAIN { of_peer().or(known) } else { known }
    }

    fn read_message(&mut self, lane: LaneId, world: &mut World, ledger: &mut Ledger) -> bool {
        let incoming = self.incoming(lane, world, ledger);
        let Some(received) = world.with(self.end, |socket, now| socket.recv(now, lane)) else { return false };
        let mark = match &received {
            Received::Message(message) => ledger.arrived(self.end, incoming, false, message),
            Received::Ask(ask, message) => {
                let mark = ledger.arrived(self.end, incoming, true, message);
                ledger.asks.arrived(self.end, *ask, mark.expect("an ask says which one it is"));
                self.handling.push(*ask);
                mark
            }
            Received::Finished => {
                self.end_arrived(lane, incoming, ledger);
                return false;
            }
        };
        if let Some(mark) = mark {
            self.lane_mut(lane).incoming = Some(mark.stream as usize);
        }
        true
    }

    fn read_bytes(&mut self, lane: LaneId, max: usize, world: &mut World, ledger: &mut Ledger) -> bool {
        let incoming = self.incoming(lane, world, ledger);
        match (world.with(self.end, |socket, now| socket.read(now, lane, max)), incoming) {
            (None, _) => return false,
            (Some(ReceivedBytes::Data(bytes)), Some(stream)) => ledger.bytes_arrived(self.end, stream, &bytes),
            (Some(ReceivedBytes::Finished), incoming) => {
                self.end_arrived(lane, incoming, ledger);
                return false;
            }
            (Some(other), None) => panic!("{other:?} on a lane that the peer has not seen"),
        }
        true
    }

    fn end_arrived(&mut self, lane: LaneId, incoming: Option<usize>, ledger: &mut Ledger) {
        // It is answered again and again, and of a lane that is over whoever ended it.
        let is_new = !std::mem::replace(&mut self.lane_mut(lane).has_ended, true);
        if let Some(stream) = incoming.filter(|_| is_new) {
            ledger.end_arrived(self.end, stream);
        }
    }

    fn read_replies(&mut self, world: &mut World, ledger: &mut Ledger) {
        for ask in std::mem::take(&mut self.readable_asks) {
            while let Some(reply) = world.with(self.end, |socket, now| socket.recv_reply(now, ask)) {
                ledger.asks.reply_arrived(self.end, ask, &reply, world.now());
            }
            if ledger.asks.is_over(self.end, ask) {
                self.asks.retain(|open| *open != ask);
            }
        }
    }

    /// Takes the end of an ask that was cancelled, whatever had come of it before.
    pub(super) fn read_cancelled(&mut self, ask: AskId, world: &mut World, ledger: &mut Ledger) {
        self.readable_asks.insert(ask);
        self.read_replies(world, ledger);
        // Only an older copy of a process can know of asks that its socket does not.
        self.asks.retain(|open| *open != ask);
    }

    /// Looks on clones of the machine whether something could be read of which no event told.
    pub(super) fn check_edges(&self, world: &World) {
        if world.has_events(self.end) {
            return;
        }
        let mut socket = world.socket(self.end).into_owned();
        for (id, lane) in self.lanes.iter().filter(|(_, lane)| !lane.may_read) {
            let found = match lane.kind {
                LaneKind::Messages => {
                    socket.recv(world.now(), *id).filter(|found| *found != Received::Finished).is_some()
                }
                LaneKind::Bytes => matches!(socket.read(world.now(), *id, 1), Some(ReceivedBytes::Data(_))),
            };
            assert!(!found, "{:?}: {id:?} could be read and no event told so", self.end);
        }
        for ask in self.asks.iter().filter(|ask| !self.readable_asks.contains(ask)) {
            let found = socket.recv_reply(world.now(), *ask);
            assert!(found.is_none(), "{:?}: {ask:?} had a reply and no event told so: {found:?}", self.end);
        }
    }

    /// Does something with an ask of the peer. With `for_good` it is answered to its end.
    pub(super) fn answer(&mut self, for_good: bool, world: &mut World, ledger: &mut Ledger, rng: &mut Rng) {
        if self.handling.is_empty() || self.is_full {
            return;
        }
        let at = rng.below(self.handling.len() as u64) as usize;
        let ask = self.handling[at];
        let end = self.end;
        match rng.below(8) {
            0 => {
                let code = rng.below(1000) as u32;
                if world.with(end, |socket, now| socket.refuse(now, ask, code, "no")).is_ok() {
                    ledger.asks.ended(end, ask, HandlerEnd::Refused(code));
                }
            }
            1 => {
                let is_open = world.socket(end).is_ask_open(ask);
                world.with(end, |socket, now| socket.drop_ask(now, ask));
                if is_open {
                    ledger.asks.ended(end, ask, HandlerEnd::Dropped);
                }
            }
            draw => {
                let more = !for_good && draw < 5;
                let shape = Shape::random(rng, world.socket(end).max_message(), 1000).marked();
                let message = shape.compose(ledger.asks.next_reply(end, ask));
                let is_open = world.socket(end).is_ask_open(ask);
                match world.with(end, |socket, now| socket.reply(now, ask, message.clone(), more)).map_err(|e| e.kind) {
                    Ok(()) => {
                        assert!(is_open, "{end:?}: a reply to an ask that is not open was accepted");
                        ledger.asks.replied(end, ask, shape, more);
                        if more {
                            return;
                        }
                    }
                    Err(SendErrorKind::Full { .. }) => {
                        self.is_full = true;
                        return;
                    }
                    Err(error) => {
                        let is_finished = self.lanes.get(&ask.lane()).is_none_or(|lane| lane.is_finished);
                        let has_reason =
                            !is_open || is_finished || self.has_moved || self.is_closing || world.has_events(end);
                        assert!(has_reason, "{end:?}: {error:?} for a reply");
                    }
                }
            }
        }
        self.handling.swap_remove(at);
    }

    /// Gives up reading a lane.
    pub(super) fn discard(&mut self, lane: LaneId, world: &mut World, ledger: &mut Ledger) {
        let Some(stream) = self.incoming(lane, world, ledger) else { return };
        ledger.streams[stream].is_discarded = true;
        world.with(self.end, |socket, now| socket.discard(now, lane));
    }
}
