//! A server: accepts sockets, holds them all, routes links to them.
//!
//! [`Server`] is plain data driven through the same contract as a socket. Each file is one side of it: the table of
//! sockets with their deadlines (`table`), links that have not said who they are and opens that wait for a decision
//! (`greeting`), datagram links (`doors`, `cookies`), events of its own (`events`), the contract (`io`).

mod cookies;
mod doors;
mod events;
mod greeting;
mod io;
mod slot;
mod table;
mod tombstones;

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::code::{CloseReason, ProtocolCode};
use crate::config::{MAX_ADDRESS, ServerConfig};
use crate::crypto::Rng;
use crate::error::{ConfigError, OpenGone};
use crate::event::Event;
use crate::ids::{LinkId, SessionId};
use crate::link::LinkAction;
use crate::socket::{Arena, Refusal, Snapshot, Socket};
use crate::time::Time;
use cookies::Cookies;
use doors::Doors;
use events::Events;
use greeting::Greetings;
use table::Table;
use tombstones::Tombstones;

/// A socket of a server. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SocketId(pub(crate) u64);

/// An open that waits for a decision. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct OpenId(pub(crate) u64);

/// What a client shows when it opens a socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Its name in [`Server::accept`] and [`Server::reject`].
    pub id: OpenId,
    /// The link on which it came first.
    pub link: LinkId,
    /// The client's authentication payload.
    pub auth: Bytes,
}

/// What a server tells its application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServerEvent {
    /// A client wants to open a socket: [`Server::accept`] or [`Server::reject`] it before
    /// [`ServerConfig::open_timeout`] is over, else it is rejected.
    Open(OpenRequest),
    /// Nobody decided in time.
    OpenGone(OpenId),
    /// Somebody wants to resume a session of another instance or shard: [`Server::redirect`] or [`Server::disown`] the link, else it
    /// is told to try later.
    Foreign(LinkId, SessionId),
    /// A client that resumed showed a fresh authentication payload. Of several that nobody took the newest is told.
    Reauthenticated(SocketId, Bytes),
    /// An event of a socket. After an `Event::Closed` read what is left, then [`Server::remove`] it.
    Socket(SocketId, Event),
}

/// Accepts sockets and holds them all. Single-threaded data: a machine of many cores runs several.
///
/// Its memory is that of its sockets ([`Config`](crate::Config)), of at most [`ServerConfig::max_sockets`] of them and as many
/// tombstones of about 400 bytes, and of at most [`ServerConfig::max_unknown_links`] and [`ServerConfig::max_pending`] handshakes of up to
/// 66 KiB each. A datagram link costs about 200 bytes beside its socket, and up to 130 KiB while a HELLO arrives in pieces, which only one
/// with a cookie may.
#[derive(Clone, Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    now: Time,
    rng: Rng,
    table: Table,
    greetings: Greetings,
    doors: Doors,
    cookies: Cookies,
    tombstones: Tombstones,
    actions: VecDeque<LinkAction>,
    events: Events,
    /// Why no new sockets are taken, once the server closes or goes away.
    refusal: Option<Refusal>,
    arena: Arena,
}

impl Server {
    /// A server without sockets. `seed` must come from a source of randomness fit for cryptography: session ids and secrets come from it.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn new(config: Arc<ServerConfig>, seed: [u8; 32], now: Time) -> Result<Server, ConfigError> {
        config.check()?;
        Ok(Server {
            table: Table::new(Arc::new(config.socket.clone()), config.sleep_after),
            greetings: Greetings::default(),
            doors: Doors::default(),
            cookies: Cookies::new(&seed),
            tombstones: Tombstones::new(config.max_sockets),
            config,
            now,
            rng: Rng::new(seed),
            actions: VecDeque::new(),
            events: Events::default(),
            refusal: None,
            arena: Arena::default(),
        })
    }

    // ---- getters ----

    /// How many sockets live.
    pub fn len(&self) -> usize {
        self.table.live()
    }

    /// Whether no socket lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A socket, live or closed and not yet removed: the socket itself, or a copy of one that has been idle for long.
    pub fn socket(&self, id: SocketId) -> Option<Cow<'_, Socket>> {
        self.table.get(id)
    }

    /// A socket, for commands. Poll the server afterwards; its `handle_*` and `poll_*` are the server's to call.
    pub fn socket_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.table.get_dirty(id)
    }

    /// All sockets, live or closed and not yet removed, in the order in which they were accepted.
    pub fn sockets(&self) -> impl Iterator<Item = SocketId> + '_ {
        self.table.ids()
    }

    // ---- commands ----

    /// Takes the client in.
    ///
    /// # Errors
    /// When the request does not wait any more.
    pub fn accept(&mut self, now: Time, open: OpenId) -> Result<SocketId, OpenGone> {
        self.tick(now);
        let pending = self.greetings.decide(open).ok_or(OpenGone)?;
        let (secret, random) = (self.rng.array(), self.rng.array());
        let session = SessionId::new(self.config.instance, self.config.shard, random);
        let socket = Socket::accepted(self.table.config(), session, secret, &pending.params, self.now);
        let id = self.table.insert(self.now, socket, session, Some(pending.open_id));
        self.greetings.accepted(pending.open_id, id);
        if let Some((link, nonce, bearer)) = pending.link {
            self.welcome(id, link, nonce, bearer);
        } else if let Some(socket) = self.table.get_dirty(id) {
            socket.await_client(self.now);
        }
        Ok(id)
    }

    /// Refuses the client. With `retry_after` it tries again by itself after that time, without it its socket closes.
    ///
    /// # Errors
    /// When the request does not wait any more.
    pub fn reject(
        &mut self,
        now: Time,
        open: OpenId,
        reason: CloseReason,
        retry_after: Option<Duration>,
    ) -> Result<(), OpenGone> {
        self.tick(now);
        let pending = self.greetings.decide(open).ok_or(OpenGone)?;
        let refusal = Refusal { retry_after, ..Refusal::of(reason) };
        if retry_after.is_none() {
            self.greetings.rejected(pending.open_id, refusal.clone(), self.config.max_pending);
        }
        if let Some((link, nonce, _)) = pending.link {
            self.refuse(link, nonce, &refusal, None);
        }
        Ok(())
    }

    /// Answers [`ServerEvent::Foreign`]: the session lives there.
    ///
    /// # Errors
    /// When the address is over [`MAX_ADDRESS`].
    pub fn redirect(&mut self, now: Time, link: LinkId, address: &str) -> Result<(), ConfigError> {
        self.tick(now);
        check_address(address)?;
        if let Some(nonce) = self.greetings.take_foreign(link) {
            let refusal = Refusal { address: Some(address.into()), ..Refusal::new(ProtocolCode::Redirect, "") };
            self.refuse(link, nonce, &refusal, None);
        }
        Ok(())
    }

    /// Answers [`ServerEvent::Foreign`]: the session's owner is proven gone, and the session with it.
    pub fn disown(&mut self, now: Time, link: LinkId) {
        self.tick(now);
        if let Some(nonce) = self.greetings.take_foreign(link) {
            self.refuse(link, nonce, &Refusal::new(ProtocolCode::UnknownSession, ""), None);
        }
    }

    /// Forgets a socket; one that lives is aborted. A client that comes back to it is told that it has ended, for the
    /// retention time.
    pub fn remove(&mut self, now: Time, id: SocketId) {
        self.tick(now);
        if let Some(socket) = self.table.get_dirty(id) {
            socket.abort(now, CloseReason::protocol(ProtocolCode::Normal, ""));
        }
        self.refresh();
        self.table.remove(id);
    }

    /// Closes all sockets and takes no new ones.
    pub fn close(&mut self, now: Time, reason: CloseReason) {
        self.tick(now);
        self.refusal = Some(Refusal::of(reason.clone()));
        self.refuse_pending();
        self.each_socket(|socket| socket.close(now, reason.clone()));
    }

    /// Tells all clients to go elsewhere and takes no new ones. What was sent and asked drains; what is left after `within` is lost
    /// with its session. An empty `alternative` is the same address.
    ///
    /// # Errors
    /// When the address is over [`MAX_ADDRESS`].
    pub fn go_away(&mut self, now: Time, within: Duration, alternative: &str) -> Result<(), ConfigError> {
        self.tick(now);
        check_address(alternative)?;
        let address = (!alternative.is_empty()).then(|| alternative.into());
        let code = if alternative.is_empty() { ProtocolCode::GoingAway } else { ProtocolCode::Redirect };
        self.refusal = Some(Refusal { address, ..Refusal::new(code, "the server is going away") });
        self.refuse_pending();
        self.each_socket(|socket| socket.go_away(now, within, alternative));
        Ok(())
    }

    /// One socket and its session as data.
    pub fn snapshot_socket(&self, now: Time, id: SocketId) -> Option<Snapshot> {
        self.table.get(id).map(|socket| socket.snapshot(now))
    }

    /// Brings a socket in that [`Server::snapshot_socket`] gave out, without its link: its client will come back to it.
    ///
    /// # Errors
    /// Gives the snapshot back when it is a client's, or the session is here already, or the server is full, or it has closed or
    /// is going away.
    pub fn restore_socket(&mut self, now: Time, snapshot: Snapshot) -> Result<SocketId, Snapshot> {
        self.tick(now);
        let mut socket = Socket::restore(snapshot.clone(), self.table.config(), self.now);
        let takes = self.refusal.is_none() && self.table.len() < self.config.max_sockets;
        let session = socket.session_id().filter(|session| takes && self.table.find(session).is_none());
        let Some(session) = session.filter(|_| socket.is_servers()) else { return Err(snapshot) };
        socket.lose_process(self.now);
        Ok(self.table.insert(self.now, socket, session, None))
    }

    // ---- helpers ----

    fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn each_socket(&mut self, act: impl Fn(&mut Socket)) {
        let ids: alloc::vec::Vec<SocketId> = self.table.ids().collect();
        for id in ids {
            self.table.get_dirty(id).into_iter().for_each(&act);
        }
    }
}

fn check_address(address: &str) -> Result<(), ConfigError> {
    if address.len() > MAX_ADDRESS {
        return Err(ConfigError::new("address", &format_args!("{} bytes", address.len()), &"at most 1,024 bytes"));
    }
    Ok(())
}
