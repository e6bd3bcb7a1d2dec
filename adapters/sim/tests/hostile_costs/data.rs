//! Bytes of lanes: too far ahead, too small, again and again, without end.

use std::time::Duration;

use steadfast::ServerConfig;
use steadfast_sim::by_hand::{Announcement, close, data, extended, message, open_lane, packet, plain, varint};

use crate::Attack;
use crate::report::{Row, of_sessions};
use crate::stage::{Stage, idle, serve, small};

pub(crate) const ALL: &[Attack] = &[
    ("a frame far ahead of the window", far_ahead),
    ("every second byte of all windows", scattered),
    ("one byte a frame, backwards", backwards),
    ("the same bytes again and again", repeated),
    ("lengths of 4 GiB in a session", huge_lengths),
    ("a message, one byte a second", slow_message),
    ("messages that nobody reads", slow_consumer),
    ("headers nested 10,000 deep", nested_headers),
];

const SECOND: Duration = Duration::from_secs(1);

/// The bound with one socket of an attacker's and all the lanes that it may have.
fn bound(config: &ServerConfig) -> usize {
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize)
}

/// Sessions one after the other, so that each violation costs the attacker its link.
fn far_ahead() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    for number in 0..20_000 {
        let link = stage.session(Announcement::default());
        stage.hear(link, &packet(&data(0, 5_000_000_000, b"far")));
        assert_eq!(stage.last_down, link);
        let id = stage.newest();
        stage.victim.call(|server, now| server.remove(now, id));
        stage.settle();
        if number % 1000 == 0 {
            stage.exchange();
        }
    }
    assert_eq!(stage.count_of("link lost: flow control violated"), 20_000);
    stage.finish(20_000, "frames", bound(&config), "FLOW_CONTROL").check((150_000, 12))
}

/// On all lanes at once, each byte in a read of its own buffer, so that a careless receiver keeps 64 KiB for each.
fn scattered() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let mut frames = 0;
    for offset in (1..8192).step_by(2) {
        for lane in (0..=64).step_by(2) {
            stage.hear(link, &packet(&data(lane, offset, b"x")));
            frames += 1;
        }
        if offset % 1001 == 0 {
            stage.exchange();
        }
    }
    assert_ne!(stage.last_down, link);
    stage.finish(frames, "frames", bound(&config), "kept within the credit").check((70_000, 2))
}

/// From the window's end to its start, and then on: nothing can be scanned before the last frame.
fn backwards() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let mut frames = 0;
    let mut start = 0;
    for _ in 0..20 {
        let stream = plain(b"x").repeat(10_000);
        let mut packets = stream.iter().enumerate().rev().map(|(at, byte)| data(0, start + at as u64, &[*byte]));
        loop {
            let some: Vec<u8> = packets.by_ref().take(5000).flatten().collect();
            if some.is_empty() {
                break;
            }
            stage.hear(link, &packet(&some));
        }
        start += stream.len() as u64;
        frames += stream.len() as u64;
        stage.exchange();
    }
    assert_ne!(stage.last_down, link);
    stage.finish(frames, "frames", bound(&config), "taken, each byte once").check((400, 1))
}

fn repeated() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), idle);
    let link = stage.session(Announcement::default());
    // The beginning of a record of which the end never comes, and a whole one.
    stage.hear(link, &packet(&data(0, 0, &[plain(b"whole"), varint(2000)].concat())));
    let again = packet(&data(0, 0, &plain(b"whole")).repeat(6000));
    for _ in 0..100 {
        stage.hear(link, &again);
    }
    assert_ne!(stage.last_down, link);
    stage.finish(600_000, "frames", bound(&config), "passed over").check((20, 1))
}

/// In all the places that have a length: packet, frame, record, text in a record.
fn huge_lengths() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let huge = varint(4 << 30);
    let text = [&[0, 0][..], &varint(1 << 31), b"name"].concat();
    let attacks = [
        huge.clone(),
        packet(&[&[0x02, 0, 0][..], &huge].concat()),
        packet(&[&[0x0A, 0][..], &huge].concat()),
        packet(&data(0, 0, &varint(8 << 30))),
        packet(&data(0, 0, &varint(8 << 30 | 1))),
        packet(&data(0, 0, &extended(3, &huge))),
        packet(&data(2, 0, &extended(1, &text))),
    ];
    for _ in 0..2000 {
        for attack in &attacks {
            let link = stage.session(Announcement::default());
            stage.hear(link, attack);
            assert_eq!(stage.last_down, link);
            let id = stage.newest();
            stage.victim.call(|server, now| server.remove(now, id));
            stage.settle();
        }
        stage.exchange();
    }
    let ends = ["link lost: over a size limit", "link lost: malformed bytes"].map(|end| stage.count_of(end));
    assert_eq!(ends.iter().sum::<u64>(), 14_000, "{:?}", stage.ends);
    stage.finish(14_000, "lengths", bound(&config), "TOO_LARGE, MALFORMED").check((150_000, 14))
}

/// Inside one frame, for two hours. The link lives as long as the attacker goes on.
fn slow_message() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let whole = packet(&data(0, 0, &plain(&[7; 7190])));
    for byte in &whole {
        stage.hear(link, &[*byte]);
        stage.pass(SECOND);
    }
    assert_ne!(stage.last_down, link);
    stage.exchange();
    stage.pass(20 * SECOND);
    assert_eq!(stage.count_of("link lost: silence"), 1);
    let units = whole.len() as u64;
    stage.finish(units, "bytes", bound(&config), "served; SILENCE when it stops").check((80_000, 4))
}

/// The credit is used up to its last byte, by the smallest records, and then it is exceeded.
fn slow_consumer() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), idle);
    let link = stage.session(Announcement::default());
    let mut records = 0;
    for lane in (0..=64).step_by(2) {
        let mut offset = 0;
        let open = if lane == 0 { Vec::new() } else { open_lane(b"") };
        let window = if lane == 0 { 256 << 10 } else { 8192 };
        let mut stream = [open, plain(b"").repeat(window)].concat();
        stream.truncate(window);
        records += window as u64;
        for piece in stream.chunks(100) {
            stage.hear(link, &packet(&data(lane, offset, piece)));
            offset += piece.len() as u64;
        }
    }
    assert_ne!(stage.last_down, link);
    stage.exchange();
    stage.hear(link, &packet(&data(0, 256 << 10, b"x")));
    assert_eq!(stage.count_of("link lost: flow control violated"), 1);
    stage.finish(records, "messages", bound(&config), "held back by the credit; FLOW_CONTROL").check((1000, 1))
}

/// Headers are opaque to the protocol: their depth costs nothing beyond their bytes.
fn nested_headers() -> Row {
    let mut config = small();
    config.socket.max_headers = 20_000;
    config.socket.receive_buffer += 16_000;
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let nested = [[b'['; 10_000], [b']'; 10_000]].concat();
    let record = message(&nested, b"x");
    let mut offset = 0;
    for _ in 0..1000 {
        stage.hear(link, &packet(&data(0, offset, &record)));
        offset += record.len() as u64;
        stage.pass(SECOND / 100);
    }
    stage.hear(link, &packet(&close(0)));
    assert_ne!(stage.last_down, link);
    stage.finish(1000, "messages", bound(&config), "delivered, not looked into").check((200_000, 10))
}
