//! Strategies for all that goes over the wire, shared by the tests.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::{self, btree_map};
use proptest::option;
use proptest::prelude::*;

use super::{Frame, Handshake, Hello, HelloKind, LaneState, LaneStates, Params, Reject, VERSION, Welcome, WelcomeKind};
use crate::code::{CloseReason, Code, ProtocolCode};
use crate::crypto::Mac;
use crate::ids::SessionId;

/// Numbers of all lengths, each as likely as the others.
pub(super) fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

pub(super) fn bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    collection::vec(any::<u8>(), 0..=longest).prop_map(Bytes::from)
}

/// A text that is at most `longest` bytes and often just that.
fn text(longest: usize) -> impl Strategy<Value = Box<str>> {
    prop_oneof![
        3 => ".{0,40}",
        1 => Just("é".repeat(longest / 2)),
        1 => Just("x".repeat(longest)),
    ]
    .prop_map(String::into_boxed_str)
}

fn protocol_code() -> impl Strategy<Value = ProtocolCode> {
    prop_oneof![0..40_u32, any::<u32>()].prop_map(ProtocolCode::from_number)
}

fn close_reason() -> impl Strategy<Value = CloseReason> {
    let code = prop_oneof![protocol_code().prop_map(Code::Protocol), any::<u32>().prop_map(Code::App)];
    (code, text(256)).prop_map(|(code, reason)| CloseReason { code, reason })
}

/// Two distances from a base that do not overflow.
fn offsets() -> impl Strategy<Value = (u64, u64, u64)> {
    (number(), number(), number()).prop_map(|(base, a, b)| (base, base.saturating_add(a), base.saturating_add(b)))
}

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (number(), number(), bytes(300)).prop_map(|(lane, offset, payload)| {
            Frame::Data { lane, offset: offset.min(u64::MAX - payload.len() as u64), payload }
        }),
        (number(), offsets()).prop_map(|(lane, (consumed, received, limit))| Frame::Lane {
            lane,
            received,
            consumed,
            limit
        }),
        number().prop_map(Frame::Ping),
        number().prop_map(Frame::Pong),
        (number(), bytes(300)).prop_map(|(lane, record)| Frame::Volatile { lane, record }),
        number().prop_map(Frame::Allow),
        number().prop_map(Frame::LaneDone),
        close_reason().prop_map(Frame::Close),
        Just(Frame::Closed),
        close_reason().prop_map(Frame::Abort),
        (number(), text(1024)).prop_map(|(within_ms, alternative)| Frame::GoAway { within_ms, alternative }),
        (number(), number()).prop_map(|(lane, offset)| Frame::Prompt { lane, offset }),
    ]
}

fn params() -> impl Strategy<Value = Params> {
    (any::<u32>(), number(), number(), number(), number(), any::<u32>()).prop_map(
        |(silence_ms, max_message, max_headers, main_window, lane_window, max_lanes)| Params {
            silence_ms,
            max_message,
            max_headers,
            main_window,
            lane_window,
            max_lanes,
        },
    )
}

fn lane_states() -> impl Strategy<Value = LaneStates> {
    let lanes = btree_map(number(), (offsets(), number()), 0..20).prop_map(|lanes| {
        let state = |(lane, ((consumed, received, limit), sent))| LaneState { lane, received, consumed, limit, sent };
        lanes.into_iter().map(state).collect::<Vec<_>>()
    });
    (number(), number(), number(), lanes).prop_map(|(opened, seen, allowed, lanes)| LaneStates {
        opened,
        seen,
        allowed,
        lanes,
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 24]>().prop_map(SessionId::from_bytes)
}

fn hello() -> impl Strategy<Value = Hello> {
    let kind = prop_oneof![
        (any::<[u8; 16]>(), params()).prop_map(|(open_id, params)| HelloKind::Open { open_id, params }),
        (session(), number(), lane_states()).prop_map(|(session, epoch, lanes)| HelloKind::Resume {
            session,
            epoch,
            lanes,
            mac: Mac::default()
        }),
    ];
    (0..=VERSION, VERSION..=255, any::<[u8; 16]>(), bytes(300), kind).prop_map(|(min, max, nonce, auth, kind)| Hello {
        versions: (min, max),
        nonce,
        auth,
        kind,
    })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let kind = prop_oneof![
        (session(), any::<[u8; 32]>(), number(), number(), params()).prop_map(
            |(session, secret, epoch, retention_ms, params)| {
                WelcomeKind::Opened { session, secret, epoch, retention_ms, params }
            }
        ),
        (number(), lane_states()).prop_map(|(epoch, lanes)| WelcomeKind::Resumed { epoch, lanes, mac: Mac::default() }),
    ];
    (any::<[u8; 16]>(), kind).prop_map(|(nonce, kind)| Welcome { version: VERSION, nonce, kind })
}

fn reject() -> impl Strategy<Value = Reject> {
    let first = (any::<u8>(), any::<[u8; 16]>(), protocol_code(), option::of(any::<u32>()), text(256));
    let second = (option::of(number()), option::of(text(1024)), option::of(number()));
    let mac = option::of(Just(Mac::default()));
    (first, second, mac).prop_map(
        |((version, nonce, code, app_code, reason), (retry_after_ms, address, current_epoch), mac)| Reject {
            version,
            nonce,
            code,
            app_code,
            reason,
            retry_after_ms,
            address,
            current_epoch,
            mac,
        },
    )
}

/// Handshakes, with a MAC of zeros where one belongs.
pub(super) fn handshake() -> impl Strategy<Value = Handshake> {
    prop_oneof![
        hello().prop_map(Handshake::Hello),
        welcome().prop_map(Handshake::Welcome),
        reject().prop_map(Handshake::Reject),
    ]
}
