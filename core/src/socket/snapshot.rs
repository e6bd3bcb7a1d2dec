//! A socket as data, with times relative to the moment: for restart, for model checking, for tests.

use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Socket;
use crate::config::Config;
use crate::time::Time;

/// What a snapshot's times are relative to: far from both ends, so that what is past stays so.
const ORIGIN: Time = Time::from_micros(1 << 62);

/// A socket at one moment, without its configuration. Two snapshots are equal when the sockets will behave alike.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot(Box<Socket>);

impl Socket {
    /// All of the socket as data. Times are relative to `now`, so that it can go on under another clock.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let mut socket = self.clone();
        socket.tick(now);
        socket.config = Arc::default();
        let from = socket.now;
        socket.rebase(from, ORIGIN);
        Snapshot(Box::new(socket))
    }

    /// The socket of a snapshot, which goes on at `now` as the original would have. In a process where its links do not
    /// exist any more, call [`Socket::handle_restart`] first.
    ///
    /// The configuration must be the one that the original had.
    pub fn restore(snapshot: Snapshot, config: Arc<Config>, now: Time) -> Socket {
        let mut socket = *snapshot.0;
        socket.config = config;
        socket.rebase(ORIGIN, now);
        socket
    }

    fn rebase(&mut self, from: Time, to: Time) {
        let at = |time: &mut Time| *time = time.rebase(from, to);
        at(&mut self.now);
        self.report_at.iter_mut().for_each(at);
        self.expires_at.iter_mut().for_each(at);
        if let Some(dialer) = &mut self.dialer {
            dialer.redial_at.iter_mut().for_each(at);
            dialer.attempt_until.iter_mut().for_each(at);
        }
        if let Some(link) = &mut self.link {
            link.heartbeat.rebase(from, to);
            link.datagram.iter_mut().for_each(|datagram| datagram.rebase(from, to));
        }
        if let Some(ending) = &mut self.ending {
            ending.rebase(from, to);
        }
        if let Some(drain) = &mut self.drain {
            drain.rebase(from, to);
        }
        self.asks.rebase(from, to);
        self.lanes.rebase(from, to);
    }
}
