//! Nodes, and the packets on their way through them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use steadfast::Time;

use crate::net::{Carriage, FlowId, Node, Packet, PacketId, Verdict};
use crate::rng::Rng;

/// A node of a [`Network`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(u64);

/// Nodes, and packets on their way through them. It has no clock: whoever drives it asks for the next moment and steps to it.
#[derive(Debug)]
pub struct Network {
    nodes: BTreeMap<NodeId, Station>,
    /// By when they leave the node in which they are.
    flights: BTreeMap<(Time, u64), Flight>,
    chance: Rng,
    next_node: u64,
    next_packet: u64,
    next_flight: u64,
}

#[derive(Debug)]
struct Station {
    node: Box<dyn Node>,
    chance: Rng,
    /// Bytes of segments on their way to it.
    coming: usize,
}

#[derive(Debug)]
struct Flight {
    packet: Packet,
    path: Arc<[NodeId]>,
    /// How many nodes of the path it has entered.
    entered: usize,
}

/// What came of a moment, or of sending.
#[derive(Clone, Debug)]
pub enum Step {
    /// A packet has come out at the end of its path.
    Arrived(Packet),
    /// A packet was lost in this node.
    Lost(Packet, NodeId),
    /// A packet has left a node and entered the next one: there may be room again ([`Network::has_room`]).
    Moved,
}

impl Network {
    /// A network without nodes. All that its nodes draw follows from the seed.
    pub fn new(seed: u64) -> Network {
        Network {
            nodes: BTreeMap::new(),
            flights: BTreeMap::new(),
            chance: Rng::new(seed),
            next_node: 0,
            next_packet: 0,
            next_flight: 0,
        }
    }

    /// Adds a node.
    pub fn add(&mut self, node: impl Node) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, Station { node: Box::new(node), chance: self.chance.fork(), coming: 0 });
        id
    }

    /// Takes a node away. Packets that have it before them pass as if it did nothing.
    pub fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    /// A node, to look at.
    ///
    /// # Panics
    /// When there is none of this number and type.
    pub fn node<N: Node>(&self, id: NodeId) -> &N {
        let station = self.nodes.get(&id).expect("a node that is there");
        // Not the box, which is a value of its own.
        (*station.node).as_any().downcast_ref().expect("a node of this type")
    }

    /// A node, to change how it behaves from now on.
    ///
    /// # Panics
    /// When there is none of this number and type.
    pub fn node_mut<N: Node>(&mut self, id: NodeId) -> &mut N {
        let station = self.nodes.get_mut(&id).expect("a node that is there");
        (*station.node).as_any_mut().downcast_mut().expect("a node of this type")
    }

    /// What a node is called; nothing for one that was taken away.
    pub fn name(&self, id: NodeId) -> &'static str {
        self.nodes.get(&id).map_or("", |station| station.node.name())
    }

    /// Sends a packet along the nodes of a path. When the first one loses it, that comes out at once; all else comes out
    /// of [`Network::step`].
    pub fn send(
        &mut self,
        now: Time,
        flow: FlowId,
        path: &Arc<[NodeId]>,
        carriage: Carriage,
        bytes: &[u8],
    ) -> (PacketId, Option<Step>) {
        self.send_buffer(now, flow, path, carriage, BytesMut::from(bytes))
    }

    /// As [`Network::send`], with the buffer that the packet is to arrive in.
    pub fn send_buffer(
        &mut self,
        now: Time,
        flow: FlowId,
        path: &Arc<[NodeId]>,
        carriage: Carriage,
        bytes: BytesMut,
    ) -> (PacketId, Option<Step>) {
        let id = PacketId(self.next_packet);
        self.next_packet += 1;
        let packet = Packet { id, flow, carriage, bytes, is_changed: false };
        self.announce(&packet, path);
        let flight = Flight { packet, path: path.clone(), entered: 0 };
        if path.is_empty() {
            self.take_off(now, flight);
            return (id, None);
        }
        (id, self.enter(now, flight))
    }

    /// When something happens next by itself.
    pub fn next_moment(&self) -> Option<Time> {
        self.flights.keys().next().map(|(at, _)| *at)
    }

    /// Lets one thing happen that is due at `now`; `None` when nothing is.
    pub fn step(&mut self, now: Time) -> Option<Step> {
        let entry = self.flights.first_entry().filter(|entry| entry.key().0 <= now)?;
        let at = entry.key().0;
        let flight = entry.remove();
        if flight.entered == flight.path.len() {
            return Some(Step::Arrived(flight.packet));
        }
        // The time at which it left, so that a driver who comes late does not change what the nodes see.
        Some(self.enter(at, flight).unwrap_or(Step::Moved))
    }

    /// Whether whoever writes a stream along this path may write a segment now. Ask before each one: what is on its way to
    /// a node takes its room, too.
    pub fn has_room(&self, now: Time, path: &[NodeId]) -> bool {
        let mut stations = path.iter().filter_map(|id| self.nodes.get(id));
        stations.all(|station| station.node.has_room(now, station.coming))
    }

    /// How many packets are on their way.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// A segment comes to all nodes of its path: none may lose it, and it stays as long as it is.
    fn announce(&mut self, packet: &Packet, path: &[NodeId]) {
        if packet.carriage == Carriage::Segment {
            for id in path {
                if let Some(station) = self.nodes.get_mut(id) {
                    station.coming += packet.wire_len();
                }
            }
        }
    }

    fn enter(&mut self, now: Time, mut flight: Flight) -> Option<Step> {
        let id = flight.path[flight.entered];
        flight.entered += 1;
        let verdict = self.nodes.get_mut(&id).map_or(Verdict::Forward(now), |station| {
            if flight.packet.carriage == Carriage::Segment {
                station.coming -= flight.packet.wire_len();
            }
            station.node.pass(now, &mut flight.packet, &mut station.chance)
        });
        match verdict {
            Verdict::Forward(at) => self.take_off(now.max(at), flight),
            Verdict::Twice(at, copy_at) => {
                let (packet, path) = (flight.packet.clone(), flight.path.clone());
                let copy = Flight { packet, path, entered: flight.entered };
                self.take_off(now.max(at), flight);
                self.take_off(now.max(copy_at), copy);
            }
            Verdict::Lost => return Some(Step::Lost(flight.packet, id)),
        }
        None
    }

    fn take_off(&mut self, leaves: Time, flight: Flight) {
        self.flights.insert((leaves, self.next_flight), flight);
        self.next_flight += 1;
    }
}
