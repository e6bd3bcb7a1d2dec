//! Floods of control: what costs the attacker a few bytes must not cost much more.

use std::sync::Arc;
use std::time::Duration;

use steadfast::{Bytes, LinkAction, LinkId, LinkKind, ServerConfig, Socket};
use steadfast_sim::by_hand::{
    Announcement, allow, close, data, lane_done, packet, ping, prompt, report, varint, volatile,
};

use crate::Attack;
use crate::report::{Row, of_sessions};
use crate::stage::{Stage, idle, serve, small, small_socket};

pub(crate) const ALL: &[Attack] = &[
    ("PINGs", pings),
    ("PROMPTs, reports, ALLOWs, LANE_DONEs", idempotent),
    ("empty packets and unknown frames", nothings),
    ("CLOSE again and again", closes),
    ("volatile messages that nobody takes", volatiles),
    ("resumes with valid MACs, link after link", ping_pong),
    ("three violations in a row", violations),
];

const SECOND: Duration = Duration::from_secs(1);

fn bound(config: &ServerConfig) -> usize {
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize)
}

/// Many in each packet.
fn flood(frames: Vec<u8>, packets: u64, count: u64, each: (usize, u64), end: &'static str) -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    // Something to report and to be confirmed.
    stage.hear(link, &packet(&data(0, 0, &[0, 0, 0])));
    let packet = packet(&frames);
    for number in 0..packets {
        stage.hear(link, &packet);
        if number % 100 == 0 {
            stage.exchange();
        }
    }
    assert_ne!(stage.last_down, link);
    stage.finish(packets * count, "frames", bound(&config), end).check(each)
}

fn pings() -> Row {
    flood(ping(1).repeat(30_000), 100, 30_000, (20, 1), "one PONG a read")
}

fn idempotent() -> Row {
    let frames = [prompt(0, 3), prompt(0, 1 << 60), report(0, 0, 0, 100), allow(1 << 60), lane_done(0), lane_done(64)];
    flood(frames.concat().repeat(1500), 100, 9000, (20, 1), "the newest counts")
}

fn nothings() -> Row {
    let unknown = [varint(99), vec![0]].concat();
    let frames = unknown.repeat(1000);
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let bytes = [packet(&frames), packet(b"").repeat(60_000)].concat();
    for _ in 0..50 {
        stage.hear(link, &bytes);
    }
    assert_ne!(stage.last_down, link);
    stage.finish(50 * 61_000, "packets", bound(&config), "passed over").check((20, 1))
}

/// And nothing else, so that the close never comes to its end.
fn closes() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let packet = packet(&close(1).repeat(10_000));
    for _ in 0..100 {
        stage.hear(link, &packet);
    }
    stage.exchange();
    stage.pass(11 * SECOND);
    assert_eq!(stage.last_down, link);
    assert_eq!(stage.count_of("socket closed: code 1"), 1, "{:?}", stage.ends);
    stage.finish(1_000_000, "frames", bound(&config), "an abort after `close_timeout`").check((20, 1))
}

/// The application does not look; each message stands in a read of its own, behind bytes that nobody needs.
fn volatiles() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), idle);
    let link = stage.session(Announcement::default());
    stage.hear(link, &packet(&data(0, 0, &[0; 50])));
    for _ in 0..10_000 {
        stage.victim.hear(link, &packet(&volatile(0, b"x")));
    }
    stage.settle();
    stage.finish(10_000, "messages", bound(&config), "dropped beyond `volatile_buffer`").check((70_000, 2))
}

/// A client that knows its session, and dials as fast as it can.
struct Roamer {
    socket: Socket,
    link: LinkId,
}

impl Roamer {
    fn new(stage: &mut Stage) -> Roamer {
        let number = stage.fresh();
        let seed = [number.to_le_bytes(); 4].concat().try_into().expect("32 bytes");
        let socket = Socket::new(Arc::new(small_socket()), vec!["here".into()], Bytes::new(), seed, stage.victim.now);
        let mut roamer = Roamer { socket: socket.expect("a configuration that works"), link: LinkId(0) };
        roamer.come(stage);
        let (link, now) = (roamer.link, stage.victim.now);
        roamer.socket.handle_bytes(now, link, stage.last_said.clone());
        roamer
    }

    /// Comes on a new link and leaves the old one as it is.
    fn come(&mut self, stage: &mut Stage) {
        let now = stage.victim.now;
        self.socket.reconnect_now(now);
        self.link = stage.link();
        self.socket.handle_link_up(now, self.link, LinkKind::Stream);
        let hello = self.socket.poll_transmit(now, self.link).expect("a HELLO");
        stage.hear(self.link, &hello.segments().concat());
        while self.socket.poll_link_action().is_some_and(|action| !matches!(action, LinkAction::Dial(_)))
            || self.socket.poll_event().is_some()
        {}
    }
}

fn ping_pong() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let mut roamer = Roamer::new(&mut stage);
    for number in 0..50_000 {
        let former = roamer.link;
        roamer.come(&mut stage);
        assert_eq!(stage.last_down, former);
        if number % 1000 == 0 {
            stage.exchange();
            stage.pass(SECOND / 1000);
        }
    }
    assert_eq!(stage.count_of("link lost: fenced by a newer link"), 50_000);
    stage.finish(50_000, "resumes", bound(&config), "each takes over, the older link is fenced").check((80_000, 9))
}

/// Session after session, each until the server has had enough of it.
fn violations() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    for number in 0..5000 {
        let mut roamer = Roamer::new(&mut stage);
        for _ in 0..3 {
            roamer.come(&mut stage);
            stage.hear(roamer.link, &packet(&[0x7E]));
            assert_eq!(stage.last_down, roamer.link);
        }
        if number % 500 == 0 {
            stage.exchange();
        }
    }
    assert_eq!(stage.count_of("socket closed: unknown frame"), 5000);
    stage.finish(15_000, "links", bound(&config), "UNKNOWN_FRAME ends the socket").check((200_000, 14))
}
