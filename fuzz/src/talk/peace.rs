//! How a talk ends: the faults stop, everybody reads and answers, and everything comes to rest.

use std::time::Duration;

use steadfast::{CloseReason, State};
use steadfast_sim::Side;

use super::{App, Talk};
use crate::books::{CLIENT, Party, Shape};
use crate::scene::End;

/// For how long a scene may go on once the faults have stopped.
const PEACE: Duration = Duration::from_secs(600);
/// How many deadlines may be served in that time.
const WAKES: usize = 20_000;
/// How many are served after wild times.
const WILD_WAKES: usize = 60;

impl Talk {
    /// The faults stop, but what came before was so wild that nobody can say how it ends: nothing may run in circles.
    pub(crate) fn run_on(&mut self) {
        self.scene.is_lazy = false;
        for _ in 0..WILD_WAKES {
            self.tend();
            if !self.scene.sleep() {
                return;
            }
        }
    }

    /// The faults stop: everybody reads and answers, and everything comes to rest.
    pub(crate) fn calm_down(&mut self) {
        self.scene.is_lazy = false;
        self.scene.room = usize::MAX;
        self.work_until("at rest", Talk::is_at_rest);
    }

    /// One side closes, and all sockets end.
    pub(crate) fn close(&mut self, party: Party) {
        self.with(party, |socket, now| socket.close(now, CloseReason::app(7, "the end")));
        // A socket that was accepted for nobody has told nothing yet.
        let is_over = |talk: &Talk| talk.apps.iter().all(|app| app.is_over || app.is_gone);
        self.work_until("closed", |talk| is_over(talk) && talk.scene.server().is_empty());
    }

    fn work_until(&mut self, what: &str, done: impl Fn(&Talk) -> bool) {
        let end = self.scene.now + PEACE;
        for _ in 0..WAKES {
            self.tend();
            if done(self) {
                return;
            }
            if self.has_gone_away() {
                continue;
            }
            assert!(self.scene.sleep() && self.scene.now < end, "never {what}:\n{}", self.describe());
        }
        panic!("{what} only after very many wake-ups:\n{}", self.describe());
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for app in self.apps.iter().filter(|app| !app.is_gone) {
            let socket = self.scene.socket(app.end);
            text += &format!("{app:?}\n{:?} {:?}\n", socket.state(), socket.stats());
        }
        text
    }

    /// The server that was to go away has nothing left to do.
    fn has_gone_away(&self) -> bool {
        self.is_moving && self.scene.server().is_empty()
    }

    /// Everybody does what there is to do at this moment.
    fn tend(&mut self) {
        if self.has_gone_away() {
            self.restart_server(false, true);
        }
        for round in 0..100 {
            // What comes of one commit may need the next.
            let is_durable = self.commit_all();
            self.scene.deliver_all();
            self.hear();
            let is_left = self.scene.client().state() == State::Disconnected;
            let mut is_busy = is_left && self.scene.deadline(Side::Client).is_none();
            if is_busy {
                self.with(CLIENT, |socket, now| socket.connect(now));
            }
            for party in 0..self.apps.len() {
                if !self.apps[party].is_gone {
                    is_busy |= self.apps[party].lanes.values().any(|lane| lane.may_read);
                    self.read(party, usize::MAX);
                    while !self.apps[party].handling.is_empty() && !self.apps[party].is_full {
                        self.reply(party, 0, Shape::SMALL, false);
                        is_busy = true;
                    }
                }
            }
            self.hear();
            if !is_busy && (!is_durable || round >= 4) {
                return;
            }
        }
    }

    /// Whether every socket that lives has its peer, and nothing is under way.
    fn is_at_rest(&self) -> bool {
        let is_quiet = |app: &App| {
            if app.is_over || app.is_gone {
                return true;
            }
            let socket = self.scene.socket(app.end);
            let has_peer = match app.end {
                End::Client => self.scene.peer().is_some_and(|id| self.name(id).is_some_and(|p| !self.apps[p].is_over)),
                End::Server(id) => !self.apps[CLIENT].is_over && self.scene.peer() == Some(id),
            };
            let is_confirmed = app.lanes.keys().all(|lane| socket.is_confirmed(*lane));
            let is_calm = app.asks.is_empty() && app.handling.is_empty() && !app.is_full;
            has_peer && socket.state() == State::Ready && is_confirmed && is_calm
        };
        !self.is_moving
            && self.apps.iter().all(is_quiet)
            && (self.apps[CLIENT].is_over || self.scene.has_working_link())
    }

    /// Nothing of what was accepted is missing.
    pub(crate) fn check_end(&self) {
        self.books.check_all_accounted_for();
    }

    /// Whether both ends of the client's session have ended in peace.
    pub(crate) fn closed_cleanly(&self) -> bool {
        let is_clean = |app: &App| self.scene.socket(app.end).closed().is_none_or(|closed| closed.clean);
        is_clean(&self.apps[CLIENT])
    }
}
