//! Dialling, carrying, breaking: what happens on the links of a world.

use steadfast::{LinkId, RecvBytes};

use bytes::Bytes;

use crate::conditions::{Break, Conditions, Dialling, Side};
use crate::contract::stream_up;
use crate::machine::Input;
use crate::pipe::{Arrival, Pipe};
use crate::world::{End, Happening, HostId, ServerIx, World};

/// A stream link: two pipes.
#[derive(Debug)]
pub(super) struct Link {
    /// `None`: the test itself plays the client.
    pub(super) client: Option<usize>,
    pub(super) server: ServerIx,
    /// The dial that it answers.
    dial: u64,
    ends: [LinkEnd; 2],
    /// By the side that reads.
    pipes: [Pipe; 2],
    /// How many more bytes it carries, and how it breaks then.
    life: Option<(u64, Break)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LinkEnd {
    /// The machine has not heard of it.
    Coming,
    Up,
    /// The machine hears nothing of it any more.
    Down,
}

impl Link {
    fn host(&self, side: Side) -> Option<HostId> {
        match side {
            Side::Client => self.client.map(HostId::Client),
            Side::Server => Some(HostId::Server(self.server)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.ends == [LinkEnd::Up; 2]
    }
}

impl World {
    /// The links that both ends have, in the order in which they were dialled.
    pub fn live_links(&self) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.is_up()).map(|(id, _)| *id).collect()
    }

    /// The faults stop: the network is good from now on, and no link breaks that has not broken yet. One that has stalled
    /// stays so.
    pub fn calm_down(&mut self) {
        self.conditions = Conditions::default();
        self.links.values_mut().for_each(|link| link.life = None);
    }

    /// Whether a link carries bytes in both directions.
    pub fn is_working(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.is_up() && link.pipes.iter().all(Pipe::is_open))
    }

    /// Breaks a link. Of the bytes under way a random first part still arrives.
    pub fn break_link(&mut self, link: LinkId, how: Break) {
        self.say(|| format!("{link:?} breaks: {how:?}"));
        for side in Side::BOTH {
            let Some(pipe) = self.links.get(&link).map(|link| &link.pipes[side as usize]) else { return };
            let keep = self.rng.size(0..=pipe.under_way());
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
        let link = self.new_link(None, server, 0);
        self.links.get_mut(&link).expect("a new link").ends[Side::Client as usize] = LinkEnd::Up;
        let at = self.now + self.rng.duration(&self.conditions.latency);
        self.plan(at, Happening::LinkUp(link, Side::Server));
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

    /// The link on which this client's machine, or this server's, was last told of a link that is still up.
    pub(super) fn links_of(&self, host: HostId) -> impl Iterator<Item = LinkId> + '_ {
        let side = if matches!(host, HostId::Client(_)) { Side::Client } else { Side::Server };
        let of_host = move |link: &Link| link.host(side) == Some(host) && link.ends[side as usize] == LinkEnd::Up;
        self.links.iter().filter(move |(_, link)| of_host(link)).map(|(id, _)| *id)
    }

    fn new_link(&mut self, client: Option<usize>, server: ServerIx, dial: u64) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let life = self.conditions.life.clone().map(|(bytes, ways)| (self.rng.number(bytes), *self.rng.pick(&ways)));
        let ends = [LinkEnd::Coming; 2];
        self.dialled.extend(client.map(|client| (id, client)));
        self.links.insert(id, Link { client, server, dial, ends, pipes: Default::default(), life });
        id
    }

    pub(super) fn dial(&mut self, client: usize, address: &str) {
        self.dials.push((self.now, End::Client(client), address.into()));
        let host = &mut self.clients[client];
        let dial = host.next_dial;
        host.next_dial += 1;
        host.dial = Some(dial);
        let at = self.now + self.rng.duration(&self.conditions.latency);
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
                let link = self.new_link(Some(client), server, dial);
                let accepted = self.now + self.rng.duration(&self.conditions.latency);
                self.plan(at, Happening::LinkUp(link, Side::Client));
                self.plan(accepted, Happening::LinkUp(link, Side::Server));
            }
            (Dialling::Refused, _) | (_, None) => self.plan(at, Happening::DialFailed(client, dial)),
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
        self.input(host, stream_up(id));
        self.expect_arrival(id, side);
    }

    /// Carries output of a machine while the link can be written to. True when something came of it.
    pub(super) fn pump(&mut self, host: HostId, id: LinkId) -> bool {
        let reader = if matches!(host, HostId::Client(_)) { Side::Server } else { Side::Client };
        let is_closing = self.closing(host).is_some_and(|closing| closing.contains(&id));
        let mut is_busy = false;
        loop {
            let pipe = self.links.get(&id).map(|link| &link.pipes[reader as usize]);
            let is_lost = pipe.is_none_or(|pipe| is_closing && !pipe.is_open());
            if !is_lost && !pipe.is_some_and(|pipe| pipe.is_writable(&self.conditions)) {
                return is_busy;
            }
            match if is_lost { None } else { self.poll_transmit(host, id) } {
                Some(bytes) => self.carry(id, reader, bytes),
                None => {
                    if is_closing {
                        self.let_go(id, reader.other());
                        self.closing(host).expect("a living host").retain(|closing| *closing != id);
                    }
                    return is_busy || is_closing;
                }
            }
            is_busy = true;
        }
    }

    pub(super) fn hang_up(&mut self, host: HostId, link: LinkId) {
        if let Some(closing) = self.closing(host) {
            closing.push(link);
        }
        self.pump(host, link);
    }

    /// This side has closed the link: the other one sees the end after all that was written.
    pub(super) fn let_go(&mut self, id: LinkId, side: Side) {
        let latency = self.rng.duration(&self.conditions.latency);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.ends[side as usize] = LinkEnd::Down;
        let reader = side.other();
        link.pipes[reader as usize].finish(self.now, latency);
        self.expect_arrival(id, reader);
        self.forget_if_over(id);
    }

    /// Like [`World::let_go`], in the way of a process that dies.
    pub(super) fn drop_end(&mut self, id: LinkId, side: Side, how: Break) {
        self.break_link(id, how);
        if let Some(link) = self.links.get_mut(&id) {
            link.ends[side as usize] = LinkEnd::Down;
        }
        self.forget_if_over(id);
    }

    fn carry(&mut self, id: LinkId, reader: Side, mut bytes: Bytes) {
        if let Some(tapes) = &mut self.tapes {
            tapes.entry((id, reader)).or_default().extend_from_slice(&bytes);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut breaks = None;
        if let Some((left, how)) = &mut link.life {
            if *left <= bytes.len() as u64 {
                bytes.truncate(*left as usize);
                breaks = Some(*how);
                link.life = None;
            } else {
                *left -= bytes.len() as u64;
            }
        }
        link.pipes[reader as usize].write(self.now, bytes, &self.conditions, &mut self.rng);
        if let Some(how) = breaks {
            self.say(|| format!("{id:?} breaks: {how:?}"));
            for side in Side::BOTH {
                self.break_pipe(id, side, usize::MAX, how);
            }
        }
        self.expect_arrival(id, reader);
    }

    fn break_pipe(&mut self, id: LinkId, reader: Side, keep: usize, how: Break) {
        let notice = how.is_told(reader).then(|| self.rng.duration(&self.conditions.latency));
        if let Some(link) = self.links.get_mut(&id) {
            link.pipes[reader as usize].break_off(self.now, keep, notice);
            self.expect_arrival(id, reader);
        }
    }

    /// Puts the next arrival on the agenda.
    fn expect_arrival(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_coming = link.ends[side as usize] == LinkEnd::Coming;
        let pipe = &mut link.pipes[side as usize];
        if let Some(at) = pipe.next_arrival().filter(|_| !is_coming && !pipe.is_scheduled) {
            pipe.is_scheduled = true;
            self.plan(at, Happening::Arrival(id, side));
        }
    }

    pub(super) fn arrive(&mut self, id: LinkId, side: Side) {
        let mut has_read = false;
        loop {
            let now = self.now;
            let Some(link) = self.links.get_mut(&id) else { return };
            let host = link.host(side).filter(|_| link.ends[side as usize] == LinkEnd::Up);
            let pipe = &mut link.pipes[side as usize];
            pipe.is_scheduled = false;
            match (pipe.read(now), host) {
                (Some(Arrival::Piece(bytes)), Some(host)) => {
                    self.input(host, Input::Bytes(id, RecvBytes::from(bytes)));
                    has_read = true;
                }
                (Some(Arrival::Piece(_)), None) => has_read = true,
                (Some(Arrival::End), host) => {
                    link.ends[side as usize] = LinkEnd::Down;
                    if let Some(host) = host {
                        self.input(host, Input::LinkDown(id));
                    }
                }
                (None, _) => break,
            }
        }
        self.expect_arrival(id, side);
        let writer = self.links.get(&id).and_then(|link| link.host(side.other()));
        if let (Some(writer), true) = (writer, has_read) {
            // There may be room again.
            self.drain(writer);
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: LinkId) {
        if self.links.get(&id).is_some_and(|link| link.ends == [LinkEnd::Down; 2]) {
            self.links.remove(&id);
        }
    }
}
