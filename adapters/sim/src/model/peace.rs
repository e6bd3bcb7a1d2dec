//! How a schedule ends: the faults stop, all is delivered, everybody closes, and the books are checked.

use std::time::Duration;

use steadfast::{CloseReason, State};

use crate::model::app::App;
use crate::model::schedule::{Outcome, Schedule};
use crate::world::End;

/// How long a world may take to come to rest once the faults have stopped.
const CALM: Duration = Duration::from_secs(600);

impl Schedule {
    /// The faults stop. Everybody reads and answers, until all is delivered and every ask has its end.
    pub(super) fn calm_down(&mut self) {
        self.world.calm_down();
        let end = self.world.now() + CALM;
        loop {
            self.tend();
            if self.is_at_rest() {
                break;
            }
            let in_time = self.world.next_moment().is_some_and(|moment| moment <= end);
            assert!(in_time, "not at rest {CALM:?} after the faults stopped:\n{}", self.describe());
            for _ in 0..20 {
                self.world.step();
                // A commit that comes too late for every attempt would be the application's fault.
                self.commit(100);
            }
        }
        for app in self.apps.values() {
            app.check_edges(&self.world);
        }
        self.world.check_at_rest();
    }

    /// Every application does what it has to: hears, reads all, answers all.
    fn tend(&mut self) {
        self.hear();
        let ends: Vec<End> = self.apps.keys().copied().collect();
        for end in ends {
            let mut app = self.apps.remove(&end).expect("an application");
            app.read(usize::MAX, &mut self.world, &mut self.ledger, &mut self.rng);
            while !app.handling.is_empty() && !app.is_full {
                app.answer(true, &mut self.world, &mut self.ledger, &mut self.rng);
            }
            if matches!(end, End::Client(_)) && self.world.state(end) == State::Disconnected {
                self.world.with(end, |socket, now| socket.connect(now));
            }
            self.apps.insert(end, app);
        }
        // What a commit lets a close do next may need one as well.
        (0..3).for_each(|_| self.commit(100));
    }

    /// Every session that lives has both ends, and nothing is under way in it.
    fn is_at_rest(&self) -> bool {
        let is_quiet = |app: &App| {
            app.is_over || {
                let socket = self.world.socket(app.end);
                let confirmed = app.lanes.keys().all(|lane| socket.is_confirmed(*lane));
                let peer = self.world.peer(app.end).and_then(|peer| self.apps.get(&peer));
                let has_peer = peer.is_some_and(|peer| {
                    !peer.is_over && self.world.socket(peer.end).session_id() == socket.session_id()
                });
                // A server that goes away has clients that have yet to move.
                let has_moved = [Some(app.end), peer.map(|peer| peer.end)].into_iter().flatten().all(|end| match end {
                    End::Server(server, _) => server == self.server,
                    End::Client(_) => true,
                });
                let has_link = self.world.link_of(app.end).is_some_and(|link| self.world.is_working(link));
                has_peer
                    && has_moved
                    && has_link
                    && socket.state() == State::Ready
                    && confirmed
                    && app.asks.is_empty()
                    && !app.is_full
                    && app.handling.is_empty()
                    && !app.is_closing
            }
        };
        self.apps.values().all(is_quiet)
    }

    /// Everybody closes; then nobody must have lost anything.
    pub(super) fn close(&mut self) {
        let reason = CloseReason::app(7, "the end");
        for app in self.apps.values_mut() {
            app.closes(&self.world, &mut self.ledger);
        }
        match self.rng.below(4) {
            0 => self.world.command(self.server, |server, now| server.close(now, reason.clone())),
            draw => {
                for end in self.apps.values().filter(|app| !app.is_over).map(|app| app.end) {
                    if draw == 1 || (draw == 2) == matches!(end, End::Client(_)) {
                        self.world.with(end, |socket, now| socket.close(now, reason.clone()));
                    }
                }
            }
        }
        let closing: Vec<End> = self.apps.values().filter(|app| !app.is_over).map(|app| app.end).collect();
        let limit = self.world.now() + Duration::from_secs(2);
        self.tend();
        while self.apps.values().any(|app| !app.is_over) {
            let in_time = self.world.next_moment().is_some_and(|moment| moment <= limit);
            assert!(in_time, "not closed in time:\n{}", self.describe());
            self.world.step();
            self.tend();
        }
        for end in closing {
            let closed = self.world.closed(end).expect("a closed socket tells how");
            assert!(closed.clean, "{end:?} had nothing under way and did not close cleanly: {closed:?}");
        }
        self.check_nothing_lost();
        assert_eq!(self.world.server(self.server).len(), 0, "sockets of the server are left over");
        for end in self.apps.keys().copied().filter(|end| matches!(end, End::Server(..))) {
            self.world.remove(end);
        }
        self.world.run_for(self.server_config.socket.retention + self.server_config.hello_timeout + CALM);
        let wakes = self.world.server(self.server).poll_timeout();
        assert_eq!(wakes, None, "a server without sockets wants to be woken");
    }

    fn check_nothing_lost(&self) {
        for (number, stream) in self.ledger.streams.iter().enumerate() {
            assert!(stream.is_settled(), "something of stream {number} was lost: {stream:?}");
        }
        let open: Vec<_> = self.ledger.asks.open().collect();
        assert!(open.is_empty(), "asks without an end: {open:?}");
    }

    fn describe(&self) -> String {
        let mut text = self.world.describe();
        for app in self.apps.values() {
            text += &format!("{app:?}\n");
        }
        for (number, stream) in self.ledger.streams.iter().enumerate().filter(|(_, stream)| !stream.is_settled()) {
            text += &format!("stream {number}: {stream:?}\n");
        }
        text
    }

    pub(super) fn outcome(&self) -> Outcome {
        let clients = self.clients();
        Outcome {
            digest: self.world.digest(),
            delivered: self.ledger.delivered,
            resumes: clients.iter().map(|client| self.world.socket(*client).stats().resumes).sum(),
            asks: self.ledger.asks.len() as u64,
            sessions: self.apps.len() as u64 - clients.len() as u64,
        }
    }
}
