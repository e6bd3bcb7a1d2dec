//! Hostile servers, and what they cost a client.

use std::sync::Arc;
use std::time::Duration;

use steadfast::{Bytes, Code, Config, Event, LaneId, LinkId, ProtocolCode, SendErrorKind, Socket, State, Time};
use steadfast_sim::by_hand::{
    Announcement, data, fin, first_packet, go_away, nonce, packet, reject, reply_with_more, report, welcome,
};

use crate::Attack;
use crate::report::{Row, cpu, of_socket};
use crate::stage::small_socket;
use crate::victim::{Cost, Output, Victim};

pub(crate) const ALL: &[Attack] = &[
    ("client: HELLOs that are never answered", no_answer),
    ("client: sent elsewhere again and again", redirects),
    ("client: credit that is never granted", no_credit),
    ("client: violations on each link", violations),
    ("client: answers without end, not taken", answers),
    ("client: a finished lane repeated beside 4,000 asks", repeated_fin),
    ("client: GOAWAY again and again", go_aways),
    ("client: GOAWAY on a full buffer", go_away_on_a_full_buffer),
];

const SECOND: Duration = Duration::from_secs(1);

/// A client and what a hostile server says to it.
struct Prey {
    victim: Victim<Socket>,
    link: LinkId,
    /// Where the session's links go wrong, and how often.
    losses: Vec<Code>,
    dials: u64,
    /// What the server says to a HELLO.
    greeting: fn(&[u8]) -> Option<Vec<u8>>,
    started: Duration,
}

fn bound(config: &Config) -> usize {
    of_socket(config, 1 + 2 * config.max_lanes as usize)
}

fn welcomes(nonce: &[u8]) -> Option<Vec<u8>> {
    Some(welcome(nonce, Announcement::default()))
}

fn welcomes_without_credit(nonce: &[u8]) -> Option<Vec<u8>> {
    Some(welcome(nonce, Announcement { main_window: 0, lane_window: 0, max_lanes: 0, ..Announcement::default() }))
}

impl Prey {
    fn new(greeting: fn(&[u8]) -> Option<Vec<u8>>) -> Prey {
        Prey::with(small_socket(), greeting)
    }

    fn with(config: Config, greeting: fn(&[u8]) -> Option<Vec<u8>>) -> Prey {
        let now = Time::from_millis(1000);
        let addresses = vec!["here".into(), "there".into()];
        let socket = Socket::new(Arc::new(config), addresses, Bytes::new(), [3; 32], now);
        let victim = Victim::new(socket.expect("a configuration that works"), now);
        let mut prey = Prey { victim, link: LinkId(0), losses: Vec::new(), dials: 0, greeting, started: cpu() };
        prey.victim.call(|socket, now| socket.connect(now));
        prey.settle();
        prey
    }

    fn settle(&mut self) {
        while let Some(output) = self.victim.next_output() {
            match output {
                Output::Dial => {
                    self.dials += 1;
                    self.link = LinkId(self.dials);
                    self.victim.link_up(self.link);
                }
                Output::Said(link, bytes) => {
                    let hello = nonce(&bytes).filter(|_| first_packet(&bytes).len() == bytes.len());
                    if let Some(answer) = hello.and_then(|nonce| (self.greeting)(&nonce)) {
                        self.victim.hear(link, &answer);
                    }
                }
                Output::Event(Event::LinkLost(loss)) => {
                    self.losses.push(loss.reason.code);
                    self.losses.drain(..self.losses.len().saturating_sub(8));
                }
                Output::Event(_) | Output::Down(_) => {}
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.victim.hear(self.link, bytes);
        self.settle();
    }

    /// Sends this until the send buffer is full: how often.
    fn fill(&mut self, payload: &'static [u8]) -> u64 {
        let mut written = 0;
        loop {
            match self.victim.call(|socket, now| socket.send(now, LaneId::MAIN, Bytes::from_static(payload).into())) {
                Ok(()) => written += 1,
                Err(error) => {
                    assert!(matches!(error.kind, SendErrorKind::Full { .. }), "{error:?}");
                    return written;
                }
            }
            self.settle();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.victim.after(time);
        while self.victim.wake_before(end) {
            self.settle();
        }
        self.victim.now = end;
    }

    fn finish(self, units: u64, unit: &'static str, end: &'static str) -> Row {
        let spent = cpu().saturating_sub(self.started);
        Row::new(&self.victim.cost, units, unit, bound(self.victim.machine.config()), spent, end)
    }
}

/// For a day. The pauses grow, so that there are no more attempts than an hour of the largest ones makes.
fn no_answer() -> Row {
    let mut prey = Prey::new(|_| None);
    prey.pass(24 * 3600 * SECOND);
    // An attempt takes 10 s, and the pause after it 5 s on average.
    assert!((5000..6500).contains(&prey.dials), "{} dials", prey.dials);
    let dials = prey.dials;
    prey.finish(dials, "attempts", "DEADLINE, and pauses that grow").check((10_000, 12))
}

fn redirects() -> Row {
    let mut prey = Prey::new(|nonce| Some(reject(nonce, ProtocolCode::Redirect.number(), &"x".repeat(1000))));
    prey.pass(24 * 3600 * SECOND);
    // The pauses are 5 s on average.
    assert!((16_000..19_000).contains(&prey.dials), "{} dials", prey.dials);
    let dials = prey.dials;
    prey.finish(dials, "REJECTs", "dials with pauses that grow").check((80_000, 12))
}

fn no_credit() -> Row {
    let mut prey = Prey::new(welcomes_without_credit);
    let written = prey.fill(b"x");
    prey.pass(16 * SECOND);
    assert!(prey.losses.contains(&Code::Protocol(ProtocolCode::Silence)), "{:?}", prey.losses);
    prey.finish(written, "messages", "`Full`; SILENCE when it says nothing").check((3000, 3))
}

/// False reports, bytes far ahead, lanes that may not be: each to a client of its own.
fn violations() -> Row {
    let lies = [
        (report(0, 1000, 1000, 1 << 30), ProtocolCode::StateMismatch),
        (data(0, 5_000_000_000, b"far"), ProtocolCode::FlowControl),
        (data(2, 0, b"\x02x"), ProtocolCode::LaneLimit),
        (vec![0x7E], ProtocolCode::UnknownFrame),
        (data(0, 0, &[0xFF; 12]), ProtocolCode::Malformed),
    ];
    let (mut total, started, rounds) = (Cost::default(), cpu(), 5000);
    for round in 0..rounds {
        let mut prey = Prey::new(welcomes);
        let (lie, code) = &lies[round % lies.len()];
        prey.hear(&packet(lie));
        assert_eq!(prey.losses, [Code::Protocol(*code)]);
        assert_ne!(prey.victim.machine.state(), State::Closed);
        total.add(&prey.victim.cost);
    }
    let spent = cpu().saturating_sub(started);
    Row::new(&total, rounds as u64, "lies", bound(&small_socket()), spent, "the code of each; dials again")
        .check((200_000, 16))
}

/// The client has asked once, and its application looks at none of the answers.
fn answers() -> Row {
    let mut prey = Prey::new(welcomes);
    let asked = prey.victim.call(|socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None));
    asked.expect("room");
    prey.settle();
    let stream = reply_with_more(0, b"").repeat(256 * 1024 / 7);
    let mut offset = 0;
    for piece in stream.chunks(7 * 1000) {
        prey.hear(&packet(&data(0, offset, piece)));
        offset += piece.len() as u64;
    }
    prey.pass(SECOND);
    let answers = stream.len() as u64 / 7;
    prey.finish(answers, "answers", "held back by the credit").check((1000, 1))
}

fn repeated_fin() -> Row {
    let mut prey = Prey::new(welcomes);
    for _ in 0..4000 {
        let asked = prey.victim.call(|socket, now| socket.ask(now, LaneId::MAIN, Bytes::new().into(), None));
        asked.expect("room");
    }
    let lane = prey.victim.call(|socket, now| socket.open_lane(now, Default::default())).expect("a lane");
    prey.settle();
    prey.hear(&packet(&data(lane.number(), 0, &fin())));
    let again = packet(&data(lane.number(), 0, &fin()).repeat(9000));
    for _ in 0..20 {
        prey.hear(&again);
    }
    prey.finish(180_000, "frames", "passed over").check((100, 1))
}

fn go_aways() -> Row {
    let mut prey = Prey::new(welcomes);
    prey.victim.call(|socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).expect("room");
    prey.settle();
    let again = packet(&go_away(u64::MAX).repeat(4000));
    for _ in 0..100 {
        prey.hear(&again);
    }
    prey.finish(400_000, "frames", "the first one counts").check((100, 1))
}

/// What is held for the next session takes no more than it took before.
fn go_away_on_a_full_buffer() -> Row {
    let mut config = small_socket();
    config.send_buffer = 4 << 20;
    let mut prey = Prey::with(config, welcomes_without_credit);
    let written = prey.fill(b"");
    prey.hear(&packet(&go_away(u64::MAX)));
    prey.finish(written, "messages", "held for the next session").check((64, 1))
}
