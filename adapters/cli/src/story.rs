//! A socket's life in lines for people.

use std::time::Duration;

use steadfast_tokio::{Change, CloseReason, Closed, Code, LinkLoss, ProtocolCode, State};

use crate::output::Notes;

/// Tells what happens to one socket on standard error.
pub(crate) struct Story {
    notes: Notes,
    /// Stands before each line.
    who: String,
    last: State,
}

impl Story {
    pub(crate) fn new(notes: Notes, who: impl Into<String>) -> Story {
        Story { notes, who: who.into(), last: State::Disconnected }
    }

    /// Tells of a change; not of a state that was told already, before the changes were looked at.
    pub(crate) fn tell(&mut self, change: &Change) {
        match change {
            Change::State(State::Connecting | State::Ready) if self.last == State::Ready => return,
            Change::State(state) => self.last = *state,
            Change::LinkLost(_) => self.last = State::Disconnected,
            _ => {}
        }
        if let Some(line) = line(change) {
            self.notes.line(format_args!("{}{line}", self.who));
        }
    }
}

fn line(change: &Change) -> Option<String> {
    Some(match change {
        Change::State(State::Connecting) => "connecting".into(),
        Change::State(State::Ready) => "ready".into(),
        // The reason came just before, and said it.
        Change::State(State::Disconnected | State::Closed) => return None,
        Change::LinkLost(loss) => format!("disconnected: {}", why_link_lost(loss)),
        Change::SessionLost(lost) => format!("session lost: {}", why(&lost.reason)),
        Change::GoingAway(away) => {
            format!("the server is going away within {} ms", away.within_micros / 1000)
        }
        Change::Closing(reason) => format!("the peer closes: {}", why(reason)),
        Change::Closed(closed) => match how_closed(closed) {
            how if closed.unconfirmed == 0 => format!("closed: {how}"),
            how => format!("closed: {how}; {}", unconfirmed(closed.unconfirmed)),
        },
        _ => return None,
    })
}

fn why_link_lost(loss: &LinkLoss) -> String {
    match loss.retry_in_micros {
        None => why(&loss.reason),
        Some(micros) => {
            format!("{}; next attempt in {} ms", why(&loss.reason), Duration::from_micros(micros).as_millis())
        }
    }
}

/// A reason in words. These codes say nothing that their text does not.
pub(crate) fn why(reason: &CloseReason) -> String {
    const NORMAL: Code = Code::Protocol(ProtocolCode::Normal);
    const UNREACHABLE: Code = Code::Protocol(ProtocolCode::Unreachable);
    match (reason.code, &*reason.reason) {
        (Code::App(0) | NORMAL | UNREACHABLE, text) if !text.is_empty() => text.into(),
        _ => reason.to_string(),
    }
}

/// Who closed, and why.
pub(crate) fn how_closed(closed: &Closed) -> String {
    let said = |who: &str, reason: &CloseReason| format!("{who} ({})", why(reason));
    match (&closed.remote, &closed.local) {
        (Some(remote), _) => said("by the peer", remote),
        (None, Some(local)) => said("by this side", local),
        (None, None) => "without a reason".into(),
    }
}

/// How many messages are unconfirmed, in words.
pub(crate) fn unconfirmed(count: usize) -> String {
    match count {
        0 => "no message is unconfirmed".into(),
        1 => "1 message is unconfirmed".into(),
        count => format!("{count} messages are unconfirmed"),
    }
}
