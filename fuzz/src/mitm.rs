//! `mitm`: a man in the middle of a real client and a real server.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use steadfast::{Incarnation, LinkId, SessionId, State};
use steadfast_sim::{Rigour, Side};

use crate::memory;
use crate::pair::{Op as Play, Setup};
use crate::say;
use crate::scene::{Scene, Still};
use crate::talk::Talk;
use crate::wire::{self, Packet, packets};

/// More than this many operations tell nothing new.
const MOST: usize = 400;

/// What happens next. Links and packets are chosen by a number, of as many as there are under way.
#[derive(Arbitrary, Debug)]
enum Op {
    /// The two sides and their links go on as in [`pair`](crate::pair).
    Play(Play),
    Drop {
        at: Place,
    },
    Repeat {
        at: Place,
        times: u8,
    },
    /// The packet and the one after it change places.
    Swap {
        at: Place,
    },
    /// Bytes of a packet's body are changed.
    Edit {
        at: Place,
        edits: Vec<(u16, u8)>,
    },
    /// A packet that was once written, to whomever, comes before the one there.
    Replay {
        at: Place,
        tape: u8,
        packet: u8,
    },
    /// The same on a link of the stranger's own.
    Impostor {
        tape: u8,
        packet: u8,
        edits: Vec<(u16, u8)>,
    },
    /// Bytes come before the packet there.
    Insert {
        at: Place,
        bytes: Vec<u8>,
        is_body: bool,
    },
    /// The link is no longer where packets begin: some bytes are missing.
    Bite {
        at: Place,
        len: u8,
    },
}

/// A packet under way.
#[derive(Clone, Copy, Arbitrary, Debug)]
struct Place {
    wire: u8,
    to_server: bool,
    packet: u8,
}

/// The stranger sees and changes all that is on links, and opens links of its own. In every case:
///
/// - no panic, the contract of the run loop holds ([`steadfast_sim::Contract`]: each end is told once), and the memory stays
///   within its bound;
/// - a server lets nobody resume a session but on a HELLO that the client itself wrote, each of them once and unchanged;
/// - a client is back in its session only on a WELCOME that the server wrote for this very link, unchanged; and within one
///   incarnation it never changes its session.
///
/// An input then says what the stranger keeps to.
///
/// *Order only.* It drops, repeats, swaps and replays packets of frames within their session, does anything to handshakes
/// that resume one, and replays and changes anything on its own links until their handshake is over. Nothing of that may be
/// seen in the data: all that [`pair`](crate::pair) says of it holds, but that a volatile message may come twice. Sessions
/// may be lost, with everything handed back: a REJECT that says so needs no proof (PROTOCOL.md §12).
///
/// *Anything.* Without TLS who writes on the path can forge frames (§12), so nothing is said about the data.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((seed, is_wild, is_rigorous)) = <(u8, bool, bool)>::arbitrary(&mut u) else { return };
    let rigour = if is_rigorous { Rigour::FULL } else { Rigour::OFF };
    let scene = Scene::of(still(), &Setup::plain().configs().1, rigour, seed.into());
    let mut talk = Talk::new(scene);
    talk.books.is_loose = is_wild;
    talk.books.may_repeat_volatile = true;
    let mut path = Path { talk, is_wild, sessions: BTreeMap::new(), welcomed: BTreeMap::new(), known: None };
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        say(|| format!("{op:?}"));
        path.perform(op);
        path.talk.hear();
        path.check_sessions();
    }
    path.end();
}

/// The path between the two, and what has been seen on it.
struct Path {
    talk: Talk,
    is_wild: bool,
    /// The session of a link, once its handshake is done.
    sessions: BTreeMap<LinkId, SessionId>,
    /// HELLOs that were answered with a WELCOME to a resume, and on which link.
    welcomed: BTreeMap<LinkId, Vec<u8>>,
    known: Option<(Incarnation, SessionId)>,
}

impl Path {
    fn perform(&mut self, op: Op) {
        match op {
            // An older copy of the client spoils the books.
            Op::Play(Play::Save | Play::GoBack) => {}
            Op::Play(play) => play.perform(&mut self.talk, &mut None),
            Op::Drop { at } => self.change(at, |bytes, packet, _| drop(bytes.drain(packet.whole))),
            Op::Repeat { at, times } => self.change(at, |bytes, packet, _| {
                let copies = bytes[packet.whole.clone()].repeat(usize::from(times % 4) + 1);
                bytes.splice(packet.whole.end..packet.whole.end, copies);
            }),
            Op::Swap { at } => self.change(at, |bytes, packet, next| {
                let Some(next) = next else { return };
                let both = [&bytes[next.whole.clone()], &bytes[packet.whole.clone()]].concat();
                bytes.splice(packet.whole.start..next.whole.end, both);
            }),
            Op::Edit { at, edits } => {
                let is_wild = self.is_wild;
                self.change(at, |bytes, packet, _| {
                    if is_wild || wire::is_handshake(&bytes[packet.body.clone()]) {
                        edit(&mut bytes[packet.body], &edits);
                    }
                });
            }
            Op::Replay { at, tape, packet } => self.replay(at, tape, packet),
            Op::Impostor { tape, packet, edits } => self.impostor(tape, packet, &edits),
            Op::Insert { at, bytes, is_body } if self.is_wild => {
                let inserted = if is_body { wire::packet(&bytes) } else { bytes };
                self.change(at, |bytes, packet, _| {
                    bytes.splice(packet.whole.start..packet.whole.start, inserted);
                });
            }
            Op::Bite { at, len } if self.is_wild => self.change(at, |bytes, packet, _| {
                let end = bytes.len().min(packet.whole.start + usize::from(len));
                bytes.drain(packet.whole.start..end);
            }),
            Op::Insert { .. } | Op::Bite { .. } => {}
        }
    }

    /// Changes what is under way at a place, if something is and the stranger may.
    fn change(&mut self, at: Place, change: impl FnOnce(&mut Vec<u8>, Packet, Option<Packet>)) {
        let Some(wire) = usize::from(at.wire).checked_rem(self.talk.scene.wires.len()) else { return };
        let link = self.talk.scene.wires[wire].id;
        let reader = if at.to_server { Side::Server } else { Side::Client };
        let pipe = &self.talk.scene.wires[wire].pipes[reader as usize];
        let (bytes, packets) = (&pipe.bytes, pipe.packets());
        let Some(number) = usize::from(at.packet).checked_rem(packets.len()) else { return };
        // The first handshake of a session has no proof: who changes that decides what the session is.
        let is_first = !self.is_wild && wire::is_handshake(&bytes[packets[number].body.clone()]) && self.opens(link);
        if !is_first {
            let bytes = &mut self.talk.scene.wires[wire].pipes[reader as usize].bytes;
            change(bytes, packets[number].clone(), packets.get(number + 1).cloned());
        }
    }

    /// Whether the client has said on this link that it opens, or nothing yet.
    fn opens(&self, link: LinkId) -> bool {
        self.talk.scene.tapes.get(&(link, Side::Server)).and_then(|tape| tape.first()).is_none_or(|hello| {
            let session = self.known.map(|(_, session)| *session.as_bytes());
            session.is_none_or(|session| !hello.windows(session.len()).any(|window| window == session))
        })
    }

    /// One packet: what is written at once may hold a handshake and the frames behind it, and the stranger may not do the
    /// same with both.
    fn taped(&self, tape: u8, packet: u8) -> Option<(LinkId, Side, Vec<u8>)> {
        let tapes = &self.talk.scene.tapes;
        let ((link, reader), tape) = tapes.iter().nth(usize::from(tape).checked_rem(tapes.len())?)?;
        let packet = usize::from(packet);
        let written = &tape[packet.checked_rem(tape.len())?];
        let packets = packets(written);
        let Packet { whole, .. } = &packets[(packet / tape.len()).checked_rem(packets.len())?];
        Some((*link, *reader, written[whole.clone()].to_vec()))
    }

    fn replay(&mut self, at: Place, tape: u8, packet: u8) {
        let Some((link, reader, taped)) = self.taped(tape, packet) else { return };
        let Some(wire) = usize::from(at.wire).checked_rem(self.talk.scene.wires.len()) else { return };
        let target = self.talk.scene.wires[wire].id;
        let is_frames = wire::first_packet(&taped).is_some_and(|body| !wire::is_handshake(body));
        let is_same_session = self.sessions.contains_key(&link)
            && self.sessions.get(&link) == self.sessions.get(&target)
            && at.to_server == (reader == Side::Server);
        if self.is_wild || !is_frames || is_same_session {
            self.change(at, |bytes, packet, _| {
                bytes.splice(packet.whole.start..packet.whole.start, taped);
            });
        }
    }

    fn impostor(&mut self, tape: u8, packet: u8, edits: &[(u16, u8)]) {
        let Some((_, _, mut taped)) = self.taped(tape, packet) else { return };
        let Some(body) = packets(&taped).first().map(|packet| packet.body.clone()) else { return };
        edit(&mut taped[body], edits);
        let wire = self.talk.scene.raw_link();
        self.talk.scene.wires[wire].pipes[Side::Server as usize].bytes = taped;
        self.talk.scene.deliver(wire, Side::Server, usize::MAX);
    }

    /// Whose sessions are whose.
    fn check_sessions(&mut self) {
        let scene = &self.talk.scene;
        let now = scene.client().session_id().map(|session| (scene.client().incarnation(), session));
        if let (Some(known), Some(now)) = (self.known, now) {
            assert!(known == now || known.0 < now.0, "the client is in another session: {now:?} after {known:?}");
        }
        self.known = now.or(self.known);
        for wire in &scene.wires {
            let written = scene.tapes.get(&(wire.id, Side::Client)).and_then(|tape| tape.first());
            let welcome =
                written.and_then(|bytes| wire::first_packet(bytes)).filter(|body| wire::is_welcome_back(body));
            if welcome.is_some() && !self.welcomed.contains_key(&wire.id) {
                let heard = wire::first_packet(&wire.pipes[Side::Server as usize].head).expect("a HELLO");
                let is_heard = |((_, reader), tape): (&(LinkId, Side), &Vec<bytes::Bytes>)| {
                    let hello = tape.first().and_then(|bytes| wire::first_packet(bytes));
                    *reader == Side::Server && hello == Some(heard)
                };
                assert!(scene.tapes.iter().any(is_heard), "a session was resumed with a HELLO that nobody wrote");
                let is_used = self.welcomed.values().any(|used| used == heard);
                assert!(!is_used, "a session was resumed twice with one HELLO");
                self.welcomed.insert(wire.id, heard.to_vec());
            }
            let is_back = scene.client().state() == State::Ready && wire.is_up[Side::Client as usize];
            let heard = wire::first_packet(&wire.pipes[Side::Client as usize].head);
            if is_back && heard.is_some_and(wire::is_welcome_back) {
                assert_eq!(heard, welcome, "a client is back on a WELCOME that is not for it");
            }
            if let (true, Some((_, session))) = (is_back, self.known) {
                self.sessions.insert(wire.id, session);
            }
        }
    }

    fn end(self) {
        let Path { mut talk, is_wild, .. } = self;
        // What is missing on a link stays so: only a new one fills the gap.
        talk.scene.cut_all([true; 2]);
        if is_wild {
            talk.run_on();
        } else {
            talk.calm_down();
            let closer = talk.party(1);
            talk.close(closer);
            talk.check_end();
        }
        let wants = talk.wants();
        let Talk { mut scene, books, apps, .. } = talk;
        drop((books, apps));
        scene.events.clear();
        scene.tapes.clear();
        memory::check(scene.into_machines(), &Setup::plain().configs().1, wants, 0);
    }
}

fn edit(body: &mut [u8], edits: &[(u16, u8)]) {
    for (at, change) in edits {
        if let Some(at) = usize::from(*at).checked_rem(body.len()) {
            body[at] ^= change;
        }
    }
}

/// A session that has just begun.
fn still() -> &'static Still {
    static STILL: OnceLock<Still> = OnceLock::new();
    STILL.get_or_init(|| {
        let (client, server) = Setup::plain().configs();
        let mut scene = Scene::new(client, server, Rigour::OFF, 5);
        scene.deliver_all();
        scene.events.clear();
        scene.into_still()
    })
}
