//! Liveness of a link: being heard of, and noticing silence (PROTOCOL.md §7.1).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The liveness of one link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    heard: Time,
    said: Time,
    /// The last PING and when it left, until its PONG is here.
    ping: Option<(u64, Time)>,
    next_token: u64,
}

/// What the silence of a peer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// Not over yet.
    Tolerated,
    /// The link is to be given up.
    TooLong,
    /// The deadline was missed by more than the interval: this side slept, and so says nothing about the peer.
    Overslept,
}

impl Heartbeat {
    /// A link that came up at `now`.
    pub(crate) fn new(now: Time) -> Heartbeat {
        Heartbeat { heard: now, said: now, ping: None, next_token: 0 }
    }

    pub(crate) fn on_heard(&mut self, now: Time) {
        self.heard = now;
    }

    pub(crate) fn on_said(&mut self, now: Time) {
        self.said = now;
    }

    /// When the link is given up unless something arrives before.
    pub(crate) fn silence_deadline(&self, tolerated: Duration) -> Time {
        self.heard + tolerated
    }

    /// When this side has to be heard of: after its own interval, or a third of the silence that the peer tolerates.
    pub(crate) fn keepalive_deadline(&self, interval: Duration, peer_tolerates: Duration) -> Time {
        self.said + interval.min(peer_tolerates / 3)
    }

    /// Judges the peer's silence. After `Overslept` liveness starts anew.
    pub(crate) fn judge(&mut self, now: Time, tolerated: Duration) -> Silence {
        let deadline = self.silence_deadline(tolerated);
        if now < deadline {
            Silence::Tolerated
        } else if now.since(deadline) > tolerated {
            self.heard = now;
            Silence::Overslept
        } else {
            Silence::TooLong
        }
    }

    /// The token of a PING that leaves now.
    pub(crate) fn ping(&mut self, now: Time) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.ping = Some((token, now));
        token
    }

    /// A PONG is here: the round trip, when it answers the last PING.
    pub(crate) fn on_pong(&mut self, now: Time, token: u64) -> Option<Duration> {
        let (_, left) = self.ping.take_if(|(expected, _)| *expected == token)?;
        Some(now.since(left))
    }

    /// Whether the answer to a PING is under way.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.ping.is_some()
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.heard = self.heard.rebase(from, to);
        self.said = self.said.rebase(from, to);
        if let Some((_, left)) = &mut self.ping {
            *left = left.rebase(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn silence_takes_the_link_down_at_its_deadline() {
        let mut heartbeat = Heartbeat::new(at(0));
        heartbeat.on_heard(at(1));
        assert_eq!(heartbeat.judge(at(4) - Duration::from_micros(1), SILENCE), Silence::Tolerated);
        assert_eq!(heartbeat.judge(at(4), SILENCE), Silence::TooLong);
    }

    #[test]
    fn a_jump_of_the_clock_restarts_liveness() {
        let mut heartbeat = Heartbeat::new(at(0));
        assert_eq!(heartbeat.judge(at(3600), SILENCE), Silence::Overslept);
        assert_eq!(heartbeat.judge(at(3600), SILENCE), Silence::Tolerated);
        assert_eq!(heartbeat.silence_deadline(SILENCE), at(3603));
    }

    #[test]
    fn the_shorter_of_both_sides_wishes_is_kept() {
        let mut heartbeat = Heartbeat::new(at(0));
        heartbeat.on_said(at(10));
        assert_eq!(heartbeat.keepalive_deadline(SILENCE, SILENCE), at(11));
        assert_eq!(heartbeat.keepalive_deadline(SILENCE, 30 * SILENCE), at(13));
    }

    #[test]
    fn only_the_last_ping_measures_the_round_trip() {
        let mut heartbeat = Heartbeat::new(at(0));
        let (old, new) = (heartbeat.ping(at(1)), heartbeat.ping(at(2)));
        assert_eq!(heartbeat.on_pong(at(3), old), None);
        assert_eq!(heartbeat.on_pong(at(4), new), Some(Duration::from_secs(2)));
        assert_eq!(heartbeat.on_pong(at(5), new), None);
    }
}
