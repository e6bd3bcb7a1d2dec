//! `datagrams`: datagrams of any kind beside those that belong to a session.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use steadfast::{LaneId, LinkKind, State};
use steadfast_sim::{Rigour, Side};

use crate::books::millis;
use crate::memory;
use crate::packets::{FURNISHED, Told, config, ends, furnish, read};
use crate::say;
use crate::scene::{End, Scene, Still};
use crate::wire::{ShortHead, is_sealed, seal};

/// More than this many operations tell nothing new.
const MOST: usize = 200;
/// How far above the next one that is expected a packet number has to be to be dropped (PROTOCOL.md §14.1).
const FAR: u64 = 1 << 16;

/// What happens next.
#[derive(Arbitrary, Debug)]
enum Op {
    Send {
        server: bool,
        len: u16,
    },
    Read,
    /// So many datagrams arrive.
    Arrive {
        to_server: bool,
        count: u8,
    },
    Lose {
        to_server: bool,
    },
    Wait {
        time: u16,
    },
    Sleep,
    /// A stranger's datagram.
    Stray {
        to_server: bool,
        stray: Stray,
    },
    /// A packet of this session's, with frames that its peer has not written. The number is this much above the last one.
    Forge {
        to_server: bool,
        above: u8,
        frames: Vec<u8>,
    },
}

/// Datagrams that are to be dropped, as if they had never come. Those of the session are chosen by a number, from the newest.
#[derive(Arbitrary, Debug)]
enum Stray {
    Noise(Vec<u8>),
    /// One of the session's with changed bits, of which there are at most 32 in a row.
    Changed {
        which: u8,
        at: u16,
        bits: [u8; 4],
    },
    Cut {
        which: u8,
        len: u16,
    },
    Extended {
        which: u8,
        bytes: [u8; 2],
    },
    /// One that has arrived.
    Replayed {
        which: u8,
    },
    /// One of the other direction.
    Reflected {
        which: u8,
    },
    FarAhead {
        ahead: u64,
        frames: Vec<u8>,
    },
    /// Another session's.
    Foreign {
        id: [u8; 8],
        number: u64,
        frames: Vec<u8>,
    },
    /// Reserved bits are set.
    Reserved {
        which: u8,
        bits: u8,
    },
    /// Nothing behind the packet number.
    Empty {
        above: u8,
    },
    /// A handshake, or an answer to one, that is not under way; to the client only.
    Long {
        is_cookie: bool,
        rest: Vec<u8>,
    },
}

/// A session on a datagram link goes its way over a path that loses, and strangers' datagrams come beside its own: noise,
/// datagrams of the session that are changed, cut off, extended, played again and back, packets of other sessions, with
/// numbers far ahead, of reserved forms.
///
/// - No panic, and the contract of the run loop holds ([`steadfast_sim::Contract`]); the memory stays within its bound.
/// - Strangers' datagrams change nothing: what both machines put out, tell and are is the same as in a run without them.
///
/// An input may also forge: packets of the session with any frames. Of those only the first is said.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((seed, may_forge)) = <(u8, bool)>::arbitrary(&mut u) else { return };
    let rigour = if may_forge { Rigour::FULL } else { Rigour::OFF };
    let run = || Run::new(rigour, seed.into());
    let (mut main, mut other) = (run(), if may_forge { None } else { Some(run()) });
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        // A packet that is refused for a forged one's sake comes into its own when it is played again.
        if matches!(op, Op::Forge { .. }) && !may_forge {
            continue;
        }
        say(|| format!("{op:?}"));
        main.perform(&op);
        if let Some(other) = &mut other {
            match &op {
                Op::Stray { to_server, .. } => other.nudge(reader(*to_server)),
                op => other.perform(op),
            }
            assert!(main.is_like(other), "a stranger's datagram has changed something");
        }
    }
    let Run { mut scene, .. } = main;
    let datagrams = scene.tapes.values().map(Vec::len).sum();
    drop(other);
    scene.events.clear();
    scene.tapes.clear();
    memory::check(scene.into_machines(), &config(), FURNISHED, datagrams);
}

/// A session and what has come of it.
struct Run {
    scene: Scene,
    told: Told,
    /// Packets that have arrived, by reader.
    arrived: [Vec<Bytes>; 2],
}

impl Run {
    fn new(rigour: Rigour, seed: u64) -> Run {
        Run { scene: Scene::of(still(), &config(), rigour, seed), told: Told::default(), arrived: Default::default() }
    }

    fn perform(&mut self, op: &Op) {
        match op {
            Op::Send { server, len } => {
                let end = if *server { ends(&self.scene).last().copied() } else { Some(End::Client) };
                let Some(end) = end else { return };
                let message = vec![*len as u8; usize::from(*len) % 2000];
                // It may be refused: the buffer can be full, the session over.
                drop(self.scene.with(end, |socket, now| socket.send(now, LaneId::MAIN, message.clone().into())));
            }
            Op::Read => read(&mut self.scene, &mut self.told),
            Op::Arrive { to_server, count } => (0..=*count).for_each(|_| self.arrive(reader(*to_server))),
            Op::Lose { to_server } => {
                if let Some(path) = self.scene.paths.last_mut() {
                    path.under_way[reader(*to_server) as usize].pop_front();
                }
            }
            Op::Wait { time } => self.wait(*time),
            Op::Sleep => {
                self.scene.answer_dial(true);
                self.scene.sleep();
            }
            Op::Stray { to_server, stray } => {
                let reader = reader(*to_server);
                self.nudge(reader);
                if let Some(bytes) = self.make(stray, reader).filter(|_| self.link(reader).is_some()) {
                    let address = self.scene.paths.last().expect("a path").address;
                    self.scene.arrive(address, reader, bytes);
                }
            }
            Op::Forge { to_server, above, frames } => {
                let reader = reader(*to_server);
                let Some((head, _)) = self.newest(reader) else { return };
                let number = head.number + 1 + u64::from(*above);
                let address = self.scene.paths.last().expect("a path").address;
                self.scene.arrive(address, reader, ShortHead { number, ..head }.packet(frames));
            }
        }
    }

    /// What is overdue is done when anything comes, and what was paced may leave a little early.
    fn nudge(&mut self, reader: Side) {
        self.wait(0);
        for end in ends(&self.scene).into_iter().filter(|end| (*end == End::Client) == (reader == Side::Client)) {
            self.scene.with(end, |socket, now| socket.handle_timeout(now));
        }
    }

    /// Time passes, and whoever is due is woken.
    fn wait(&mut self, time: u16) {
        self.scene.wait(millis(time));
        for side in Side::BOTH {
            if self.scene.deadline(side).is_some_and(|at| at <= self.scene.now) {
                self.scene.wake(side);
            }
        }
    }

    /// Whether the link of the newest path is there for this reader: a datagram for none would be the first of a new one.
    fn link(&self, reader: Side) -> Option<steadfast::LinkId> {
        self.scene.paths.last()?.links[reader as usize]
    }

    fn arrive(&mut self, reader: Side) {
        let Some(path) = self.scene.paths.len().checked_sub(1) else { return };
        let next = self.scene.paths[path].under_way[reader as usize].front().cloned();
        // In the client's life before it was ready, a packet may have come too early and count for nothing.
        let is_ready = self.scene.client().state() == State::Ready;
        self.scene.deliver_datagram(path, reader, 0);
        if let Some(bytes) = next.filter(|bytes| is_ready && ShortHead::of(bytes).is_some()) {
            self.arrived[reader as usize].push(bytes);
        }
    }

    /// The packets for a reader, on all links there were.
    fn written(&self, reader: Side) -> Vec<&Bytes> {
        let tapes = self.scene.tapes.iter().filter(|((_, by), _)| *by == reader);
        tapes.flat_map(|(_, tape)| tape).collect()
    }

    /// The head of the newest packet for a reader, and what is behind it.
    fn newest(&self, reader: Side) -> Option<(ShortHead, &Bytes)> {
        self.written(reader).into_iter().rev().find_map(|bytes| Some((ShortHead::of(bytes)?, bytes)))
    }

    fn make(&self, stray: &Stray, reader: Side) -> Option<Bytes> {
        let written = self.written(reader);
        let pick = |which: &u8, of: &[&Bytes]| {
            let back = usize::from(*which).checked_rem(of.len())?;
            Some(of[of.len() - 1 - back].to_vec())
        };
        let unless_same = |bytes: Vec<u8>, former: &[u8]| (bytes != former).then(|| Bytes::from(bytes));
        match stray {
            Stray::Noise(bytes) => Some(Bytes::copy_from_slice(bytes)).filter(|bytes| !is_sealed(bytes)),
            Stray::Changed { which, at, bits } => {
                let former = pick(which, &written)?;
                let mut bytes = former.clone();
                let at = usize::from(*at) % bytes.len();
                bytes[at..].iter_mut().zip(bits).for_each(|(byte, bits)| *byte ^= bits);
                unless_same(bytes, &former)
            }
            // Of those that are longer or shorter one in 2^32 has a good tag.
            Stray::Cut { which, len } => {
                let former = pick(which, &written)?;
                let cut = former[..usize::from(*len).min(former.len())].to_vec();
                unless_same(cut, &former).filter(|cut| !is_sealed(cut))
            }
            Stray::Extended { which, bytes } => {
                let extended = [&pick(which, &written)?[..], bytes].concat();
                Some(extended.into()).filter(|extended: &Bytes| !is_sealed(extended))
            }
            Stray::Replayed { which } => {
                let arrived: Vec<&Bytes> = self.arrived[reader as usize].iter().collect();
                pick(which, &arrived).map(Bytes::from)
            }
            Stray::Reflected { which } => {
                let other: Vec<&Bytes> = self.written(reader.other()).into_iter().filter(|it| it[0] < 0x80).collect();
                pick(which, &other).map(Bytes::from)
            }
            Stray::FarAhead { ahead, frames } => {
                let (head, _) = self.newest(reader)?;
                let number = head.number.saturating_add(1 + FAR).saturating_add(*ahead);
                Some(ShortHead { number, ..head }.packet(frames))
            }
            Stray::Foreign { id, number, frames } => {
                let known: BTreeSet<[u8; 8]> =
                    written.iter().filter_map(|it| ShortHead::of(it)).map(|it| it.id).collect();
                (!known.contains(id)).then(|| ShortHead { flags: 0, id: *id, number: *number }.packet(frames))
            }
            Stray::Reserved { which, bits } => {
                let mut bytes = pick(which, &written)?;
                bytes[0] |= (bits & 0x5F).max(1);
                bytes.truncate(bytes.len() - 4);
                // Of the long form only two are known.
                (bytes[0] & 0x80 == 0 || bytes[0] > 0x81).then(|| seal(bytes))
            }
            Stray::Empty { above } => {
                let (head, _) = self.newest(reader)?;
                Some(ShortHead { number: head.number + 1 + u64::from(*above), ..head }.packet(&[]))
            }
            Stray::Long { is_cookie, rest } => {
                let is_under_way = self.scene.client().state() != State::Ready;
                let body = [&[0x80 | u8::from(*is_cookie)][..], rest].concat();
                (reader == Side::Client && !is_under_way).then(|| seal(body))
            }
        }
    }

    /// Whether nothing tells the two runs apart.
    fn is_like(&self, other: &Run) -> bool {
        let (one, two) = (&self.scene, &other.scene);
        let is_like = |end: &End| one.socket(*end).snapshot(one.now) == two.socket(*end).snapshot(two.now);
        one.tapes == two.tapes
            && one.events == two.events
            && self.told == other.told
            && Side::BOTH.into_iter().all(|side| one.deadline(side) == two.deadline(side))
            && ends(one) == ends(two)
            && ends(one).iter().all(is_like)
    }
}

fn reader(to_server: bool) -> Side {
    if to_server { Side::Server } else { Side::Client }
}

/// A session with something of everything under way.
fn still() -> &'static Still {
    static STILL: OnceLock<Still> = OnceLock::new();
    STILL.get_or_init(|| {
        let mut scene = Scene::new(config().socket, config(), Rigour::OFF, 13);
        scene.kind = LinkKind::Datagram { mtu: 1200 };
        scene.deliver_all();
        furnish(&mut scene);
        scene.events.clear();
        scene.into_still()
    })
}
