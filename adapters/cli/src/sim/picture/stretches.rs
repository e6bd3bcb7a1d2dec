//! Which stretches of a run are drawn packet by packet.

use steadfast::State;
use steadfast_sim::{Content, Side};

use super::story::Story;

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
    chosen.extend(first_cut(story, rtt));
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

/// From before a link is cut until both sides are ready again.
fn first_cut(story: &Story, rtt: f64) -> Option<Stretch> {
    let cut = story.cuts.first()?.at;
    let ready_again = |side: Side| {
        let states = &story.states[side as usize];
        states.iter().find(|(at, state)| *at > cut && *state == State::Ready).map_or(cut + 3.0 * rtt, |(at, _)| *at)
    };
    let again = ready_again(Side::Client).max(ready_again(Side::Server));
    Some(stretch(cut - 0.6 * rtt, again + 1.2 * rtt, "the first cut, and how the session is resumed"))
}

/// From before a packet with messages is lost until its bytes are sent again and have arrived.
fn first_loss(story: &Story, rtt: f64, ready: f64) -> Option<Stretch> {
    let is_loss = |lost: &Option<(f64, String)>| lost.as_ref().is_some_and(|(_, node)| node != "cut");
    let matters = |content| matches!(content, Content::Data | Content::Again);
    let harmed = |packet: &&super::story::Packet| {
        packet.sent >= ready
            && matters(packet.content)
            && (is_loss(&packet.lost) || packet.arrivals.iter().any(|a| a.1))
    };
    let lost = story.packets.iter().find(harmed)?;
    let again = story.packets.iter().find(|packet| {
        packet.sent > lost.sent && packet.from == lost.from && packet.content == Content::Again && packet.lost.is_none()
    });
    let end = again.map_or(lost.sent + 2.0 * rtt, |packet| packet.last());
    Some(stretch(lost.sent - 0.3 * rtt, end + 0.4 * rtt, "the first loss of a message, and its repair"))
}
