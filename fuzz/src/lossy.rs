//! `lossy`: a client and a server over a hostile network of datagrams.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use steadfast::{Config, Congestion, LinkKind, Profile};
use steadfast_sim::Side;

use crate::books::CLIENT;
use crate::memory;
use crate::pair::{Op as Play, Setup};
use crate::say;
use crate::scene::Scene;
use crate::talk::Talk;
use crate::wire::is_sealed;

/// More than this many operations tell nothing new.
const MOST: usize = 500;

/// What the links are like, beside what [`pair`](crate::pair) chooses.
#[derive(Arbitrary, Debug)]
struct Terrain {
    mtu: u8,
    window: Option<u8>,
    redundancy: Option<u8>,
}

/// What happens next. Addresses and datagrams are chosen by a number, of as many as there are.
#[derive(Arbitrary, Debug)]
enum Op {
    /// The two sides go on as in [`pair`](crate::pair).
    Play(Play),
    /// A datagram arrives, before those that left earlier: they are late.
    Arrive {
        at: Place,
    },
    /// So many arrive in order, and time goes on by this many microseconds.
    Flow {
        path: u8,
        to_server: bool,
        count: u8,
        time: u16,
    },
    Drop {
        at: Place,
        count: u8,
    },
    Double {
        at: Place,
        times: u8,
    },
    Swap {
        at: Place,
        with: u8,
    },
    /// Bits change, within what the checksum is sure to show.
    Corrupt {
        at: Place,
        burst: Burst,
    },
    Truncate {
        at: Place,
        len: u16,
    },
    Extend {
        at: Place,
        bytes: [u8; 3],
    },
    /// A datagram that once left comes again, at whatever address.
    Replay {
        path: u8,
        to_server: bool,
        tape: u8,
        datagram: u8,
    },
    /// One comes back to its sender.
    Reflect {
        at: Place,
    },
    /// The client's address changes, and it does not notice.
    Rebind {
        path: u8,
    },
    /// A side is told that its link is gone.
    Cut {
        path: u8,
        server: bool,
    },
}

/// A datagram under way.
#[derive(Clone, Copy, Arbitrary, Debug)]
struct Place {
    path: u8,
    to_server: bool,
    datagram: u8,
}

/// Bits next to each other: changes of up to 32 bits in a row are always seen.
#[derive(Clone, Copy, Arbitrary, Debug)]
struct Burst {
    at: u16,
    bits: [u8; 4],
}

/// Whatever applications do, whenever machines are woken and processes restart, and whatever the network does with datagrams
/// that others have made: it loses, doubles, delays, reorders, cuts off and changes them, plays them again and back, and
/// gives the client other addresses. All that [`pair`](crate::pair) says holds: each message once and in order or handed
/// back, and once the network is kind everything comes to rest, closes cleanly, and nothing is left over. A volatile message
/// arrives once at most.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((setup, terrain)) = <(Setup, Terrain)>::arbitrary(&mut u) else { return };
    let (mut client, mut server) = setup.configs();
    terrain.shape(&mut client);
    terrain.shape(&mut server.socket);
    let mut scene = Scene::new(client, server.clone(), setup.rigour(), setup.seed());
    scene.kind = LinkKind::Datagram { mtu: [1200, 1201, 1472, 9000][usize::from(terrain.mtu % 4)] };
    let mut talk = Talk::new(scene);
    if setup.is_ready() {
        talk.scene.deliver_all();
    }
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        talk.scene.weighed = setup.is_weighed().then(|| talk.wants() + 1);
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        say(|| format!("{op:?}"));
        op.perform(&mut talk);
        talk.hear();
    }
    if setup.is_weighed() {
        let packets = talk.scene.tapes.values().map(Vec::len).sum();
        let wants = talk.wants();
        let Talk { mut scene, books, apps, .. } = talk;
        scene.events.clear();
        scene.tapes.clear();
        drop((books, apps));
        return memory::check(scene.into_machines(), &server, wants, packets);
    }
    talk.scene.show_broken_paths();
    talk.calm_down();
    let is_open = !talk.is_closing && !talk.apps[CLIENT].is_over;
    let closer = talk.party(setup.closer());
    talk.close(closer);
    talk.check_end();
    assert!(!is_open || talk.closed_cleanly(), "nothing was under way, and it did not close cleanly");
}

impl Terrain {
    fn shape(&self, config: &mut Config) {
        if let Some(window) = self.window {
            config.congestion = Congestion::FixedWindow { bytes: 2400 + 200 * usize::from(window) };
        }
        if let Some(redundancy) = self.redundancy {
            config.profile = Profile::Interactive { redundancy: 1 + u32::from(redundancy) };
        }
    }
}

impl Op {
    fn perform(self, talk: &mut Talk) {
        match self {
            // An older copy of the client spoils the books.
            Op::Play(Play::Save | Play::GoBack) => {}
            Op::Play(play) => play.perform(talk, &mut None),
            of_the_network => of_the_network.befall(&mut talk.scene),
        }
    }

    fn befall(self, scene: &mut Scene) {
        match self {
            Op::Play(_) => {}
            Op::Arrive { at } => {
                if let Some((path, reader, at)) = at.find(scene) {
                    scene.deliver_datagram(path, reader, at);
                }
            }
            Op::Flow { path, to_server, count, time } => {
                for _ in 0..count {
                    let Some(path) = usize::from(path).checked_rem(scene.paths.len()) else { return };
                    scene.deliver_datagram(path, reader(to_server), 0);
                }
                scene.wait(std::time::Duration::from_micros(time.into()));
            }
            Op::Drop { at, count } => {
                if let Some((path, reader, at)) = at.find(scene) {
                    let queue = &mut scene.paths[path].under_way[reader as usize];
                    queue.drain(at..queue.len().min(at + 1 + usize::from(count)));
                }
            }
            Op::Double { at, times } => {
                if let Some((path, reader, at)) = at.find(scene) {
                    let queue = &mut scene.paths[path].under_way[reader as usize];
                    let datagram = queue[at].clone();
                    (0..=times % 4).for_each(|_| queue.push_back(datagram.clone()));
                }
            }
            Op::Swap { at, with } => {
                if let Some((path, reader, at)) = at.find(scene) {
                    let queue = &mut scene.paths[path].under_way[reader as usize];
                    let with = usize::from(with) % queue.len();
                    queue.swap(at, with);
                }
            }
            Op::Corrupt { at, burst } => at.change(scene, |bytes| burst.strike(bytes)),
            Op::Truncate { at, len } => at.change(scene, |bytes| {
                bytes.truncate(len.into());
                spoil(bytes);
            }),
            Op::Extend { at, bytes } => at.change(scene, |datagram| {
                datagram.extend(bytes);
                spoil(datagram);
            }),
            Op::Replay { path, to_server, tape, datagram } => {
                let Some(path) = usize::from(path).checked_rem(scene.paths.len()) else { return };
                let (address, reader) = (scene.paths[path].address, reader(to_server));
                let tapes: Vec<_> = scene.tapes.iter().filter(|((_, by), _)| *by == reader).collect();
                let Some(tape) = usize::from(tape).checked_rem(tapes.len()).map(|at| tapes[at].1) else { return };
                // The last ones are the most dangerous.
                let Some(back) = usize::from(datagram).checked_rem(tape.len()) else { return };
                let datagram = tape[tape.len() - 1 - back].clone();
                scene.arrive(address, reader, datagram);
            }
            Op::Reflect { at } => {
                if let Some((path, reader, at)) = at.find(scene) {
                    let path = &scene.paths[path];
                    let (address, datagram) = (path.address, path.under_way[reader as usize][at].clone());
                    scene.arrive(address, reader.other(), datagram);
                }
            }
            Op::Rebind { path } => {
                if let Some(path) = usize::from(path).checked_rem(scene.paths.len()) {
                    scene.rebind(path);
                }
            }
            Op::Cut { path, server } => {
                if let Some(path) = usize::from(path).checked_rem(scene.paths.len()) {
                    scene.lose_path(path, reader(server));
                }
            }
        }
    }
}

/// One in 2^32 of what is cut off or extended has a good tag.
fn spoil(bytes: &mut Vec<u8>) {
    if is_sealed(bytes) {
        bytes.clear();
    }
}

fn reader(to_server: bool) -> Side {
    if to_server { Side::Server } else { Side::Client }
}

impl Place {
    /// Which path, whose reader, and at what place in the queue.
    fn find(self, scene: &Scene) -> Option<(usize, Side, usize)> {
        let path = usize::from(self.path).checked_rem(scene.paths.len())?;
        let reader = reader(self.to_server);
        let at = usize::from(self.datagram).checked_rem(scene.paths[path].under_way[reader as usize].len())?;
        Some((path, reader, at))
    }

    fn change(self, scene: &mut Scene, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some((path, reader, at)) = self.find(scene) {
            let datagram = &mut scene.paths[path].under_way[reader as usize][at];
            let mut bytes = datagram.to_vec();
            change(&mut bytes);
            *datagram = Bytes::from(bytes);
        }
    }
}

impl Burst {
    fn strike(self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = usize::from(self.at) % bytes.len();
        bytes[at..].iter_mut().zip(self.bits).for_each(|(byte, bits)| *byte ^= bits);
    }
}
