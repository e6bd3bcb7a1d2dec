//! What an application sends and receives.

use alloc::boxed::Box;
use alloc::string::String;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::code::CloseReason;
use crate::ids::{AskRef, LaneId, SendId};

/// A message: a payload, and if wanted an event name and headers, which cost nothing where they are not used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// The payload, opaque to the protocol.
    pub payload: Bytes,
    pub(crate) meta: Option<Box<Meta>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) name: Option<Box<str>>,
    pub(crate) headers: Option<Bytes>,
}

impl Message {
    /// A message without name and headers.
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message { payload: payload.into(), meta: None }
    }

    /// The same message as a named event. The name is UTF-8 of at most [`MAX_NAME`](crate::MAX_NAME) bytes; the empty
    /// name is no name.
    pub fn with_name(mut self, name: impl Into<String>) -> Message {
        let name: String = name.into();
        if !name.is_empty() {
            self.meta.get_or_insert_default().name = Some(name.into_boxed_str());
        }
        self
    }

    /// The same message with headers: the text of one JSON value, carried as it is and not looked into. The empty text
    /// is no headers.
    pub fn with_headers(mut self, json: impl Into<Bytes>) -> Message {
        let json = json.into();
        if !json.is_empty() {
            self.meta.get_or_insert_default().headers = Some(json);
        }
        self
    }

    /// Bytes of payload, name and headers together.
    pub fn size(&self) -> usize {
        self.payload.len() + self.name().map_or(0, str::len) + self.headers().map_or(0, Bytes::len)
    }

    /// The event's name.
    pub fn name(&self) -> Option<&str> {
        self.meta.as_deref()?.name.as_deref()
    }

    /// The headers' JSON text.
    pub fn headers(&self) -> Option<&Bytes> {
        self.meta.as_deref()?.headers.as_ref()
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Message {
        Message::new(payload)
    }
}

impl From<&'static str> for Message {
    fn from(payload: &'static str) -> Message {
        Message::new(payload)
    }
}

impl From<String> for Message {
    fn from(payload: String) -> Message {
        Message::new(payload)
    }
}

impl From<alloc::vec::Vec<u8>> for Message {
    fn from(payload: alloc::vec::Vec<u8>) -> Message {
        Message::new(payload)
    }
}

/// What a message lane yields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Received {
    /// A message.
    Message(Message),
    /// A message that wants an answer: see [`Socket::reply`](crate::Socket::reply).
    Ask(AskRef, Message),
    /// The peer has finished the lane: nothing follows.
    Finished,
}

/// What a byte lane yields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReceivedBytes {
    /// The next bytes, never empty.
    Data(Bytes),
    /// The peer has finished the lane: nothing follows.
    Finished,
}

/// What an ask yields: any number of `Answer { more: true }`, then one of the others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// An answer; the last one unless `more`.
    Answer {
        /// What the peer answered.
        message: Message,
        /// Whether further answers follow.
        more: bool,
    },
    /// The ask ended without a (further) answer.
    Failed(AskError),
}

/// Why an ask ended without a (further) answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum AskError {
    /// The peer refused it.
    #[error("the peer refused to answer: {0}")]
    Refused(CloseReason),
    /// The peer dropped it or finished the lane without an answer.
    #[error("the peer has ended the ask without an answer")]
    NoReply,
    /// Its time ran out. The peer may have handled it.
    #[error("no answer came in time")]
    TimedOut,
    /// This side cancelled it. The peer may have handled it.
    #[error("the ask was cancelled")]
    Cancelled,
    /// The session ended before the ask was ever sent.
    #[error("the session ended before the ask was sent")]
    Unsent,
    /// The session ended after the ask was sent: nobody can tell whether it was handled.
    #[error("the session ended while the ask was under way: it may or may not have been handled")]
    InDoubt,
}

/// How a message is to be sent, beyond the plain case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SendOptions {
    /// How long it may wait before its first transmission; then it is dropped and [`Event::Expired`](crate::Event) tells.
    pub time_to_live: Option<core::time::Duration>,
    /// While it waits, a newer message of the same lane and key takes its place: the older one is dropped, the newer one
    /// queues at the end.
    pub key: Option<Bytes>,
    /// Whether [`Event::Confirmed`](crate::Event) is wanted when the peer's application has taken it.
    pub receipt: bool,
}

/// A message that was accepted and of which this side cannot say that the peer's application took it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The lane it was sent on.
    pub lane: LaneId,
    /// The message; for a byte lane the bytes.
    pub message: Message,
    /// Its id, when the application asked for one.
    pub id: Option<SendId>,
    /// The peer's ask that it answers.
    pub reply_to: Option<AskRef>,
    /// Whether the peer may have it.
    pub fate: Fate,
}

/// What is known of an unconfirmed message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// No byte of it was ever transmitted.
    Unsent,
    /// At least one byte of it was: the peer's application may or may not have it.
    InDoubt,
}

/// What a lane carries and how it is announced to the peer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LaneOptions {
    /// Messages or plain bytes.
    pub kind: LaneKind,
    /// What the lane is for, at most [`MAX_NAME`](crate::MAX_NAME) bytes of UTF-8; may be empty.
    pub name: String,
    /// The namespace it belongs to, at most [`MAX_NAME`](crate::MAX_NAME) bytes of UTF-8; may be empty.
    pub namespace: String,
    /// A lane of a smaller number is served first; lanes of the same number share the link. 0 is the main lane's.
    pub priority: u8,
    /// Headers' JSON text; empty for none.
    pub headers: Bytes,
}

/// What a lane carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LaneKind {
    /// Messages, asks and answers.
    #[default]
    Messages,
    /// Plain bytes without boundaries.
    Bytes,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_message_counts_payload_name_and_headers() {
        let message = Message::new("payload").with_name("name").with_headers("{\"a\":1}");
        assert_eq!((message.size(), Message::new("payload").size()), (7 + 4 + 7, 7));
        assert_eq!((message.name(), message.headers()), (Some("name"), Some(&Bytes::from_static(b"{\"a\":1}"))));
    }

    #[test]
    fn an_empty_name_and_empty_headers_are_none() {
        assert_eq!(Message::new("payload").with_name("").with_headers(""), Message::new("payload"));
    }

    #[test]
    fn a_payload_is_made_of_what_an_application_has() {
        let expected = Message::new(Bytes::from_static(b"text"));
        assert_eq!(Message::from("text"), expected);
        assert_eq!(Message::from("text".to_string()), expected);
        assert_eq!(Message::from(b"text".to_vec()), expected);
        assert_eq!(Message::from(Bytes::from_static(b"text")), expected);
    }
}
