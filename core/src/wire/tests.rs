//! Properties of the whole wire format: what is written is read, and nothing that a peer can send panics.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::packet::MAX_PACKET;
use super::samples;
use super::*;
use crate::code::{CloseReason, MAX_REASON, ProtocolCode};
use crate::config::MAX_ADDRESS;
use crate::config::{MAX_AUTH, MAX_LANES};
use crate::crypto::{Mac, MacKey};
use crate::ids::SessionId;

fn encoded(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.freeze()
}

fn frames(mut packet: Bytes) -> Result<Vec<Frame>, WireError> {
    let mut frames = Vec::new();
    while let Some(frame) = Frame::decode(&mut packet)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn mac_of(handshake: &mut Handshake) -> Option<&mut Mac> {
    match handshake {
        Handshake::Hello(Hello { kind: HelloKind::Resume { mac, .. }, .. }) => Some(mac),
        Handshake::Welcome(Welcome { kind: WelcomeKind::Resumed { mac, .. }, .. }) => Some(mac),
        Handshake::Reject(reject) => reject.mac.as_mut(),
        _ => None,
    }
}

fn key() -> MacKey {
    MacKey::client(&[7; 32])
}

/// The packet of `handshake`, which is given its MAC where one belongs.
fn sealed(handshake: &mut Handshake) -> Bytes {
    match mac_of(handshake).is_some() {
        false => handshake.encode().into(),
        true => {
            let packet = handshake.encode_with_mac(&key(), b"transcript");
            let mac = packet.last_chunk().copied().map(Mac::from_bytes);
            *mac_of(handshake).unwrap() = mac.unwrap();
            packet.into()
        }
    }
}

/// `packet` with `change` applied to each of its bytes, one at a time.
fn with_each_byte_changed(packet: &[u8], change: impl Fn(u8) -> u8) -> impl Iterator<Item = Bytes> {
    (0..packet.len()).map(move |index| {
        let mut changed = packet.to_vec();
        changed[index] = change(changed[index]);
        changed.into()
    })
}

/// The packet of `handshake` with further TLVs behind it.
fn with_tlvs(handshake: &Handshake, tlvs: &[(u64, &[u8])]) -> Bytes {
    let mut packet = handshake.encode();
    for (tag, value) in tlvs {
        varint::put(*tag, &mut packet);
        varint::put(value.len() as u64, &mut packet);
        packet.extend_from_slice(value);
    }
    packet.into()
}

fn open() -> Hello {
    let params = Params { silence_ms: 1, max_message: 2, max_headers: 3, main_window: 4, lane_window: 5, max_lanes: 6 };
    Hello {
        versions: (VERSION, VERSION),
        nonce: [1; 16],
        auth: Bytes::new(),
        kind: HelloKind::Open { open_id: [2; 16], params },
    }
}

fn reject() -> Reject {
    Reject {
        version: VERSION,
        nonce: [1; 16],
        code: ProtocolCode::Redirect,
        app_code: None,
        reason: "".into(),
        retry_after_ms: None,
        address: None,
        current_epoch: None,
        mac: None,
    }
}

#[test]
fn frames_of_unknown_odd_types_are_passed_over_and_of_even_ones_refused() {
    let packet = Bytes::from_static(&[0x21, 2, 9, 9, 0x06, 5, 0x23, 0]);
    assert_eq!(frames(packet), Ok(vec![Frame::Ping(5)]));
    let mut packet = Bytes::from_static(&[0x06, 5, 0x20, 1]);
    assert_eq!(Frame::decode(&mut packet), Ok(Some(Frame::Ping(5))));
    assert_eq!(Frame::decode(&mut packet), Err(WireError::UnknownFrame(0x20)));
}

#[test]
fn an_empty_packet_means_nothing() {
    assert_eq!(frames(Bytes::new()), Ok(Vec::new()));
    assert!(!is_handshake(&[]));
}

#[test]
fn payloads_are_slices_of_the_packet() {
    let mut packet = encoded(&Frame::Data { lane: 0, offset: 0, payload: Bytes::from_static(b"payload") });
    let end = packet.as_ptr_range().end;
    let Ok(Some(Frame::Data { payload, .. })) = Frame::decode(&mut packet) else { panic!() };
    assert_eq!(payload.as_ptr_range().end, end);
}

#[test]
fn a_reason_over_its_limit_is_refused() {
    let long = "é".repeat(MAX_REASON);
    let too_large = WireError::TooLarge { what: "reason", size: 512, limit: MAX_REASON as u64 };
    let body = [&[1, 1, 0x80, 4], long.as_bytes()].concat();
    let packet = [&[0x10, 0x84, 4], &body[..]].concat();
    assert_eq!(frames(packet.into()), Err(too_large.clone()));
    let packet = with_tlvs(&Handshake::Reject(reject()), &[(12, long.as_bytes())]);
    assert_eq!(decode_handshake(&packet), Err(too_large));
}

#[test]
fn an_address_over_its_limit_is_left_out_when_written_and_refused_when_read() {
    let long = "a".repeat(MAX_ADDRESS + 1);
    let written = Handshake::Reject(Reject { address: Some(long.as_str().into()), ..reject() }).encode();
    assert_eq!(decode_handshake(&written.into()).unwrap().0, Handshake::Reject(reject()));
    let frame = Frame::GoAway { within_ms: 1, alternative: long.as_str().into() };
    assert_eq!(frames(encoded(&frame)), Ok(vec![Frame::GoAway { within_ms: 1, alternative: "".into() }]));

    let packet = with_tlvs(&Handshake::Reject(reject()), &[(14, long.as_bytes())]);
    let (size, limit) = (long.len() as u64, MAX_ADDRESS as u64);
    assert_eq!(decode_handshake(&packet), Err(WireError::TooLarge { what: "address", size, limit }));
}

#[test]
fn an_authentication_payload_is_taken_up_to_its_limit() {
    let hello = Handshake::Hello(Hello { auth: vec![7; MAX_AUTH].into(), ..open() });
    assert_eq!(decode_handshake(&hello.encode().into()).unwrap().0, hello);
    let hello = Handshake::Hello(Hello { auth: vec![7; MAX_AUTH + 1].into(), ..open() });
    let error = decode_handshake(&hello.encode().into()).unwrap_err();
    assert_eq!(error.code(), ProtocolCode::TooLarge);
}

#[test]
fn unknown_tlvs_are_ignored_even_twice() {
    let hello = Handshake::Hello(open());
    let packet = with_tlvs(&hello, &[(99, b"later"), (0, b""), (99, b"later"), (u64::MAX, b"much later")]);
    assert_eq!(decode_handshake(&packet).unwrap().0, hello);
}

#[test]
fn bodies_may_have_fields_of_a_later_release() {
    // PARAMS is the last TLV: type, length, six fields.
    let bare = Handshake::Hello(open()).encode();
    let mut longer = bare[..bare.len() - 8].to_vec();
    longer.extend_from_slice(&[3, 8, 1, 2, 3, 4, 5, 6, 77, 78]);
    assert_eq!(
        decode_handshake(&longer.into()),
        decode_handshake(&bare.into()).map(|(read, covered)| (read, covered + 2))
    );
    let close = [0x10, 5, 1, 9, 0, 77, 78];
    assert_eq!(frames(Bytes::copy_from_slice(&close)), Ok(vec![Frame::Close(CloseReason::app(9, ""))]));
}

#[test]
fn other_versions_are_told_apart_from_nonsense() {
    let nonce = open().nonce;
    let hello = Handshake::Hello(Hello { versions: (VERSION + 1, VERSION + 2), ..open() });
    let version = |min, max, nonce| Err(WireError::Version { min, max, nonce });
    assert_eq!(decode_handshake(&hello.encode().into()), version(VERSION + 1, VERSION + 2, nonce));
    let bare = Bytes::from_static(&[0xD3, b's', b'f', b'd', 1, 8, 9]);
    assert_eq!(decode_handshake(&bare), version(8, 9, [0; 16]));
    let later = Handshake::Reject(Reject { version: 200, ..reject() });
    assert_eq!(decode_handshake(&later.encode().into()).unwrap().0, later);
}

/// PROTOCOL.md §10: a resume fits into a packet with as many lanes as there may be.
#[test]
fn a_resume_with_all_the_lanes_there_may_be_fits_into_a_packet() {
    let lane = |index| {
        let consumed = (1 << 49) - (1 << 28);
        let end = consumed + (1 << 28) - 1;
        LaneState { lane: (1 << 34) + index, received: end, consumed, limit: end, sent: (1 << 49) - 1 }
    };
    let counts = 1 << 34;
    let lanes = (0..=2 * u64::from(MAX_LANES)).map(lane).collect();
    let lanes = LaneStates { opened: counts, seen: counts, allowed: counts, lanes };
    let session = SessionId::new(1, 2, [3; 14]);
    let kind = HelloKind::Resume { session, epoch: u64::MAX, lanes, mac: Mac::default() };
    let hello = Handshake::Hello(Hello { auth: vec![7; MAX_AUTH].into(), kind, ..open() });
    let packet = hello.encode_with_mac(&key(), &[]);
    assert!(packet.len() <= MAX_PACKET, "{} bytes", packet.len());
    assert!(decode_handshake(&packet.into()).is_ok());
}

#[test]
fn lanes_beyond_the_most_there_may_be_are_refused() {
    let lane = |lane| LaneState { lane, received: 0, consumed: 0, limit: 0, sent: 0 };
    let states = |count| LaneStates { lanes: (0..count).map(lane).collect(), ..LaneStates::default() };
    let kind = |count| WelcomeKind::Resumed { epoch: 1, lanes: states(count), mac: Mac::default() };
    let welcome = |count| Handshake::Welcome(Welcome { version: VERSION, nonce: [1; 16], kind: kind(count) });
    let most = 2 * u64::from(MAX_LANES) + 1;
    assert!(decode_handshake(&welcome(most).encode_with_mac(&key(), &[]).into()).is_ok());
    assert!(decode_handshake(&welcome(most + 1).encode_with_mac(&key(), &[]).into()).is_err());
}

#[test]
fn lanes_that_have_carried_nothing_are_told_in_the_fewest_bytes_there_are() {
    let lane = |lane| LaneState { lane, received: 0, consumed: 0, limit: 0, sent: 0 };
    for count in 0..4 {
        let lanes = LaneStates { lanes: (0..count).map(lane).collect(), ..LaneStates::default() };
        let kind = WelcomeKind::Resumed { epoch: 1, lanes, mac: Mac::default() };
        let mut welcome = Handshake::Welcome(Welcome { version: VERSION, nonce: [1; 16], kind });
        assert_eq!(decode_handshake(&sealed(&mut welcome)).map(|(read, _)| read), Ok(welcome));
    }
}

#[test]
fn errors_name_the_thing_the_limit_and_the_value() {
    let error = WireError::TooLarge { what: "packet", size: 70_000, limit: 66_560 };
    assert_eq!(alloc::format!("{error}"), "packet of 70000 bytes is over the limit of 66560");
    assert_eq!(alloc::format!("{}", WireError::UnknownFrame(0x20)), "unknown frame type 0x20");
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were(written in proptest::collection::vec(samples::frame(), 0..12)) {
        let mut packet = BytesMut::new();
        written.iter().for_each(|frame| frame.encode(&mut packet));
        prop_assert_eq!(frames(packet.freeze()).unwrap(), written);
    }

    #[test]
    fn a_frame_cut_short_is_malformed(frame in samples::frame()) {
        let packet = encoded(&frame);
        for length in 1..packet.len() {
            prop_assert!(matches!(frames(packet.slice(..length)), Err(WireError::Malformed(_))));
        }
    }

    #[test]
    fn frames_with_any_byte_changed_never_panic(frame in samples::frame(), flip in 1..=255_u8) {
        for packet in with_each_byte_changed(&encoded(&frame), |byte| byte ^ flip) {
            let _ = frames(packet);
        }
    }

    #[test]
    fn what_is_read_is_read_again_the_same(noise in samples::bytes(200)) {
        if let Ok(read) = frames(noise) {
            let mut packet = BytesMut::new();
            read.iter().for_each(|frame| frame.encode(&mut packet));
            prop_assert_eq!(frames(packet.freeze()).unwrap(), read);
        }
    }

    #[test]
    fn handshakes_come_back_as_they_were(mut handshake in samples::handshake()) {
        let packet = sealed(&mut handshake);
        prop_assert!(is_handshake(&packet));
        let (read, covered) = decode_handshake(&packet).unwrap();
        prop_assert_eq!(&read, &handshake);
        match mac_of(&mut handshake) {
            Some(mac) => prop_assert!(key().verify(b"transcript", &packet[..covered], mac)),
            None => prop_assert_eq!(covered, packet.len()),
        }
    }

    #[test]
    fn a_handshake_cut_short_is_never_the_same(mut handshake in samples::handshake()) {
        let packet = sealed(&mut handshake);
        for length in 0..packet.len() {
            if let Ok((read, _)) = decode_handshake(&packet.slice(..length)) {
                prop_assert_ne!(&read, &handshake);
            }
        }
    }

    #[test]
    fn a_handshake_with_any_byte_changed_fails_its_mac(mut handshake in samples::handshake(), flip in 1..=255_u8) {
        let packet = sealed(&mut handshake);
        let has_mac = mac_of(&mut handshake).is_some();
        for changed in with_each_byte_changed(&packet, |byte| byte ^ flip) {
            let Ok((mut read, covered)) = decode_handshake(&changed) else { continue };
            if let (true, Some(mac)) = (has_mac, mac_of(&mut read)) {
                prop_assert!(!key().verify(b"transcript", &changed[..covered], mac));
            }
        }
    }

    #[test]
    fn noise_behind_the_magic_never_panics(kind in 0..5_u8, noise in samples::bytes(200)) {
        let packet = [&[0xD3, b's', b'f', b'd', kind][..], &noise].concat();
        let _ = decode_handshake(&packet.into());
    }
}
