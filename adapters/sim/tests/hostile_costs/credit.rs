//! Peers that do not let go of what they owe: credit, confirmations, reading.

use std::time::Duration;

use steadfast::{LaneId, SendErrorKind, ServerConfig};
use steadfast_sim::by_hand::{Announcement, lane_done, packet, ping, report};

use crate::Attack;
use crate::report::{Row, of_sessions};
use crate::stage::{Stage, idle, on, serve, small};

pub(crate) const ALL: &[Attack] = &[
    ("credit that is never granted", no_credit),
    ("credit granted by the byte, on 32 lanes", credit_by_the_byte),
    ("a peer that lives and does not read", stalled),
    ("confirmations of what was not sent", false_reports),
    ("a silence of 10 ms demanded", short_silence),
];

const SECOND: Duration = Duration::from_secs(1);

fn bound(config: &ServerConfig) -> usize {
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize)
}

/// The server's application writes on the attacker's main lane until it is told that there is no room; how often it
/// could.
fn fill(stage: &mut Stage, size: usize) -> u64 {
    let id = stage.newest();
    for count in 0.. {
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, LaneId::MAIN, vec![7; size].into()));
        match sent.expect("the attacker's socket") {
            Ok(()) => stage.settle(),
            Err(error) => {
                assert!(matches!(error.kind, SendErrorKind::Full { .. }), "{error:?}");
                stage.settle();
                return count;
            }
        }
    }
    unreachable!("there is always a next number")
}

fn no_credit() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let nothing = Announcement { main_window: 0, lane_window: 0, max_lanes: 0, ..Announcement::default() };
    stage.session(nothing);
    let written = fill(&mut stage, 1);
    assert_eq!(written, 256 * 1024 / 65, "the send buffer holds so many messages of a byte");
    stage.exchange();
    stage.pass(16 * SECOND);
    assert_eq!(stage.count_of("link lost: silence"), 1);
    stage.finish(written, "messages", bound(&config), "`Full`; SILENCE when it says nothing").check((3000, 2))
}

/// Each grant lets one byte go.
fn credit_by_the_byte() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement { lane_window: 0, ..Announcement::default() });
    let id = stage.newest();
    for _ in 0..32 {
        let lane = on(&mut stage.victim, id, |socket, now| socket.open_lane(now, Default::default()));
        let lane = lane.expect("a socket").expect("a lane");
        let sent = on(&mut stage.victim, id, |socket, now| socket.send(now, lane, vec![7; 4000].into()));
        sent.expect("a socket").expect("room");
    }
    stage.settle();
    for limit in 1..=4000 {
        let grants = (0..32).flat_map(|nth| report(2 * nth + 1, 0, 0, limit));
        stage.hear(link, &packet(&grants.collect::<Vec<u8>>()));
    }
    stage.finish(128_000, "grants", bound(&config), "served").check((3000, 1))
}

/// It says PING and takes no answer.
fn stalled() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    stage.victim.deaf.insert(link);
    fill(&mut stage, 10_000);
    let id = stage.newest();
    for token in 0..100_000 {
        stage.hear(link, &packet(&ping(token)));
        on(&mut stage.victim, id, |socket, now| socket.send_volatile(now, LaneId::MAIN, vec![7; 100].into()));
    }
    stage.exchange();
    stage.pass(16 * SECOND);
    assert_eq!(stage.count_of("link lost: silence"), 1);
    stage.finish(100_000, "PINGs", bound(&config), "`Full`; SILENCE when it says nothing").check((70_000, 2))
}

/// Bytes that were never sent, and the end of a lane that has not ended.
fn false_reports() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), idle);
    for number in 0..10_000 {
        let link = stage.session(Announcement::default());
        let id = stage.newest();
        on(&mut stage.victim, id, |socket, now| socket.open_lane(now, Default::default()).expect("a lane"));
        stage.settle();
        let lie = match number % 3 {
            0 => report(0, 1000, 1000, 1 << 30),
            1 => report(7, 0, 0, 0),
            _ => lane_done(1),
        };
        stage.hear(link, &packet(&lie));
        assert_eq!(stage.last_down, link);
        remove(&mut stage);
    }
    assert_eq!(stage.count_of("link lost: the two sides' states do not match"), 10_000);
    stage.finish(10_000, "reports", bound(&config), "STATE_MISMATCH").check((150_000, 14))
}

fn remove(stage: &mut Stage) {
    let id = stage.newest();
    stage.victim.call(|server, now| server.remove(now, id));
    stage.settle();
}

/// The server has to be heard of three times in each 10 ms, for one byte in 14 s. That is the price of the smallest
/// silence, and no more: a wake-up and a PING each.
fn short_silence() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement { silence: 0, ..Announcement::default() });
    for _ in 0..10 {
        stage.hear(link, &packet(b""));
        stage.pass(14 * SECOND);
    }
    let pings = 140_000 * 3 / 10;
    stage.finish(pings, "PINGs", bound(&config), "300 PINGs a second").check((3000, 4))
}
