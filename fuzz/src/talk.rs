//! The applications at both ends of a scene: they write, ask, answer and read as they are told, hear what the machines tell
//! them, and hold all of it against the [books](crate::books).

mod peace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use steadfast::{
    AskId, AskRef, Event, LaneError, LaneId, LaneKind, LaneOptions, Received, ReceivedBytes, SendError, SendErrorKind,
    SendId, SendOptions, SocketId, Stage, Time,
};
use steadfast_sim::Side;

use crate::books::{Books, CLIENT, Kind, Party, Shape, millis, pattern};
use crate::scene::{End, Scene};

/// A scene and its applications.
pub(crate) struct Talk {
    pub(crate) scene: Scene,
    pub(crate) books: Books,
    pub(crate) apps: Vec<App>,
    /// Somebody closes: what is not drained in time is aborted.
    pub(crate) is_closing: bool,
    /// The server takes no new sockets until another one has its place.
    is_moving: bool,
}

/// An application and what it knows.
#[derive(Clone, Debug)]
pub(crate) struct App {
    end: End,
    lanes: BTreeMap<LaneId, Lane>,
    asks: Vec<AskId>,
    readable_asks: BTreeSet<AskId>,
    handling: Vec<AskRef>,
    sends: Vec<SendId>,
    is_full: bool,
    pub(crate) is_over: bool,
    /// The process that it ran in has died.
    is_gone: bool,
    lost: usize,
    incarnation: u32,
    stage: Option<Stage>,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    out: usize,
    kind: LaneKind,
    may_read: bool,
    has_ended: bool,
}

/// An older state of the client.
pub(crate) struct Saved(Vec<u8>, App);

impl App {
    fn new(party: Party, end: End, books: &mut Books) -> App {
        let mut app = App {
            end,
            lanes: BTreeMap::new(),
            asks: Vec::new(),
            readable_asks: BTreeSet::new(),
            handling: Vec::new(),
            sends: Vec::new(),
            is_full: false,
            is_over: false,
            is_gone: false,
            lost: 0,
            incarnation: 0,
            stage: None,
        };
        app.add_lane(LaneId::MAIN, LaneKind::Messages, books.open(party, LaneId::MAIN));
        app
    }

    fn add_lane(&mut self, lane: LaneId, kind: LaneKind, out: usize) {
        self.lanes.insert(lane, Lane { out, kind, may_read: false, has_ended: false });
    }

    /// One of its lanes, and the stream that it writes there.
    fn pick(&self, choice: u8) -> (LaneId, Lane) {
        let (id, lane) = self.lanes.iter().nth(usize::from(choice) % self.lanes.len()).expect("the main lane");
        (*id, *lane)
    }
}

impl Talk {
    pub(crate) fn new(scene: Scene) -> Talk {
        let mut books = Books::default();
        let apps = vec![App::new(CLIENT, End::Client, &mut books)];
        Talk { scene, books, apps, is_closing: false, is_moving: false }
    }

    /// One of the applications that live: the client's for even choices.
    pub(crate) fn party(&self, choice: u8) -> Party {
        let living = |party: &Party| !self.apps[*party].is_gone && !self.apps[*party].is_over;
        let servers: Vec<Party> = (1..self.apps.len()).filter(living).collect();
        if choice % 2 == 0 || servers.is_empty() { CLIENT } else { servers[usize::from(choice / 2) % servers.len()] }
    }

    pub(crate) fn end(&self, party: Party) -> End {
        self.apps[party].end
    }

    pub(crate) fn with<R: PartialEq + std::fmt::Debug>(
        &mut self,
        party: Party,
        command: impl Fn(&mut steadfast::Socket, Time) -> R,
    ) -> R {
        self.scene.with(self.apps[party].end, command)
    }

    fn name(&self, id: SocketId) -> Option<Party> {
        self.apps.iter().rposition(|app| app.end == End::Server(id) && !app.is_gone)
    }

    /// No less than how many asks and receipts are under way on any of the sockets.
    pub(crate) fn wants(&self) -> usize {
        let of = |app: &App| {
            let queued = if app.is_gone { 0 } else { self.scene.socket(app.end).stats().send_queue_messages };
            app.asks.len() + app.sends.len().min(queued)
        };
        self.apps.iter().map(of).max().unwrap_or(0)
    }

    // ---- hearing ----

    /// The applications hear what they were told.
    pub(crate) fn hear(&mut self) {
        while let Some((end, event)) = self.scene.events.pop_front() {
            let party = match end {
                End::Client => CLIENT,
                End::Server(id) => self.name(id).unwrap_or_else(|| {
                    self.apps.push(App::new(self.apps.len(), end, &mut self.books));
                    self.apps.len() - 1
                }),
            };
            self.heard(party, event);
        }
    }

    fn heard(&mut self, party: Party, event: Event) {
        // A drained session is replaced without a word.
        self.forget_former_session(party);
        let app = &mut self.apps[party];
        let socket = self.scene.socket(app.end);
        if let Some(session) = socket.session_id() {
            self.books.met(party, socket.incarnation(), session);
        }
        match event {
            Event::Readable(lane) => {
                if let Some(lane) = app.lanes.get_mut(&lane) {
                    lane.may_read = true;
                }
            }
            Event::Writable => app.is_full = false,
            Event::LaneOpened(lane) => {
                let socket = self.scene.socket(app.end);
                let kind = socket.lane_options(lane).map_or(LaneKind::Messages, |options| options.kind);
                let out = self.books.open(party, lane);
                self.apps[party].add_lane(lane, kind, out);
            }
            Event::Confirmed(id) => self.books.confirmed(party, id),
            Event::Expired(id) | Event::Replaced(id) => self.books.dropped(party, id, false),
            Event::ReplyReadable(ask) => {
                app.readable_asks.insert(ask);
                self.read_replies(party);
            }
            Event::LaneFinished(lane) => {
                if let Some(lane) = app.lanes.get(&lane) {
                    self.books.finish_confirmed(lane.out);
                }
            }
            Event::Closing(_) => self.is_closing = true,
            Event::Volatile(_, message) => self.books.volatile_arrived(&message),
            Event::SessionLost(lost) => {
                let taken = self.take_back(party);
                assert_eq!(taken, lost.unconfirmed, "what SessionLost announced");
                self.apps[party].lost = taken;
                self.forget_former_session(party);
            }
            Event::Closed(closed) => {
                let taken = self.take_back(party);
                // A loss that ends the socket is announced twice, and handed back once.
                let is_right = taken == closed.unconfirmed || (taken, self.apps[party].lost) == (0, closed.unconfirmed);
                assert!(is_right, "{taken} came back of {closed:?}");
                self.apps[party].is_over = true;
            }
            _ => {}
        }
    }

    fn take_back(&mut self, party: Party) -> usize {
        self.read_replies(party);
        let unconfirmed = self.with(party, |socket, now| socket.take_unconfirmed(now));
        self.books.handed_back(party, &unconfirmed);
        unconfirmed.len()
    }

    fn forget_former_session(&mut self, party: Party) {
        let incarnation = self.scene.socket(self.end(party)).incarnation().0;
        let app = &mut self.apps[party];
        if std::mem::replace(&mut app.incarnation, incarnation) != incarnation {
            app.lanes.retain(|lane, _| *lane == LaneId::MAIN);
            app.lanes.values_mut().for_each(|lane| (lane.may_read, lane.has_ended) = (false, false));
            app.handling.clear();
            app.is_full = false;
        }
    }

    // ---- writing ----

    pub(crate) fn send(&mut self, party: Party, lane: u8, shape: Shape, options: &SendOptions) {
        let (lane, Lane { out, .. }) = self.apps[party].pick(lane);
        let max = self.scene.socket(self.end(party)).max_message();
        let message = shape.compose(self.books.next_mark(out, Kind::Plain), max);
        let sent = if *options == SendOptions::default() {
            self.with(party, |socket, now| socket.send(now, lane, message.clone())).map(|()| None)
        } else {
            self.with(party, |socket, now| socket.send_with(now, lane, message.clone(), options)).map(Some)
        };
        match sent {
            Ok(id) => {
                self.books.accepted(out, message, id, options);
                self.apps[party].sends.extend(id);
            }
            Err(error) => self.refused(party, &message, &error),
        }
    }

    fn refused(&mut self, party: Party, message: &steadfast::Message, error: &SendError) {
        assert!(error.message == *message, "a refused message came back changed");
        self.apps[party].is_full |= matches!(error.kind, SendErrorKind::Full { .. });
    }

    pub(crate) fn write(&mut self, party: Party, lane: u8, len: u16) {
        let (lane, Lane { out, .. }) = self.apps[party].pick(lane);
        let from = self.books.streams[out].written;
        let bytes: Vec<u8> = (from..from + u64::from(len)).map(|at| pattern(out, at)).collect();
        match self.with(party, |socket, now| socket.write(now, lane, &bytes)) {
            Ok(taken) => {
                assert!(taken <= bytes.len() && (taken > 0 || len == 0), "{taken} of {len} bytes were taken");
                self.books.streams[out].written += taken as u64;
            }
            Err(SendErrorKind::Full { .. }) => self.apps[party].is_full = true,
            Err(_) => {}
        }
    }

    pub(crate) fn volatile(&mut self, party: Party, lane: u8, shape: Shape) {
        let (lane, _) = self.apps[party].pick(lane);
        let message = shape.compose(self.books.next_volatile(), 15_000);
        match self.with(party, |socket, now| socket.send_volatile(now, lane, message.clone())) {
            Ok(_) => self.books.sent_volatile(message),
            Err(error) => self.refused(party, &message, &error),
        }
    }

    pub(crate) fn cancel_send(&mut self, party: Party, choice: u8) {
        let sends = &mut self.apps[party].sends;
        if !sends.is_empty() {
            let id = sends.swap_remove(usize::from(choice) % sends.len());
            if self.with(party, |socket, now| socket.cancel_send(now, id)).is_some() {
                self.books.dropped(party, id, true);
            }
        }
    }

    pub(crate) fn ask(&mut self, party: Party, lane: u8, shape: Shape, timeout: Option<u16>) {
        let (lane, Lane { out, .. }) = self.apps[party].pick(lane);
        let max = self.scene.socket(self.end(party)).max_message();
        let message = shape.compose(self.books.next_mark(out, Kind::Ask), max);
        let timeout = timeout.map(millis);
        match self.with(party, |socket, now| socket.ask(now, lane, message.clone(), timeout)) {
            Ok(id) => {
                self.books.asked(out, message, id, timeout.map(|timeout| self.scene.now + timeout));
                self.apps[party].asks.push(id);
            }
            Err(error) => self.refused(party, &message, &error),
        }
    }

    pub(crate) fn cancel_ask(&mut self, party: Party, choice: u8) {
        let asks = &self.apps[party].asks;
        if !asks.is_empty() {
            let id = asks[usize::from(choice) % asks.len()];
            self.books.cancelled_ask(party, id);
            self.with(party, |socket, now| socket.cancel_ask(now, id));
            self.apps[party].readable_asks.insert(id);
            self.read_replies(party);
        }
    }

    pub(crate) fn reply(&mut self, party: Party, choice: u8, shape: Shape, more: bool) {
        let handling = &self.apps[party].handling;
        if handling.is_empty() {
            return;
        }
        let at = usize::from(choice) % handling.len();
        let ask = handling[at];
        let max = self.scene.socket(self.end(party)).max_message();
        let message = shape.compose(self.books.next_reply(party, ask), max);
        match self.with(party, |socket, now| socket.reply(now, ask, message.clone(), more)) {
            Ok(()) => self.books.replied(party, ask, message, more),
            Err(error) => {
                self.refused(party, &message, &error);
                if matches!(error.kind, SendErrorKind::Full { .. }) {
                    return;
                }
            }
        }
        if !more {
            self.apps[party].handling.swap_remove(at);
        }
    }

    /// Refuses an ask with a code, or lets it fall.
    pub(crate) fn refuse(&mut self, party: Party, choice: u8, code: Option<u8>) {
        let handling = &mut self.apps[party].handling;
        if handling.is_empty() {
            return;
        }
        let ask = handling.swap_remove(usize::from(choice) % handling.len());
        match code.map(u32::from) {
            Some(code) => {
                if self.with(party, |socket, now| socket.refuse(now, ask, code, "no")).is_ok() {
                    self.books.refused(party, ask, code);
                }
            }
            None => self.with(party, |socket, now| socket.drop_ask(now, ask)),
        }
    }

    pub(crate) fn open_lane(&mut self, party: Party, is_bytes: bool, priority: u8) {
        let kind = if is_bytes { LaneKind::Bytes } else { LaneKind::Messages };
        let options = LaneOptions { kind, priority, name: "lane".into(), ..LaneOptions::default() };
        match self.with(party, |socket, now| socket.open_lane(now, options.clone())) {
            Ok(lane) => {
                let out = self.books.open(party, lane);
                self.apps[party].add_lane(lane, kind, out);
            }
            Err(LaneError::Send(SendErrorKind::Full { .. })) => self.apps[party].is_full = true,
            Err(_) => {}
        }
    }

    pub(crate) fn finish(&mut self, party: Party, lane: u8) {
        let (lane, _) = self.apps[party].pick(lane);
        self.with(party, |socket, now| socket.finish(now, lane));
    }

    // ---- reading ----

    /// Gives up reading a lane.
    pub(crate) fn discard(&mut self, party: Party, lane: u8) {
        let (lane, _) = self.apps[party].pick(lane);
        self.books.discarded(party, lane);
        self.with(party, |socket, now| socket.discard(now, lane));
    }

    /// Who can have written what this party reads.
    fn writers_to(&self, party: Party) -> Vec<Party> {
        if party == CLIENT { (1..self.apps.len()).collect() } else { vec![CLIENT] }
    }

    /// Takes at most `limit` things from each lane that has some.
    pub(crate) fn read(&mut self, party: Party, limit: usize) {
        let readable: Vec<LaneId> =
            self.apps[party].lanes.iter().filter(|(_, lane)| lane.may_read).map(|(id, _)| *id).collect();
        for lane in readable {
            for _ in 0..limit {
                let found = match self.apps[party].lanes[&lane].kind {
                    LaneKind::Messages => self.read_message(party, lane),
                    LaneKind::Bytes => self.read_bytes(party, lane, limit),
                };
                if !found {
                    self.apps[party].lanes.get_mut(&lane).expect("a lane").may_read = false;
                    break;
                }
            }
        }
    }

    fn read_message(&mut self, party: Party, lane: LaneId) -> bool {
        match self.with(party, |socket, now| socket.recv(now, lane)) {
            Some(Received::Message(message)) => self.books.delivered(party, lane, &message, None),
            Some(Received::Ask(ask, message)) => {
                self.books.delivered(party, lane, &message, Some(ask));
                self.apps[party].handling.push(ask);
            }
            Some(Received::Finished) => {
                self.ended(party, lane);
                return false;
            }
            None => return false,
        }
        true
    }

    fn read_bytes(&mut self, party: Party, lane: LaneId, limit: usize) -> bool {
        let max = limit.saturating_mul(100);
        match self.with(party, |socket, now| socket.read(now, lane, max)) {
            Some(ReceivedBytes::Data(bytes)) => {
                assert!(bytes.len() <= max, "more than was asked for");
                if let Some(stream) = self.books.incoming(party, &self.writers_to(party), lane) {
                    self.books.bytes_delivered(stream, &bytes);
                }
            }
            Some(ReceivedBytes::Finished) => {
                self.ended(party, lane);
                return false;
            }
            None => return false,
        }
        true
    }

    fn ended(&mut self, party: Party, lane: LaneId) {
        let has_ended = &mut self.apps[party].lanes.get_mut(&lane).expect("a lane").has_ended;
        let is_first = !std::mem::replace(has_ended, true);
        if is_first && lane != LaneId::MAIN && !self.books.is_loose {
            if let Some(stream) = self.books.incoming(party, &self.writers_to(party), lane) {
                self.books.streams[stream].check_end();
            }
        }
    }

    fn read_replies(&mut self, party: Party) {
        for ask in std::mem::take(&mut self.apps[party].readable_asks) {
            while let Some(reply) = self.with(party, |socket, now| socket.recv_reply(now, ask)) {
                self.books.reply_arrived(party, ask, &reply, self.scene.now);
            }
            if self.books.is_over(party, ask) {
                self.apps[party].asks.retain(|open| *open != ask);
            }
        }
    }

    // ---- durable sockets ----

    pub(crate) fn stage(&mut self, party: Party) {
        let stage = self.with(party, |socket, now| socket.stage(now));
        self.apps[party].stage = Some(stage);
    }

    /// What was staged last, or everything so far, may leave.
    pub(crate) fn commit(&mut self, party: Party) {
        if self.apps[party].stage.is_none() {
            self.stage(party);
        }
        if let Some(stage) = self.apps[party].stage.take() {
            self.with(party, |socket, now| socket.commit(now, stage));
        }
    }

    fn commit_all(&mut self) -> bool {
        let is_durable = self.scene.client().config().durable;
        for party in 0..self.apps.len() {
            if is_durable && !self.apps[party].is_gone {
                self.apps[party].stage = None;
                self.commit(party);
            }
        }
        is_durable
    }

    // ---- processes ----

    /// The server goes away; another one takes its place when the applications come to rest.
    pub(crate) fn go_away(&mut self, within: Duration) {
        self.is_moving = true;
        self.books.has_moved = true;
        self.scene.command(|server, now| server.go_away(now, within, "").expect("a short address"));
    }

    /// The client's process ends and goes on from the state it has.
    pub(crate) fn restart_client(&mut self, is_told: bool) {
        let state = self.scene.freeze_client();
        self.scene.restart_client(&state, is_told);
    }

    /// Writes the client down, for [`Talk::go_back`].
    pub(crate) fn save(&mut self) -> Saved {
        let state = self.scene.freeze_client();
        self.hear();
        Saved(state, self.apps[CLIENT].clone())
    }

    /// The client's process ends and goes on from an older state. What comes out from here on means nothing: only the
    /// contract holds.
    pub(crate) fn go_back(&mut self, Saved(state, app): Saved) {
        self.hear();
        self.books.is_loose = true;
        self.apps[CLIENT] = app;
        self.scene.restart_client(&state, true);
    }

    /// The server's process ends; another goes on from its state, or without it.
    pub(crate) fn restart_server(&mut self, keep: bool, is_told: bool) {
        self.is_moving = false;
        self.scene.drain(Side::Server);
        self.hear();
        let names = self.scene.restart_server(keep, is_told);
        for party in 1..self.apps.len() {
            let app = &mut self.apps[party];
            let new = names.iter().find(|(old, _)| app.end == End::Server(*old) && !app.is_gone);
            match new {
                Some((_, new)) => app.end = End::Server(*new),
                None => {
                    app.is_gone = true;
                    self.books.forget(party);
                }
            }
        }
    }
}
