//! Lanes: very many, one after the other or at once, begun and never ended.

use steadfast::{Event, SendOptions, Server, ServerConfig, ServerEvent};
use steadfast_sim::by_hand::{Announcement, ask, data, fin, open_lane, packet, report, varint};

use crate::Attack;
use crate::report::{Row, of_sessions};
use crate::stage::{Stage, idle, on, serve, small};
use crate::victim::Victim;

pub(crate) const ALL: &[Attack] = &[
    ("lanes opened and finished in a loop", churn),
    ("the same, each answered with a time to live", answered_churn),
    ("the same, beside 4,096 open asks", churn_beside_asks),
    ("one frame that opens all lanes", all_at_once),
    ("OPENs in pieces on all lanes", pieces),
    ("the largest headers on all lanes", headers),
    ("large messages begun on 1,024 lanes", begun),
    ("lanes that may not be opened", too_many),
];

fn bound(config: &ServerConfig) -> usize {
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize)
}

/// How many lanes the attacker opens at once.
const BATCH: u64 = 16;

/// Opens and ends lanes, so many from the first one on, and confirms what the server says on them: `said` bytes each.
fn run_through(stage: &mut Stage, link: steadfast::LinkId, lanes: std::ops::Range<u64>, said: u64) {
    for batch in lanes.step_by(BATCH as usize) {
        let numbers = || (batch..batch + BATCH).map(|nth| 2 * nth + 2);
        let opens = numbers().flat_map(|lane| data(lane, 0, &[open_lane(b""), fin()].concat()));
        stage.hear(link, &packet(&opens.collect::<Vec<u8>>()));
        let reports = numbers().flat_map(|lane| report(lane, said, said, 8192));
        stage.hear(link, &packet(&reports.collect::<Vec<u8>>()));
    }
    let id = stage.newest();
    assert_eq!(stage.victim.machine.socket(id).expect("the attacker's socket").stats().lanes, 1);
}

fn churn() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    for part in 0..10 {
        run_through(&mut stage, link, part * 100_000..(part + 1) * 100_000, 2);
        stage.exchange();
    }
    stage.finish(1_000_000, "lanes", bound(&config), "served").check((30_000, 6))
}

/// Answers with a message that may wait for a minute, and ends the lane.
fn answer(victim: &mut Victim<Server>, event: &ServerEvent) {
    if let ServerEvent::Socket(id, Event::LaneOpened(lane)) = event {
        let options = SendOptions { time_to_live: Some(std::time::Duration::from_secs(60)), ..Default::default() };
        let sent = on(victim, *id, |socket, now| socket.send_with(now, *lane, "x".into(), &options));
        sent.expect("a socket").expect("room");
    }
    serve(victim, event);
}

fn answered_churn() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), answer);
    let link = stage.session(Announcement::default());
    run_through(&mut stage, link, 0..200_000, 4);
    stage.finish(200_000, "lanes", bound(&config), "served").check((30_000, 8))
}

/// Takes what comes and answers no ask.
fn hold(victim: &mut Victim<Server>, event: &ServerEvent) {
    idle(victim, event);
    if let ServerEvent::Socket(id, Event::Readable(lane)) = event {
        while let Some(received) = on(victim, *id, |socket, now| socket.recv(now, *lane)).flatten() {
            if received == steadfast::Received::Finished {
                on(victim, *id, |socket, now| socket.finish(now, *lane));
                break;
            }
        }
    }
}

fn churn_beside_asks() -> Row {
    let mut config = small();
    config.socket.max_open_asks = 4096;
    let mut stage = Stage::new(config.clone(), hold);
    let link = stage.session(Announcement::default());
    stage.hear(link, &packet(&data(0, 0, &ask(b"").repeat(4096))));
    run_through(&mut stage, link, 0..200_000, 2);
    stage.finish(200_000, "lanes", bound(&config), "served").check((30_000, 6))
}

/// In one session after the other.
fn all_at_once() -> Row {
    let mut config = small();
    config.socket.max_lanes = 1024;
    config.socket.receive_buffer += 2 * 992 * steadfast::Config::LANE_WINDOW;
    let mut stage = Stage::new(config.clone(), serve);
    for _ in 0..1000 {
        let link = stage.session(Announcement::default());
        stage.hear(link, &packet(&data(2048, 0, &open_lane(b""))));
        let id = stage.newest();
        assert_eq!(stage.victim.machine.socket(id).expect("a socket").stats().lanes, 1025);
        let held = stage.victim.held();
        assert!(held <= (1 << 10) * 1025 + (128 << 10), "{held} bytes for lanes that nothing was said on");
        stage.victim.call(|server, now| server.remove(now, id));
        stage.settle();
    }
    stage.finish(1000, "frames", of_sessions(&config, 1, 1025), "1 KiB a lane, up to `max_lanes`").check((3 << 20, 12))
}

/// A byte on each lane in turn, of announcements that never end.
fn pieces() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let mut open = open_lane(&[b'x'; 4000]);
    open.pop();
    for (at, byte) in open.iter().enumerate() {
        for lane in 1..=32 {
            stage.hear(link, &packet(&data(2 * lane, at as u64, &[*byte])));
        }
        if at % 1000 == 0 {
            stage.exchange();
        }
    }
    assert_ne!(stage.last_down, link);
    stage.finish(32 * open.len() as u64, "bytes", bound(&config), "kept within the credit").check((70_000, 2))
}

/// Announcements are taken by the machine itself, so that the credit does not hold them back.
fn headers() -> Row {
    let mut config = small();
    config.socket.max_lanes = 1024;
    config.socket.max_headers = 64 << 10;
    config.socket.receive_buffer += (60 << 10) + 2 * 992 * steadfast::Config::LANE_WINDOW;
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let open = open_lane(&vec![b' '; 64 << 10]);
    for lane in 1..=1024 {
        stage.hear(link, &packet(&data(2 * lane, 0, &open[..8192])));
        stage.hear(link, &packet(&data(2 * lane, 8192, &open[8192..])));
    }
    let id = stage.newest();
    assert_eq!(stage.victim.machine.socket(id).expect("a socket").lanes().count(), 1025);
    stage.finish(1024, "lanes", bound(&config), "`max_headers` a lane").check((400_000, 8))
}

/// Each wants the reserve, which one of them has. Then bytes that change nothing, on all lanes in turn.
fn begun() -> Row {
    let mut config = small();
    config.socket.max_lanes = 1024;
    config.socket.receive_buffer += 2 * 992 * steadfast::Config::LANE_WINDOW;
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement::default());
    let begun = [open_lane(b""), varint(2 * (16 << 10))].concat();
    for _ in 0..100 {
        for half in [1..=512, 513..=1024] {
            let frames = half.flat_map(|nth| data(2 * nth, 0, &begun));
            stage.hear(link, &packet(&frames.collect::<Vec<u8>>()));
        }
    }
    assert_ne!(stage.last_down, link);
    stage.finish(102_400, "frames", bound(&config), "one at a time has the reserve").check((300, 1))
}

/// Above the limit, and of the other side's parity.
fn too_many() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    for number in 0..10_000 {
        let link = stage.session(Announcement::default());
        let lane = if number % 2 == 0 { 66 } else { 1 };
        stage.hear(link, &packet(&data(lane, 0, &open_lane(b""))));
        assert_eq!(stage.last_down, link);
        let id = stage.newest();
        stage.victim.call(|server, now| server.remove(now, id));
        stage.settle();
    }
    assert_eq!(stage.count_of("link lost: lane limit violated"), 10_000);
    stage.finish(10_000, "frames", bound(&config), "LANE_LIMIT").check((150_000, 12))
}
