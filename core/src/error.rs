//! What a command can refuse. Only local reasons: what a peer does becomes an event or a close.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt::Display;

use bytes::Bytes;
use thiserror::Error;

use crate::message::Message;

/// A message that was not accepted, and why. The message comes back.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{kind}")]
pub struct SendError {
    /// Why.
    pub kind: SendErrorKind,
    /// The message.
    pub message: Message,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SendErrorKind {
    /// The send buffer is full: wait for [`Event::Writable`](crate::Event::Writable).
    #[error("the send buffer is full: {buffered} of {limit} {unit} are waiting or unconfirmed")]
    Full {
        /// How much is waiting or unconfirmed.
        buffered: usize,
        /// The limit.
        limit: usize,
        /// Of what: `bytes` or `messages`.
        unit: &'static str,
    },
    /// The lane or the socket takes no more: it was finished or closed, by either side.
    #[error("the lane or the socket is closed for writing")]
    Closed,
    /// The session was lost, and the application has not yet taken what was unconfirmed
    /// ([`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed)).
    #[error("the session was lost: take what was unconfirmed first")]
    Lost,
    /// The message or lane, its headers or a name are over their limit, or all of it is more than the send buffer ever holds.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Of what: `message`, `headers`, `name`, ….
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The lane carries bytes and a message was given, or the other way round; or an ask was answered that is not open.
    #[error("{0}")]
    Misuse(&'static str),
}

/// Why bytes were not accepted by a byte lane, or a lane could not be opened or finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LaneError {
    /// See [`SendErrorKind`].
    #[error(transparent)]
    Send(#[from] SendErrorKind),
    /// The peer allows no more lanes for now: wait for [`Event::LanesAvailable`](crate::Event::LanesAvailable).
    #[error("the peer allows {limit} lanes and all of them were opened")]
    LaneLimit {
        /// How many lanes the peer allows this side to open in all, up to now.
        limit: u64,
    },
}

/// A configuration that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{field} is {value}: it must be {rule}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// Its value, with a unit where it has one.
    pub value: Box<str>,
    /// What it must be.
    pub rule: Box<str>,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, value: &impl Display, rule: &impl Display) -> ConfigError {
        ConfigError { field, value: value.to_string().into(), rule: rule.to_string().into() }
    }
}

/// An open request that a decision came too late for: the client has gone or the deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the open request is no longer waiting for a decision")]
pub struct OpenGone;

impl SendError {
    pub(crate) fn new(kind: SendErrorKind, message: Message) -> SendError {
        SendError { kind, message }
    }

    /// The payload, given back.
    pub fn into_payload(self) -> Bytes {
        self.message.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_comes_back_with_the_reason() {
        let kind = SendErrorKind::Full { buffered: 70, limit: 64, unit: "bytes" };
        let error = SendError::new(kind, Message::new("payload"));
        assert_eq!(error.to_string(), "the send buffer is full: 70 of 64 bytes are waiting or unconfirmed");
        assert_eq!(error.into_payload(), "payload");
    }
}
