//! Processes of a world: how they start, end, and come back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{Config, LinkId, Server, ServerConfig, ServerEvent, Snapshot, Socket, SocketId};

use crate::conditions::Break;
use crate::contract::Contract;
use crate::machine::{Input, freeze, thaw};
use crate::world::hosts::{Admission, ClientHost, ServerHost};
use crate::world::{End, HostId, ServerIx, World};

/// The address that [`World::client`] dials.
pub const ADDRESS: &str = "server";

impl World {
    /// Starts a server at an address; the one that was there listens no more.
    ///
    /// # Panics
    /// When the configuration cannot work.
    pub fn serve(&mut self, address: &str, config: ServerConfig) -> ServerIx {
        let ix = ServerIx(self.servers.len());
        let machine = Server::new(config.into(), self.rng.seed(), self.now).expect("a configuration that works");
        self.servers.push(Some(ServerHost {
            contract: Contract::new(format!("server {}", ix.0), machine, self.rigour, self.rng.fork()),
            admission: Admission::Accept,
            events: VecDeque::new(),
            sockets: BTreeMap::new(),
            opening: BTreeMap::new(),
            clients: BTreeMap::new(),
            closing: Vec::new(),
        }));
        self.listening.insert(address.into(), ix);
        self.settle(HostId::Server(ix));
        ix
    }

    /// What the server does with opens from now on.
    pub fn admit(&mut self, server: ServerIx, admission: Admission) {
        self.host_of(server).admission = admission;
    }

    /// Ends a server's process without a word to its machine. Its links break as `how` says for the clients' side.
    pub fn stop(&mut self, server: ServerIx, how: Break) {
        self.listening.retain(|_, listening| *listening != server);
        self.end_links(HostId::Server(server), how);
        if let Some(host) = self.servers[server.0].take() {
            self.outputs.number(host.contract.digest());
        }
        self.set_alarm(HostId::Server(server));
        self.say(|| format!("{server:?} stops"));
    }

    /// Whether the server's process runs.
    pub fn is_running(&self, server: ServerIx) -> bool {
        self.servers[server.0].is_some()
    }

    /// The server's machine, to look at.
    pub fn server(&self, server: ServerIx) -> &Server {
        self.servers[server.0].as_ref().expect("a running server").contract.machine()
    }

    /// A command to a server as a whole. With [`Rigour`](crate::Rigour) it may run on two copies, so it must do the same
    /// each time.
    pub fn command<R: PartialEq + std::fmt::Debug>(
        &mut self,
        server: ServerIx,
        command: impl Fn(&mut Server, steadfast::Time) -> R,
    ) -> R {
        let now = self.now;
        let answer = self.host_of(server).contract.command(now, |server| command(server, now));
        self.settle(HostId::Server(server));
        answer
    }

    /// Takes what the server has told that is not about one of its sockets.
    pub fn server_events(&mut self, server: ServerIx) -> Vec<ServerEvent> {
        self.host_of(server).events.drain(..).collect()
    }

    /// Accepts an open of [`Admission::Manual`]. `None` when it is gone.
    pub fn accept(&mut self, server: ServerIx, open: &steadfast::OpenRequest) -> Option<End> {
        let client = self.dialled.get(&open.link).copied();
        let id = self.command(server, |server, now| server.accept(now, open.id)).ok()?;
        let host = self.host_of(server);
        host.sockets.entry(id).or_default();
        host.clients.extend(client.map(|client| (id, client)));
        Some(End::Server(server, id))
    }

    /// A client that has begun to connect to [`ADDRESS`].
    pub fn client(&mut self, config: Config) -> End {
        let client = self.idle_client(config, &[ADDRESS], Bytes::new());
        self.with(client, |socket, now| socket.connect(now));
        client
    }

    /// A client that has not begun to connect.
    ///
    /// # Panics
    /// When the configuration cannot work.
    pub fn idle_client(&mut self, config: Config, addresses: &[&str], auth: Bytes) -> End {
        let addresses: Vec<Arc<str>> = addresses.iter().map(|address| Arc::from(*address)).collect();
        let seed = self.rng.seed();
        let socket = Socket::new(config.into(), addresses, auth, seed, self.now).expect("a configuration that works");
        let client = self.clients.len();
        let contract = Contract::new(format!("client {client}"), socket, self.rigour, self.rng.fork());
        self.clients.push(ClientHost::new(contract));
        self.settle(HostId::Client(client));
        End::Client(client)
    }

    /// Makes a client in this world and runs it until both ends are ready. Gives the server's end as well.
    ///
    /// # Panics
    /// When that does not come within a minute.
    pub fn connected(&mut self, config: Config) -> (End, End) {
        let client = self.client(config);
        let server = self.wait_for_peer(client, Duration::from_secs(60));
        (client, server)
    }

    /// The state of an end, as its process would write it down when it has taken all events.
    pub fn freeze(&mut self, end: End) -> Vec<u8> {
        self.drain(end.host());
        freeze(&match end {
            End::Client(_) => self.socket(end).snapshot(self.now),
            End::Server(server, id) => self.server(server).snapshot_socket(self.now, id).expect("a socket"),
        })
    }

    /// Brings a server's end that was written down into a server of the same instance. `None` when it is there already.
    ///
    /// # Panics
    /// When the bytes are no snapshot.
    pub fn adopt(&mut self, server: ServerIx, client: End, state: &[u8]) -> Option<End> {
        let End::Client(ix) = client else { panic!("{client:?} is not a client") };
        let snapshot: Snapshot = postcard::from_bytes(state).expect("bytes of a snapshot");
        let now = self.now;
        let host = self.host_of(server);
        let id = host.contract.command(now, |server| server.restore_socket(now, snapshot.clone())).ok()?;
        host.contract.adopted(id);
        host.sockets.entry(id).or_default();
        host.clients.insert(id, ix);
        self.settle(HostId::Server(server));
        Some(End::Server(server, id))
    }

    /// Ends a client's process without a word to its machine and starts it again from written state, with the
    /// configuration it had. Its links break as `how` says for the server's side. Events that the test has not looked at
    /// stay for it.
    ///
    /// # Panics
    /// For an end that is not a client.
    pub fn restart(&mut self, client: End, state: &[u8], how: Break) {
        let End::Client(ix) = client else { panic!("{client:?} is not a client") };
        self.end_links(HostId::Client(ix), how);
        let socket = thaw(state, self.socket(client).config().clone().into(), self.now);
        self.outputs.number(self.clients[ix].contract.digest());
        let host = ClientHost::new(Contract::new(format!("client {ix}"), socket, self.rigour, self.rng.fork()));
        let former = &mut self.clients[ix];
        let (next_dial, events) = (former.next_dial, std::mem::take(&mut former.events));
        self.clients[ix] = ClientHost { next_dial, events, ..host };
        self.say(|| format!("{client:?} restarts"));
        let seed = self.rng.seed();
        self.input(HostId::Client(ix), Input::Restart(seed));
    }

    /// A second process that holds the same written state of a client.
    pub fn double(&mut self, client: End, state: &[u8]) -> End {
        let socket = thaw(state, self.socket(client).config().clone().into(), self.now);
        let ix = self.clients.len();
        let contract = Contract::new(format!("client {ix}"), socket, self.rigour, self.rng.fork());
        self.clients.push(ClientHost::new(contract));
        let seed = self.rng.seed();
        self.input(HostId::Client(ix), Input::Restart(seed));
        End::Client(ix)
    }

    /// The machines alone, of the clients and of the servers that run; all else of the world is gone then.
    pub fn into_machines(self) -> (Vec<Socket>, Vec<Server>) {
        let clients = self.clients.into_iter().map(|client| client.contract.into_machine()).collect();
        let servers = self.servers.into_iter().flatten().map(|server| server.contract.into_machine()).collect();
        (clients, servers)
    }

    pub(super) fn host_of(&mut self, server: ServerIx) -> &mut ServerHost {
        self.servers[server.0].as_mut().expect("a running server")
    }

    fn end_links(&mut self, host: HostId, how: Break) {
        let side = host.side();
        if let Some(closing) = self.closing(host) {
            closing.clear();
        }
        let links: Vec<LinkId> = self.links_of(host).collect();
        for link in links {
            self.drop_end(link, side, how);
        }
    }

    /// The client of a server's socket.
    pub(super) fn client_of(&self, server: ServerIx, socket: SocketId) -> Option<End> {
        self.servers[server.0].as_ref()?.clients.get(&socket).map(|client| End::Client(*client))
    }
}

impl ClientHost {
    fn new(contract: Contract<Socket>) -> ClientHost {
        ClientHost { contract, dial: None, next_dial: 0, events: VecDeque::new(), closing: Vec::new() }
    }
}
