//! Records to bytes and back (PROTOCOL.md §4.2): `length << 1 | extended`, then the body.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::extended::{ASK, ASK_END, CANCEL, Extended, FIN, Layout, MESSAGE, MORE, OPEN, REPLY, WireOutcome};
use crate::code::{CloseReason, ProtocolCode};
use crate::config::MAX_NAME;
use crate::ids::AskId;
use crate::message::{LaneOptions, Message};
use crate::wire::{WireError, varint};

/// A payload up to this size is copied behind its record's head, a larger one is referenced, in bytes.
pub(super) const INLINE_PAYLOAD: usize = 1024;

/// The most that an extended body holds beside what the application gave, in bytes: kind, flags, ask offset and two
/// lengths.
const EXTENDED_OVERHEAD: usize = 2 + 3 * varint::MAX_LEN;

/// A record on its way to the peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Outgoing {
    Message(Message),
    Ask(AskId, Message),
    /// An answer to the peer's ask whose record starts at `ask`.
    Reply {
        ask: u64,
        message: Message,
        more: bool,
    },
    /// The peer's ask gets no (further) answer.
    AskEnd {
        ask: u64,
        outcome: AskOutcome,
    },
    /// This side's ask wants no (further) answer.
    Cancel {
        ask: u64,
    },
    Open(Box<LaneOptions>),
    Fin,
    /// Bytes of a byte lane.
    Bytes(Bytes),
}

/// How an ask ended without a (further) answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum AskOutcome {
    NoReply,
    Refused(CloseReason),
}

/// A record from the peer. `at` is the offset at which it starts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Incoming {
    Message(Message),
    Ask { at: u64, message: Message },
    Reply { at: u64, ask: u64, message: Message, more: bool },
    AskEnd { ask: u64, outcome: AskOutcome },
    Cancel { ask: u64 },
    Open(LaneOptions),
    Fin,
}

/// The largest payload and headers that this side takes, in bytes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RecordLimits {
    pub(crate) max_message: usize,
    pub(crate) max_headers: usize,
}

impl RecordLimits {
    const NONE: RecordLimits = RecordLimits { max_message: usize::MAX, max_headers: usize::MAX };
}

/// A rule of the lane that the peer broke.
#[derive(Clone, PartialEq, Debug, Error)]
pub(crate) enum Violation {
    #[error("malformed {0}")]
    Malformed(&'static str),
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge { what: &'static str, size: u64, limit: u64 },
    #[error("data up to offset {end} is over the credit of {limit}")]
    FlowControl { end: u64, limit: u64 },
    #[error("unexpected {0}")]
    Unexpected(&'static str),
}

impl Violation {
    /// The protocol code to answer with.
    pub(crate) fn code(&self) -> ProtocolCode {
        match self {
            Violation::Malformed(_) => ProtocolCode::Malformed,
            Violation::UnknownKind(_) => ProtocolCode::UnknownFrame,
            Violation::TooLarge { .. } => ProtocolCode::TooLarge,
            Violation::FlowControl { .. } => ProtocolCode::FlowControl,
            Violation::Unexpected(_) => ProtocolCode::Unexpected,
        }
    }
}

impl From<WireError> for Violation {
    fn from(_: WireError) -> Violation {
        Violation::Malformed("number in a record")
    }
}

pub(super) const TOO_SHORT: Violation = Violation::Malformed("record: it is too short");

pub(super) fn check_size(what: &'static str, size: u64, limit: usize) -> Result<(), Violation> {
    let limit = limit as u64;
    if size <= limit { Ok(()) } else { Err(Violation::TooLarge { what, size, limit }) }
}

/// What stands in front of a record's body.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Head {
    pub(super) extended: bool,
    /// Bytes of the head itself.
    pub(super) len: usize,
    /// Bytes of the body.
    pub(super) body: u64,
}

impl Head {
    /// The head at the start of `bytes`; `None` when it goes on beyond them.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let head = varint::read(bytes)?;
        Ok(head.map(|(value, len)| Head { extended: value & 1 == 1, len, body: value >> 1 }))
    }

    /// Whether the body is within the limits, as far as its length alone can tell.
    pub(super) fn check(&self, limits: RecordLimits) -> Result<(), Violation> {
        if !self.extended {
            return check_size("message", self.body, limits.max_message);
        }
        // Two names: those of an OPEN.
        let meta = limits.max_headers.saturating_add(2 * MAX_NAME + EXTENDED_OVERHEAD);
        check_size("record", self.body, limits.max_message.saturating_add(meta))
    }
}

impl Outgoing {
    /// Payload and headers, in bytes, if it can have such.
    pub(super) fn sizes(&self) -> Option<(usize, usize)> {
        match self {
            Outgoing::Message(message) | Outgoing::Ask(_, message) | Outgoing::Reply { message, .. } => {
                Some((message.payload.len(), message.headers().map_or(0, Bytes::len)))
            }
            Outgoing::Open(options) => Some((0, options.headers.len())),
            Outgoing::AskEnd { .. } | Outgoing::Cancel { .. } | Outgoing::Fin | Outgoing::Bytes(_) => None,
        }
    }

    /// The same of a record of a message lane that this side wrote, by all of it but the payload, at least.
    pub(super) fn sizes_of(record: &[u8]) -> Option<(usize, usize)> {
        let head = Head::parse(record).ok()??;
        if !head.extended {
            return Some((head.body as usize, 0));
        }
        match Extended::parse(record.get(head.len..)?, RecordLimits::NONE).ok()? {
            Extended::Message(layout) | Extended::Ask(layout) | Extended::Reply { layout, .. } => {
                Some(layout.sizes(head.body))
            }
            Extended::Open(options) => Some((0, options.headers.len())),
            Extended::AskEnd { .. } | Extended::Cancel { .. } | Extended::Fin => None,
        }
    }

    /// How many bytes the application gave: payload, name, headers or reason.
    pub(super) fn content(&self) -> usize {
        match self {
            Outgoing::Message(message) | Outgoing::Ask(_, message) | Outgoing::Reply { message, .. } => {
                message.payload.len() + meta_len(message)
            }
            Outgoing::AskEnd { outcome: AskOutcome::Refused(reason), .. } => reason.reason.len(),
            Outgoing::Open(options) => options.name.len() + options.namespace.len() + options.headers.len(),
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::AskEnd { .. } | Outgoing::Cancel { .. } | Outgoing::Fin => 0,
        }
    }

    /// Whether it is a message of the application's: plain, a question or an answer.
    pub(super) fn is_user(&self) -> bool {
        matches!(self, Outgoing::Message(_) | Outgoing::Ask(..) | Outgoing::Reply { .. })
    }

    /// The message, if it has one.
    pub(crate) fn into_message(self) -> Option<Message> {
        match self {
            Outgoing::Message(message) | Outgoing::Ask(_, message) | Outgoing::Reply { message, .. } => Some(message),
            Outgoing::AskEnd { .. }
            | Outgoing::Cancel { .. }
            | Outgoing::Open(_)
            | Outgoing::Fin
            | Outgoing::Bytes(_) => None,
        }
    }

    /// No less than what the record takes without its payload, in bytes.
    pub(super) fn head_bound(&self) -> usize {
        match self {
            Outgoing::Bytes(_) => varint::MAX_LEN,
            Outgoing::Message(message) if message.meta.is_none() => varint::MAX_LEN,
            other => varint::MAX_LEN + EXTENDED_OVERHEAD + other.content() - other.payload_len(),
        }
    }

    /// Appends all of the record but its payload, which follows it.
    pub(super) fn encode_head(&self, out: &mut BytesMut) {
        match self {
            Outgoing::Bytes(payload) => put_plain_head(payload.len(), out),
            Outgoing::Message(message) if message.meta.is_none() => put_plain_head(message.payload.len(), out),
            Outgoing::Message(message) => put_message(&[MESSAGE], message, out),
            Outgoing::Ask(_, message) => put_message(&[ASK], message, out),
            Outgoing::Reply { ask, message, more } => {
                let mut front = numbered(REPLY, *ask);
                front.push(if *more { MORE } else { 0 });
                put_message(&front, message, out);
            }
            Outgoing::AskEnd { ask, outcome } => put_control(numbered(ASK_END, *ask), &WireOutcome::from(outcome), out),
            Outgoing::Cancel { ask } => put_extended(&numbered(CANCEL, *ask), 0, out),
            Outgoing::Open(options) => put_control(Vec::from([OPEN]), &**options, out),
            Outgoing::Fin => put_extended(&[FIN], 0, out),
        }
    }

    pub(super) fn payload_len(&self) -> usize {
        match self {
            Outgoing::Message(message) | Outgoing::Ask(_, message) | Outgoing::Reply { message, .. } => {
                message.payload.len()
            }
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::AskEnd { .. } | Outgoing::Cancel { .. } | Outgoing::Open(_) | Outgoing::Fin => 0,
        }
    }

    /// The payload, which follows the head.
    pub(super) fn into_payload(self) -> Bytes {
        match self {
            Outgoing::Bytes(bytes) => bytes,
            other => other.into_message().map(|message| message.payload).unwrap_or_default(),
        }
    }

    /// The record of a message lane that this side wrote as `record` and then `payload`; one of these has all of the
    /// payload. `ask`: the id of the ask. `None` when it is none that this side can have written.
    pub(super) fn decode(mut record: Bytes, payload: Bytes, ask: Option<AskId>) -> Option<Outgoing> {
        let head = Head::parse(&record).ok()??;
        let mut body = record.split_off(head.len);
        if !head.extended {
            return Some(Outgoing::Message(Message::new(if body.is_empty() { payload } else { body })));
        }
        let message = |layout: Layout, body: &mut Bytes| {
            let mut message = layout.take(body);
            if message.payload.is_empty() {
                message.payload = payload;
            }
            message
        };
        Some(match Extended::parse(&body, RecordLimits::NONE).ok()? {
            Extended::Message(layout) => Outgoing::Message(message(layout, &mut body)),
            Extended::Ask(layout) => Outgoing::Ask(ask?, message(layout, &mut body)),
            Extended::Reply { ask, layout, more } => Outgoing::Reply { ask, message: message(layout, &mut body), more },
            Extended::AskEnd { ask, outcome } => Outgoing::AskEnd { ask, outcome },
            Extended::Cancel { ask } => Outgoing::Cancel { ask },
            Extended::Open(options) => Outgoing::Open(Box::new(options)),
            Extended::Fin => Outgoing::Fin,
        })
    }
}

fn meta_len(message: &Message) -> usize {
    message.name().map_or(0, str::len) + message.headers().map_or(0, Bytes::len)
}

/// Appends the head of a record that is nothing but a payload of `len` bytes.
#[inline]
pub(super) fn put_plain_head(len: usize, out: &mut BytesMut) {
    // One or two bytes nearly always. `extend_from_slice` is inlined, `put_slice` is not.
    match len {
        0..0x40 => out.extend_from_slice(&[(len << 1) as u8]),
        0x40..0x2000 => out.extend_from_slice(&[(len << 1) as u8 | 0x80, (len >> 6) as u8]),
        _ => varint::put((len as u64) << 1, out),
    }
}

/// The start of a body: its kind and the offset of an ask.
fn numbered(kind: u8, ask: u64) -> Vec<u8> {
    let mut front = Vec::with_capacity(2 + varint::MAX_LEN);
    front.push(kind);
    varint::put(ask, &mut front);
    front
}

/// Appends the head and the first bytes of the body of an extended record; `rest` more bytes of body follow.
fn put_extended(front: &[u8], rest: usize, out: &mut BytesMut) {
    varint::put(((front.len() + rest) as u64) << 1 | 1, out);
    out.put_slice(front);
}

fn put_message(front: &[u8], message: &Message, out: &mut BytesMut) {
    let name = message.name().unwrap_or_default().as_bytes();
    let headers: &[u8] = message.headers().map_or(&[], |headers| headers);
    let size = |field: &[u8]| varint::len(field.len() as u64) + field.len();
    put_extended(front, size(name) + size(headers) + message.payload.len(), out);
    for field in [name, headers] {
        varint::put(field.len() as u64, out);
        out.put_slice(field);
    }
}

fn put_control<T: Serialize>(front: Vec<u8>, value: &T, out: &mut BytesMut) {
    // Fails only for types that postcard cannot write, and these are none of them.
    let body = postcard::to_extend(value, front).unwrap_or_default();
    put_extended(&body, 0, out);
}

/// The record of a message, whole.
pub(crate) fn encode_message(message: Message) -> Bytes {
    let record = Outgoing::Message(message);
    let mut out = BytesMut::with_capacity(record.head_bound() + record.content());
    record.encode_head(&mut out);
    out.put(record.into_payload());
    out.freeze()
}

/// The message whose record is `record`.
///
/// # Errors
/// When it is not one whole record of a message.
pub(crate) fn decode_message(mut record: Bytes) -> Result<Message, Violation> {
    let head = Head::parse(&record)?.ok_or(TOO_SHORT)?;
    let mut body = record.split_off(head.len);
    if head.body != body.len() as u64 {
        return Err(Violation::Malformed("record: its length is wrong"));
    }
    if !head.extended {
        return Ok(Message::new(body));
    }
    match Extended::parse(&body, RecordLimits::NONE)? {
        Extended::Message(layout) => Ok(layout.take(&mut body)),
        _ => Err(Violation::Unexpected("kind of a record that stands alone")),
    }
}
