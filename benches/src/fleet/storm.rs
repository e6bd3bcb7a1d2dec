//! All clients of a server lose their links at once, and come back at once.

use std::time::Duration;

use steadfast::{LinkAction, LinkId, LinkKind, State};

use super::{Fleet, link, pull};
use crate::counting;
use crate::measure::Watch;

/// What a storm came to.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// How many clients came back.
    pub back: usize,
    /// How many of them in the first wave.
    pub first: usize,
    /// CPU time of the server's machine, from the first link that comes up.
    pub cpu: Duration,
    /// The most heap that the server's machine took beside what it had, in bytes.
    pub peak: i64,
    /// How many inputs the server was given, from a client's handshake on, before that client's answer was out, at most.
    pub longest: usize,
    /// Time in the clients' world from the loss of the links until all were back.
    pub passed: Duration,
}

/// A client's handshake under way.
struct Hello {
    client: usize,
    link: LinkId,
    bytes: Vec<bytes::Bytes>,
}

/// Cuts all links, and lets the clients come back at once, in the default configuration and on links that are instant: in
/// each wave all links of those that dial come up first, then all handshakes arrive. Who is not let in comes back as his
/// timers say.
pub fn storm(fleet: &mut Fleet) -> Storm {
    let start = fleet.now;
    let count = fleet.clients.len();
    for number in 0..count {
        fleet.clients[number].handle_link_down(fleet.now, link(number));
        fleet.clients[number].reconnect_now(fleet.now);
        fleet.server.handle_link_down(fleet.now, link(number));
    }
    while fleet.server.poll_event().is_some() || fleet.server.poll_link_action().is_some() {}
    let mut storm = Storm { back: 0, first: 0, cpu: Duration::ZERO, peak: 0, longest: 0, passed: Duration::ZERO };
    let mut next_link = count as u64 + 1;
    while storm.back < count {
        let dialling = dial(fleet);
        let links: Vec<LinkId> = dialling.iter().map(|_| take(&mut next_link)).collect();
        let hellos: Vec<Hello> =
            dialling.into_iter().zip(links).map(|(client, link)| greet(fleet, client, link)).collect();
        let watch = Watch::start();
        let (answers, counts) = counting::during(|| serve(fleet, &hellos, &mut storm.longest));
        storm.cpu += watch.stop(1).cpu;
        storm.peak = storm.peak.max(counts.peak);
        for (hello, bytes) in hellos.iter().zip(answers) {
            hear(fleet, hello, bytes);
        }
        storm.back = fleet.clients.iter().filter(|client| client.state() == State::Ready).count();
        storm.passed = fleet.now.since(start);
        storm.first = if storm.passed.is_zero() { storm.back } else { storm.first };
        let deadlines = fleet.clients.iter().filter(|client| client.state() != State::Ready);
        let next = deadlines.filter_map(|client| client.poll_timeout()).map(|deadline| deadline.at).min();
        fleet.now = next.map_or(fleet.now, |at| at.max(fleet.now));
    }
    storm
}

fn take(next: &mut u64) -> LinkId {
    *next += 1;
    LinkId(*next)
}

/// The clients that dial now.
fn dial(fleet: &mut Fleet) -> Vec<usize> {
    let mut dialling = Vec::new();
    for (number, client) in fleet.clients.iter_mut().enumerate() {
        client.handle_timeout(fleet.now);
        while let Some(action) = client.poll_link_action() {
            if matches!(action, LinkAction::Dial(_)) {
                dialling.push(number);
            }
        }
        while client.poll_event().is_some() {}
    }
    dialling
}

fn greet(fleet: &mut Fleet, client: usize, link: LinkId) -> Hello {
    let (now, machine) = (fleet.now, &mut fleet.clients[client]);
    machine.handle_link_up(now, link, LinkKind::Stream);
    let mut bytes = Vec::new();
    pull(|| machine.poll_transmit(now, link), |segment| bytes.push(segment));
    Hello { client, link, bytes }
}

/// What the server answers on a link, or that it has hung it up.
#[derive(Clone, Default)]
struct Answer {
    bytes: Vec<bytes::Bytes>,
    hung_up: bool,
}

/// Gives the server all links, then all handshakes, and pulls what it has to say after each input.
fn serve(fleet: &mut Fleet, hellos: &[Hello], longest: &mut usize) -> Vec<Answer> {
    let first = hellos.first().map_or(0, |hello| hello.link.0);
    let mut answers = vec![Answer::default(); hellos.len()];
    let mut asked: Vec<Option<usize>> = vec![None; hellos.len()];
    let mut inputs = 0;
    for hello in hellos {
        fleet.server.handle_link_up(fleet.now, hello.link, LinkKind::Stream);
        drain(fleet, first, &mut answers);
    }
    for (index, hello) in hellos.iter().enumerate() {
        if answers[index].hung_up {
            continue;
        }
        asked[index] = Some(inputs);
        for bytes in &hello.bytes {
            inputs += 1;
            fleet.server.handle_bytes(fleet.now, hello.link, bytes.clone());
            for served in drain(fleet, first, &mut answers) {
                let since = asked.get_mut(served).and_then(Option::take);
                *longest = since.map_or(*longest, |since| (*longest).max(inputs - since));
            }
        }
    }
    let waiting = asked.iter().flatten().map(|since| inputs - since).max();
    *longest = waiting.map_or(*longest, |waiting| (*longest).max(waiting));
    answers
}

/// Takes what the server has to say; the handshakes that it answered.
fn drain(fleet: &mut Fleet, first: u64, answers: &mut [Answer]) -> Vec<usize> {
    let (now, mut served) = (fleet.now, Vec::new());
    while fleet.server.poll_event().is_some() {}
    while let Some(action) = fleet.server.poll_link_action() {
        let (link, hung_up) = match action {
            LinkAction::Flush(link) => (link, false),
            LinkAction::HangUp(link) => (link, true),
            LinkAction::Dial(_) | LinkAction::CancelDial => panic!("a server never dials"),
        };
        let Some(answer) = link.0.checked_sub(first).and_then(|index| answers.get_mut(index as usize)) else {
            continue;
        };
        answer.hung_up |= hung_up;
        pull(|| fleet.server.poll_transmit(now, link), |bytes| answer.bytes.push(bytes));
        served.push((link.0 - first) as usize);
    }
    served
}

fn hear(fleet: &mut Fleet, hello: &Hello, answer: Answer) {
    let (now, machine) = (fleet.now, &mut fleet.clients[hello.client]);
    answer.bytes.into_iter().for_each(|bytes| machine.handle_bytes(now, hello.link, bytes));
    if answer.hung_up {
        machine.handle_link_down(now, hello.link);
    }
}
