//! Carrying: from a writer's hands into the network, and out of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use steadfast::{LinkId, LinkKind, Time};

use crate::conditions::Side;
use crate::inspect::Contents;
use crate::net::{Carriage, FlowId, Network, NodeId, Packet, Step};
use crate::pipe::Pipe;
use crate::trace::{Happened, SentPacket};
use crate::world::World;
use crate::world::access::Access;
use crate::world::links::LinkEnd;

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) pipe: Pipe,
    /// The node by which the conditions act.
    pub(super) access: NodeId,
    pub(super) path: Arc<[NodeId]>,
    /// What was written and the network had no room for. It is still the writer's, who writes nothing more before it has
    /// left, and it is lost with the link.
    unsent: VecDeque<Unsent>,
}

/// The rest of a write; never empty.
#[derive(Debug)]
struct Unsent {
    bytes: Bytes,
    /// What was seen in the whole of the write.
    contents: Option<Contents>,
    /// Where in the write the rest begins.
    at: usize,
}

impl Way {
    pub(super) fn new(network: &mut Network, kind: LinkKind) -> Way {
        let access = network.add(Access::new());
        Way { pipe: Pipe::new(carriage(kind)), access, path: [access].into(), unsent: VecDeque::new() }
    }

    /// Whether a machine has to wait before it writes.
    pub(super) fn is_full(&self, network: &Network, now: Time) -> bool {
        !self.unsent.is_empty() || !self.has_room(network, now)
    }

    fn has_room(&self, network: &Network, now: Time) -> bool {
        self.pipe.carriage() == Carriage::Datagram || network.has_room(now, &self.path)
    }
}

fn carriage(kind: LinkKind) -> Carriage {
    match kind {
        LinkKind::Stream => Carriage::Segment,
        _ => Carriage::Datagram,
    }
}

/// The flow of one direction of a link.
fn flow(link: LinkId, reader: Side) -> FlowId {
    FlowId(2 * link.0 + reader as u64)
}

/// What [`flow`] was made of.
fn direction(flow: FlowId) -> (LinkId, Side) {
    (LinkId(flow.0 / 2), Side::BOTH[(flow.0 % 2) as usize])
}

impl World {
    /// Something is written to a link.
    pub(super) fn carry(&mut self, id: LinkId, reader: Side, bytes: Bytes) {
        if let Some(tapes) = &mut self.tapes {
            tapes.entry((id, reader)).or_default().extend_from_slice(&bytes);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let contents = self.observers.look(link.client, reader.other(), carriage(link.kind), &bytes);
        if bytes.has_remaining() {
            link.ways[reader as usize].unsent.push_back(Unsent { bytes, contents, at: 0 });
        }
        self.put(id, reader);
    }

    /// Puts into the network what it takes now of what was written: datagrams as they are, a stream piece by piece.
    fn put(&mut self, id: LinkId, reader: Side) {
        while let Some(link) = self.links.get_mut(&id) {
            if let Some((_, how)) = link.life.take_if(|(left, _)| *left == 0) {
                self.tell_broken(id, how);
                Side::BOTH.into_iter().for_each(|side| self.break_pipe(id, side, usize::MAX, how));
                return;
            }
            let way = &mut link.ways[reader as usize];
            if !way.pipe.is_open() {
                way.pipe.swallow(way.unsent.iter().map(|rest| rest.bytes.len()).sum());
                return self.forget_unsent(id, reader);
            }
            let (has_room, carriage) = (way.has_room(&self.network, self.now), way.pipe.carriage());
            let Some(rest) = way.unsent.front_mut() else { return };
            if !has_room {
                return self.wait_for_room(id, reader);
            }
            let left = link.life.as_ref().map_or(u64::MAX, |(left, _)| *left);
            let most = rest.bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let len = match carriage {
                Carriage::Datagram => most,
                Carriage::Segment => self.rng.size(self.conditions.piece.clone()).clamp(1, most),
            };
            let (piece, from) = (rest.bytes.split_to(len), rest.at);
            rest.at += len;
            let mut buffer = BytesMut::with_capacity(self.rng.size(self.conditions.buffer.clone()).max(len));
            buffer.extend_from_slice(&piece);
            self.network.node_mut::<Access>(way.access).adapt(&self.conditions);
            let (packet, step) = self.network.send_buffer(self.now, flow(id, reader), &way.path, carriage, buffer);
            way.pipe.write(packet, len);
            let wire_len = carriage.wire_len(len);
            self.observers.count(link.client, reader.other(), wire_len);
            if let Some(contents) = &rest.contents {
                let what = || contents.of(from..from + len);
                self.observers
                    .note(self.now, || Happened::Sent(SentPacket::new(packet, id, reader, wire_len, &piece, what())));
            }
            if rest.bytes.is_empty() {
                way.unsent.pop_front();
            }
            if let Some((left, _)) = &mut link.life {
                *left -= len as u64;
            }
            step.into_iter().for_each(|step| self.take_step(step));
        }
    }

    /// What the network has not taken is lost.
    pub(super) fn forget_unsent(&mut self, id: LinkId, reader: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for rest in link.ways[reader as usize].unsent.drain(..).rev() {
            if let Some(contents) = &rest.contents {
                self.observers.take_back(link.client, reader.other(), contents, rest.at);
            }
        }
    }

    /// Somebody would write, and the network has no room: whoever came first is served first when there is some.
    pub(super) fn wait_for_room(&mut self, id: LinkId, reader: Side) {
        self.waiting.entry((id, reader)).or_insert(self.next_turn);
        self.next_turn += 1;
    }

    /// What came of a step of the network.
    pub(super) fn take_step(&mut self, step: Step) {
        match step {
            Step::Arrived(packet) => self.land(packet),
            Step::Lost(packet, node) => {
                let (id, reader) = direction(packet.flow);
                let name = self.network.name(node);
                self.say(|| format!("{id:?}: {:?} is lost: {name}", packet.id));
                self.observers.note(self.now, || Happened::Lost(packet.id, name.into()));
                if let Some(link) = self.links.get_mut(&id) {
                    link.ways[reader as usize].pipe.lose(packet.bytes.len());
                }
            }
            Step::Moved => {}
        }
        self.let_write();
    }

    fn land(&mut self, packet: Packet) {
        let (id, reader) = direction(packet.flow);
        let (number, is_changed) = (packet.id, packet.is_changed);
        if reader == Side::Server {
            self.find_server(id);
        }
        let link = self.links.get_mut(&id).filter(|link| link.ends[reader as usize] != LinkEnd::Down);
        let heard = link.is_some_and(|link| link.ways[reader as usize].pipe.land(packet));
        self.observers.note(self.now, || match heard {
            true => Happened::Arrived(number, is_changed),
            false => Happened::Lost(number, "cut".into()),
        });
        let Some(link) = self.links.get(&id) else { return };
        match link.ends[reader as usize] {
            // The first datagram of an address makes the link; a stream's client may write before the server has it.
            LinkEnd::Coming if link.kind != LinkKind::Stream => self.link_up(id, reader),
            LinkEnd::Coming => {}
            LinkEnd::Up | LinkEnd::Down => self.arrive(id, reader),
        }
    }

    /// Who waited for a queue goes on when it has room; who has been served and wants more waits behind the others.
    fn let_write(&mut self) {
        let mut turns: Vec<_> = self.waiting.iter().map(|(direction, turn)| (*turn, *direction)).collect();
        turns.sort_unstable();
        for (_, (id, reader)) in turns {
            let way = self.links.get(&id).map(|link| &link.ways[reader as usize]);
            if way.is_some_and(|way| !way.has_room(&self.network, self.now)) {
                continue;
            }
            self.waiting.remove(&(id, reader));
            self.put(id, reader);
            let writer = self.links.get(&id).and_then(|link| link.host(reader.other()));
            if let Some(writer) = writer.filter(|_| !self.waiting.contains_key(&(id, reader))) {
                self.drain(writer);
            }
        }
    }
}
