//! `packets`: bytes of any kind on a link, in pieces of any size.

use std::sync::OnceLock;

use bytes::Bytes;
use steadfast::{
    AskId, Config, Event, LaneId, LaneKind, LaneOptions, LinkId, Received, ReceivedBytes, Reply, SendOptions,
    ServerConfig, State,
};
use steadfast_sim::{Rigour, Side};

use crate::memory;
use crate::scene::{End, Scene, Still};
use crate::wire::{has_overlaps, packet};

/// How far the link is on which the bytes come, and who hears them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Stage {
    /// The server, on a new link: a HELLO is due.
    Hello,
    /// A client that opens: a WELCOME is due.
    Welcome,
    /// A client that resumes: a WELCOME with a proof is due.
    WelcomeBack,
    /// The server, within a session.
    ServerReady,
    /// The client, within a session.
    ClientReady,
}

const STAGES: [Stage; 5] = [Stage::Hello, Stage::Welcome, Stage::WelcomeBack, Stage::ServerReady, Stage::ClientReady];

/// The rest of the input is the body of one packet, and gets its length.
const IS_BODY: u8 = 0x80;
/// Afterwards the link breaks, and the two sides try to go on.
const GOES_ON: u8 = 0x40;

/// The bytes, behind a byte that chooses the stage and one that chooses the size of pieces (0: whole), come on a link of a
/// machine whose peer is real and silent.
///
/// - No panic, and the contract of the run loop holds ([`steadfast_sim::Contract`]).
/// - It makes no difference in which pieces the bytes come: output, events, and what the application reads are the same. Of
///   bytes that break a rule so much may differ as was taken before that was seen; but it is seen in either case. (Where
///   frames bring bytes of a lane twice, nothing is said: which ones count is open when they differ.)
/// - What is queued stays within the receive buffer, and all memory within the bound of the configuration.
/// - Not one byte makes a client ready that waits for a WELCOME with a proof: nothing in the input has one.
/// - Afterwards the two sides find back to each other, or lose the session and say so.
pub fn run(data: &[u8]) {
    let [control, piece, rest @ ..] = data else { return };
    let stage = STAGES[usize::from(control & 0x0F) % STAGES.len()];
    let bytes = if control & IS_BODY == 0 { rest.to_vec() } else { packet(rest) };
    let piece = if *piece == 0 { usize::MAX } else { usize::from(*piece) };
    let mut scene = Scene::of(stage.still(), &config(), Rigour::OFF, 0);
    scene.weighed = Some(FURNISHED);
    let whole = play(&mut scene, stage, &bytes, usize::MAX);
    drop(scene);
    // Without noise: a useless timeout is not useless when the bytes have set a deadline for now.
    let rigour = Rigour { twins: data.len() % 2 == 0, noise: false };
    let mut scene = Scene::of(stage.still(), &config(), rigour, data.len() as u64);
    let in_pieces = play(&mut scene, stage, &bytes, piece);
    let is_ambiguous = has_overlaps(&bytes);
    let is_seen = whole.has_lost_link == in_pieces.has_lost_link;
    assert!(is_seen || is_ambiguous, "whether a rule is broken depends on the pieces: {whole:?}, {in_pieces:?}");
    if !whole.has_lost_link && !is_ambiguous {
        assert_eq!(whole, in_pieces, "it makes a difference in which pieces bytes come");
    }
    if control & GOES_ON != 0 {
        scene.cut_all([true; 2]);
        for _ in 0..40 {
            scene.deliver_all();
            read(&mut scene, &mut Told::default());
            if !scene.sleep() {
                break;
            }
        }
    }
    scene.events.clear();
    scene.tapes.clear();
    drop(whole);
    drop(in_pieces);
    memory::check(scene.into_machines(), &config(), FURNISHED, 0);
}

/// What can be seen of a machine.
#[derive(PartialEq, Debug)]
struct Seen {
    output: Vec<u8>,
    told: Told,
    has_lost_link: bool,
    states: Vec<(State, usize)>,
}

fn play(scene: &mut Scene, stage: Stage, bytes: &[u8], piece: usize) -> Seen {
    let (reader, wire) = (stage.reader(), scene.wires.len() - 1);
    let (link, was_up) = (scene.wires[wire].id, scene.wires[wire].is_up);
    scene.tapes.clear();
    scene.is_lazy = true;
    scene.wires[wire].pipes[reader as usize].bytes = bytes.to_vec();
    while scene.deliver(wire, reader, piece) {}
    scene.is_lazy = false;
    scene.drain(reader);
    let mut told = Told::default();
    if stage == Stage::WelcomeBack {
        assert_ne!(scene.client().state(), State::Ready, "ready without a proof");
    }
    read(scene, &mut told);
    let states = ends(scene).into_iter().map(|end| check_queue(scene, end)).collect();
    let has_lost_link = scene.wires[wire].is_up != was_up;
    Seen { output: output(scene, link, reader), told, has_lost_link, states }
}

fn output(scene: &Scene, link: LinkId, reader: Side) -> Vec<u8> {
    scene.tapes.get(&(link, reader.other())).map_or(Vec::new(), |tape| tape.concat())
}

pub(crate) fn ends(scene: &Scene) -> Vec<End> {
    [End::Client].into_iter().chain(scene.server().sockets().map(End::Server)).collect()
}

fn check_queue(scene: &Scene, end: End) -> (State, usize) {
    let socket = scene.socket(end);
    let queued = socket.stats().recv_queue_bytes;
    let limit = socket.config().receive_buffer;
    assert!(queued <= limit, "{queued} bytes are queued, and {limit} may be");
    (socket.state(), queued)
}

/// What applications were told and took. Answers have no order among the rest.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Told {
    answers: Vec<String>,
    rest: Vec<String>,
}

/// The applications take all that there is, and answer what they are asked.
pub(crate) fn read(scene: &mut Scene, told: &mut Told) {
    // Answers first, whenever they came: they have no order among the rest.
    while let Some((end, event)) = next_event(scene) {
        let Told { answers, rest } = told;
        let is_answer = matches!(event, Event::ReplyReadable(_));
        if is_answer { &mut *answers } else { &mut *rest }.push(format!("{event:?}"));
        match event {
            Event::Readable(lane) => {
                let told_before = rest.len();
                read_lane(scene, end, lane, rest);
                // An answer that is taken before may say again that there are messages, which were taken since.
                if rest.len() == told_before && !answers.is_empty() {
                    rest.pop();
                }
            }
            Event::ReplyReadable(ask) => read_replies(scene, end, ask, answers),
            Event::SessionLost(_) | Event::Closed(_) => {
                let back = scene.with(end, |socket, now| socket.take_unconfirmed(now));
                rest.push(format!("{back:?}"));
            }
            _ => {}
        }
    }
}

fn next_event(scene: &mut Scene) -> Option<(End, Event)> {
    let first_answer = scene.events.iter().position(|(_, event)| matches!(event, Event::ReplyReadable(_)));
    scene.events.remove(first_answer.unwrap_or(0))
}

fn read_lane(scene: &mut Scene, end: End, lane: LaneId, told: &mut Vec<String>) {
    let kind = scene.socket(end).lane_options(lane).map_or(LaneKind::Messages, |options| options.kind);
    if kind == LaneKind::Bytes {
        // In which pieces a lane of bytes is read tells nothing, and they may be reported one by one.
        scene.is_lazy = true;
        let mut all = Vec::new();
        while let Some(ReceivedBytes::Data(bytes)) = scene.with(end, |socket, now| socket.read(now, lane, usize::MAX)) {
            all.extend_from_slice(&bytes);
        }
        scene.is_lazy = false;
        scene.drain(if end == End::Client { Side::Client } else { Side::Server });
        return told.push(format!("{}", all.escape_ascii()));
    }
    while let Some(received) = scene.with(end, |socket, now| socket.recv(now, lane)) {
        told.push(format!("{received:?}"));
        match received {
            Received::Message(_) => {}
            // It is perhaps not open any more.
            Received::Ask(ask, message) => {
                drop(scene.with(end, |socket, now| socket.reply(now, ask, message.clone(), false)))
            }
            Received::Finished => return,
        }
    }
}

fn read_replies(scene: &mut Scene, end: End, ask: AskId, told: &mut Vec<String>) {
    while let Some(reply) = scene.with(end, |socket, now| socket.recv_reply(now, ask)) {
        told.push(format!("{reply:?}"));
        if matches!(reply, Reply::Failed(_)) {
            return;
        }
    }
}

impl Stage {
    fn reader(self) -> Side {
        match self {
            Stage::Hello | Stage::ServerReady => Side::Server,
            Stage::Welcome | Stage::WelcomeBack | Stage::ClientReady => Side::Client,
        }
    }

    /// The scene before the bytes come.
    fn still(self) -> &'static Still {
        static STILLS: [OnceLock<Still>; 5] = [const { OnceLock::new() }; 5];
        STILLS[self as usize].get_or_init(|| {
            let mut scene = Scene::new(config().socket, config(), Rigour::OFF, 7);
            match self {
                Stage::Hello => drop(scene.raw_link()),
                Stage::Welcome => scene.answer_dial(true),
                Stage::ServerReady | Stage::ClientReady => {
                    scene.deliver_all();
                    furnish(&mut scene);
                }
                Stage::WelcomeBack => {
                    scene.deliver_all();
                    furnish(&mut scene);
                    scene.with(End::Client, |socket, now| socket.reconnect_now(now));
                    scene.answer_dial(true);
                }
            }
            scene.events.clear();
            scene.into_still()
        })
    }
}

/// How many asks and receipts of each side [`furnish`] leaves under way.
pub(crate) const FURNISHED: usize = 2;

/// Puts something of everything under way: lanes of both kinds from both sides, asks, messages that wait for a receipt.
pub(crate) fn furnish(scene: &mut Scene) {
    let server = End::Server(scene.peer().expect("a session"));
    let receipt = SendOptions { receipt: true, ..SendOptions::default() };
    for end in [End::Client, server] {
        for kind in [LaneKind::Messages, LaneKind::Bytes] {
            let options = LaneOptions { kind, name: "lane".into(), ..LaneOptions::default() };
            let lane = scene.with(end, |socket, now| socket.open_lane(now, options.clone())).expect("room");
            match kind {
                LaneKind::Messages => {
                    scene.with(end, |socket, now| socket.send(now, lane, "on it".into())).expect("room")
                }
                LaneKind::Bytes => drop(scene.with(end, |socket, now| socket.write(now, lane, b"some bytes"))),
            }
        }
        scene.with(end, |socket, now| socket.ask(now, LaneId::MAIN, "what?".into(), None)).expect("room");
        let message = || Bytes::from_static(b"a message").into();
        scene.with(end, |socket, now| socket.send_with(now, LaneId::MAIN, message(), &receipt)).expect("room");
    }
    scene.deliver_all();
    // Each handler has the ask, and has not answered.
    for end in [End::Client, server] {
        scene.with(end, |socket, now| socket.recv(now, LaneId::MAIN)).expect("an ask");
    }
    scene.deliver_all();
}

pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.socket.max_message = 2000;
    config.socket.max_headers = 300;
    config.socket.max_lanes = 4;
    config.socket.max_open_asks = 3;
    config.socket.send_buffer = 20_000;
    config.socket.receive_buffer = 3500 + 10 * Config::LANE_WINDOW;
    config.socket.volatile_buffer = 2000;
    (config.max_sockets, config.max_pending, config.max_unknown_links) = (4, 2, 3);
    config
}
