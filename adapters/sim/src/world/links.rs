//! Dialling, reading, breaking: what happens on the links of a world.

use std::sync::Arc;

use bytes::Bytes;
use steadfast::{LinkId, LinkKind, RecvBytes};

use crate::conditions::{Break, Conditions, Dialling, Side};
use crate::machine::Input;
use crate::net::{Network, NodeId};
use crate::pipe::Arrival;
use crate::trace::Happened;
use crate::world::carry::Way;
use crate::world::{End, Happening, HostId, ServerIx, World};

/// A link: two pipes.
#[derive(Debug)]
pub(super) struct Link {
    /// `None`: the test itself plays the client.
    pub(super) client: Option<usize>,
    pub(super) server: ServerIx,
    /// The address that was dialled, if one was.
    pub(super) to: Option<Arc<str>>,
    /// The dial that it answers.
    pub(super) dial: u64,
    pub(super) kind: LinkKind,
    /// What the machines call it.
    pub(super) names: [LinkId; 2],
    /// Where its client's datagrams come from.
    pub(super) from: u64,
    pub(super) ends: [LinkEnd; 2],
    /// By the side that reads.
    pub(super) ways: [Way; 2],
    /// How many more bytes it carries, and how it breaks then.
    pub(super) life: Option<(u64, Break)>,
}

/// The nodes that packets of links pass behind the first one, by which [`Conditions`] act; in each direction one after the
/// other. Links that have a node in common share it.
///
/// What a stream's writer has sent towards a queue takes its room from then on: one that holds less than its line carries in
/// the latency of the [`Conditions`] leaves the line idle at times.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wires {
    /// From the client.
    pub to_server: Vec<NodeId>,
    /// From the server.
    pub to_client: Vec<NodeId>,
}

impl Wires {
    fn to(&self, reader: Side) -> &[NodeId] {
        match reader {
            Side::Server => &self.to_server,
            Side::Client => &self.to_client,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LinkEnd {
    /// The machine has not heard of it.
    Coming,
    Up,
    /// The machine hears nothing of it any more.
    Down,
}

impl Link {
    pub(super) fn host(&self, side: Side) -> Option<HostId> {
        match side {
            Side::Client => self.client.map(HostId::Client),
            Side::Server => Some(HostId::Server(self.server)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.ends == [LinkEnd::Up; 2]
    }

    /// Whether its client is gone and no datagram of it has ever come to the server.
    pub(super) fn is_unheard(&self) -> bool {
        self.ends == [LinkEnd::Down, LinkEnd::Coming]
    }
}

impl World {
    /// The links that both ends have, in the order in which they were dialled.
    pub fn live_links(&self) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.is_up()).map(|(id, _)| *id).collect()
    }

    /// The faults stop: the network is good from now on, without any nodes but each link's own, and no link breaks that has
    /// not broken yet. One that has stalled stays so. What links are does not change.
    pub fn calm_down(&mut self) {
        self.conditions = Conditions { kind: self.conditions.kind, ..Conditions::default() };
        self.links.values_mut().for_each(|link| link.life = None);
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Age(..)));
        self.wire(Wires::default());
    }

    /// The network that carries the links: to add nodes for [`World::wire`], and to change them.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// What is written from now on to links of any client passes these nodes, whatever [`World::wire_client`] said before.
    ///
    /// Datagrams of which a tenth is lost, and of which none gets through for three seconds:
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Config, LinkKind, ServerConfig};
    /// use steadfast_sim::net::{Carriage, Partition, Path};
    /// use steadfast_sim::{ADDRESS, Wires, World};
    ///
    /// let mut world = World::new(7);
    /// // What the sockets are told of their links: they write no longer datagrams than that.
    /// world.conditions.kind = LinkKind::Datagram { mtu: 1_400 };
    /// world.serve(ADDRESS, ServerConfig::default());
    /// let (client, server) = world.connected(Config::default());
    ///
    /// let path = Path { delay: Duration::from_millis(20), loss: 0.1, ..Path::default() };
    /// let partition = world.network().add(Partition::new());
    /// // Each direction has nodes of its own, but for the partition, which both pass.
    /// let mut lay = || -> Result<_, steadfast_sim::net::PathError> {
    ///     let path = path.build(world.network(), Carriage::Datagram)?;
    ///     Ok(std::iter::once(partition).chain(path).collect())
    /// };
    /// let wires = Wires { to_server: lay()?, to_client: lay()? };
    /// world.wire(wires);
    ///
    /// let now = world.now();
    /// world.network().node_mut::<Partition>(partition).part(now..now + Duration::from_secs(3));
    /// world.send(client, "whatever happens").expect("room");
    /// world.run_for(Duration::from_secs(2));
    /// assert_eq!(world.texts(server), Vec::<String>::new());
    /// world.run_for(Duration::from_secs(10));
    /// assert_eq!(world.texts(server), ["whatever happens"]);
    /// # Ok::<(), steadfast_sim::net::PathError>(())
    /// ```
    pub fn wire(&mut self, wires: Wires) {
        self.wires.clear();
        self.wires.insert(None, wires);
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.lay(link));
    }

    /// What is written from now on to links of this client passes these nodes, instead of those for all.
    ///
    /// # Panics
    /// For an end that is not a client.
    pub fn wire_client(&mut self, client: End, wires: Wires) {
        let End::Client(ix) = client else { panic!("{client:?} is not a client") };
        self.wires.insert(Some(ix), wires);
        let of_client = self.links.iter().filter(|(_, link)| link.client == Some(ix));
        let links: Vec<LinkId> = of_client.map(|(id, _)| *id).collect();
        links.into_iter().for_each(|link| self.lay(link));
    }

    /// Lays the way of a link anew.
    pub(super) fn lay(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let wires = self.wires.get(&link.client).or_else(|| self.wires.get(&None));
        for reader in Side::BOTH {
            let way = &mut link.ways[reader as usize];
            let nodes = wires.map_or(&[][..], |wires| wires.to(reader));
            way.path = std::iter::once(way.access).chain(nodes.iter().copied()).collect();
        }
    }

    /// Whether a link carries bytes in both directions, and the server does not still write to a former address of its client's.
    pub fn is_working(&self, link: LinkId) -> bool {
        let Some(link) = self.links.get(&link) else { return false };
        let is_former = |other: &&Link| {
            other.names[Side::Client as usize] == link.names[Side::Client as usize]
                && other.names[Side::Server as usize] != link.names[Side::Server as usize]
                && other.ends[Side::Server as usize] == LinkEnd::Up
        };
        let is_open = link.is_up() && link.ways.iter().all(|way| way.pipe.is_open());
        is_open && self.links.values().find(is_former).is_none()
    }

    /// Breaks a link. Of the bytes under way a random first part still arrives.
    pub fn break_link(&mut self, link: LinkId, how: Break) {
        self.tell_broken(link, how);
        for side in Side::BOTH {
            let Some(way) = self.links.get(&link).map(|link| &link.ways[side as usize]) else { return };
            let keep = self.rng.size(0..=way.pipe.under_way());
            self.break_pipe(link, side, keep, how);
        }
    }

    /// Breaks a link after it has carried that many more bytes, both directions added; these bytes all arrive.
    pub fn break_link_after(&mut self, link: LinkId, bytes: u64, how: Break) {
        if let Some(link) = self.links.get_mut(&link) {
            link.life = Some((bytes, how));
        }
    }

    /// A link to a server on which the test itself plays the client: with [`World::inject`] and [`World::tape`].
    pub fn raw_link(&mut self, server: ServerIx) -> LinkId {
        let link = self.new_link(None, server, None, 0);
        self.links.get_mut(&link).expect("a new link").ends[Side::Client as usize] = LinkEnd::Up;
        self.expect_server(link);
        link
    }

    /// Puts bytes on a link as if the other end had written them; `reader` will read them.
    pub fn inject(&mut self, link: LinkId, reader: Side, bytes: impl Into<Bytes>) {
        self.carry(link, reader, bytes.into());
    }

    /// From now on all that is written to links is kept for [`World::tape`].
    pub fn start_tape(&mut self) {
        self.tapes.get_or_insert_default();
    }

    /// What was written to a link for `reader`, since the tape was started.
    pub fn tape(&self, link: LinkId, reader: Side) -> &[u8] {
        self.tapes.as_ref().and_then(|tapes| tapes.get(&(link, reader))).map_or(&[], Vec::as_slice)
    }

    /// Whether the end of a link on this side has gone down.
    pub fn is_link_down(&self, link: LinkId, side: Side) -> bool {
        self.links.get(&link).is_none_or(|link| link.ends[side as usize] == LinkEnd::Down)
    }

    /// The links that this client's machine, or this server's, was told of and that are still up, in the order in which they
    /// were dialled.
    pub(super) fn links_of(&self, host: HostId) -> impl Iterator<Item = LinkId> + '_ {
        let side = host.side();
        let of_host = move |link: &Link| link.host(side) == Some(host) && link.ends[side as usize] == LinkEnd::Up;
        self.links.iter().filter(move |(_, link)| of_host(link)).map(|(id, _)| *id)
    }

    fn new_link(&mut self, client: Option<usize>, server: ServerIx, to: Option<Arc<str>>, dial: u64) -> LinkId {
        let id = self.new_name();
        let life = self.new_life();
        let (kind, ends) = (self.conditions.kind, [LinkEnd::Coming; 2]);
        let ways = self.new_ways(kind);
        let link = Link { client, server, to, dial, kind, names: [id; 2], from: id.0, ends, ways, life };
        self.enter(id, link);
        id
    }

    pub(super) fn new_life(&mut self) -> Option<(u64, Break)> {
        self.conditions.life.clone().map(|(bytes, ways)| (self.rng.number(bytes), *self.rng.pick(&ways)))
    }

    pub(super) fn new_ways(&mut self, kind: LinkKind) -> [Way; 2] {
        Side::BOTH.map(|_| Way::new(&mut self.network, kind))
    }

    pub(super) fn dial(&mut self, client: usize, address: &str) {
        self.dials.push((self.now, End::Client(client), address.into()));
        let host = &mut self.clients[client];
        let dial = host.next_dial;
        host.next_dial += 1;
        host.dial = Some(dial);
        let at = self.now + self.rng.duration(&self.conditions.dial);
        let server = self.listening.get(address).copied();
        let dialling = match self.conditions.dialling {
            Dialling::Fails(percent) if self.rng.percent(percent) => {
                *self.rng.pick(&[Dialling::Refused, Dialling::Silent])
            }
            other => other,
        };
        match (dialling, server) {
            (Dialling::Silent, _) => {}
            (Dialling::Works | Dialling::Fails(_), Some(server)) => {
                let link = self.link_from_a_former_address(client, address, dial);
                let link = link.unwrap_or_else(|| self.new_link(Some(client), server, Some(address.into()), dial));
                let is_stream = self.conditions.kind == LinkKind::Stream;
                self.plan(if is_stream { at } else { self.now }, Happening::LinkUp(link, Side::Client));
                self.expect_server(link);
            }
            (Dialling::Refused, _) | (_, None) => self.plan(at, Happening::DialFailed(client, dial)),
        }
    }

    /// When a server gets a link: of a stream a while after the dial, of datagrams with the first one.
    fn expect_server(&mut self, id: LinkId) {
        let at = self.now + self.rng.duration(&self.conditions.dial);
        if self.conditions.kind == LinkKind::Stream {
            self.plan(at, Happening::LinkUp(id, Side::Server));
        }
    }

    pub(super) fn link_up(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.ends[side as usize] == LinkEnd::Coming) else {
            return;
        };
        let Some(host) = link.host(side) else { return };
        if let HostId::Client(client) = host {
            if self.clients[client].dial != Some(link.dial) {
                // The attempt was given up meanwhile.
                self.let_go(id, side);
                return;
            }
            self.clients[client].dial = None;
        }
        link.ends[side as usize] = LinkEnd::Up;
        self.observers.note(self.now, || Happened::Up(id, side));
        let (kind, name, from, is_up) = (link.kind, link.names[side as usize], link.from, link.is_up());
        if is_up {
            self.age(id);
        }
        self.input(
            host,
            if kind == LinkKind::Stream { Input::LinkUp(name, kind) } else { Input::LinkFrom(name, kind, from) },
        );
        // What came before the machine had the link.
        self.plan(self.now, Happening::Arrival(id, side));
    }

    /// The links that both ends have break as the conditions say now, as if both had got them in this moment.
    pub fn age_links(&mut self) {
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Age(..)));
        self.live_links().into_iter().for_each(|link| self.age(link));
    }

    fn age(&mut self, id: LinkId) {
        if let Some((ages, ways)) = self.conditions.age.clone() {
            let (age, how) = (self.rng.duration(&ages), *self.rng.pick(&ways));
            self.plan(self.now + age, Happening::Age(id, how));
        }
    }

    /// Carries output of a machine while the link can be written to. True when something came of it.
    pub(super) fn pump(&mut self, host: HostId, name: LinkId) -> bool {
        let reader = host.side().other();
        let is_closing = self.closing(host).is_some_and(|closing| closing.contains(&name));
        let mut is_busy = false;
        loop {
            let link = self.named(host.side(), name).and_then(|id| Some((id, self.links.get(&id)?)));
            let link = link.filter(|(_, link)| !is_closing || link.ways[reader as usize].pipe.is_open());
            let mut output = None;
            if let Some((id, link)) = link {
                let way = &link.ways[reader as usize];
                if !way.pipe.is_writable(self.conditions.room) {
                    return is_busy;
                }
                if way.is_full(&self.network, self.now) {
                    self.wait_for_room(id, reader);
                    return is_busy;
                }
                output = self.poll_transmit(host, name).map(|bytes| (id, bytes));
            }
            match output {
                Some((id, bytes)) => self.carry(id, reader, bytes),
                None => {
                    if is_closing {
                        if let Some(id) = self.named(host.side(), name) {
                            self.let_go(id, reader.other());
                        }
                        self.closing(host).expect("a living host").retain(|closing| *closing != name);
                    }
                    return is_busy || is_closing;
                }
            }
            is_busy = true;
        }
    }

    pub(super) fn hang_up(&mut self, host: HostId, name: LinkId) {
        if let Some(closing) = self.closing(host) {
            closing.push(name);
        }
        self.pump(host, name);
    }

    /// This side has closed the link: the other one sees the end after all that was written.
    pub(super) fn let_go(&mut self, id: LinkId, side: Side) {
        let latency = self.rng.duration(&self.conditions.latency);
        self.end(id, side);
        let reader = side.other();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.ways[reader as usize].pipe.finish(self.now, latency);
        self.expect_end(id, reader);
        self.forget_if_over(id);
    }

    /// Like [`World::let_go`], in the way of a process that dies. A client's datagrams go on to the server's address, if
    /// nobody tells it.
    pub(super) fn drop_end(&mut self, id: LinkId, side: Side, how: Break) {
        let is_datagram = self.links.get(&id).is_some_and(|link| link.kind != LinkKind::Stream);
        if side == Side::Client || how.is_told(Side::Client) || !is_datagram {
            self.break_link(id, how);
        }
        self.end(id, side);
        self.forget_if_over(id);
    }

    pub(super) fn tell_broken(&mut self, id: LinkId, how: Break) {
        self.say(|| format!("{id:?} breaks: {how:?}"));
        if self.links.contains_key(&id) {
            self.cuts += 1;
            self.observers.note(self.now, || Happened::Broken(id, how));
        }
    }

    /// Marks an end as down.
    pub(super) fn end(&mut self, id: LinkId, side: Side) {
        if let Some(link) = self.links.get_mut(&id) {
            link.ends[side as usize] = LinkEnd::Down;
            self.observers.note(self.now, || Happened::Down(id, side));
        }
    }

    pub(super) fn break_pipe(&mut self, id: LinkId, reader: Side, keep: usize, how: Break) {
        let notice = how.is_told(reader).then(|| self.rng.duration(&self.conditions.latency));
        if let Some(link) = self.links.get_mut(&id) {
            link.ways[reader as usize].pipe.break_off(self.now, keep, notice);
            self.forget_unsent(id, reader);
            self.expect_end(id, reader);
        }
    }

    /// Puts the end that a reader sees on the agenda.
    fn expect_end(&mut self, id: LinkId, reader: Side) {
        let end = self.links.get(&id).and_then(|link| link.ways[reader as usize].pipe.ends_at());
        end.into_iter().for_each(|at| self.plan(at, Happening::Arrival(id, reader)));
    }

    /// Lets a side read what has come out of its pipe.
    pub(super) fn arrive(&mut self, id: LinkId, side: Side) {
        let mut has_read = false;
        loop {
            let now = self.now;
            let Some(link) = self.links.get_mut(&id).filter(|link| link.ends[side as usize] != LinkEnd::Coming) else {
                return;
            };
            let host = link.host(side).filter(|_| link.ends[side as usize] == LinkEnd::Up);
            let name = link.names[side as usize];
            match (link.ways[side as usize].pipe.read(now), host) {
                (Some(Arrival::Piece(bytes)), Some(host)) => {
                    self.input(host, Input::Bytes(name, RecvBytes::from(bytes)));
                    has_read = true;
                }
                (Some(Arrival::Piece(_)), None) => has_read = true,
                (Some(Arrival::End), host) => {
                    self.end(id, side);
                    if let Some(host) = host {
                        self.input(host, Input::LinkDown(name));
                    }
                }
                (None, _) => break,
            }
        }
        let writer = self.links.get(&id).and_then(|link| link.host(side.other()));
        if let (Some(writer), true) = (writer, has_read) {
            // There may be room again.
            self.drain(writer);
        }
        self.forget_if_over(id);
    }

    pub(super) fn forget_if_over(&mut self, id: LinkId) {
        if self.links.get(&id).is_some_and(|link| link.ends == [LinkEnd::Down; 2]) {
            Side::BOTH.into_iter().for_each(|side| self.forget_unsent(id, side));
            let Some(link) = self.links.remove(&id) else { return };
            for side in Side::BOTH {
                let name = (side, link.names[side as usize]);
                if self.names.get(&name) == Some(&id) {
                    self.names.remove(&name);
                }
            }
            link.ways.into_iter().for_each(|way| self.network.remove(way.access));
        }
    }
}
