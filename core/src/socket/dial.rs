//! The client's side of getting a link: attempts, their pauses and their time limit (PROTOCOL.md §7.2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::redial::Redial;
use super::state::Change;
use super::{Socket, State};
use crate::code::{CloseReason, ProtocolCode};
use crate::config::MAX_AUTH;
use crate::crypto::Rng;
use crate::error::ConfigError;
use crate::event::{Event, LinkLoss};
use crate::link::LinkAction;
use crate::time::Time;

/// What a client has beyond a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dialer {
    pub(crate) redial: Redial,
    pub(crate) auth: Bytes,
    pub(crate) rng: Rng,
    /// Names this incarnation's open, however often its HELLO is sent.
    pub(crate) open_id: [u8; 16],
    /// Whether the application wants a link at all.
    wanted: bool,
    /// When the next attempt starts.
    pub(crate) redial_at: Option<Time>,
    /// When the present attempt is given up.
    pub(crate) attempt_until: Option<Time>,
    /// A `Dial` is under way.
    pub(crate) dialling: bool,
    /// Restored from a copy that may be older than what the server knows: no data before the server has told where the lanes stand.
    pub(crate) unsure: bool,
}

impl Dialer {
    pub(crate) fn new(addresses: Vec<Arc<str>>, auth: Bytes, seed: [u8; 32]) -> Result<Dialer, ConfigError> {
        check_auth(&auth)?;
        let mut rng = Rng::new(seed);
        Ok(Dialer {
            redial: Redial::new(addresses),
            auth,
            open_id: rng.array(),
            rng,
            wanted: false,
            redial_at: None,
            attempt_until: None,
            dialling: false,
            unsure: false,
        })
    }
}

fn check_auth(auth: &Bytes) -> Result<(), ConfigError> {
    if auth.len() > MAX_AUTH {
        return Err(ConfigError::new("auth", &format_args!("{} bytes", auth.len()), &"at most 8,192 bytes"));
    }
    Ok(())
}

impl Socket {
    /// Client: starts to connect. Without effect unless disconnected.
    pub fn connect(&mut self, now: Time) {
        self.tick(now);
        if self.state == State::Disconnected && !self.lost {
            self.begin_attempt();
        }
        self.settle();
    }

    /// Client: attempts at once, for wake-ups and changes of network. Gives the present link or attempt up, if there is
    /// one, and starts the pauses over.
    pub fn reconnect_now(&mut self, now: Time) {
        self.tick(now);
        if self.is_client() && self.state != State::Closed && !self.lost {
            self.drop_link(CloseReason::protocol(ProtocolCode::Normal, "reconnecting"), true);
            if let Some(dialer) = &mut self.dialer {
                dialer.redial.reset();
            }
            self.begin_attempt();
        }
        self.settle();
    }

    /// Drops the link. With [`Config::reconnect`](crate::Config::reconnect) a client dials again by itself; without it the
    /// socket stays disconnected until [`Socket::connect`].
    pub fn disconnect(&mut self, now: Time) {
        self.tick(now);
        self.drop_link(CloseReason::protocol(ProtocolCode::Normal, "disconnected"), true);
        self.settle();
    }

    /// Client: the authentication payload of the next handshakes.
    ///
    /// # Errors
    /// When it is over [`MAX_AUTH`]; the former one stays.
    pub fn set_auth(&mut self, auth: Bytes) -> Result<(), ConfigError> {
        check_auth(&auth)?;
        if let Some(dialer) = &mut self.dialer {
            dialer.auth = auth;
        }
        Ok(())
    }

    /// Starts an attempt and asks the adapter for a link.
    pub(super) fn begin_attempt(&mut self) {
        self.start_attempt();
        if let Some(dialer) = &mut self.dialer {
            if let Some(address) = dialer.redial.address() {
                dialer.dialling = true;
                self.actions.push_back(LinkAction::Dial(address));
            }
        }
    }

    /// Starts an attempt, on a link that is there or that the adapter will bring by itself.
    pub(super) fn start_attempt(&mut self) {
        let until = self.now + self.config.attempt_timeout;
        let Some(dialer) = &mut self.dialer else { return };
        dialer.wanted = true;
        dialer.redial_at = None;
        dialer.attempt_until = Some(until);
        self.change(Change::AttemptStarted);
    }

    /// The attempt or the link is over: tells why, and plans the next attempt. `hang_up`: it is this side that ends it.
    pub(super) fn drop_link(&mut self, reason: CloseReason, hang_up: bool) {
        self.drop_link_for(reason, hang_up, Duration::ZERO);
    }

    /// The same; the next attempt is not made before `least` has passed.
    pub(super) fn drop_link_for(&mut self, reason: CloseReason, hang_up: bool, least: Duration) {
        let was_ready = match self.state {
            State::Ready => true,
            State::Connecting => false,
            State::Disconnected | State::Closed => return,
        };
        self.let_go_of_link(hang_up);
        let mut retry_in = None;
        let plan = self.config.reconnect && !self.lost;
        if let Some(dialer) = &mut self.dialer {
            if was_ready {
                dialer.redial.reset()
            } else {
                dialer.redial.failed()
            }
            if plan && dialer.wanted {
                retry_in = Some(dialer.redial.pause(&self.config, &mut dialer.rng).max(least));
            }
        }
        self.plan_attempt(reason, retry_in);
        self.change(Change::LinkLost);
    }

    /// The next attempt is made after `retry_in`; the application is told why this one ended.
    pub(super) fn plan_attempt(&mut self, reason: CloseReason, retry_in: Option<Duration>) {
        if let Some(dialer) = &mut self.dialer {
            dialer.redial_at = retry_in.map(|pause| self.now + pause);
        } else {
            self.expires_at = self.session.as_ref().map(|session| self.now + session.retention);
        }
        let retry_in_micros = retry_in.map(|pause| pause.as_micros().min(u64::MAX as u128) as u64);
        self.tell(Event::LinkLost(Box::new(LinkLoss { reason, retry_in_micros })));
    }

    /// Forgets the link and the attempt, and what was bound to them.
    pub(super) fn let_go_of_link(&mut self, hang_up: bool) {
        self.volatile.clear();
        self.report_at = None;
        self.report_now = false;
        if let Some(dialer) = &mut self.dialer {
            dialer.attempt_until = None;
            if core::mem::take(&mut dialer.dialling) {
                self.actions.push_back(LinkAction::CancelDial);
            }
        }
        let Some(link) = self.link.take() else { return };
        if let Some(datagram) = &link.datagram {
            self.first_flight = datagram.next_first_flight();
        }
        if hang_up {
            self.actions.push_back(LinkAction::HangUp(link.id));
        }
    }
}
