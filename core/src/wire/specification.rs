//! What PROTOCOL.md and its test vectors say, held against the code.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::packet::MAX_PACKET;
use super::*;
use crate::code::{CloseReason, ProtocolCode};
use crate::config::{MAX_ADDRESS, ServerConfig};
use crate::crypto::{Mac, MacKey, connection_id};
use crate::ids::{AskId, SessionId};
use crate::lane::record::Violation;
use crate::lane::{AskOutcome, Incoming, Outgoing, RecordLimits, RecvBuffer, SendBuffer};
use crate::message::{LaneKind, LaneOptions, Message};
use crate::time::Time;

const SPECIFICATION: &str = include_str!("../../PROTOCOL.md");
const FRAMES: &str = include_str!("../../tests/vectors/frames.txt");
const HANDSHAKES: &str = include_str!("../../tests/vectors/handshakes.txt");
const KEYS: &str = include_str!("../../tests/vectors/keys.txt");
const RECORDS: &str = include_str!("../../tests/vectors/records.txt");
const VARINTS: &str = include_str!("../../tests/vectors/varints.txt");
const DATAGRAMS: &str = include_str!("../../tests/vectors/datagrams.txt");
const DATAGRAM_FRAMES: &str = include_str!("../../tests/vectors/datagram_frames.txt");
const MALFORMED_DATAGRAMS: &str = include_str!("../../tests/vectors/malformed_datagrams.txt");
const MALFORMED_FRAMES: &str = include_str!("../../tests/vectors/malformed_frames.txt");
const MALFORMED_HANDSHAKES: &str = include_str!("../../tests/vectors/malformed_handshakes.txt");
const MALFORMED_RECORDS: &str = include_str!("../../tests/vectors/malformed_records.txt");
const MALFORMED_VARINTS: &str = include_str!("../../tests/vectors/malformed_varints.txt");

/// The names and bytes of a file of vectors.
fn vectors(file: &'static str) -> impl Iterator<Item = (&'static str, Bytes)> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (name, hex) = line.split_once(' ').unwrap();
        assert_eq!(hex.len() % 2, 0, "{name}");
        let byte = |index| u8::from_str_radix(&hex[index..index + 2], 16).unwrap();
        (name, (0..hex.len()).step_by(2).map(byte).collect())
    })
}

/// The vector of this name.
fn vector(file: &'static str, name: &str) -> Bytes {
    vectors(file).find(|(found, _)| *found == name).unwrap().1
}

/// `N` bytes that count up from `first`.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    core::array::from_fn(|index| first + index as u8)
}

fn secret() -> [u8; 32] {
    counting(0)
}

/// The rows of the section's table whose first cell is a number in `base`: the number, and the cells behind it.
fn numbered_rows(heading: &str, base: u32) -> Vec<(u64, Vec<&'static str>)> {
    let section = SPECIFICATION.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#')).filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let number = u64::from_str_radix(cells.next()?.trim_matches('`'), base).ok()?;
        Some((number, cells.collect()))
    })
    .collect()
}

fn frames() -> Vec<(&'static str, Frame)> {
    let deadline = CloseReason::protocol(ProtocolCode::Deadline, "too slow");
    vec![
        ("data", Frame::Data { lane: 0, offset: 0, payload: Bytes::from_static(b"hello") }),
        ("data-far", Frame::Data { lane: 2, offset: 1 << 40, payload: Bytes::from_static(&[1, 2, 3]) }),
        ("data-empty", Frame::Data { lane: 1, offset: 7, payload: Bytes::new() }),
        ("lane", Frame::Lane { lane: 3, received: 1500, consumed: 1000, limit: 9192 }),
        ("ping", Frame::Ping(1)),
        ("pong", Frame::Pong(u64::MAX)),
        ("volatile", Frame::Volatile { lane: 4, record: Bytes::from_static(b"\x06now") }),
        ("allow", Frame::Allow(130)),
        ("lane-done", Frame::LaneDone(6)),
        ("close", Frame::Close(CloseReason::app(4000, "bye"))),
        ("close-protocol", Frame::Close(CloseReason::protocol(ProtocolCode::Normal, ""))),
        ("closed", Frame::Closed),
        ("abort", Frame::Abort(deadline)),
        ("abort-unknown", Frame::Abort(CloseReason::protocol(ProtocolCode::Unknown(u32::MAX), "é"))),
        ("goaway", Frame::GoAway { within_ms: 30_000, alternative: "tcp://example.org:7".into() }),
        ("goaway-same", Frame::GoAway { within_ms: 0, alternative: "".into() }),
        ("prompt", Frame::Prompt { lane: 2, offset: 70_000 }),
    ]
}

fn records() -> Vec<(&'static str, Outgoing)> {
    let json = || Bytes::from_static(b"{\"a\":1}");
    let message = |payload: &'static [u8]| Message::new(Bytes::from_static(payload));
    let chat = LaneOptions {
        kind: LaneKind::Messages,
        name: "chat".into(),
        namespace: "room/1".into(),
        priority: 3,
        headers: json(),
    };
    let refused = |ask, reason| Outgoing::AskEnd { ask, outcome: AskOutcome::Refused(reason) };
    let because = Outgoing::Reply { ask: 300, message: message(b"because"), more: true };
    vec![
        ("plain", Outgoing::Message(message(b"hello"))),
        ("plain-empty", Outgoing::Message(message(b""))),
        ("plain-long", Outgoing::Message(message(&[b'x'; 100]))),
        ("open-messages", Outgoing::Open(chat.into())),
        ("open-bytes", Outgoing::Open(LaneOptions { kind: LaneKind::Bytes, ..LaneOptions::default() }.into())),
        ("fin", Outgoing::Fin),
        ("message", Outgoing::Message(message(b"hello").with_name("tick").with_headers(json()))),
        ("message-name", Outgoing::Message(message(b"").with_name("tick"))),
        ("ask", Outgoing::Ask(AskId(0), message(b"why?"))),
        ("reply-more", because),
        ("reply-last", Outgoing::Reply { ask: 0, message: message(b"").with_headers(json()), more: false }),
        ("ask-end", Outgoing::AskEnd { ask: 300, outcome: AskOutcome::NoReply }),
        ("ask-end-refused", refused(300, CloseReason::app(403, "no"))),
        ("ask-end-too-many", refused(5, CloseReason::protocol(ProtocolCode::TooManyAsks, ""))),
        ("cancel", Outgoing::Cancel { ask: 300 }),
    ]
}

/// What the peer makes of a record that stands first on its lane.
fn as_received(record: Outgoing) -> Incoming {
    match record {
        Outgoing::Message(message) => Incoming::Message(message),
        Outgoing::Ask(_, message) => Incoming::Ask { at: 0, message },
        Outgoing::Reply { ask, message, more } => Incoming::Reply { at: 0, ask, message, more },
        Outgoing::AskEnd { ask, outcome } => Incoming::AskEnd { ask, outcome },
        Outgoing::Cancel { ask } => Incoming::Cancel { ask },
        Outgoing::Open(options) => Incoming::Open(*options),
        Outgoing::Fin => Incoming::Fin,
        Outgoing::Bytes(_) => unreachable!("no vector is one of a lane of bytes"),
    }
}

/// The bytes of a record on a lane of messages.
fn sent(record: Outgoing) -> Vec<u8> {
    let (mut lane, mut pieces) = (SendBuffer::new(u64::MAX), Vec::new());
    lane.push(record);
    lane.next_data(Time::ZERO, usize::MAX, &mut pieces, &mut |_, _| ());
    pieces.concat()
}

/// What a lane of messages, or one that is to be opened, makes of the bytes.
fn received(record: &Bytes, opens: bool) -> Result<Option<Incoming>, Violation> {
    let limits = RecordLimits { max_message: 1000, max_headers: 1000 };
    let kind = (!opens).then_some(LaneKind::Messages);
    let mut lane = RecvBuffer::new(kind, limits, u64::MAX);
    lane.insert(0, record.clone(), record.len())?;
    Ok(lane.scan()?.or_else(|| lane.next()))
}

fn params() -> Params {
    Params {
        silence_ms: 15_000,
        max_message: 16 << 20,
        max_headers: 64 << 10,
        main_window: 256 << 10,
        lane_window: 8192,
        max_lanes: 128,
    }
}

fn lane_state([lane, received, consumed, limit, sent]: [u64; 5]) -> LaneState {
    LaneState { lane, received, consumed, limit, sent }
}

fn reject(code: ProtocolCode) -> Reject {
    Reject {
        version: VERSION,
        nonce: counting(0x20),
        code,
        app_code: None,
        reason: "".into(),
        retry_after_ms: None,
        address: None,
        current_epoch: None,
        mac: None,
    }
}

/// The handshakes with all but their MACs.
fn handshakes() -> Vec<(&'static str, Handshake)> {
    let (mac, session) = (Mac::default(), SessionId::new(7, 3, counting(0x40)));
    let hello = |max, auth: &'static [u8], kind| {
        Handshake::Hello(Hello { versions: (1, max), nonce: counting(0x20), auth: Bytes::from_static(auth), kind })
    };
    let open = HelloKind::Open { open_id: counting(0x30), params: params() };
    let mine = [[0, 5000, 5000, 267_144, 7000], [1, 12, 0, 8192, 0], [2, 123, 100, 8292, 1 << 33]].map(lane_state);
    let lanes = LaneStates { opened: 1, seen: 1, allowed: 129, lanes: mine.into() };
    let resume = HelloKind::Resume { session, epoch: 2, lanes, mac };
    let welcome = |kind| Handshake::Welcome(Welcome { version: VERSION, nonce: counting(0x20), kind });
    let opened = WelcomeKind::Opened { session, secret: secret(), epoch: 1, retention_ms: 120_000, params: params() };
    let theirs = [[0, 7000, 7000, 269_144, 5000], [1, 0, 0, 8192, 12]].map(lane_state);
    let lanes = LaneStates { opened: 1, seen: 1, allowed: 128, lanes: theirs.into() };
    let by_app = Reject {
        app_code: Some(403),
        reason: "not today".into(),
        retry_after_ms: Some(60_000),
        ..reject(ProtocolCode::Rejected)
    };
    let redirect = Reject { address: Some("tls://b.example.org:443".into()), ..reject(ProtocolCode::Redirect) };
    let fenced = Reject { current_epoch: Some(9), mac: Some(mac), ..reject(ProtocolCode::Fenced) };
    let ended = Reject { app_code: Some(4000), reason: "bye".into(), mac: Some(mac), ..reject(ProtocolCode::Ended) };
    vec![
        ("hello-open", hello(1, b"", open.clone())),
        ("hello-open-auth", hello(3, b"token", open)),
        ("hello-resume", hello(1, b"", resume)),
        ("welcome-opened", welcome(opened)),
        ("welcome-resumed", welcome(WelcomeKind::Resumed { epoch: 2, lanes, mac })),
        ("reject-unknown", Handshake::Reject(reject(ProtocolCode::UnknownSession))),
        ("reject-app", Handshake::Reject(by_app)),
        ("reject-redirect", Handshake::Reject(redirect)),
        ("reject-fenced", Handshake::Reject(fenced)),
        ("reject-ended", Handshake::Reject(ended)),
    ]
}

/// The key and the transcript of the handshake's MAC, and the MAC itself, where it has one.
fn proof(handshake: &mut Handshake) -> Option<(MacKey, Bytes, &mut Mac)> {
    let hello = vector(HANDSHAKES, "hello-resume");
    match handshake {
        Handshake::Hello(Hello { kind: HelloKind::Resume { mac, .. }, .. }) => {
            Some((MacKey::client(&secret()), Bytes::new(), mac))
        }
        Handshake::Welcome(Welcome { kind: WelcomeKind::Resumed { mac, .. }, .. }) => {
            Some((MacKey::server(&secret()), hello, mac))
        }
        Handshake::Reject(Reject { mac: Some(mac), .. }) => Some((MacKey::server(&secret()), hello, mac)),
        _ => None,
    }
}

#[test]
fn varint_vectors_hold_both_ways() {
    for (name, bytes) in vectors(VARINTS) {
        let (value, mut out) = (name.parse().unwrap(), Vec::new());
        varint::put(value, &mut out);
        assert_eq!(out, bytes, "{name}");
        assert_eq!(varint::read(&bytes), Ok(Some((value, bytes.len()))), "{name}");
    }
    for (name, bytes) in vectors(MALFORMED_VARINTS) {
        assert_eq!(varint::read(&bytes), Err(WireError::Malformed("varint")), "{name}");
    }
}

#[test]
fn frame_vectors_hold_both_ways() {
    let read: Vec<(&str, Frame)> =
        vectors(FRAMES).map(|(name, mut packet)| (name, Frame::decode(&mut packet).unwrap().unwrap())).collect();
    assert_eq!(read, frames());
    for ((name, bytes), (_, frame)) in vectors(FRAMES).zip(frames()) {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        assert_eq!(out, bytes, "{name}");
    }
}

#[test]
fn malformed_frame_vectors_are_refused() {
    for (name, mut packet) in vectors(MALFORMED_FRAMES) {
        let error = Frame::decode(&mut packet).expect_err(name);
        assert_eq!(error.code(), ProtocolCode::Malformed, "{name}");
    }
}

#[test]
fn record_vectors_hold_both_ways() {
    assert!(vectors(RECORDS).map(|(name, _)| name).eq(records().iter().map(|(name, _)| *name)));
    for ((name, bytes), (_, record)) in vectors(RECORDS).zip(records()) {
        let opens = matches!(record, Outgoing::Open(_));
        assert_eq!(received(&bytes, opens), Ok(Some(as_received(record.clone()))), "{name}");
        assert_eq!(sent(record), bytes, "{name}");
    }
}

#[test]
fn malformed_record_vectors_are_refused() {
    for (name, bytes) in vectors(MALFORMED_RECORDS) {
        let violation = received(&bytes, false).expect_err(name);
        assert_eq!(violation.code(), ProtocolCode::Malformed, "{name}");
    }
}

#[test]
fn handshake_vectors_hold_both_ways() {
    assert!(vectors(HANDSHAKES).map(|(name, _)| name).eq(handshakes().iter().map(|(name, _)| *name)));
    for ((name, packet), (_, mut handshake)) in vectors(HANDSHAKES).zip(handshakes()) {
        let (mut read, covered) = decode_handshake(&packet).expect(name);
        let written = match proof(&mut read) {
            None => handshake.encode(),
            Some((key, transcript, mac)) => {
                assert!(key.verify(&transcript, &packet[..covered], mac), "{name}");
                *proof(&mut handshake).unwrap().2 = *mac;
                handshake.encode_with_mac(&key, &transcript)
            }
        };
        assert_eq!(read, handshake, "{name}");
        assert_eq!(written, packet, "{name}");
    }
}

#[test]
fn malformed_handshake_vectors_are_refused() {
    for (name, packet) in vectors(MALFORMED_HANDSHAKES) {
        let error = decode_handshake(&packet).expect_err(name);
        assert_eq!(error.code(), ProtocolCode::Malformed, "{name}");
    }
}

#[test]
fn key_vectors_hold() {
    for (name, key) in [("client", MacKey::client(&secret())), ("server", MacKey::server(&secret()))] {
        let told: [u8; 32] = vector(KEYS, name).as_ref().try_into().unwrap();
        let mac = Mac::from_bytes(blake3::keyed_hash(&told, b"transcript and bytes").into());
        assert!(key.verify(b"transcript", b" and bytes", &mac), "{name}");
    }
}

#[test]
fn the_table_of_codes_is_complete() {
    let told: Vec<u64> = numbered_rows("## §9", 10).into_iter().map(|(number, _)| number).collect();
    let known: Vec<u64> = ProtocolCode::ALL.iter().map(|code| u64::from(code.number())).collect();
    assert_eq!(told, known);
    for (number, cells) in numbered_rows("## §9", 10) {
        let name = format!("{:?}", ProtocolCode::from_number(number as u32)).to_lowercase();
        assert_eq!(cells[0].replace('_', "").to_lowercase(), name);
    }
}

#[test]
fn the_table_of_frames_is_complete() {
    let told: Vec<u64> = numbered_rows("### §3.5", 16).into_iter().map(|(number, _)| number).collect();
    let mut known: Vec<u64> = vectors(FRAMES).map(|(_, packet)| u64::from(packet[0])).collect();
    known.dedup();
    assert_eq!(told, known);
    let next_even = told.last().unwrap() + 2;
    assert_eq!(Frame::decode(&mut Bytes::from(vec![next_even as u8])), Err(WireError::UnknownFrame(next_even)));
}

#[test]
fn the_limits_are_those_of_the_specification() {
    for (what, limit) in [
        ("packet, without its length", MAX_PACKET),
        ("AUTH", crate::config::MAX_AUTH),
        ("reason", crate::code::MAX_REASON),
        ("address, alternative", MAX_ADDRESS),
        ("event name, lane name, namespace", crate::config::MAX_NAME),
        ("live lanes opened by one side", crate::config::MAX_LANES as usize),
    ] {
        let row = format!("\n| {what} | ");
        let told = SPECIFICATION.split(&row).nth(1).and_then(|rest| rest.split(' ').next()).expect(what);
        assert_eq!(told.replace(',', "").parse(), Ok(limit), "{what}");
    }
}

/// A number with its unit: sizes in bytes, times in milliseconds.
fn quantity(text: &str) -> u64 {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        unit => panic!("what is {unit}?"),
    };
    number.replace(',', "").parse::<u64>().unwrap() * factor
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let server = ServerConfig::default();
    let config = &server.socket;
    let millis = |duration: Duration| duration.as_millis() as u64;
    for (setting, value) in [
        ("max_message", config.max_message as u64),
        ("max_headers", config.max_headers as u64),
        ("send_buffer", config.send_buffer as u64),
        ("receive_buffer", config.receive_buffer as u64),
        ("max_lanes", config.max_lanes.into()),
        ("max_open_asks", config.max_open_asks as u64),
        ("volatile_buffer", config.volatile_buffer as u64),
        ("silence", millis(config.silence)),
        ("ack_delay", millis(config.ack_delay)),
        ("close_timeout", millis(config.close_timeout)),
        ("attempt_timeout", millis(config.attempt_timeout)),
        ("redial_base", millis(config.redial_base)),
        ("redial_max", millis(config.redial_max)),
        ("retention", millis(config.retention)),
        ("hello_timeout", millis(server.hello_timeout)),
        ("open_timeout", millis(server.open_timeout)),
        ("max_sockets", server.max_sockets as u64),
        ("max_pending", server.max_pending as u64),
        ("max_unknown_links", server.max_unknown_links as u64),
    ] {
        let row = format!("\n| `{setting}` | ");
        let told = SPECIFICATION.split(&row).nth(1).and_then(|rest| rest.split(" |").next()).expect(setting);
        assert_eq!(quantity(told), value, "{setting}");
    }
}

/// What a datagram says, and the bytes that this implementation writes for it.
fn datagrams() -> Vec<(&'static str, Datagram, Bytes)> {
    let id = counting(0x30);
    let short = |name, (epoch, from_server), number, ack_soon, frames: &'static str| {
        let connection_id = ConnectionId(connection_id(&secret(), epoch, from_server));
        let frames = vector(FRAMES, frames);
        let mut out = BytesMut::new();
        write_short_header(connection_id, number, ack_soon, &mut out);
        out.extend_from_slice(&frames);
        seal(&mut out);
        (name, Datagram::Short(ShortPacket { connection_id, number, ack_soon, frames }), out.freeze())
    };
    let piece = |name, cookie: &'static [u8], packet: Bytes, offset: usize, size, pad| {
        let (bytes, length) = encode_piece(&id, cookie, &packet, offset, size, pad);
        let part = packet.slice(offset..offset + length);
        let cookie = Bytes::from_static(cookie);
        (name, Datagram::Greeting(Piece { id, cookie, total: packet.len(), offset, bytes: part }), bytes)
    };
    let cookie = Bytes::from_static(&[0xC0, 0xC1, 0xC2]);
    vec![
        short("short-client", (1, false), 0, false, "ping"),
        short("short-server", (2, true), 300, true, "data"),
        piece("greeting-whole", b"", vector(HANDSHAKES, "hello-open"), 0, 256, false),
        piece("greeting-piece", b"\xC0\xC1\xC2", vector(HANDSHAKES, "hello-open-auth"), 60, 80, true),
        ("cookie", Datagram::Cookie { id, cookie: cookie.clone() }, encode_cookie(&id, &cookie)),
    ]
}

fn datagram_frames() -> Vec<(&'static str, Bytes)> {
    let ack = |delay, ranges: &[core::ops::Range<u64>]| {
        let mut out = BytesMut::new();
        DatagramFrame::encode_ack(Duration::from_micros(delay), ranges.iter().cloned(), &mut out);
        out.freeze()
    };
    let (mut challenge, mut response) = (BytesMut::new(), BytesMut::new());
    DatagramFrame::encode_challenge(&counting(0x50), &mut challenge);
    DatagramFrame::encode_response(&counting(0x50), &mut response);
    vec![
        ("ack-first", ack(0, core::slice::from_ref(&(0..1)))),
        ("ack-gaps", ack(25_000, &[995..1001, 990..991, 100..989])),
        ("challenge", challenge.freeze()),
        ("response", response.freeze()),
    ]
}

#[test]
fn datagram_vectors_hold_both_ways() {
    assert!(vectors(DATAGRAMS).map(|(name, _)| name).eq(datagrams().iter().map(|(name, ..)| *name)));
    for ((name, bytes), (_, datagram, written)) in vectors(DATAGRAMS).zip(datagrams()) {
        assert_eq!(Datagram::decode(&bytes), Some(datagram), "{name}");
        assert_eq!(written, bytes, "{name}");
    }
}

#[test]
fn datagram_frame_vectors_hold_both_ways() {
    let read: Vec<_> = vectors(DATAGRAM_FRAMES).collect();
    assert_eq!(read, datagram_frames());
    let told: Vec<u64> = numbered_rows("### §14.3", 16).into_iter().map(|(number, _)| number).collect();
    let mut known: Vec<u64> = read.iter().map(|(_, frame)| u64::from(frame[0])).collect();
    known.dedup();
    assert_eq!(told, known);
    let Ok(Some(DatagramFrame::Ack(ack))) = DatagramFrame::decode(&mut vector(DATAGRAM_FRAMES, "ack-gaps")) else {
        panic!("no ACK")
    };
    assert_eq!(ack.delay, Duration::from_millis(25));
    assert_eq!(ack.ranges().collect::<Vec<_>>(), [995..1001, 990..991, 100..989]);
}

#[test]
fn malformed_datagram_vectors_are_dropped() {
    for (name, bytes) in vectors(MALFORMED_DATAGRAMS) {
        assert_eq!(Datagram::decode(&bytes), None, "{name}");
    }
}
