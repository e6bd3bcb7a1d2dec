//! `cookies`: a server against arbitrary datagrams from arbitrary addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use steadfast::{
    CloseReason, Event, LaneId, LinkAction, LinkId, LinkKind, Received, ServerConfig, Socket, State, Time,
};
use steadfast_sim::{Rigour, Side};

use crate::books::millis;
use crate::memory;
use crate::say;
use crate::scene::{End, Path, Scene, Still};
use crate::wire::seal;

/// More than this many operations tell nothing new.
const MOST: usize = 200;
const MTU: LinkKind = LinkKind::Datagram { mtu: 1200 };
/// The bystander's address is the first one.
const BYSTANDER: usize = 0;
/// Where datagrams seem to come from of which nobody hears the answers.
const ELSEWHERE: u64 = 1 << 40;
/// Where those live that have a client of their own.
const THERE: u64 = 1 << 41;
const THIEVES: usize = 2;
/// How many times what came from an address that is not proven may go there.
const AMPLIFICATION: usize = 3;

/// What strangers do.
#[derive(Arbitrary, Debug)]
enum Op {
    /// A thief lives somewhere, where it hears what it is told, and has a real client.
    Thief {
        which: bool,
        does: Deed,
    },
    /// Something that thieves have sent, or were told, comes from an address that is not theirs.
    Spoof {
        from: Elsewhere,
        which: u8,
        edits: Vec<(u16, u8)>,
        len: Option<u16>,
        is_sealed: bool,
    },
    /// Any bytes, with a tag that is right.
    Forge {
        from: Elsewhere,
        bytes: Vec<u8>,
    },
    /// The same comes from so many addresses that were never heard of.
    Flood {
        which: u8,
        count: u8,
    },
    Accept,
    Reject {
        again: Option<u8>,
        reason: u8,
    },
    Wait {
        time: u16,
    },
    Sleep,
    /// The application says something to every socket, or ends it.
    Say {
        len: u16,
    },
    Abort {
        reason: u8,
    },
    Remove,
    Bystander,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    /// Dials, from where it was or from a new address.
    Dial {
        is_new: bool,
    },
    Send {
        len: u16,
    },
    /// What it has to send reaches the server.
    Speak,
    /// What it has to send is kept for others to use.
    Keep,
    Hear,
    Close,
}

#[derive(Clone, Copy, Arbitrary, Debug)]
enum Elsewhere {
    Address(u8),
    /// Where the bystander is.
    Bystander,
}

/// Strangers send a server what they like: noise, and all that real clients have sent it, changed, cut off, too late or again,
/// from addresses of which they do not hear. A few have clients and sessions of their own. Beside them a real client, the
/// bystander, has a session, and they know its address.
///
/// - No panic, and the contract of the run loop holds ([`steadfast_sim::Contract`]).
/// - From an address at which nobody hears what is said, nothing is opened, and the server keeps no more links than the
///   configuration allows.
/// - No more goes to such an address than three times what came from there, whatever was proven elsewhere.
/// - The memory is within its bound.
/// - The bystander keeps its link, and what it says is answered.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((seed, is_rigorous)) = <(u8, bool)>::arbitrary(&mut u) else { return };
    let rigour = if is_rigorous { Rigour::FULL } else { Rigour::OFF };
    let scene = Scene::of(still(), &config(), rigour, seed.into());
    let thieves = (0..THIEVES).map(|nth| Thief::new(nth, scene.now)).collect();
    let mut street =
        Street { scene, thieves, heard: BTreeMap::new(), said: BTreeMap::new(), loot: Vec::new(), spoken: 0, fresh: 0 };
    street.scene.weighed = (!is_rigorous).then_some(0);
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        say(|| format!("{op:?}"));
        street.perform(op);
        street.check_limits();
    }
    street.bystander_speaks();
    let datagrams = street.scene.tapes.values().map(Vec::len).sum();
    let Street { mut scene, .. } = street;
    scene.events.clear();
    scene.tapes.clear();
    scene.paths.clear();
    memory::check(scene.into_machines(), &config(), 0, datagrams);
}

/// A server, its bystander, and strangers.
struct Street {
    scene: Scene,
    thieves: Vec<Thief>,
    /// By address at which nobody hears: bytes from there, and bytes to there.
    heard: BTreeMap<u64, usize>,
    said: BTreeMap<u64, usize>,
    /// All that thieves have sent.
    loot: Vec<Bytes>,
    spoken: u32,
    fresh: u64,
}

/// A client, the link that it thinks it has, and its address.
struct Thief {
    socket: Socket,
    link: Option<LinkId>,
    address: u64,
    links: u64,
}

impl Thief {
    fn new(nth: usize, now: Time) -> Thief {
        let config = Arc::new(config().socket);
        let socket = Socket::new(config, vec!["there".into()], "a thief".into(), [nth as u8 + 1; 32], now);
        let address = THERE + ((nth as u64) << 32);
        Thief { socket: socket.expect("a configuration that works"), link: None, address, links: 0 }
    }

    fn dial(&mut self, now: Time, is_new: bool) {
        self.address += u64::from(is_new);
        self.socket.reconnect_now(now);
        self.socket.connect(now);
        self.attend(now);
    }

    /// Answers what it wants of its adapter, and forgets what it is told.
    fn attend(&mut self, now: Time) {
        while let Some(action) = self.socket.poll_link_action() {
            match action {
                LinkAction::Dial(_) => {
                    self.links += 1;
                    self.link = Some(LinkId(self.links));
                    self.socket.handle_link_up(now, LinkId(self.links), MTU);
                }
                LinkAction::HangUp(link) => drop(self.link.take_if(|its| *its == link)),
                LinkAction::CancelDial | LinkAction::Flush(_) => {}
            }
        }
        while self.socket.poll_event().is_some() {}
        while matches!(self.socket.recv(now, LaneId::MAIN), Some(Received::Message(_) | Received::Ask(..))) {}
        self.socket.take_unconfirmed(now);
    }

    fn output(&mut self, now: Time) -> Vec<Bytes> {
        let Some(link) = self.link else { return Vec::new() };
        let all = std::iter::from_fn(|| self.socket.poll_transmit(now, link));
        let all = all.map(|transmit| transmit.segments().concat().into()).collect();
        self.attend(now);
        all
    }
}

impl Street {
    fn perform(&mut self, op: Op) {
        match op {
            Op::Thief { which, does } => self.steal(usize::from(which), does),
            Op::Spoof { from, which, edits, len, is_sealed } => {
                let Some(back) = usize::from(which).checked_rem(self.loot.len()) else { return };
                let mut bytes = self.loot[self.loot.len() - 1 - back].to_vec();
                bytes.truncate(if is_sealed { bytes.len() - 4 } else { bytes.len() });
                bytes.truncate(len.map_or(usize::MAX, usize::from));
                for (at, change) in edits {
                    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
                        bytes[at] ^= change;
                    }
                }
                self.spoof(from, if is_sealed { seal(bytes) } else { bytes.into() });
            }
            Op::Forge { from, bytes } => self.spoof(from, seal(bytes)),
            Op::Flood { which, count } => {
                let Some(back) = usize::from(which).checked_rem(self.loot.len()) else { return };
                for _ in 0..count {
                    self.fresh += 1;
                    let bytes = self.loot[self.loot.len() - 1 - back].clone();
                    self.arrive(ELSEWHERE + 256 + self.fresh, bytes);
                    self.check_limits();
                }
            }
            Op::Accept => drop(self.scene.accept_all()),
            Op::Reject { again, reason } => {
                let text = "x".repeat(reason.into());
                let again = again.map(|tenths| millis(100 * u16::from(tenths)));
                for open in std::mem::take(&mut self.scene.opens) {
                    let reason = CloseReason::app(9, text.clone());
                    let _ = self.scene.command(|server, now| server.reject(now, open, reason.clone(), again));
                }
            }
            Op::Wait { time } => self.wait(time),
            Op::Sleep => {
                self.scene.sleep();
                keep_bystander(&mut self.scene);
            }
            Op::Say { len } => self.for_others(|socket, now| {
                drop(socket.send(now, LaneId::MAIN, vec![7; usize::from(len) % 2000].into()));
            }),
            Op::Abort { reason } => {
                let reason = CloseReason::app(4, "x".repeat(reason.into()));
                self.for_others(|socket, now| socket.abort(now, reason.clone()));
            }
            Op::Remove => {
                let is_over = |id: &_| self.scene.server().socket(*id).is_some_and(|it| it.state() == State::Closed);
                let over: Vec<_> = self.scene.server().sockets().filter(is_over).collect();
                over.into_iter().for_each(|id| self.scene.command(|server, now| server.remove(now, id)));
            }
            Op::Bystander => self.bystander_speaks(),
        }
        self.scene.events.retain(|(end, event)| *end == End::Client && matches!(event, Event::Closed(_)));
    }

    fn steal(&mut self, which: usize, deed: Deed) {
        let now = self.scene.now;
        let thief = &mut self.thieves[which];
        thief.socket.handle_timeout(now);
        thief.attend(now);
        match deed {
            Deed::Dial { is_new } => thief.dial(now, is_new),
            Deed::Send { len } => {
                drop(thief.socket.send(now, LaneId::MAIN, vec![3; usize::from(len) % 2000].into()));
                thief.attend(now);
            }
            Deed::Speak => {
                let address = thief.address;
                for datagram in thief.output(now) {
                    self.loot.push(datagram.clone());
                    self.arrive(address, datagram);
                }
            }
            Deed::Keep => {
                let kept = thief.output(now);
                self.loot.extend(kept);
            }
            Deed::Hear => {
                let address = thief.address;
                let path = self.scene.paths.iter_mut().find(|path| path.address == address);
                let told = path.map(|path| std::mem::take(&mut path.under_way[Side::Client as usize]));
                for datagram in told.into_iter().flatten() {
                    self.loot.push(datagram.clone());
                    if let Some(link) = thief.link {
                        thief.socket.handle_bytes(now, link, datagram);
                        thief.attend(now);
                    }
                }
            }
            Deed::Close => {
                thief.socket.close(now, CloseReason::app(1, "done"));
                thief.attend(now);
            }
        }
    }

    fn spoof(&mut self, from: Elsewhere, bytes: Bytes) {
        let before = (self.scene.opens.len(), self.scene.server().len());
        match from {
            Elsewhere::Address(address) => self.arrive(ELSEWHERE + u64::from(address % 8), bytes),
            Elsewhere::Bystander => self.arrive(self.scene.paths[BYSTANDER].address, bytes),
        }
        assert!((self.scene.opens.len(), self.scene.server().len()) <= before, "opened by somebody who is not there");
    }

    /// A datagram arrives that was not the bystander's.
    fn arrive(&mut self, address: u64, bytes: Bytes) {
        if !self.scene.paths.iter().any(|path| path.address == address) {
            self.scene.paths.push(Path::new(address, [None; 2]));
        }
        *self.heard.entry(address).or_default() += bytes.len();
        self.scene.arrive(address, Side::Server, bytes);
    }

    /// Time passes in steps in which the bystander is heard of.
    fn wait(&mut self, time: u16) {
        let end = self.scene.now + millis(time);
        while Side::BOTH.into_iter().filter_map(|side| self.scene.deadline(side)).any(|at| at <= end) {
            if !self.scene.sleep() {
                break;
            }
            keep_bystander(&mut self.scene);
        }
        self.scene.wait(end.since(self.scene.now));
    }

    fn bystander(&self) -> End {
        End::Server(self.scene.peer().expect("the bystander's socket"))
    }

    fn bystander_speaks(&mut self) {
        self.spoken += 1;
        let text = format!("number {}", self.spoken);
        let server = self.bystander();
        self.scene.converse(server, &text, 20, keep_bystander);
    }

    /// The application does something with each socket but the bystander's.
    fn for_others(&mut self, does: impl Fn(&mut Socket, Time)) {
        let bystander = self.bystander();
        let others: Vec<End> = self.scene.server().sockets().map(End::Server).filter(|end| *end != bystander).collect();
        others.into_iter().for_each(|end| self.scene.with(end, |socket, now| does(socket, now)));
    }

    fn check_limits(&mut self) {
        let config = config();
        let server = self.scene.server();
        assert!(server.len() <= config.max_sockets, "{} sockets live", server.len());
        assert!(self.scene.opens.len() <= config.max_pending, "{} opens wait", self.scene.opens.len());
        let up = self.scene.paths.iter().filter(|path| path.links[Side::Server as usize].is_some()).count();
        let most = 2 * config.max_sockets + config.max_pending + 2 * config.max_unknown_links;
        assert!(up <= most, "{up} links are up");
        for path in self.scene.paths.iter_mut().filter(|path| (ELSEWHERE..THERE).contains(&path.address)) {
            let said = self.said.entry(path.address).or_default();
            *said += path.under_way[Side::Client as usize].drain(..).map(|datagram| datagram.len()).sum::<usize>();
            let heard = self.heard.get(&path.address).copied().unwrap_or(0);
            assert!(*said <= AMPLIFICATION * heard, "{said} bytes were said for {heard} to who may not be there");
        }
        // An address to which nothing is said any more is of interest no more.
        let is_up = |path: &Path| path.links != [None; 2] || path.address >= THERE;
        self.scene.paths.retain(is_up);
        let link = self.scene.paths[BYSTANDER].links;
        let is_kept = link.iter().all(Option::is_some) && self.scene.client().state() == State::Ready;
        assert!(is_kept, "the bystander has lost its link");
        keep_bystander(&mut self.scene);
        assert_eq!(self.scene.client().stats().resumes, 0, "the bystander was driven out");
    }
}

/// A server with a bystander's session.
fn still() -> &'static Still {
    static STILL: OnceLock<Still> = OnceLock::new();
    STILL.get_or_init(|| {
        let mut scene = Scene::new(config().socket, config(), Rigour::OFF, 17);
        scene.kind = MTU;
        scene.deliver_all();
        scene.events.clear();
        scene.tapes.clear();
        scene.into_still()
    })
}

fn config() -> ServerConfig {
    let mut config = crate::packets::config();
    config.socket.retention = millis(20_000);
    (config.max_sockets, config.max_pending, config.max_unknown_links) = (5, 2, 3);
    config
}

fn keep_bystander(scene: &mut Scene) {
    while Side::BOTH.into_iter().any(|side| scene.deliver_datagram(BYSTANDER, side, 0)) {}
}
