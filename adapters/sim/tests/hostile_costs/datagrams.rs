//! What comes in datagrams: from addresses where nobody is, and from peers with a session of their own.

use std::time::Duration;

use steadfast::{Congestion, LaneId, Server, ServerConfig, ServerEvent};
use steadfast_sim::by_hand::{
    Announcement, data, first_packet, hello, lane_done, lane_states, open, ping, report, resume,
};

use crate::Attack;
use crate::intruder::{Intruder, ack, challenge, greeting, short};
use crate::report::{DOOR, PIECES, Row, of_datagram_link, of_server, of_sessions};
use crate::stage::{Stage, idle, on, serve, small};
use crate::victim::Victim;

pub(crate) const ALL: &[Attack] = &[
    ("datagrams: HELLOs from addresses where nobody is", spoofed_hellos),
    ("datagrams: HELLOs in pieces that never end", endless_pieces),
    ("datagrams: small HELLOs that are redirected", redirected_hellos),
    ("datagrams: resumes from ever new addresses", moves),
    ("datagrams: CHALLENGEs in a loop", challenges),
    ("datagrams: packet numbers far ahead", far_ahead),
    ("datagrams: packets that only leave gaps", gaps),
    ("datagrams: the same packet again and again", replays),
    ("datagrams: packets of 64 KiB", oversized),
    ("datagrams: ACKs of what was never sent", false_acks),
    ("datagrams: ACKs with 10,000 gaps", torn_acks),
    ("datagrams: every second packet acknowledged", half_acks),
    ("datagrams: ACKs before anything has arrived", early_acks),
    ("datagrams: nothing ever acknowledged", no_acks),
    ("datagrams: LANE_DONEs that nobody acknowledges", unheard_words),
];

const SECOND: Duration = Duration::from_secs(1);

fn config() -> ServerConfig {
    let mut config = small();
    config.socket.congestion = Congestion::FixedWindow { bytes: 64 << 10 };
    config
}

/// With one session of the attacker's on a datagram link.
fn bound(config: &ServerConfig) -> usize {
    let doors = config.max_unknown_links * DOOR;
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize) + of_datagram_link(&config.socket) + doors
}

fn with_doors(config: &ServerConfig, each: usize) -> usize {
    of_server(config, 0, 0) + config.max_unknown_links * (DOOR + each)
}

/// Each gets a COOKIE of which nobody hears.
fn spoofed_hellos() -> Row {
    let mut stage = Stage::new(config(), serve);
    let (mut heard, many) = (0, 100_000);
    for number in 0..many {
        let datagram = greeting(number, &[], &hello(&open(number, b"", Announcement::default())));
        heard += datagram.len() as u64;
        let link = stage.link_from(number);
        stage.hear(link, &datagram);
        assert!(stage.said <= 3 * heard, "{} bytes for {heard}", stage.said);
        if number % 10_000 == 0 {
            stage.exchange();
        }
    }
    assert!(stage.said < heard / 20);
    stage
        .finish(many, "HELLOs", with_doors(&config(), 0), "a COOKIE each; the oldest links make room")
        .check((70_000, 4))
}

/// With a cookie, from as many addresses as the server hears of at once: every second byte of the largest handshake.
fn endless_pieces() -> Row {
    let mut stage = Stage::new(config(), serve);
    let addresses: Vec<_> = (0..config().max_unknown_links as u64 - 1).map(|nth| (nth, stage.link_from(nth))).collect();
    let mut cookies = Vec::new();
    for (number, link) in &addresses {
        stage.hear(*link, &greeting(*number, &[], &hello(&open(*number, b"", Announcement::default()))));
        cookies.push(stage.last_said[18..stage.last_said.len() - 4].to_vec());
    }
    let mut sent = 0;
    for at in 0..3000 {
        for ((number, link), cookie) in addresses.iter().zip(&cookies) {
            let piece = crate::intruder::piece(*number, cookie, 66_560, 22 * at, &[7; 20]);
            stage.hear(*link, &piece);
            sent += 1;
        }
    }
    stage.exchange();
    stage.pass(11 * SECOND);
    assert_eq!(stage.count_of("the link is hung up"), addresses.len() as u64);
    stage.finish(sent, "pieces", with_doors(&config(), PIECES), "hung up after `hello_timeout`").check((70_000, 3))
}

/// Where a session is that they ask for takes more bytes to say than three times the HELLO.
fn redirected_hellos() -> Row {
    let far = |victim: &mut Victim<Server>, event: &ServerEvent| {
        if let ServerEvent::Foreign(link, _) = event {
            victim.call(|server, now| server.redirect(now, *link, &"far".repeat(300))).expect("a short address");
        }
    };
    let mut stage = Stage::new(config(), far);
    let many = 20_000;
    for number in 0..many {
        let hello = hello(&resume(number, 5, &lane_states(0)));
        let hello = &first_packet(&hello)[1..];
        let link = stage.link_from(number);
        let datagram = crate::intruder::piece(number, &[], hello.len() as u64, 0, hello);
        let said = stage.said;
        stage.hear(link, &datagram);
        assert!((1..=3 * datagram.len() as u64).contains(&(stage.said - said)), "{} bytes", stage.said - said);
    }
    stage.exchange();
    stage.pass(11 * SECOND);
    assert_eq!(stage.count_of("the link is hung up"), many);
    stage
        .finish(many, "HELLOs", with_doors(&config(), 0), "a COOKIE each; the oldest links make room")
        .check((75_000, 5))
}

/// The client's HELLOs are right. Nobody is at the addresses, and no CHALLENGE is answered, while the server has much to say.
fn moves() -> Row {
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    let id = stage.newest();
    for number in 0..10_000 {
        let (said, heard) = (stage.said, intruder.resume(&mut stage, 1_000_000 + number));
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, LaneId::MAIN, vec![7; 1000].into()));
        drop(sent);
        stage.settle();
        assert!(stage.said - said <= 3 * heard, "{} bytes for {heard}", stage.said - said);
        if number % 1000 == 0 {
            stage.exchange();
            stage.pass(SECOND / 1000);
        }
    }
    stage.finish(10_000, "resumes", bound(&config()), "three times the bytes to each").check((150_000, 12))
}

fn flood(frames: &[u8], packets: u64, each: (usize, u64), end: &'static str) -> Row {
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    for number in 0..packets {
        intruder.say(&mut stage, frames);
        if number % 1000 == 0 {
            stage.exchange();
        }
    }
    assert_ne!(stage.last_down, intruder.link);
    stage.finish(packets, "packets", bound(&config()), end).check(each)
}

fn challenges() -> Row {
    flood(&challenge().repeat(130), 20_000, (70_000, 4), "one RESPONSE a packet, within the window")
}

fn far_ahead() -> Row {
    let mut stage = Stage::new(config(), serve);
    let intruder = Intruder::new(&mut stage);
    for number in 0..100_000 {
        let packet = short(&intruder.id, intruder.number + (1 << 16) + number * 1000, &ping(number));
        stage.hear(intruder.link, &packet);
    }
    stage.finish(100_000, "packets", bound(&config()), "dropped").check((70_000, 1))
}

fn gaps() -> Row {
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    for number in 0..50_000 {
        intruder.number += 1 + number % 50;
        intruder.say(&mut stage, &ping(number));
        if number % 5000 == 0 {
            stage.exchange();
        }
    }
    stage.finish(50_000, "packets", bound(&config()), "the newest ranges are known").check((75_000, 3))
}

fn replays() -> Row {
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    let packet = short(&intruder.id, intruder.number, &ping(5));
    intruder.say(&mut stage, &ping(5));
    for _ in 0..200_000 {
        stage.hear(intruder.link, &packet);
    }
    stage.finish(200_000, "packets", bound(&config()), "dropped").check((70_000, 1))
}

/// PINGs, and bytes that nobody needs.
fn oversized() -> Row {
    let frames = [ping(7).repeat(15_000), data(0, 0, &[0; 30_000])].concat();
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    for _ in 0..2000 {
        intruder.say(&mut stage, &frames);
    }
    stage.exchange();
    stage.finish(2000, "packets", bound(&config()), "taken").check((140_000, 4))
}

/// Each session until its server has had enough of it.
fn lies(frames: impl Fn(&Intruder) -> Vec<u8>, sessions: u64, end: &'static str) -> Row {
    let mut stage = Stage::new(config(), idle);
    for _ in 0..sessions {
        let mut intruder = Intruder::new(&mut stage);
        let id = stage.newest();
        for nth in 1..=8 {
            assert_ne!(stage.last_down, intruder.link, "after {nth}");
            let lie = frames(&intruder);
            intruder.say(&mut stage, &lie);
        }
        assert_eq!(stage.last_down, intruder.link);
        stage.victim.call(|server, now| server.remove(now, id));
        stage.settle();
    }
    stage.finish(8 * sessions, "packets", bound(&config()), end).check((150_000, 6))
}

fn false_acks() -> Row {
    lies(|_| ack(1 << 40, &[0]), 2000, "dropped; the link ends with the eighth")
}

/// More than an ACK may have: 31 beside the first range.
fn torn_acks() -> Row {
    lies(|_| ack(30_000, &[0; 20_001]), 100, "dropped; the link ends with the eighth")
}

/// The application sends small messages, which the attacker confirms; of the packets it acknowledges every second one.
fn half_acks() -> Row {
    let mut stage = Stage::new(config(), idle);
    let mut intruder = Intruder::new(&mut stage);
    let id = stage.newest();
    let mut consumed = 0;
    for number in 0..50_000_u64 {
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, LaneId::MAIN, vec![7; 8].into()));
        sent.expect("its socket").expect("room");
        stage.settle();
        consumed += 9;
        let mut frames = report(0, consumed, consumed, 1 << 30);
        if number % 2 == 0 {
            frames.extend(ack(intruder.newest_said(&stage), &[0]));
        }
        intruder.say(&mut stage, &frames);
        stage.pass(Duration::from_millis(1));
    }
    let held = stage.victim.held();
    assert!(held < 200 << 10, "{held} bytes for what is confirmed");
    stage.finish(50_000, "packets", bound(&config()), "served").check((75_000, 6))
}

/// All that the server has said is acknowledged at once, and nothing is confirmed.
fn early_acks() -> Row {
    let mut stage = Stage::new(config(), idle);
    let mut intruder = Intruder::new(&mut stage);
    let id = stage.newest();
    let mut packets = 0;
    for _ in 0..20_000 {
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, LaneId::MAIN, vec![7; 1000].into()));
        drop(sent);
        stage.settle();
        let newest = intruder.newest_said(&stage);
        intruder.say(&mut stage, &ack(newest, &[newest]));
        packets += 1;
    }
    stage.exchange();
    stage.finish(packets, "ACKs", bound(&config()), "`Full`: only what is confirmed is let go").check((75_000, 4))
}

/// It says PING now and then, for an hour.
fn no_acks() -> Row {
    let mut stage = Stage::new(config(), idle);
    let mut intruder = Intruder::new(&mut stage);
    let id = stage.newest();
    for number in 0..3600 {
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, LaneId::MAIN, vec![7; 1000].into()));
        drop(sent);
        stage.settle();
        intruder.say(&mut stage, &ping(number));
        stage.pass(SECOND);
    }
    assert_ne!(stage.last_down, intruder.link);
    stage.finish(3600, "seconds", bound(&config()), "`Full`; probes with pauses that grow").check((100_000, 20))
}

/// Bytes of lanes that are over are answered with state, packet after packet.
fn unheard_words() -> Row {
    let mut stage = Stage::new(config(), serve);
    let mut intruder = Intruder::new(&mut stage);
    for lanes in 0..10 {
        for nth in 0..16 {
            let lane = 2 + 2 * (16 * lanes + nth);
            intruder.end_lane(&mut stage, lane);
        }
    }
    let frames: Vec<u8> =
        (0..160).flat_map(|nth| [data(2 + 2 * nth, 0, b""), lane_done(2 + 2 * nth)].concat()).collect();
    for _ in 0..5000 {
        intruder.say(&mut stage, &frames);
    }
    stage.exchange();
    stage.finish(5000, "packets", bound(&config()), "within the window").check((80_000, 4))
}
