//! The four states of a socket, and the one table of their transitions (PROTOCOL.md §5).

use core::fmt;

use serde::{Deserialize, Serialize};

/// The four states of a socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum State {
    /// No link. What is written waits.
    #[default]
    Disconnected,
    /// A link is being made, or the handshake runs on it.
    Connecting,
    /// The handshake of this link is done.
    Ready,
    /// Ended for good.
    Closed,
}

/// What moves a socket from state to state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// An attempt begins: a dial, or a HELLO that arrived.
    AttemptStarted,
    /// The handshake of this epoch is done.
    HandshakeDone,
    /// The attempt failed, or the link is gone.
    LinkLost,
    /// The socket has ended.
    Ended,
}

impl State {
    /// All four.
    pub const ALL: [State; 4] = [State::Disconnected, State::Connecting, State::Ready, State::Closed];

    /// The transition table. `None`: the change does not concern this state.
    pub(crate) const fn after(self, change: Change) -> Option<State> {
        use Change::*;
        use State::*;
        match (self, change) {
            (Disconnected, AttemptStarted) => Some(Connecting),
            (Connecting, HandshakeDone) => Some(Ready),
            (Connecting | Ready, LinkLost) => Some(Disconnected),
            (Disconnected | Connecting | Ready, Ended) => Some(Closed),
            (Disconnected, HandshakeDone | LinkLost)
            | (Connecting, AttemptStarted)
            | (Ready, AttemptStarted | HandshakeDone)
            | (Closed, _) => None,
        }
    }

    /// Whether a socket may go from this state to `next` in one step.
    pub const fn may_become(self, next: State) -> bool {
        matches!(
            (self, next),
            (State::Disconnected, State::Connecting)
                | (State::Connecting, State::Ready)
                | (State::Connecting | State::Ready, State::Disconnected)
                | (State::Disconnected | State::Connecting | State::Ready, State::Closed)
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Disconnected => "disconnected",
            State::Connecting => "connecting",
            State::Ready => "ready",
            State::Closed => "closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 4] = [Change::AttemptStarted, Change::HandshakeDone, Change::LinkLost, Change::Ended];

    /// The table of PROTOCOL.md §5, row by row.
    #[test]
    fn every_state_and_change_is_as_the_specification_says() {
        let specification = include_str!("../../PROTOCOL.md");
        for state in State::ALL {
            let row = std::format!("| {state} |");
            let cells: std::vec::Vec<&str> = specification
                .lines()
                .find_map(|line| line.strip_prefix(row.as_str()))
                .unwrap_or_else(|| panic!("no row for {state}"))
                .split('|')
                .map(str::trim)
                .collect();
            for (change, cell) in CHANGES.into_iter().zip(cells) {
                let told = state.after(change).map_or("–".into(), |next| std::format!("{next}"));
                assert_eq!(told, cell, "{state} after {change:?}");
            }
        }
    }

    #[test]
    fn a_step_is_possible_exactly_when_some_change_makes_it() {
        for state in State::ALL {
            for next in State::ALL {
                let made = CHANGES.into_iter().any(|change| state.after(change) == Some(next));
                assert_eq!(state.may_become(next), made, "{state} to {next}");
            }
        }
    }
}
