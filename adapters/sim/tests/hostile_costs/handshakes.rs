//! Links that never become sockets, or too many of them.

use std::time::Duration;

use steadfast::ServerConfig;
use steadfast_sim::by_hand::{Announcement, hello, lane_states, open, resume, tlv, varint};

use crate::Attack;
use crate::report::{Row, of_server};
use crate::stage::{Stage, serve, small, undecided};

pub(crate) const ALL: &[Attack] = &[
    ("links that say nothing", silent_links),
    ("HELLO, one byte a second", slow_loris),
    ("HELLOs that nobody decides about", undecided_opens),
    ("HELLOs, all accepted", accepted_opens),
    ("HELLOs for another server's sessions", foreign_resumes),
    ("resumes with 2,049 lanes and a wrong MAC", forged_resumes),
    ("HELLOs with a TLV twice", doubled_tlvs),
    ("lengths of 4 GiB before HELLO", huge_lengths),
];

const MANY: u64 = 100_000;
const SECOND: Duration = Duration::from_secs(1);

fn bound(config: &ServerConfig) -> usize {
    of_server(config, 0, 0)
}

/// Each stays until the server has had enough of it.
fn silent_links() -> Row {
    let mut stage = Stage::new(small(), serve);
    for number in 0..MANY {
        stage.link();
        if number % 10_000 == 0 {
            stage.exchange();
        }
    }
    stage.pass(11 * SECOND);
    assert_eq!(stage.count_of("the link is hung up"), MANY);
    stage.finish(MANY, "links", bound(&small()), "hung up: the oldest make room").check((2000, 3))
}

/// As many at once as the server hears, each with a HELLO that claims a full packet.
fn slow_loris() -> Row {
    let mut stage = Stage::new(small(), serve);
    let mut hello = hello(&[open(0, b"", Announcement::default()), tlv(99, &[7; 60_000])].concat());
    hello.truncate(100);
    let mut sent = 0;
    for round in 0..300 {
        let links: Vec<_> = (0..small().max_unknown_links).map(|_| stage.link()).collect();
        for byte in &hello[..11] {
            for link in &links {
                stage.hear(*link, &[*byte]);
                sent += 1;
            }
            stage.pass(SECOND);
        }
        assert_eq!(stage.count_of("the link is hung up"), (round + 1) * 32, "after the hello_timeout of 10 s");
        stage.exchange();
    }
    stage.finish(sent, "bytes", bound(&small()), "hung up after `hello_timeout`").check((70_000, 4))
}

fn undecided_opens() -> Row {
    let mut stage = Stage::new(small(), undecided);
    let auth = [7; 8000];
    for number in 0..MANY {
        let link = stage.link();
        stage.hear(link, &hello(&open(number, &auth, Announcement::default())));
        if number % 10_000 == 0 {
            stage.pass(SECOND);
            stage.exchange();
        }
    }
    stage.pass(11 * SECOND);
    let refused = stage.count_of("REJECT, try again later") + stage.count_of("REJECT, no decision in time");
    assert_eq!(refused, MANY);
    stage.finish(MANY, "HELLOs", bound(&small()), "TRY_LATER, NO_DECISION").check((160_000, 6))
}

/// The sockets stay; then the server is full, and says so.
fn accepted_opens() -> Row {
    let mut stage = Stage::new(small(), serve);
    for number in 0..MANY {
        let link = stage.session(Announcement::default());
        if number % 10 == 0 {
            stage.leave(link);
        }
        if number % 10_000 == 0 {
            stage.exchange();
        }
    }
    assert_eq!(stage.count_of("REJECT, the server is full"), MANY - 63);
    stage.finish(MANY, "HELLOs", of_server(&small(), 63, 1), "SERVER_FULL").check((80_000, 6))
}

/// The application answers none of them: each waits for its time to be over, and the server hears no more than so many.
fn foreign_resumes() -> Row {
    let mut stage = Stage::new(small(), serve);
    for number in 0..MANY {
        let link = stage.link();
        stage.hear(link, &hello(&resume(number, 5, &lane_states(0))));
        if number % 10_000 == 0 {
            stage.exchange();
        }
    }
    stage.pass(11 * SECOND);
    assert_eq!(stage.count_of("REJECT, try again later"), MANY);
    stage.finish(MANY, "HELLOs", bound(&small()), "TRY_LATER").check((80_000, 6))
}

fn forged_resumes() -> Row {
    let mut stage = Stage::new(small(), serve);
    let lanes = lane_states(2049);
    for number in 0..10_000 {
        let link = stage.link();
        stage.hear(link, &hello(&resume(number, 0, &lanes)));
    }
    assert_eq!(stage.count_of("REJECT, unknown session"), 10_000);
    stage.finish(10_000, "HELLOs", bound(&small()), "UNKNOWN_SESSION").check((250_000, 6))
}

fn doubled_tlvs() -> Row {
    let mut stage = Stage::new(small(), serve);
    let doubled = tlv(2, b"who").repeat(10_000);
    for number in 0..10_000 {
        let link = stage.link();
        stage.hear(link, &hello(&[open(number, b"", Announcement::default()), doubled.clone()].concat()));
        assert_eq!(stage.last_down, link);
    }
    stage.finish(10_000, "HELLOs", bound(&small()), "hung up").check((80_000, 4))
}

/// Of a packet, and of a TLV in a packet of which the rest never comes.
fn huge_lengths() -> Row {
    let mut stage = Stage::new(small(), serve);
    let whole = hello(&tlv(2, b""));
    let in_tlv = [&whole[..whole.len() - 1], &varint(4 << 30)].concat();
    let in_tlv = [varint(in_tlv.len() as u64 - 1), in_tlv[1..].to_vec()].concat();
    for _ in 0..MANY / 2 {
        for bytes in [varint(4 << 30), in_tlv.clone()] {
            let link = stage.link();
            stage.hear(link, &bytes);
            assert_eq!(stage.last_down, link);
        }
    }
    stage.finish(MANY, "lengths", bound(&small()), "hung up").check((70_000, 4))
}
