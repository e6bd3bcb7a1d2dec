//! The bodies of extended records (PROTOCOL.md §4.2).

use alloc::boxed::Box;
use core::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{AskOutcome, RecordLimits, TOO_SHORT, Violation, check_size};
use crate::code::{CloseReason, Code, MAX_REASON, ProtocolCode};
use crate::config::MAX_NAME;
use crate::message::{LaneOptions, Message, Meta};
use crate::wire::varint;

pub(super) const OPEN: u8 = 1;
pub(super) const FIN: u8 = 2;
pub(super) const MESSAGE: u8 = 3;
pub(super) const ASK: u8 = 4;
pub(super) const REPLY: u8 = 5;
pub(super) const ASK_END: u8 = 6;
pub(super) const CANCEL: u8 = 7;
/// The size of a FIN record, in bytes.
pub(super) const FIN_LEN: u64 = 2;
/// In a kind byte: reserved for encoded (compressed) bodies.
const ENCODED: u8 = 0x80;
/// In a reply's flags: further replies follow.
pub(super) const MORE: u8 = 1;

/// The body of an extended record, taken apart.
pub(super) enum Extended {
    Open(LaneOptions),
    Fin,
    Message(Layout),
    Ask(Layout),
    Reply { ask: u64, layout: Layout, more: bool },
    AskEnd { ask: u64, outcome: AskOutcome },
    Cancel { ask: u64 },
}

/// Whether an extended record of this kind waits for the application to read up to it.
pub(super) fn waits(kind: u8) -> bool {
    matches!(kind, MESSAGE | ASK | FIN)
}

/// Where the parts of a message stand in its body. The payload is the rest.
pub(super) struct Layout {
    name: Range<usize>,
    headers: Range<usize>,
}

impl Layout {
    /// How large payload and headers are, in a body of so many bytes.
    pub(super) fn sizes(&self, body: u64) -> (usize, usize) {
        (body as usize - self.headers.end, self.headers.len())
    }

    /// The message in the body that this is the layout of.
    pub(super) fn take(&self, body: &mut Bytes) -> Message {
        let name = core::str::from_utf8(&body[self.name.clone()]).ok().filter(|name| !name.is_empty()).map(Box::from);
        let headers = (!self.headers.is_empty()).then(|| body.slice(self.headers.clone()));
        let meta = (name.is_some() || headers.is_some()).then(|| Box::new(Meta { name, headers }));
        Message { payload: body.split_off(self.headers.end), meta }
    }
}

impl Extended {
    /// # Errors
    /// When the body is none of a known kind, or over the limits.
    pub(super) fn parse(body: &[u8], limits: RecordLimits) -> Result<Extended, Violation> {
        let mut cursor = Cursor { body, at: 0 };
        let kind = cursor.byte()?;
        if kind & ENCODED != 0 {
            return Err(Violation::Malformed("record kind: the encoded bit is reserved"));
        }
        match kind {
            OPEN => {
                let options: LaneOptions = cursor.postcard("OPEN record")?;
                check_size("lane name", options.name.len() as u64, MAX_NAME)?;
                check_size("namespace", options.namespace.len() as u64, MAX_NAME)?;
                check_size("headers", options.headers.len() as u64, limits.max_headers)?;
                Ok(Extended::Open(options))
            }
            FIN => cursor.end(Extended::Fin),
            MESSAGE => Ok(Extended::Message(cursor.layout(limits)?)),
            ASK => Ok(Extended::Ask(cursor.layout(limits)?)),
            REPLY => {
                let (ask, flags) = (cursor.number()?, cursor.byte()?);
                if flags & !MORE != 0 {
                    return Err(Violation::Malformed("flags of a reply"));
                }
                Ok(Extended::Reply { ask, layout: cursor.layout(limits)?, more: flags & MORE != 0 })
            }
            ASK_END => {
                let ask = cursor.number()?;
                let outcome = cursor.postcard::<WireOutcome>("outcome of an ask")?.into_outcome()?;
                Ok(Extended::AskEnd { ask, outcome })
            }
            CANCEL => {
                let ask = cursor.number()?;
                cursor.end(Extended::Cancel { ask })
            }
            kind => Err(Violation::UnknownKind(kind)),
        }
    }
}

/// Reads a body from its start.
struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    fn byte(&mut self) -> Result<u8, Violation> {
        let byte = *self.rest().first().ok_or(TOO_SHORT)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, Violation> {
        let (value, len) = varint::read(self.rest())?.ok_or(TOO_SHORT)?;
        self.at += len;
        Ok(value)
    }

    fn field(&mut self, what: &'static str, limit: usize) -> Result<Range<usize>, Violation> {
        let size = self.number()?;
        check_size(what, size, limit)?;
        let start = self.at;
        let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
        self.at = end.filter(|end| *end <= self.body.len()).ok_or(TOO_SHORT)?;
        Ok(start..self.at)
    }

    fn layout(&mut self, limits: RecordLimits) -> Result<Layout, Violation> {
        let name = self.field("event name", MAX_NAME)?;
        if core::str::from_utf8(&self.body[name.clone()]).is_err() {
            return Err(Violation::Malformed("event name: it is not UTF-8"));
        }
        let headers = self.field("headers", limits.max_headers)?;
        check_size("message", self.rest().len() as u64, limits.max_message)?;
        Ok(Layout { name, headers })
    }

    fn postcard<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, Violation> {
        match postcard::take_from_bytes(self.rest()) {
            Ok((value, [])) => Ok(value),
            Ok(_) | Err(_) => Err(Violation::Malformed(what)),
        }
    }

    fn end(&self, value: Extended) -> Result<Extended, Violation> {
        if self.rest().is_empty() { Ok(value) } else { Err(Violation::Malformed("record: it is too long")) }
    }
}

/// An [`AskOutcome`] on the wire.
#[derive(Serialize, Deserialize)]
pub(super) enum WireOutcome<'a> {
    NoReply,
    Refused { app: bool, code: u32, reason: &'a str },
}

impl<'a> From<&'a AskOutcome> for WireOutcome<'a> {
    fn from(outcome: &'a AskOutcome) -> WireOutcome<'a> {
        let AskOutcome::Refused(CloseReason { code, reason }) = outcome else { return WireOutcome::NoReply };
        let (app, code) = match code {
            Code::App(code) => (true, *code),
            Code::Protocol(code) => (false, code.number()),
        };
        WireOutcome::Refused { app, code, reason }
    }
}

impl WireOutcome<'_> {
    fn into_outcome(self) -> Result<AskOutcome, Violation> {
        let WireOutcome::Refused { app, code, reason } = self else { return Ok(AskOutcome::NoReply) };
        check_size("reason", reason.len() as u64, MAX_REASON)?;
        Ok(AskOutcome::Refused(if app {
            CloseReason::app(code, reason)
        } else {
            CloseReason::protocol(ProtocolCode::from_number(code), reason)
        }))
    }
}
