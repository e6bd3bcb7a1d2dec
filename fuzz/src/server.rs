//! `server`: a server against arbitrary bytes on many links.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use steadfast::{Config, Event, LaneId, LinkAction, LinkId, LinkKind, Received, ServerConfig, Socket, State, Time};
use steadfast_sim::{Rigour, Side};

use crate::books::millis;
use crate::memory;
use crate::say;
use crate::scene::{End, Scene, Still};
use crate::wire::packet;

/// More than this many operations tell nothing new.
const MOST: usize = 300;

/// What strangers do. Links are chosen by a number, of as many as there are.
#[derive(Arbitrary, Debug)]
enum Op {
    Link,
    /// It reads what the server has written to it so far; until then there is room for a little.
    Read {
        link: u8,
    },
    Bytes {
        link: u8,
        bytes: Vec<u8>,
    },
    /// The same as the body of a packet.
    Packet {
        link: u8,
        body: Vec<u8>,
    },
    /// Something that a real client has written, with changes.
    Captured {
        link: u8,
        which: u8,
        cut: Option<u16>,
        edits: Vec<(u16, u8)>,
        piece: u8,
    },
    LinkDown {
        link: u8,
    },
    Accept,
    Reject {
        again: Option<u8>,
    },
    Wait {
        time: u16,
    },
    Sleep,
    /// The application forgets the sockets that have ended, or all but the bystander's.
    Remove {
        all: bool,
    },
    /// Every stranger's socket is read and answered.
    Serve,
    /// The bystander says something and is answered.
    Bystander,
}

/// What a real client of this server has written, one piece for each time that it was asked: its HELLOs, and packets of its
/// session.
struct Moment {
    still: Still,
    captured: Vec<Vec<u8>>,
}

/// Strangers open links and write what they like on them: noise, packets, and what a real client has written to this very
/// server, cut off and changed. Beside them a real client, the bystander, has a session.
///
/// - No panic, and the contract of the run loop holds ([`steadfast_sim::Contract`]).
/// - No more links are up, opens wait and sockets live than the configuration says, and the memory is within its bound.
/// - The bystander keeps its link, and what it says is answered, at the end and whenever it speaks.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((seed, is_rigorous)) = <(u8, bool)>::arbitrary(&mut u) else { return };
    let rigour = if is_rigorous { Rigour::FULL } else { Rigour::OFF };
    let Moment { still, captured } = moment();
    let mut street = Street { scene: Scene::of(still, &config(), rigour, seed.into()), said: 0 };
    street.scene.room = 3000;
    street.scene.weighed = (!is_rigorous).then_some(0);
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut u) else { break };
        say(|| format!("{op:?}"));
        street.perform(op, captured);
        street.check_limits();
    }
    street.bystander_speaks();
    let mut scene = street.scene;
    scene.events.clear();
    scene.tapes.clear();
    memory::check(scene.into_machines(), &config(), 0, 0);
}

/// A server, its bystander, and strangers.
struct Street {
    scene: Scene,
    said: u32,
}

/// The bystander's link is the first one.
const BYSTANDER: usize = 0;

impl Street {
    fn perform(&mut self, op: Op, captured: &[Vec<u8>]) {
        match op {
            Op::Link => drop(self.scene.raw_link()),
            Op::Read { link } => {
                if let Some(wire) = self.stranger(link) {
                    self.scene.deliver(wire, Side::Client, usize::MAX);
                }
            }
            Op::Bytes { link, bytes } => self.write(link, &bytes, usize::MAX),
            Op::Packet { link, body } => self.write(link, &packet(&body), usize::MAX),
            Op::Captured { link, which, cut, edits, piece } => {
                let mut bytes = captured[usize::from(which) % captured.len()].clone();
                bytes.truncate(cut.map_or(usize::MAX, usize::from));
                for (at, change) in edits {
                    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
                        bytes[at] ^= change;
                    }
                }
                self.write(link, &bytes, if piece == 0 { usize::MAX } else { piece.into() });
            }
            Op::LinkDown { link } => {
                if let Some(wire) = self.stranger(link) {
                    self.scene.cut(wire, [0; 2], [true; 2]);
                    self.scene.deliver(wire, Side::Server, 0);
                }
            }
            Op::Accept => drop(self.scene.accept_all()),
            Op::Reject { again } => self.scene.reject(again.map(|tenths| millis(100 * u16::from(tenths)))),
            Op::Wait { time } => self.wait(time),
            Op::Sleep => {
                self.scene.sleep();
                keep_bystander(&mut self.scene);
            }
            Op::Remove { all } => self.remove(all),
            Op::Serve => self.serve(),
            Op::Bystander => self.bystander_speaks(),
        }
    }

    fn stranger(&self, link: u8) -> Option<usize> {
        let strangers = self.scene.wires.len() - 1;
        (strangers > 0).then(|| 1 + usize::from(link) % strangers)
    }

    fn write(&mut self, link: u8, bytes: &[u8], piece: usize) {
        let Some(wire) = self.stranger(link) else { return };
        let pipe = &mut self.scene.wires[wire].pipes[Side::Server as usize];
        pipe.bytes.extend_from_slice(bytes);
        while self.scene.deliver(wire, Side::Server, piece) {}
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
        self.scene.now = self.scene.now.max(end);
    }

    fn bystander(&self) -> End {
        End::Server(self.scene.peer().expect("the bystander's socket"))
    }

    fn bystander_speaks(&mut self) {
        self.said += 1;
        let text = format!("number {}", self.said);
        let server = self.bystander();
        self.scene.converse(server, &text, 0, keep_bystander);
    }

    fn remove(&mut self, all: bool) {
        let bystander = self.bystander();
        let ids: Vec<_> = self.scene.server().sockets().filter(|id| End::Server(*id) != bystander).collect();
        for id in ids {
            if all || self.scene.server().socket(id).is_some_and(|socket| socket.state() == State::Closed) {
                self.scene.command(|server, now| server.remove(now, id));
                self.scene.events.retain(|(end, _)| *end != End::Server(id));
            }
        }
    }

    /// Every socket but the bystander's takes what there is, answers with it, and opens a lane of its own.
    fn serve(&mut self) {
        let bystander = self.bystander();
        let lanes: BTreeSet<(_, LaneId)> = std::mem::take(&mut self.scene.events)
            .into_iter()
            .filter_map(|(end, event)| match (end, event) {
                (End::Server(id), Event::Readable(lane)) if end != bystander => Some((id, lane)),
                _ => None,
            })
            .collect();
        for (id, lane) in lanes {
            if self.scene.server().socket(id).is_none() {
                continue;
            }
            let end = End::Server(id);
            // It may be refused: the lane can be over, the buffer full.
            let _ = self.scene.with(end, |socket, now| socket.open_lane(now, Default::default()));
            drop(self.scene.with(end, |socket, now| socket.read(now, lane, 1000)));
            while let Some(received) = self.scene.with(end, |socket, now| socket.recv(now, lane)) {
                match received {
                    Received::Message(message) => {
                        drop(self.scene.with(end, |socket, now| socket.send(now, lane, message.clone())));
                    }
                    Received::Ask(ask, message) => {
                        drop(self.scene.with(end, |socket, now| socket.reply(now, ask, message.clone(), true)));
                    }
                    Received::Finished => break,
                }
            }
        }
    }

    fn check_limits(&mut self) {
        let config = config();
        let server = self.scene.server();
        assert!(server.len() <= config.max_sockets, "{} sockets live", server.len());
        assert!(self.scene.opens.len() <= config.max_pending, "{} opens wait", self.scene.opens.len());
        let up = self.scene.wires.iter().filter(|wire| wire.is_up[Side::Server as usize]).count();
        let most = config.max_sockets + config.max_pending + config.max_unknown_links;
        assert!(up <= most, "{up} links are up");
        let link = self.scene.wires[BYSTANDER].is_up;
        assert!(link == [true; 2] && self.scene.client().state() == State::Ready, "the bystander has lost its link");
        // Links that the server has hung up are no use to strangers.
        self.scene.wires.retain(|wire| wire.is_up[Side::Server as usize]);
    }
}

/// A server with a bystander's session, one of a client that is away, and what that client and a new one have written.
fn moment() -> &'static Moment {
    static MOMENT: OnceLock<Moment> = OnceLock::new();
    MOMENT.get_or_init(|| {
        let mut scene = Scene::new(config().socket, config(), Rigour::OFF, 11);
        scene.deliver_all();
        // Once the server has heard the client in the session, its first HELLO is worth nothing any more.
        let bystander = End::Server(scene.peer().expect("a session"));
        scene.with(End::Client, |socket, now| socket.send(now, LaneId::MAIN, "it's me".into())).expect("room");
        scene.deliver_all();
        scene.with(bystander, |socket, now| socket.recv(now, LaneId::MAIN)).expect("a message");
        let mut captured = vec![scene.tapes[&(LinkId(1), Side::Server)].concat()];
        let mut client = client(1, scene.now);
        for _ in 0..2 {
            captured.extend(visit(&mut scene, &mut client));
        }
        // It comes back: two HELLOs that the server has not seen, and one of a client that it does not know.
        for _ in 0..2 {
            captured.push(hello(&mut client, scene.now));
        }
        captured.push(hello(&mut self::client(2, scene.now), scene.now));
        scene.events.clear();
        scene.wires.retain(|wire| wire.is_up[Side::Client as usize]);
        Moment { still: scene.into_still(), captured }
    })
}

fn client(seed: u8, now: Time) -> Socket {
    let mut socket = Socket::new(Arc::new(config().socket), vec!["there".into()], "and me".into(), [seed; 32], now)
        .expect("a configuration that works");
    socket.connect(now);
    socket
}

/// The link that the real client thinks it has: not one of the scene's.
const AWAY: LinkId = LinkId(1 << 40);

/// A HELLO that nobody gets.
fn hello(client: &mut Socket, now: Time) -> Vec<u8> {
    client.reconnect_now(now);
    client.handle_link_up(now, AWAY, LinkKind::Stream);
    let bytes = output(client, now);
    client.handle_link_down(now, AWAY);
    bytes
}

/// A client comes, does something of everything, and its link breaks. Gives each piece that it wrote.
fn visit(scene: &mut Scene, client: &mut Socket) -> Vec<Vec<u8>> {
    let now = scene.now;
    let wire = scene.raw_link();
    let link = scene.wires[wire].id;
    client.reconnect_now(now);
    client.handle_link_up(now, link, LinkKind::Stream);
    let mut captured = Vec::new();
    let lane = client.open_lane(now, Default::default()).expect("room");
    for step in 0..6 {
        match step {
            0 | 1 => {}
            2 => client.send(now, LaneId::MAIN, "hello".into()).expect("room"),
            3 => drop(client.ask(now, lane, "what?".into(), None).expect("room")),
            4 => drop(client.send_volatile(now, LaneId::MAIN, "now".into()).expect("room")),
            _ => client.finish(now, lane),
        }
        let bytes = output(client, now);
        scene.wires[wire].pipes[Side::Server as usize].bytes = bytes.clone();
        if !bytes.is_empty() {
            captured.push(bytes);
        }
        scene.deliver(wire, Side::Server, usize::MAX);
        scene.accept_all();
        let answer = std::mem::take(&mut scene.wires[wire].pipes[Side::Client as usize].bytes);
        client.handle_bytes(now, link, answer);
    }
    assert_eq!(client.state(), State::Ready);
    scene.cut(wire, [0; 2], [true; 2]);
    scene.deliver(wire, Side::Server, 0);
    client.handle_link_down(now, link);
    captured
}

fn output(client: &mut Socket, now: Time) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(action) = client.poll_link_action() {
        if let LinkAction::Flush(link) = action {
            while let Some(transmit) = client.poll_transmit(now, link) {
                bytes.extend(transmit.segments().concat());
            }
        }
    }
    while client.poll_event().is_some() {}
    bytes
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.socket.max_message = 2000;
    config.socket.max_headers = 300;
    config.socket.max_lanes = 4;
    config.socket.max_open_asks = 3;
    config.socket.send_buffer = 20_000;
    config.socket.receive_buffer = 3500 + 10 * Config::LANE_WINDOW;
    config.socket.volatile_buffer = 2000;
    config.socket.retention = millis(20_000);
    (config.max_sockets, config.max_pending, config.max_unknown_links) = (5, 2, 3);
    config
}

fn keep_bystander(scene: &mut Scene) {
    while Side::BOTH.into_iter().any(|side| scene.deliver(BYSTANDER, side, usize::MAX)) {}
}
