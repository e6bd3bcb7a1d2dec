//! Which stretches of a run are drawn packet by packet.

use steadfast::State;
use steadfast_sim::{Content, Side};

use super::story::{Packet, Story};

/// A stretch of a run, in milliseconds, and why it is shown.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Stretch {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) why: String,
}

/// A run of so many round trips is shown as a whole.
const SHORT: f64 = 8.0;
/// A stretch is no longer than so many round trips.
const LONGEST: f64 = 7.0;

/// The beginning, the first trouble of each kind, and the end; what touches is one.
pub(super) fn choose(story: &Story, rtt: f64) -> Vec<Stretch> {
    if story.end <= SHORT * rtt {
        return vec![stretch(0.0, story.end, "the whole run")];
    }
    let ready = story.ready.unwrap_or(story.end.min(2.0 * rtt));
    let mut chosen = vec![stretch(0.0, ready + 1.6 * rtt, "the handshake and the first messages")];
    chosen.extend(first_break(story, rtt));
    chosen.extend(first_loss(story, rtt, ready));
    let last = story.packets.iter().map(|packet| packet.last()).fold(ready, f64::max);
    chosen.push(stretch(last - 1.6 * rtt, last, "the end"));
    chosen.sort_by(|one, other| one.from.total_cmp(&other.from));
    let mut joined: Vec<Stretch> = Vec::new();
    for next in chosen {
        let next =
            Stretch { from: next.from.max(0.0), to: next.to.min(story.end).min(next.from + LONGEST * rtt), ..next };
        match joined.last_mut() {
            Some(last) if next.from <= last.to => {
                last.to = last.to.max(next.to);
                last.why = format!("{}; {}", last.why, next.why);
            }
            _ => joined.push(next),
        }
    }
    joined
}

fn stretch(from: f64, to: f64, why: &str) -> Stretch {
    Stretch { from, to, why: why.into() }
}

/// From before a link is cut, or given up, until both sides are ready again.
fn first_break(story: &Story, rtt: f64) -> Option<Stretch> {
    let cut = story.cuts.first().map(|cut| cut.at);
    let first = |side: Side, is: fn(State) -> bool, after: f64| {
        let states = &story.states[side as usize];
        states.iter().find(|(at, state)| *at > after && is(*state)).map(|(at, _)| *at)
    };
    let given_up = story.ready.and_then(|ready| {
        Side::BOTH.into_iter().filter_map(|side| first(side, |state| state != State::Ready, ready)).reduce(f64::min)
    });
    let (at, what) = match (cut, given_up) {
        (Some(cut), given_up) if given_up.is_none_or(|at| cut <= at) => (cut, "the first cut"),
        (_, at) => (at?, "the link is given up"),
    };
    let from = at - 0.6 * rtt;
    let again = Side::BOTH.map(|side| first(side, |state| state == State::Ready, at));
    Some(match again {
        [Some(one), Some(other)] if one.max(other) <= from + LONGEST * rtt => {
            stretch(from, one.max(other) + 1.2 * rtt, &format!("{what}, and how the session is resumed"))
        }
        _ => stretch(from, at + 3.0 * rtt, &format!("{what}, and what follows")),
    })
}

/// From before a packet with messages is lost until its bytes are sent again and have arrived.
fn first_loss(story: &Story, rtt: f64, ready: f64) -> Option<Stretch> {
    let is_cut = |packet: &Packet| packet.lost.as_ref().is_some_and(|(_, node)| node == "cut");
    let matters = |content| matches!(content, Content::Data | Content::Again);
    let harmed = |packet: &&Packet| {
        packet.sent >= ready && matters(packet.content) && packet.harm().is_some() && !is_cut(packet)
    };
    let lost = story.packets.iter().find(harmed)?;
    let again = story.packets.iter().find(|packet| {
        packet.sent > lost.sent
            && packet.from == lost.from
            && packet.content == Content::Again
            && packet.harm().is_none()
    });
    let from = lost.sent - 0.3 * rtt;
    Some(match again.map(Packet::last).filter(|again| *again <= from + LONGEST * rtt) {
        Some(again) => stretch(from, again + 0.4 * rtt, "the first loss of a message, and its repair"),
        None => stretch(from, lost.sent + 2.0 * rtt, "the first loss of a message, and what follows"),
    })
}
