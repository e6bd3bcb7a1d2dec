//! The two ends of a socket: what a test does and sees there.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use steadfast::{CloseReason, Closed, Event, LaneId, LinkId, Message, Received, SendError, Socket, State, Time};

use crate::world::{End, HostId, World};

impl World {
    /// The machine of an end, to look at.
    ///
    /// # Panics
    /// When the end is gone: its server does not run or has forgotten the socket.
    pub fn socket(&self, end: End) -> &Socket {
        match end {
            End::Client(client) => self.clients[client].contract.machine(),
            End::Server(server, id) => self.server(server).socket(id).expect("a socket that is there"),
        }
    }

    /// Whether the end is there.
    pub fn exists(&self, end: End) -> bool {
        match end {
            End::Client(client) => client < self.clients.len(),
            End::Server(server, id) => self.is_running(server) && self.server(server).socket(id).is_some(),
        }
    }

    /// A command to the socket of an end. With [`Rigour`](crate::Rigour) it may run on two copies, so it must do the same
    /// each time.
    ///
    /// # Panics
    /// When the end is gone.
    pub fn with<R: PartialEq + Debug>(&mut self, end: End, command: impl Fn(&mut Socket, Time) -> R) -> R {
        let now = self.now;
        let answer = match end {
            End::Client(client) => self.clients[client].contract.command(now, |socket| command(socket, now)),
            End::Server(server, id) => self
                .host_of(server)
                .contract
                .command(now, |server| command(server.socket_mut(id).expect("a socket that is there"), now)),
        };
        self.settle(end.host());
        answer
    }

    /// The other end: of a client the server's socket of the same session, of a server's socket the client.
    pub fn peer(&self, end: End) -> Option<End> {
        match end {
            End::Client(client) => {
                let session = self.socket(end).session_id()?;
                let mut servers =
                    self.servers.iter().enumerate().filter_map(|(ix, server)| Some((ix, server.as_ref()?)));
                servers.find_map(|(ix, server)| {
                    let same = |id: &steadfast::SocketId| {
                        server.clients.get(id) == Some(&client)
                            && server.contract.machine().socket(*id).and_then(Socket::session_id) == Some(session)
                    };
                    let id = server.clients.keys().copied().find(same)?;
                    Some(End::Server(super::ServerIx(ix), id))
                })
            }
            End::Server(server, id) => self.client_of(server, id),
        }
    }

    /// Runs until a client and the server's end of it are ready, and gives the server's end.
    ///
    /// # Panics
    /// When that does not come `within` this time.
    pub fn wait_for_peer(&mut self, client: End, within: Duration) -> End {
        let is_ready = |world: &World, end: End| world.state(end) == State::Ready;
        self.run_until("both ends ready", within, |world| {
            is_ready(world, client) && world.peer(client).is_some_and(|server| is_ready(world, server))
        });
        self.peer(client).expect("a peer")
    }

    /// The link that the end has now.
    pub fn link_of(&self, end: End) -> Option<LinkId> {
        let client = match end {
            End::Client(_) => end,
            End::Server(server, id) => self.client_of(server, id)?,
        };
        self.links_of(client.host()).last()
    }

    /// Takes the events that the end has told so far.
    pub fn events(&mut self, end: End) -> Vec<Event> {
        match end {
            End::Client(client) => self.clients[client].events.drain(..).collect(),
            End::Server(server, id) => self.servers[server.0].as_mut().map_or(Vec::new(), |server| {
                server.sockets.get_mut(&id).map_or(Vec::new(), |events| events.drain(..).collect())
            }),
        }
    }

    /// Takes one event, of any end that has told one.
    pub(crate) fn next_told(&mut self) -> Option<(End, Event)> {
        while let Some(end) = self.has_told.first().copied() {
            let event = match end {
                End::Client(client) => self.clients[client].events.pop_front(),
                End::Server(server, id) => {
                    let server = self.servers[server.0].as_mut();
                    server.and_then(|server| server.sockets.get_mut(&id)).and_then(VecDeque::pop_front)
                }
            };
            match event {
                Some(event) => return Some((end, event)),
                None => self.has_told.remove(&end),
            };
        }
        None
    }

    /// Whether the end has something to tell that was not taken.
    pub fn has_events(&self, end: End) -> bool {
        let is_queued = self.socket(end).clone().poll_event().is_some();
        is_queued
            || match end {
                End::Client(client) => !self.clients[client].events.is_empty(),
                End::Server(server, id) => {
                    let server = self.servers[server.0].as_ref();
                    server.and_then(|server| server.sockets.get(&id)).is_some_and(|events| !events.is_empty())
                }
            }
    }

    /// Takes the events so far and keeps the changes of state among them.
    pub fn states(&mut self, end: End) -> Vec<State> {
        let state = |event| match event {
            Event::State(state) => Some(state),
            _ => None,
        };
        self.events(end).into_iter().filter_map(state).collect()
    }

    /// The state of the end.
    pub fn state(&self, end: End) -> State {
        self.socket(end).state()
    }

    /// How the end ended, once it has.
    pub fn closed(&self, end: End) -> Option<&Closed> {
        self.socket(end).closed()
    }

    /// Sends on the main lane.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send(&mut self, end: End, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_on(end, LaneId::MAIN, message)
    }

    /// Sends on a lane.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_on(&mut self, end: End, lane: LaneId, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        self.with(end, |socket, now| quietly(socket, |socket| socket.send(now, lane, message.clone())))
    }

    /// Takes the next message of the main lane.
    pub fn recv(&mut self, end: End) -> Option<Received> {
        self.with(end, |socket, now| socket.recv(now, LaneId::MAIN))
    }

    /// Takes all that the main lane has and gives the messages' payloads as text.
    pub fn texts(&mut self, end: End) -> Vec<String> {
        self.texts_on(end, LaneId::MAIN)
    }

    /// Takes all that a lane has and gives the messages' payloads as text; its end is the text `(finished)`.
    pub fn texts_on(&mut self, end: End, lane: LaneId) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(received) = self.with(end, |socket, now| socket.recv(now, lane)) {
            match received {
                Received::Message(message) | Received::Ask(_, message) => {
                    texts.push(String::from_utf8_lossy(&message.payload).into_owned());
                }
                Received::Finished => {
                    texts.push("(finished)".into());
                    break;
                }
            }
        }
        texts
    }

    /// Closes with a code of the application.
    pub fn close(&mut self, end: End, code: u32, reason: &str) {
        self.with(end, |socket, now| socket.close(now, CloseReason::app(code, reason)));
    }

    /// The machine of a server forgets a closed socket.
    ///
    /// # Panics
    /// For a client.
    pub fn remove(&mut self, end: End) {
        let End::Server(server, id) = end else { panic!("{end:?} is not a server's") };
        self.command(server, |server, now| server.remove(now, id));
    }

    /// All sockets of the running servers that can still be reached through [`World::with`], live or closed.
    pub fn server_ends(&self) -> Vec<End> {
        let running = self.servers.iter().enumerate().filter_map(|(ix, server)| Some((ix, server.as_ref()?)));
        running
            .flat_map(|(ix, server)| {
                let machine = server.contract.machine();
                let there = server.sockets.keys().filter(|id| machine.socket(**id).is_some());
                there.map(move |id| End::Server(super::ServerIx(ix), *id))
            })
            .collect()
    }

    /// All clients.
    pub fn client_ends(&self) -> Vec<End> {
        (0..self.clients.len()).map(End::Client).collect()
    }

    /// Looks at every machine for output of which it has not told: there must be none.
    pub fn check_at_rest(&self) {
        (0..self.clients.len()).for_each(|client| self.check_quiet(HostId::Client(client)));
        (0..self.servers.len()).for_each(|server| self.check_quiet(HostId::Server(super::ServerIx(server))));
    }
}

/// A plain send or write, which must not move the deadline to an earlier time unless it queues something.
pub(crate) fn quietly<R>(socket: &mut Socket, command: impl FnOnce(&mut Socket) -> R) -> R {
    let before = socket.poll_timeout();
    let answer = command(socket);
    let after = socket.poll_timeout();
    let is_later = after.is_none_or(|after| before.is_some_and(|before| before.at <= after.at));
    assert!(socket.has_queued() || is_later, "nothing is queued and the deadline moved from {before:?} to {after:?}");
    answer
}
