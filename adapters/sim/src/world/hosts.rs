//! The machines of a world and the run loop that drives them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use steadfast::{CloseReason, Deadline, Event, LinkAction, LinkId, OpenId, Server, ServerEvent, Socket, SocketId};

use crate::contract::Contract;
use crate::machine::Input;
use crate::trace::{Happened, Party};
use crate::world::{End, Happening, HostId, ServerIx, World};

/// A client's process.
pub(super) struct ClientHost {
    pub(super) contract: Contract<Socket>,
    /// The dial that is under way.
    pub(super) dial: Option<u64>,
    pub(super) next_dial: u64,
    pub(super) events: VecDeque<Event>,
    /// Links that were hung up and still have to write what the machine has for them.
    pub(super) closing: Vec<LinkId>,
}

/// A server's process.
pub(super) struct ServerHost {
    pub(super) contract: Contract<Server>,
    pub(super) admission: Admission,
    pub(super) events: VecDeque<ServerEvent>,
    pub(super) sockets: BTreeMap<SocketId, VecDeque<Event>>,
    /// Which client made an open that waits for its decision.
    pub(super) opening: BTreeMap<OpenId, Option<usize>>,
    /// Which client a socket was accepted for.
    pub(super) clients: BTreeMap<SocketId, usize>,
    pub(super) closing: Vec<LinkId>,
}

/// What a server does with opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Accepts them, after the time that the conditions say.
    Accept,
    /// Rejects them, after the time that the conditions say.
    Reject(CloseReason, Option<std::time::Duration>),
    /// Leaves them to the test: `ServerEvent::Open` stands in [`World::server_events`].
    Manual,
}

impl World {
    /// Gives the machine of a host an input, and lets it be drained now or later.
    pub(super) fn input(&mut self, host: HostId, input: Input) {
        self.hand(host, input);
        self.settle(host);
    }

    /// Drains the host now, or leaves it to its next wake-up.
    pub(super) fn settle(&mut self, host: HostId) {
        if self.rng.percent(self.conditions.laziness) { self.set_alarm(host) } else { self.drain(host) }
    }

    pub(super) fn hand(&mut self, host: HostId, input: Input) {
        match host {
            HostId::Client(client) => self.clients[client].contract.input(self.now, input),
            HostId::Server(server) => {
                if let Some(server) = &mut self.servers[server.0] {
                    server.contract.input(self.now, input);
                }
            }
        }
    }

    pub(super) fn poll_timeout(&self, host: HostId) -> Option<Deadline> {
        match host {
            HostId::Client(client) => self.clients[client].contract.poll_timeout(),
            HostId::Server(server) => self.servers[server.0].as_ref()?.contract.poll_timeout(),
        }
    }

    /// The run loop's round: actions, events and output until there is nothing left.
    pub(super) fn drain(&mut self, host: HostId) {
        loop {
            let mut is_busy = false;
            while let Some(action) = self.poll_link_action(host) {
                self.act(host, action);
                is_busy = true;
            }
            while self.take_event(host) {
                is_busy = true;
            }
            for link in self.links_with_output(host) {
                is_busy |= self.pump(host, link);
            }
            if !is_busy {
                break;
            }
        }
        match host {
            HostId::Client(client) => self.clients[client].contract.drained(self.now),
            HostId::Server(server) => {
                let Some(server) = &mut self.servers[server.0] else { return };
                server.contract.drained(self.now);
            }
        }
        if self.rigour.twins && self.rng.one_in(32) {
            self.check_quiet(host);
        }
        self.set_alarm(host);
    }

    /// No link of the host has output of which the machine has not told.
    pub(super) fn check_quiet(&self, host: HostId) {
        for link in self.links_of(host) {
            let link = self.links[&link].names[host.side() as usize];
            match host {
                HostId::Client(client) => self.clients[client].contract.check_quiet(self.now, link),
                HostId::Server(server) => {
                    if let Some(server) = &self.servers[server.0] {
                        server.contract.check_quiet(self.now, link);
                    }
                }
            }
        }
    }

    fn poll_link_action(&mut self, host: HostId) -> Option<LinkAction> {
        match host {
            HostId::Client(client) => self.clients[client].contract.poll_link_action(),
            HostId::Server(server) => self.servers[server.0].as_mut()?.contract.poll_link_action(),
        }
    }

    pub(super) fn poll_transmit(&mut self, host: HostId, link: LinkId) -> Option<Bytes> {
        match host {
            HostId::Client(client) => self.clients[client].contract.poll_transmit(self.now, link),
            HostId::Server(server) => self.servers[server.0].as_mut()?.contract.poll_transmit(self.now, link),
        }
    }

    fn links_with_output(&self, host: HostId) -> Vec<LinkId> {
        match host {
            HostId::Client(client) => {
                let client = &self.clients[client];
                client.contract.flushing().chain(client.closing.iter().copied()).collect()
            }
            HostId::Server(server) => self.servers[server.0].as_ref().map_or(Vec::new(), |server| {
                server.contract.flushing().chain(server.closing.iter().copied()).collect()
            }),
        }
    }

    pub(super) fn closing(&mut self, host: HostId) -> Option<&mut Vec<LinkId>> {
        match host {
            HostId::Client(client) => Some(&mut self.clients[client].closing),
            HostId::Server(server) => self.servers[server.0].as_mut().map(|server| &mut server.closing),
        }
    }

    fn act(&mut self, host: HostId, action: LinkAction) {
        self.say(|| format!("{host:?}: {action:?}"));
        match (action, host) {
            (LinkAction::Dial(address), HostId::Client(client)) => self.dial(client, &address),
            (LinkAction::CancelDial, HostId::Client(client)) => self.clients[client].dial = None,
            (LinkAction::HangUp(link), host) => self.hang_up(host, link),
            // The contract has noted it.
            (LinkAction::Flush(_), _) => {}
            (action, HostId::Server(server)) => panic!("{server:?} wants to dial: {action:?}"),
        }
    }

    /// Takes one event to where the test finds it.
    fn take_event(&mut self, host: HostId) -> bool {
        match host {
            HostId::Client(client) => {
                let client = &mut self.clients[client];
                let Some(event) = client.contract.poll_event() else { return false };
                self.say(|| format!("{host:?}: {event:?}"));
                let HostId::Client(client) = host else { return false };
                if let Event::State(state) = &event {
                    self.observers.note(self.now, || Happened::State(Party::Client(client), *state));
                }
                self.has_told.insert(End::Client(client));
                self.clients[client].events.push_back(event);
            }
            HostId::Server(ix) => {
                let Some(server) = &mut self.servers[ix.0] else { return false };
                let Some(event) = server.contract.poll_event() else { return false };
                self.say(|| format!("{host:?}: {event:?}"));
                self.take_server_event(ix, event);
            }
        }
        true
    }

    fn take_server_event(&mut self, ix: ServerIx, event: ServerEvent) {
        let Some(server) = &mut self.servers[ix.0] else { return };
        match event {
            ServerEvent::Socket(id, event) => {
                if let Event::State(state) = &event {
                    let party = Party::Server(ix.0, server.clients.get(&id).copied());
                    self.observers.note(self.now, || Happened::State(party, *state));
                }
                self.has_told.insert(End::Server(ix, id));
                server.sockets.entry(id).or_default().push_back(event);
            }
            ServerEvent::Open(request) if server.admission != Admission::Manual => {
                let client = self.dialled.get(&request.link).copied();
                server.opening.insert(request.id, client);
                let at = self.now + self.rng.duration(&self.conditions.decision);
                self.plan(at, Happening::Decision(ix, request.id));
            }
            other => server.events.push_back(other),
        }
    }

    pub(super) fn decide(&mut self, ix: ServerIx, open: OpenId) {
        let now = self.now;
        let Some(server) = &mut self.servers[ix.0] else { return };
        let client = server.opening.remove(&open).flatten();
        match server.admission.clone() {
            Admission::Accept => {
                if let Ok(socket) = server.contract.command(now, |server| server.accept(now, open)) {
                    server.sockets.entry(socket).or_default();
                    server.clients.extend(client.map(|client| (socket, client)));
                }
            }
            Admission::Reject(reason, after) => {
                // An open that is gone needs no answer.
                let _ = server.contract.command(now, |server| server.reject(now, open, reason.clone(), after));
            }
            Admission::Manual => {}
        }
        self.settle(HostId::Server(ix));
    }
}
