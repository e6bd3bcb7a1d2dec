//! What arrives in whatever pieces comes out as it was sent, or as one error.

use core::mem::size_of;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Frame, encode_data_header, samples};
use super::*;
use crate::wire::packet::frame_packet;

/// What a sequence of packets says, in a form that does not depend on where DATA was cut.
#[derive(Clone, PartialEq, Debug, Default)]
struct Heard {
    handshakes: Vec<Bytes>,
    frames: Vec<Frame>,
}

impl Heard {
    fn hear(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Packet(packet) if packet.is_start && starts_like_handshake(packet.bytes.first()) => {
                self.handshakes.push(packet.bytes);
            }
            Arrived::Packet(Packet { mut bytes, .. }) => {
                while let Some(frame) = Frame::decode(&mut bytes).unwrap() {
                    self.add(frame);
                }
            }
            Arrived::Data { lane, offset, payload, .. } => {
                assert!(!payload.is_empty());
                self.add(Frame::Data { lane, offset, payload });
            }
        }
    }

    fn add(&mut self, frame: Frame) {
        if let (
            Frame::Data { lane, offset, payload },
            Some(Frame::Data { lane: last_lane, offset: start, payload: last }),
        ) = (&frame, self.frames.last_mut())
        {
            if lane == last_lane && *offset == start.wrapping_add(last.len() as u64) {
                *last = [&last[..], &payload[..]].concat().into();
                return;
            }
        }
        self.frames.push(frame);
    }
}

fn drain(deframer: &mut Deframer) -> Result<Vec<Arrived>, WireError> {
    let mut all = Vec::new();
    while let Some(arrived) = deframer.next()? {
        all.push(arrived);
    }
    Ok(all)
}

fn feed(deframer: &mut Deframer, piece: &[u8]) -> Result<Vec<Arrived>, WireError> {
    deframer.push(Bytes::copy_from_slice(piece).into());
    drain(deframer)
}

fn held(deframer: &Deframer) -> usize {
    let partial = if let Progress::Frame { held, .. } = &deframer.progress { held.capacity() } else { 0 };
    deframer.input.len() + partial
}

fn written(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes.to_vec()
}

fn data(len: usize) -> Frame {
    let payload = Vec::from_iter((0..len).map(|index| index as u8)).into();
    Frame::Data { lane: 6, offset: 1 << 40, payload }
}

fn whole(bytes: &[u8]) -> Arrived {
    Arrived::Packet(Packet { bytes: Bytes::copy_from_slice(bytes), capacity: bytes.len(), is_start: true })
}

#[test]
fn a_deframer_is_small() {
    assert!(size_of::<Deframer>() <= 80, "{} bytes", size_of::<Deframer>());
}

#[test]
fn whole_packets_are_slices_of_the_piece() {
    let mut piece = BytesMut::with_capacity(1000);
    piece.extend_from_slice(&[3, 1, 2, 3, 0, 1, 9]);
    let start = piece.as_ptr();
    let mut deframer = Deframer::default();
    deframer.push(piece.into());
    let packets: Vec<Packet> = drain(&mut deframer)
        .unwrap()
        .into_iter()
        .map(|arrived| if let Arrived::Packet(packet) = arrived { packet } else { panic!("{arrived:?}") })
        .collect();
    assert_eq!(packets.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(), [&[1, 2, 3][..], &[], &[9]]);
    assert_eq!(packets[0].bytes.as_ptr(), start.wrapping_add(1));
    assert!(packets.iter().all(|packet| packet.capacity == 1000));
    assert_eq!(held(&deframer), 0);
}

#[test]
fn the_bytes_of_a_lane_are_given_out_as_they_arrive_and_none_is_held() {
    let stream = frame_packet(&written(&[Frame::Ping(1), data(5000), Frame::Ping(2)]));
    let (mut deframer, mut heard) = (Deframer::default(), 0);
    for (index, byte) in stream.iter().enumerate() {
        for arrived in feed(&mut deframer, &[*byte]).unwrap() {
            if let Arrived::Data { offset, payload, .. } = arrived {
                assert_eq!((offset, payload.len()), ((1 << 40) + heard, 1), "byte {index}");
                heard += 1;
            }
        }
        assert!(held(&deframer) <= MIN_BUFFER);
    }
    assert_eq!(heard, 5000);
    assert_eq!(deframer, Deframer::default());
}

#[test]
fn a_length_alone_allocates_nothing_big() {
    let handshake = Vec::from_iter([0xD3].into_iter().chain((1..MAX_PACKET).map(|index| index as u8)));
    let stream = frame_packet(&handshake);
    let mut deframer = Deframer::default();
    assert_eq!(feed(&mut deframer, &stream[..3]), Ok(Vec::new()));
    assert_eq!(held(&deframer), 0);
    let mut sizes = Vec::new();
    for (index, byte) in stream[3..].iter().enumerate().take(MAX_PACKET - 1) {
        assert_eq!(feed(&mut deframer, &[*byte]), Ok(Vec::new()));
        let arrived = index + 1;
        assert!(held(&deframer) <= (2 * arrived).clamp(MIN_BUFFER, MAX_PACKET));
        sizes.push(held(&deframer));
    }
    sizes.dedup();
    assert!(sizes.len() <= 8, "the buffer grew {} times: {sizes:?}", sizes.len());
    let last = feed(&mut deframer, &stream[stream.len() - 1..]).unwrap();
    assert_eq!(last, [whole(&handshake)]);
}

#[test]
fn a_packet_over_the_limit_is_refused_by_its_length_and_ends_the_stream() {
    let mut deframer = Deframer::default();
    let mut stream = BytesMut::from(&[1, 42][..]);
    varint::put(MAX_PACKET as u64 + 1, &mut stream);
    deframer.push(stream.into());
    assert!(matches!(deframer.next(), Ok(Some(Arrived::Packet(packet))) if packet.bytes == [42][..]));
    let (size, limit) = (MAX_PACKET as u64 + 1, MAX_PACKET as u64);
    assert_eq!(deframer.next(), Err(WireError::TooLarge { what: "packet", size, limit }));
    assert_eq!(feed(&mut deframer, &[1, 42]), Ok(Vec::new()));
    assert_eq!(held(&deframer), 0);
}

#[test]
fn a_frame_in_pieces_takes_no_more_memory_than_its_packet() {
    let stream = frame_packet(&written(&[Frame::Volatile { lane: 1, record: Bytes::from_static(&[7; 50]) }]));
    for size in [1, 20] {
        let mut deframer = Deframer::default();
        for piece in stream.chunks(size) {
            feed(&mut deframer, piece).unwrap();
            assert!(held(&deframer) < stream.len(), "{} bytes in pieces of {size}", held(&deframer));
        }
        assert_eq!(deframer, Deframer::default());
    }
}

#[test]
fn a_frame_that_goes_on_beyond_its_packet_is_refused_when_its_length_is_known() {
    // A packet of 100 bytes; VOLATILE, DATA and a frame of an unknown odd type, of 200.
    for head in [&[100, 0x0A, 0, 0xC8, 1][..], &[100, 0x02, 0, 0, 0xC8, 1], &[100, 0x21, 0xC8, 1]] {
        assert_eq!(feed(&mut Deframer::default(), head), Err(CUT_SHORT));
        let mut deframer = Deframer::default();
        let (last, first) = head.split_last().unwrap();
        assert_eq!(feed(&mut deframer, first), Ok(Vec::new()));
        assert_eq!(feed(&mut deframer, &[*last]), Err(CUT_SHORT));
    }
}

#[test]
fn a_frame_of_an_unknown_even_type_is_refused_when_its_type_is_known() {
    let refused = Err(WireError::UnknownFrame(0x20));
    assert_eq!(feed(&mut Deframer::default(), &[100, 0x20]), refused);
    let mut deframer = Deframer::default();
    assert_eq!(feed(&mut deframer, &[100, 0x06, 1]).map(|arrived| arrived.len()), Ok(1));
    assert_eq!(feed(&mut deframer, &[0x20]), refused);
}

#[test]
fn data_beyond_64_bits_is_malformed_before_its_payload_is_here() {
    let mut head = BytesMut::from(&[100][..]);
    encode_data_header(0, u64::MAX - 9, 10, &mut head);
    assert_eq!(feed(&mut Deframer::default(), &head), Err(WireError::Malformed("offset over 64 bits")));
    let mut head = BytesMut::from(&[100][..]);
    encode_data_header(0, u64::MAX - 10, 10, &mut head);
    assert_eq!(feed(&mut Deframer::default(), &head), Ok(Vec::new()));
}

#[test]
fn a_length_in_a_longer_form_than_needed_is_malformed_even_in_pieces() {
    let mut deframer = Deframer::default();
    assert_eq!(feed(&mut deframer, &[0x81]), Ok(Vec::new()));
    assert_eq!(feed(&mut deframer, &[0]), Err(WireError::Malformed("varint")));
}

#[test]
fn an_empty_piece_changes_nothing() {
    let mut deframer = Deframer::default();
    deframer.push(Bytes::from_static(&[1, 7]).into());
    let before = deframer.clone();
    deframer.push(Bytes::new().into());
    assert_eq!((&deframer, deframer.input.as_ptr()), (&before, before.input.as_ptr()));
}

#[test]
fn a_piece_pushed_too_early_waits_behind_the_former() {
    let mut deframer = Deframer::default();
    deframer.push(Bytes::from_static(&[2, 7]).into());
    deframer.push(Bytes::from_static(&[8, 1, 9]).into());
    let packets = drain(&mut deframer).unwrap();
    let bytes = |arrived: &Arrived| match arrived {
        Arrived::Packet(packet) => packet.bytes.clone(),
        Arrived::Data { .. } => panic!("{arrived:?}"),
    };
    assert_eq!(packets.iter().map(bytes).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
}

/// Frames, also of types that are not known and passed over, and a handshake packet now and then.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let unknown = (0x10..100_u64, samples::bytes(200)).prop_map(|(half, body)| {
        let mut frame = Vec::new();
        varint::put(2 * half + 1, &mut frame);
        varint::put(body.len() as u64, &mut frame);
        [&frame[..], &body[..]].concat()
    });
    let frame = prop_oneof![8 => samples::frame(), 1 => (0..3000_usize).prop_map(data)];
    let frames = vec(prop_oneof![8 => frame.prop_map(|frame| written(&[frame])), 1 => unknown], 0..8);
    prop_oneof![
        4 => frames.prop_map(|frames| frames.concat()),
        1 => samples::bytes(500).prop_map(|bytes| [&[0xD3], &bytes[..]].concat()),
    ]
}

proptest! {
    #[test]
    fn pieces_of_any_size_say_the_same(
        packets in vec(packet(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream: Vec<u8> = packets.iter().flat_map(|packet| frame_packet(packet)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();

        let mut expected = Heard::default();
        packets.iter().for_each(|packet| expected.hear(whole(packet)));
        let (mut deframer, mut heard) = (Deframer::default(), Heard::default());
        for cut in cuts.windows(2) {
            for arrived in feed(&mut deframer, &stream[cut[0]..cut[1]]).unwrap() {
                heard.hear(arrived);
            }
            prop_assert!(held(&deframer) <= MAX_PACKET);
            let snapshot = postcard::to_allocvec(&deframer).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Deframer>(&snapshot).unwrap(), &deframer);
        }
        prop_assert_eq!(heard, expected);
        prop_assert_eq!(deframer, Deframer::default());
    }

    #[test]
    fn a_frame_that_its_packet_cuts_short_is_malformed_in_pieces_too(
        frames in vec(samples::frame(), 1..4),
        less in 1..4_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packet = written(&frames);
        prop_assume!(packet.len() > less);
        packet.truncate(packet.len() - less);
        let is_malformed = {
            let mut bytes = Bytes::from(packet.clone());
            loop {
                match Frame::decode(&mut bytes) {
                    Ok(Some(_)) => {}
                    result => break result.is_err(),
                }
            }
        };
        let stream = frame_packet(&packet);
        let cut = cut.index(stream.len());
        let mut deframer = Deframer::default();
        let mut failed = false;
        for piece in [&stream[..cut], &stream[cut..]] {
            match feed(&mut deframer, piece) {
                Err(_) => failed = true,
                Ok(all) => for arrived in all {
                    if let Arrived::Packet(Packet { mut bytes, .. }) = arrived {
                        while let Some(result) = Frame::decode(&mut bytes).transpose() {
                            failed |= result.is_err();
                            if result.is_err() {
                                break;
                            }
                        }
                    }
                }
            }
        }
        prop_assert_eq!(failed, is_malformed);
    }

    #[test]
    fn noise_never_panics_and_ends_in_one_error_at_most(pieces in vec(vec(any::<u8>(), 0..300), 0..8)) {
        let mut deframer = Deframer::default();
        let errors = pieces.iter().filter(|piece| feed(&mut deframer, piece).is_err()).count();
        prop_assert!(errors <= 1);
    }
}
