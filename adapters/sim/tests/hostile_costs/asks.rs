//! Asks: never answered, never taken back, or taken back at once.

use steadfast::{Event, Server, ServerConfig, ServerEvent};
use steadfast_sim::by_hand::{Announcement, ask, cancel, data, packet};

use crate::Attack;
use crate::report::{Row, of_sessions};
use crate::stage::{Stage, idle, on, serve, small};
use crate::victim::Victim;

pub(crate) const ALL: &[Attack] = &[
    ("asks that the application does not answer", unanswered),
    ("asks by a peer that takes no answers", unread),
    ("asks cancelled at once", cancelled),
    ("cancels of what was never asked", made_up),
];

fn bound(config: &ServerConfig) -> usize {
    of_sessions(config, 1, 1 + 2 * config.socket.max_lanes as usize)
}

/// Takes asks and answers none.
fn hold(victim: &mut Victim<Server>, event: &ServerEvent) {
    idle(victim, event);
    if let ServerEvent::Socket(id, Event::Readable(lane)) = event {
        while on(victim, *id, |socket, now| socket.recv(now, *lane)).flatten().is_some() {}
    }
}

/// Says these records on the main lane, in packets of some.
fn say(stage: &mut Stage, link: steadfast::LinkId, from: u64, records: impl Iterator<Item = Vec<u8>>) -> u64 {
    let mut offset = from;
    let mut records = records.peekable();
    while records.peek().is_some() {
        let some: Vec<u8> = records.by_ref().take(200).flatten().collect();
        stage.hear(link, &packet(&data(0, offset, &some)));
        offset += some.len() as u64;
        stage.pass(std::time::Duration::from_millis(10));
        assert_ne!(stage.last_down, link, "{:?}", stage.ends);
    }
    offset
}

fn unanswered() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), hold);
    let link = stage.session(Announcement::default());
    say(&mut stage, link, 0, std::iter::repeat_n(ask(b""), 200_000));
    stage.exchange();
    stage.finish(200_000, "asks", bound(&config), "TOO_MANY_ASKS for each").check((1000, 1))
}

/// The answers wait, then the refusals, and then there are none.
fn unread() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), serve);
    let link = stage.session(Announcement { main_window: 0, ..Announcement::default() });
    say(&mut stage, link, 0, std::iter::repeat_n(ask(b""), 200_000));
    stage.exchange();
    stage.finish(200_000, "asks", bound(&config), "answered up to `send_buffer`").check((1000, 1))
}

fn cancelled() -> Row {
    let config = small();
    let mut stage = Stage::new(config.clone(), hold);
    let link = stage.session(Announcement::default());
    let mut offset = 0;
    for _ in 0..200_000 / 100 {
        let mut records = Vec::new();
        for _ in 0..100 {
            let pair = [ask(b""), cancel(offset)].concat();
            offset += pair.len() as u64;
            records.push(pair);
        }
        say(&mut stage, link, offset - records.iter().map(Vec::len).sum::<usize>() as u64, records.into_iter());
    }
    stage.exchange();
    stage.finish(200_000, "asks", bound(&config), "passed over").check((1000, 1))
}

/// Of offsets that are far ahead, with a limit of asks that is no obstacle.
fn made_up() -> Row {
    let mut config = small();
    config.socket.max_open_asks = 1_000_000;
    let mut stage = Stage::new(config.clone(), hold);
    let link = stage.session(Announcement::default());
    say(&mut stage, link, 0, (0..200_000).map(|nth| cancel((1 << 40) + nth)));
    stage.exchange();
    stage.finish(200_000, "cancels", bound(&config), "passed over").check((1000, 1))
}
