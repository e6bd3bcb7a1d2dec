//! One socket of a server: awake, or asleep as few bytes while nothing happens on it.
//!
//! An idle socket is mostly room for what busy ones need. So one that has been idle for a while is put aside as the bytes
//! of a snapshot, and is a socket again when something happens. The two are the same in every respect, whatever is under
//! way: when a socket falls asleep is a matter of cost only.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::config::Config;
use crate::socket::Socket;
use crate::time::Time;

/// A socket.
#[derive(Clone)]
pub(super) enum Slot {
    Awake(Box<Awake>),
    Asleep(Box<[u8]>),
}

/// A socket that can be used at once.
#[derive(Clone, Debug)]
pub(super) struct Awake {
    socket: Socket,
    /// Before this time nobody looks whether it is idle.
    restless_until: Time,
}

impl Slot {
    /// A socket that stays awake until then at least.
    pub(super) fn new(socket: Socket, restless_until: Time) -> Slot {
        Slot::Awake(Box::new(Awake { socket, restless_until }))
    }

    /// The socket when it is awake: one that sleeps has neither output nor events.
    #[inline]
    pub(super) fn awake(&mut self) -> Option<&mut Socket> {
        match self {
            Slot::Awake(awake) => Some(&mut awake.socket),
            Slot::Asleep(_) => None,
        }
    }

    /// The socket, or a copy of one that sleeps.
    pub(super) fn look(&self, config: &Arc<Config>) -> Option<Cow<'_, Socket>> {
        match self {
            Slot::Awake(awake) => Some(Cow::Borrowed(&awake.socket)),
            Slot::Asleep(bytes) => Socket::from_bytes(bytes, config.clone()).map(Cow::Owned),
        }
    }

    /// The socket, to be used. `None` never happens: what a socket wrote can be read.
    #[inline]
    pub(super) fn wake(&mut self, config: &Arc<Config>) -> Option<&mut Socket> {
        if let Slot::Asleep(bytes) = self {
            // A heartbeat may be all there is: it can fall asleep at once.
            let socket = Socket::from_bytes(bytes, config.clone())?;
            *self = Slot::new(socket, Time::ZERO);
        }
        self.awake()
    }

    /// Falls asleep if nothing has happened but heartbeats for as long as `after`.
    #[inline]
    pub(super) fn doze(&mut self, now: Time, after: Duration) {
        if let Slot::Awake(awake) = self {
            if now >= awake.restless_until {
                self.fall_asleep(now + after);
            }
        }
    }

    /// Or stays awake until then at least.
    #[cold]
    fn fall_asleep(&mut self, restless_until: Time) {
        let Slot::Awake(awake) = self else { return };
        if !awake.socket.is_idle() {
            awake.restless_until = restless_until;
        } else if awake.socket.is_link_idle() {
            if let Some(bytes) = awake.socket.to_bytes() {
                *self = Slot::Asleep(bytes);
            }
        }
    }
}

/// Without the bytes, in which the session's secret stands.
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Awake(awake) => awake.fmt(f),
            Slot::Asleep(bytes) => write!(f, "Asleep({} bytes)", bytes.len()),
        }
    }
}
