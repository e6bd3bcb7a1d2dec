//! Addresses: where datagrams come from, and who is there where they go. What is one link for a client may be several for
//! a server, one after the other, and the other way round.

use steadfast::{LinkId, LinkKind};

use crate::conditions::{Break, Side};
use crate::net::Carriage;
use crate::pipe::Pipe;
use crate::world::World;
use crate::world::links::{Link, LinkEnd};

impl World {
    /// The link that a machine of this side means by a name.
    pub(super) fn named(&self, side: Side, name: LinkId) -> Option<LinkId> {
        self.names.get(&(side, name)).copied()
    }

    /// A name that no link had before.
    pub(super) fn new_name(&mut self) -> LinkId {
        let name = LinkId(self.next_link);
        self.next_link += 1;
        name
    }

    /// Puts a link into the books.
    pub(super) fn enter(&mut self, id: LinkId, link: Link) {
        for side in Side::BOTH {
            self.names.insert((side, link.names[side as usize]), id);
        }
        self.dialled.extend(link.client.map(|client| (link.names[Side::Server as usize], client)));
        self.links.insert(id, link);
        self.lay(id);
    }

    /// The datagrams of this link's client come from another address from now on, as behind a router that has forgotten it.
    /// Nobody is told. What the server writes to the former address is lost, what is on its way to the server arrives.
    /// Gives the link that it is from then on; `None` for a stream, and where the client has none any more.
    pub fn rebind(&mut self, link: LinkId) -> Option<LinkId> {
        let is_movable =
            |link: &&Link| link.kind != LinkKind::Stream && link.ends[Side::Client as usize] == LinkEnd::Up;
        let (kind, client) = self.links.get(&link).filter(is_movable).map(|link| (link.kind, link.client))?;
        let (id, ways) = (self.new_name(), self.new_ways(kind));
        let former = self.links.get_mut(&link)?;
        let new = Link {
            client,
            server: former.server,
            to: former.to.clone(),
            dial: former.dial,
            kind,
            names: [former.names[Side::Client as usize], id],
            from: id.0,
            ends: [LinkEnd::Up, LinkEnd::Coming],
            ways,
            life: former.life.take(),
        };
        former.ends[Side::Client as usize] = LinkEnd::Down;
        self.enter(id, new);
        self.break_pipe(link, Side::Client, 0, Break::Stall);
        self.break_pipe(link, Side::Server, usize::MAX, Break::Stall);
        self.forget_if_over(link);
        self.say(|| format!("{link:?} is {id:?} now"));
        Some(id)
    }

    /// A datagram arrives for a server that has hung its link up, or does not run any more: the link is a new one for it,
    /// or for whoever has its address now.
    pub(super) fn find_server(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id).filter(|link| link.kind != LinkKind::Stream) else { return };
        let is_running = self.is_running(link.server);
        if is_running && link.ends[Side::Server as usize] != LinkEnd::Down {
            return;
        }
        let there = link.to.as_ref().and_then(|address| self.listening.get(address)).copied();
        let Some(server) = (if is_running { Some(link.server) } else { there }) else { return };
        let name = self.new_name();
        let Some(link) = self.links.get_mut(&id) else { return };
        let former = std::mem::replace(&mut link.names[Side::Server as usize], name);
        (link.server, link.ends[Side::Server as usize]) = (server, LinkEnd::Coming);
        self.dialled.extend(link.client.map(|client| (name, client)));
        self.names.remove(&(Side::Server, former));
        self.names.insert((Side::Server, name), id);
    }

    /// A link for a dial of this client, from the address of a former one, if there was one and the conditions want it so.
    pub(super) fn link_from_a_former_address(&mut self, client: usize, address: &str, dial: u64) -> Option<LinkId> {
        let kind = self.conditions.kind;
        if kind == LinkKind::Stream || !self.rng.percent(self.conditions.same_address) {
            return None;
        }
        let is_free = |link: &Link| {
            link.client == Some(client)
                && link.kind != LinkKind::Stream
                && link.ends[Side::Client as usize] == LinkEnd::Down
                && link.to.as_deref() == Some(address)
        };
        let id = self.links.iter().rev().find(|(_, link)| is_free(link)).map(|(id, _)| *id)?;
        let (name, life) = (self.new_name(), self.new_life());
        let link = self.links.get_mut(&id)?;
        let former = std::mem::replace(&mut link.names[Side::Client as usize], name);
        (link.kind, link.dial, link.life) = (kind, dial, life);
        link.ends[Side::Client as usize] = LinkEnd::Coming;
        link.ways.iter_mut().for_each(|way| way.pipe = Pipe::new(Carriage::Datagram));
        if self.names.get(&(Side::Client, former)) == Some(&id) {
            self.names.remove(&(Side::Client, former));
        }
        self.names.insert((Side::Client, name), id);
        Some(id)
    }
}
