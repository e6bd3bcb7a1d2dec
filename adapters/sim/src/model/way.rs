//! What a schedule's links are, and the harm done to what they carry.

use std::time::Duration;

use steadfast::LinkKind;

use crate::conditions::Conditions;
use crate::net::{Carriage, NodeId, Partition, Path};
use crate::rng::Rng;
use crate::world::{Wires, World};

/// Over what a schedule runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    /// Streams, which are cut.
    Streams,
    /// Datagrams, which are lost, doubled, reordered and changed as well, on ways of any composition. With one seed in three a
    /// socket may be taken up over a stream, and after that over datagrams again.
    Datagrams,
}

/// What stands between the clients and the servers of a schedule.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) links: Links,
    /// Whether links of datagrams and of streams follow each other; unknown before the first was chosen.
    is_mixed: Option<bool>,
    partitions: [Option<NodeId>; 2],
    nodes: Vec<NodeId>,
}

impl Way {
    pub(super) fn new(links: Links) -> Way {
        Way { links, is_mixed: None, partitions: [None; 2], nodes: Vec::new() }
    }

    /// Other conditions, and for datagrams another way.
    pub(super) fn worsen(&mut self, world: &mut World, rng: &mut Rng) {
        if self.links == Links::Streams {
            world.conditions = Conditions::rough(rng);
            return;
        }
        let is_mixed = *self.is_mixed.get_or_insert_with(|| rng.one_in(3));
        world.conditions = Conditions::rough_datagrams(rng);
        if is_mixed && rng.one_in(2) {
            world.conditions.kind = LinkKind::Stream;
        }
        self.lay(world, rng);
    }

    /// Lays the way anew, in each direction for itself.
    fn lay(&mut self, world: &mut World, rng: &mut Rng) {
        for node in self.nodes.drain(..) {
            world.network().remove(node);
        }
        let [to_server, to_client] = [0, 1].map(|direction| {
            let partition = world.network().add(Partition::new());
            self.partitions[direction] = Some(partition);
            let path = if rng.one_in(4) { Path::default() } else { Path::rough(rng) };
            let path = path.build(world.network(), Carriage::Datagram).expect("a way for datagrams");
            let nodes: Vec<NodeId> = std::iter::once(partition).chain(path).collect();
            self.nodes.extend(&nodes);
            nodes
        });
        world.wire(Wires { to_server, to_client });
    }

    /// Something that only datagrams meet.
    pub(super) fn trouble(&mut self, world: &mut World, rng: &mut Rng) {
        match rng.below(4) {
            0 => self.lay(world, rng),
            1 => {
                let time = world.now()..world.now() + Duration::from_micros(rng.number(0..=3_000_000));
                let (from, to) = *rng.pick(&[(0, 1), (1, 2), (0, 2)]);
                for partition in self.partitions[from..to].iter().flatten() {
                    world.network().node_mut::<Partition>(*partition).part(time.clone());
                }
            }
            2 if world.conditions.kind != LinkKind::Stream => {
                world.conditions.kind = Conditions::rough_datagrams(rng).kind;
            }
            _ => {
                let links = world.live_links();
                if !links.is_empty() {
                    let link = *rng.pick(&links);
                    world.rebind(link);
                }
            }
        }
    }
}
