//! Frames to bytes and back (PROTOCOL.md §3.5).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::varint;
use crate::code::{CloseReason, Code, MAX_REASON, ProtocolCode};
use crate::config::MAX_ADDRESS;

const DATA: u64 = 0x02;
const LANE: u64 = 0x04;
const PING: u64 = 0x06;
const PONG: u64 = 0x08;
const VOLATILE: u64 = 0x0A;
const ALLOW: u64 = 0x0C;
const LANE_DONE: u64 = 0x0E;
const CLOSE: u64 = 0x10;
const CLOSED: u64 = 0x12;
const ABORT: u64 = 0x14;
const GOAWAY: u64 = 0x16;
const PROMPT: u64 = 0x18;

/// One frame of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// Bytes of a lane's stream.
    Data { lane: u64, offset: u64, payload: Bytes },
    /// How far a lane's receiver has come, and its credit.
    Lane { lane: u64, received: u64, consumed: u64, limit: u64 },
    /// To be answered with [`Frame::Pong`] of the same token.
    Ping(u64),
    /// The answer to a [`Frame::Ping`].
    Pong(u64),
    /// A record outside of its lane's stream.
    Volatile { lane: u64, record: Bytes },
    /// How many lanes the peer may open in all.
    Allow(u64),
    /// The lane has ended here: nothing is known of it any more.
    LaneDone(u64),
    /// The sender closes.
    Close(CloseReason),
    /// All is confirmed and consumed.
    Closed,
    /// The sender has ended.
    Abort(CloseReason),
    /// The server goes away.
    GoAway { within_ms: u64, alternative: Box<str> },
    /// The sender waits to hear that the lane is consumed up to here.
    Prompt { lane: u64, offset: u64 },
}

/// The body of CLOSE and ABORT.
#[derive(Serialize, Deserialize)]
struct CloseBody<'a> {
    app: bool,
    code: u32,
    reason: &'a str,
}

/// The body of GOAWAY.
#[derive(Serialize, Deserialize)]
struct GoAwayBody<'a> {
    within_ms: u64,
    alternative: &'a str,
}

impl Frame {
    /// Takes the next frame off `packet`; `None` at its end. Frames of unknown odd types are passed over. Payloads are
    /// slices of the packet.
    ///
    /// # Errors
    /// When the bytes are no frame, or one of an unknown even type.
    pub(crate) fn decode(packet: &mut Bytes) -> Result<Option<Frame>, WireError> {
        while !packet.is_empty() {
            let frame = match varint::take(packet)? {
                DATA => decode_data(packet)?,
                LANE => decode_lane(packet)?,
                PING => Frame::Ping(varint::take(packet)?),
                PONG => Frame::Pong(varint::take(packet)?),
                VOLATILE => Frame::Volatile { lane: varint::take(packet)?, record: take_sized(packet)? },
                ALLOW => Frame::Allow(varint::take(packet)?),
                LANE_DONE => Frame::LaneDone(varint::take(packet)?),
                CLOSE => Frame::Close(decode_close(&take_sized(packet)?)?),
                CLOSED => Frame::Closed,
                ABORT => Frame::Abort(decode_close(&take_sized(packet)?)?),
                GOAWAY => decode_go_away(&take_sized(packet)?)?,
                PROMPT => Frame::Prompt { lane: varint::take(packet)?, offset: varint::take(packet)? },
                unknown if unknown % 2 == 1 => {
                    take_sized(packet)?;
                    continue;
                }
                unknown => return Err(WireError::UnknownFrame(unknown)),
            };
            return Ok(Some(frame));
        }
        Ok(None)
    }

    /// Appends the frame. An address over its limit is left out.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Frame::Data { lane, offset, payload } => {
                encode_data_header(*lane, *offset, payload.len(), out);
                out.put_slice(payload);
            }
            Frame::Lane { lane, received, consumed, limit } => {
                let ahead = received.saturating_sub(*consumed);
                varint::put_all([LANE, *lane, *consumed, ahead, limit.saturating_sub(*consumed)], out);
            }
            Frame::Ping(token) => varint::put_all([PING, *token], out),
            Frame::Pong(token) => varint::put_all([PONG, *token], out),
            Frame::Volatile { lane, record } => {
                varint::put_all([VOLATILE, *lane], out);
                put_sized(record, out);
            }
            Frame::Allow(lanes) => varint::put_all([ALLOW, *lanes], out),
            Frame::LaneDone(lane) => varint::put_all([LANE_DONE, *lane], out),
            Frame::Close(reason) => put_body(CLOSE, &close_body(reason), out),
            Frame::Closed => varint::put(CLOSED, out),
            Frame::Abort(reason) => put_body(ABORT, &close_body(reason), out),
            Frame::GoAway { within_ms, alternative } => {
                let alternative = if alternative.len() <= MAX_ADDRESS { alternative } else { "" };
                put_body(GOAWAY, &GoAwayBody { within_ms: *within_ms, alternative }, out);
            }
            Frame::Prompt { lane, offset } => varint::put_all([PROMPT, *lane, *offset], out),
        }
    }
}

/// How far a frame reaches, as far as its beginning tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outline {
    /// The whole frame is here: so many bytes.
    Whole(usize),
    /// The head of a DATA frame is here, so many bytes, and its payload of `length` is not, or not all of it.
    Data { lane: u64, offset: u64, head: usize, length: u64 },
    /// At least so many bytes are needed to tell more.
    More(u64),
}

impl Outline {
    /// Of the frame that starts with `bytes`.
    ///
    /// # Errors
    /// When the bytes begin no frame, or one of an unknown even type.
    pub(super) fn of(bytes: &[u8]) -> Result<Outline, WireError> {
        let Some((frame_type, mut at)) = varint::read(bytes)? else { return Ok(Outline::missing(bytes)) };
        let (numbers, is_sized) = match frame_type {
            LANE => (4, false),
            DATA => (2, true),
            PROMPT => (2, false),
            VOLATILE => (1, true),
            PING | PONG | ALLOW | LANE_DONE => (1, false),
            CLOSED => (0, false),
            CLOSE | ABORT | GOAWAY => (0, true),
            unknown if unknown % 2 == 1 => (0, true),
            unknown => return Err(WireError::UnknownFrame(unknown)),
        };
        let mut fields = [0; 4];
        for field in fields.iter_mut().take(numbers + usize::from(is_sized)) {
            let Some((value, len)) = varint::read(&bytes[at..])? else { return Ok(Outline::missing(bytes)) };
            *field = value;
            at += len;
        }
        let length = if is_sized { fields[numbers] } else { 0 };
        let rest = (bytes.len() - at) as u64;
        if length <= rest {
            return Ok(Outline::Whole(at + length as usize));
        }
        let [lane, offset, ..] = fields;
        match frame_type {
            DATA if offset.checked_add(length).is_none() => Err(WireError::Malformed("offset over 64 bits")),
            DATA => Ok(Outline::Data { lane, offset, head: at, length }),
            _ => Ok(Outline::More(length.saturating_add(at as u64))),
        }
    }

    /// The head goes on beyond `bytes`.
    fn missing(bytes: &[u8]) -> Outline {
        Outline::More(bytes.len() as u64 + 1)
    }
}

/// Appends a DATA frame up to its payload of `length` bytes, which has to follow.
pub(crate) fn encode_data_header(lane: u64, offset: u64, length: usize, out: &mut BytesMut) {
    varint::put_all([DATA, lane, offset, length as u64], out);
}

/// The postcard form of a body whose serialisation has no case that can fail.
pub(super) fn to_postcard(body: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(body).expect("bodies are plain structs of numbers and strings")
}

/// Takes a varint length and as many bytes.
pub(super) fn take_sized(bytes: &mut Bytes) -> Result<Bytes, WireError> {
    split_sized(varint::take(bytes)?, bytes)
}

fn split_sized(length: u64, bytes: &mut Bytes) -> Result<Bytes, WireError> {
    if length > bytes.len() as u64 {
        return Err(WireError::Malformed("length beyond the packet's end"));
    }
    Ok(bytes.split_to(length as usize))
}

/// `base` plus the next varint.
pub(super) fn take_distance(base: u64, bytes: &mut Bytes) -> Result<u64, WireError> {
    distant(base, varint::take(bytes)?)
}

fn distant(base: u64, distance: u64) -> Result<u64, WireError> {
    base.checked_add(distance).ok_or(WireError::Malformed("offset over 64 bits"))
}

fn decode_data(packet: &mut Bytes) -> Result<Frame, WireError> {
    let [lane, offset, length] = varint::take_all(packet)?;
    let payload = split_sized(length, packet)?;
    match offset.checked_add(length) {
        Some(_) => Ok(Frame::Data { lane, offset, payload }),
        None => Err(WireError::Malformed("offset over 64 bits")),
    }
}

fn decode_lane(packet: &mut Bytes) -> Result<Frame, WireError> {
    let [lane, consumed, ahead, credit] = varint::take_all(packet)?;
    let (received, limit) = (distant(consumed, ahead)?, distant(consumed, credit)?);
    Ok(Frame::Lane { lane, received, consumed, limit })
}

fn decode_close(bytes: &[u8]) -> Result<CloseReason, WireError> {
    let (body, _) =
        postcard::take_from_bytes::<CloseBody<'_>>(bytes).map_err(|_| WireError::Malformed("close body"))?;
    WireError::check_size("reason", body.reason.len() as u64, MAX_REASON)?;
    let code = if body.app { Code::App(body.code) } else { Code::Protocol(ProtocolCode::from_number(body.code)) };
    Ok(CloseReason { code, reason: body.reason.into() })
}

fn close_body(reason: &CloseReason) -> CloseBody<'_> {
    let (app, code) = match reason.code {
        Code::App(code) => (true, code),
        Code::Protocol(code) => (false, code.number()),
    };
    CloseBody { app, code, reason: &reason.reason }
}

fn decode_go_away(bytes: &[u8]) -> Result<Frame, WireError> {
    let (body, _) =
        postcard::take_from_bytes::<GoAwayBody<'_>>(bytes).map_err(|_| WireError::Malformed("go-away body"))?;
    WireError::check_size("address", body.alternative.len() as u64, MAX_ADDRESS)?;
    Ok(Frame::GoAway { within_ms: body.within_ms, alternative: body.alternative.into() })
}

fn put_sized(bytes: &[u8], out: &mut BytesMut) {
    varint::put(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn put_body(frame_type: u64, body: &impl Serialize, out: &mut BytesMut) {
    varint::put(frame_type, out);
    put_sized(&to_postcard(body), out);
}
