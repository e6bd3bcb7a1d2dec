//! Why something ended: codes of the protocol and codes of the application, two separate spaces.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The longest reason, in bytes of UTF-8; a longer one is cut at a character.
pub const MAX_REASON: usize = 256;

/// Why a side closed, aborted, rejected or refused: a number with a meaning and a text for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CloseReason {
    /// What kind of end it was.
    pub code: Code,
    /// A text for people; over [`MAX_REASON`] bytes it is cut where it is used.
    pub reason: Box<str>,
}

impl CloseReason {
    /// A reason of the application's own. A text over [`MAX_REASON`] bytes is cut.
    pub fn app(code: u32, reason: impl Into<String>) -> CloseReason {
        CloseReason { code: Code::App(code), reason: reason.into().into() }.cut()
    }

    pub(crate) fn protocol(code: ProtocolCode, reason: impl Into<String>) -> CloseReason {
        CloseReason { code: Code::Protocol(code), reason: reason.into().into() }.cut()
    }

    /// With its text cut at a character, if that is over the limit: so is whatever an application gives, as it enters.
    pub(crate) fn cut(self) -> CloseReason {
        let mut text = String::from(self.reason);
        let mut end = MAX_REASON.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        CloseReason { reason: text.into(), ..self }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &*self.reason) {
            (code, "") => write!(f, "{code}"),
            (code, reason) => write!(f, "{code}: {reason}"),
        }
    }
}

/// A code of one of the two spaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Code {
    /// Chosen by the protocol.
    Protocol(ProtocolCode),
    /// Chosen by the application.
    App(u32),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Protocol(code) => write!(f, "{code}"),
            Code::App(code) => write!(f, "code {code}"),
        }
    }
}

macro_rules! protocol_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal, $text:literal;)+) => {
        /// The protocol's codes (PROTOCOL.md §9).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ProtocolCode {
            $($(#[doc = $doc])+ $name,)+
            /// A code that this version does not know.
            Unknown(u32),
        }

        impl ProtocolCode {
            /// All the codes this version knows.
            pub const ALL: &'static [ProtocolCode] = &[$(ProtocolCode::$name),+];

            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self {
                    $(ProtocolCode::$name => $value,)+
                    ProtocolCode::Unknown(number) => number,
                }
            }

            /// The code of a number on the wire.
            pub fn from_number(number: u32) -> ProtocolCode {
                match number {
                    $($value => ProtocolCode::$name,)+
                    number => ProtocolCode::Unknown(number),
                }
            }
        }

        impl fmt::Display for ProtocolCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(ProtocolCode::$name => f.write_str($text),)+
                    ProtocolCode::Unknown(number) => write!(f, "unknown protocol code {number}"),
                }
            }
        }
    };
}

protocol_codes! {
    /// Closed on purpose, with nothing to say.
    Normal = 0, "closed";
    /// Bytes that are no packet, frame, handshake or record of this protocol.
    Malformed = 1, "malformed bytes";
    /// A frame or record that this version must know and does not.
    UnknownFrame = 2, "unknown frame";
    /// More bytes than the credit allowed.
    FlowControl = 3, "flow control violated";
    /// More lanes than allowed, or a lane of the wrong parity.
    LaneLimit = 4, "lane limit violated";
    /// A message, header, name or handshake over its limit.
    TooLarge = 5, "over a size limit";
    /// A frame where it must not stand.
    Unexpected = 6, "unexpected frame";
    /// Offsets that cannot be: one side is an older copy of itself.
    StateMismatch = 7, "the two sides' states do not match";
    /// No version in common.
    Version = 8, "no protocol version in common";
    /// The session is not known here, or its proof is wrong.
    UnknownSession = 9, "unknown session";
    /// A newer link of the session has taken over.
    Fenced = 10, "fenced by a newer link";
    /// Another holder of the same session has taken over.
    Superseded = 11, "superseded by another holder of the session";
    /// Ask at another address.
    Redirect = 12, "redirected";
    /// Not now; try again later.
    TryLater = 13, "try again later";
    /// The server has all the sockets it may have.
    ServerFull = 14, "the server is full";
    /// The application refused the socket.
    Rejected = 15, "rejected";
    /// Nobody decided in time, so the answer is no.
    NoDecision = 16, "no decision in time";
    /// The socket has ended already.
    Ended = 17, "the socket has ended";
    /// The peer's silence lasted too long.
    Silence = 18, "silence";
    /// A deadline passed: of a connection attempt, a handshake or a close.
    Deadline = 19, "deadline passed";
    /// The server is going away.
    GoingAway = 20, "the server is going away";
    /// The handler of an ask has as many open asks as it may have.
    TooManyAsks = 21, "too many open asks";
    /// The session's retention ended while the peer was away.
    Expired = 22, "the session expired";
    /// An attempt to get a link failed.
    Unreachable = 23, "unreachable";
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_reason_over_its_limit_is_cut_at_a_character() {
        let letters = "é".repeat(MAX_REASON);
        assert_eq!(&*CloseReason::app(1, &letters).reason, "é".repeat(MAX_REASON / 2));
        let behind_one_byte = CloseReason::app(1, "x".to_string() + &letters).reason;
        assert_eq!(&*behind_one_byte, "x".to_string() + &"é".repeat(MAX_REASON / 2 - 1));
        assert_eq!(&*CloseReason::app(1, "short").reason, "short");
    }

    #[test]
    fn a_reason_is_told_with_its_code() {
        let protocol = CloseReason::protocol(ProtocolCode::GoingAway, "maintenance");
        assert_eq!(protocol.to_string(), "the server is going away: maintenance");
        assert_eq!(CloseReason::app(4000, "").to_string(), "code 4000");
        assert_eq!(ProtocolCode::from_number(9999).to_string(), "unknown protocol code 9999");
    }
}
