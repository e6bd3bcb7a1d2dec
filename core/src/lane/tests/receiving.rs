//! What a receive buffer takes, refuses, holds and gives.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::record::Violation;
use super::super::recv::MAX_REPLIES;
use super::super::*;
use super::LIMITS;
use crate::code::ProtocolCode;
use crate::ids::AskId;
use crate::message::{LaneKind, LaneOptions, Message};
use crate::wire::varint;

const MESSAGES: Option<LaneKind> = Some(LaneKind::Messages);
const BYTES: Option<LaneKind> = Some(LaneKind::Bytes);

fn buffer(kind: Option<LaneKind>) -> RecvBuffer {
    RecvBuffer::new(kind, LIMITS, 1 << 16)
}

fn message(text: &'static str) -> Outgoing {
    Outgoing::Message(text.into())
}

fn reply(text: &'static str) -> Outgoing {
    Outgoing::Reply { ask: 0, message: text.into(), more: false }
}

fn open(kind: LaneKind) -> Outgoing {
    Outgoing::Open(Box::new(LaneOptions { kind, ..LaneOptions::default() }))
}

/// The records as a stream.
fn stream(records: &[Outgoing]) -> Bytes {
    let mut out = BytesMut::new();
    for record in records {
        record.encode_head(&mut out);
        out.extend_from_slice(&record.clone().into_payload());
    }
    out.freeze()
}

fn head(len: u64, extended: bool) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(len << 1 | u64::from(extended), &mut out);
    out
}

/// Inserts bytes and scans them: what is given out.
fn arrive(recv: &mut RecvBuffer, offset: u64, bytes: impl Into<Bytes>) -> Result<Vec<Incoming>, Violation> {
    let bytes = bytes.into();
    let capacity = bytes.len();
    recv.insert(offset, bytes, capacity)?;
    let mut given = Vec::new();
    while let Some(record) = recv.scan()? {
        given.push(record);
    }
    Ok(given)
}

fn texts(recv: &mut RecvBuffer) -> Vec<Bytes> {
    let mut texts = Vec::new();
    while let Some(Incoming::Message(message)) = recv.next() {
        texts.push(message.payload);
    }
    texts
}

#[test]
fn records_must_come_where_they_may() {
    let bytes = || Outgoing::Bytes("x".into());
    let messages = [
        vec![open(LaneKind::Messages)],
        vec![message("x"), open(LaneKind::Messages)],
        vec![Outgoing::Fin, message("x")],
        vec![Outgoing::Fin, Outgoing::Fin],
    ];
    let unknown = [vec![message("x")], vec![Outgoing::Fin], vec![open(LaneKind::Bytes), open(LaneKind::Bytes)]];
    let byte_lane = [
        vec![reply("x")],
        vec![Outgoing::Ask(AskId(0), "x".into())],
        vec![Outgoing::Message(Message::new("x").with_name("x"))],
        vec![Outgoing::Cancel { ask: 0 }],
        vec![bytes(), open(LaneKind::Bytes)],
        vec![Outgoing::Fin, bytes()],
    ];
    let cases = [(MESSAGES, &messages[..]), (None, &unknown[..]), (BYTES, &byte_lane[..])];
    for (kind, cases) in cases {
        for records in cases {
            let stream = stream(records);
            let whole = arrive(&mut buffer(kind), 0, stream.clone()).unwrap_err();
            assert_eq!(whole.code(), ProtocolCode::Unexpected, "{records:?}: {whole}");
            let mut recv = buffer(kind);
            let bytewise =
                (0..stream.len()).try_for_each(|at| arrive(&mut recv, at as u64, stream.slice(at..=at)).map(drop));
            assert_eq!(bytewise, Err(whole), "{records:?}");
            assert_eq!(recv.scan().map(drop), bytewise, "it goes on breaking the rule");
        }
    }
}

#[test]
fn what_is_too_large_is_refused_when_its_length_is_known() {
    let limit = LIMITS.max_message as u64;
    let cases = [
        (MESSAGES, head(limit + 1, false)),
        (MESSAGES, head(1 << 32, false)),
        (MESSAGES, head(1 << 32, true)),
        (None, head(1 << 32, true)),
        (BYTES, head(1 << 32, false)),
        (BYTES, head(u64::MAX >> 1, false)),
    ];
    for (kind, head) in cases {
        let mut recv = buffer(kind);
        let violation = arrive(&mut recv, 0, head.clone()).unwrap_err();
        assert_eq!(violation.code(), ProtocolCode::TooLarge, "{head:?}");
        assert!(recv.allocated() < 1024);
    }
    for headers in [LIMITS.max_headers, LIMITS.max_headers + 1] {
        let named = Message::new("x").with_headers(vec![b' '; headers]);
        let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 1 << 20);
        let arrived = arrive(&mut recv, 0, stream(&[Outgoing::Message(named)]));
        assert_eq!(arrived.is_ok(), headers <= LIMITS.max_headers);
    }
}

/// An extended record of this kind and the rest of its body.
fn extended(kind: u8, rest: &[u8]) -> Vec<u8> {
    [head(1 + rest.len() as u64, true), vec![kind], rest.to_vec()].concat()
}

#[test]
fn a_reply_has_one_flag_and_no_others() {
    for flags in 0..=0x7F {
        let arrived = arrive(&mut buffer(MESSAGES), 0, extended(5, &[9, flags, 0, 0, b'x']));
        match flags {
            0 | 1 => {
                let more = flags == 1;
                assert_eq!(arrived, Ok(vec![Incoming::Reply { at: 0, ask: 9, message: "x".into(), more }]));
            }
            _ => assert_eq!(arrived.unwrap_err().code(), ProtocolCode::Malformed, "flags {flags}"),
        }
    }
}

#[test]
fn an_announcement_is_taken_up_to_its_limits() {
    let announced = |name, namespace, headers| LaneOptions {
        name: "x".repeat(name),
        namespace: "x".repeat(namespace),
        headers: vec![b' '; headers].into(),
        ..LaneOptions::default()
    };
    let most = LIMITS.max_headers;
    let record = |options| stream(&[Outgoing::Open(Box::new(options))]);
    let mut recv = RecvBuffer::new(None, LIMITS, 1 << 20);
    let largest = announced(256, 256, most);
    assert_eq!(arrive(&mut recv, 0, record(largest.clone())), Ok(vec![Incoming::Open(largest)]));
    for options in [announced(257, 0, 0), announced(0, 257, 0), announced(0, 0, most + 1)] {
        let mut recv = RecvBuffer::new(None, LIMITS, 1 << 20);
        assert_eq!(arrive(&mut recv, 0, record(options)).unwrap_err().code(), ProtocolCode::TooLarge);
    }
}

#[test]
fn the_largest_message_is_taken() {
    let limit = LIMITS.max_message;
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 1 << 22);
    let largest = Message::new(vec![7; limit]).with_headers(vec![b' '; LIMITS.max_headers]).with_name("x".repeat(256));
    arrive(&mut recv, 0, stream(&[Outgoing::Message(largest.clone())])).unwrap();
    assert_eq!(recv.next(), Some(Incoming::Message(largest)));
}

#[test]
fn a_length_alone_allocates_nothing_large() {
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 1 << 22);
    let mut record = head(1 << 20, false);
    record.extend([0; 100]);
    arrive(&mut recv, 0, record.clone()).unwrap();
    assert!(recv.allocated() <= 2048, "{}", recv.allocated());
    arrive(&mut recv, record.len() as u64, vec![0; 10_000]).unwrap();
    assert!(recv.allocated() <= 100_000, "{}", recv.allocated());
}

#[test]
fn on_a_byte_lane_the_limit_of_messages_is_none_for_bytes() {
    let len = LIMITS.max_message as u64 + 1;
    assert_eq!(arrive(&mut buffer(BYTES), 0, head(len, false)), Ok(vec![]));
    let names_and_headers = LIMITS.max_headers as u64 + 4096;
    let violation = arrive(&mut buffer(BYTES), 0, head(len + names_and_headers, true)).unwrap_err();
    assert_eq!(violation.code(), ProtocolCode::TooLarge);
}

#[test]
fn plain_messages_in_a_row_are_taken_up_to_where_something_else_follows() {
    let records =
        [message("a"), message("bb"), message(""), Outgoing::Ask(AskId(0), "?".into()), message("c"), message("d")];
    let ends: Vec<u64> = (0..=records.len()).map(|count| stream(&records[..count]).len() as u64).collect();
    let mut recv = buffer(MESSAGES);
    arrive(&mut recv, 0, stream(&records)).unwrap();
    assert_eq!(recv.next_plain(ends[1]), None, "it does not end before that");
    assert_eq!((recv.next_plain(ends[1] + 1), recv.read_offset()), (Some("a".into()), ends[1]));
    assert_eq!((recv.next_plain(u64::MAX), recv.read_offset()), (Some("bb".into()), ends[2]));
    assert_eq!(recv.next_plain(u64::MAX), None, "an ask follows");
    assert_eq!(recv.next(), Some(Incoming::Message("".into())));
    assert_eq!(recv.next_plain(u64::MAX), None, "an ask");
    assert!(matches!(recv.next(), Some(Incoming::Ask { .. })));
    assert_eq!((recv.next_plain(u64::MAX), recv.read_offset()), (Some("c".into()), ends[5]));
    assert_eq!((recv.next_plain(u64::MAX), recv.read_offset()), (None, ends[5]), "nothing follows");
    assert_eq!(texts(&mut recv), ["d"]);

    let mut recv = buffer(BYTES);
    arrive(&mut recv, 0, stream(&[Outgoing::Bytes("x".into()), Outgoing::Bytes("y".into())])).unwrap();
    assert_eq!(recv.next_plain(u64::MAX), None);
}

#[test]
fn what_stands_before_an_answer_can_be_taken_as_soon_as_that_is_given_out() {
    let mut recv = buffer(MESSAGES);
    let stream = stream(&[message("a"), message("b"), reply("1"), message("c")]);
    recv.insert(0, stream.clone(), stream.len()).unwrap();
    assert!(matches!(recv.scan(), Ok(Some(Incoming::Reply { .. }))));
    assert_eq!(texts(&mut recv), ["a", "b"]);
    assert_eq!(recv.scan(), Ok(None));
    assert_eq!(texts(&mut recv), ["c"]);
}

#[test]
fn data_beyond_the_limit_is_refused() {
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 10);
    assert_eq!(arrive(&mut recv, 0, vec![0; 10]), Ok(vec![]));
    for (offset, len) in [(10, 1), (5, 6), (11, 1), (u64::MAX, 1), (u64::MAX - 1, 100)] {
        let violation = arrive(&mut recv, offset, vec![0; len]).unwrap_err();
        assert_eq!(violation.code(), ProtocolCode::FlowControl);
    }
    recv.set_limit(5);
    recv.set_limit(11);
    assert_eq!(arrive(&mut recv, 10, vec![0; 1]), Ok(vec![]));
}

#[test]
fn an_answer_is_given_out_ahead_of_unread_messages_and_consumed_when_taken() {
    let mut recv = buffer(MESSAGES);
    let records = [message("a"), reply("1"), message("b"), reply("2")];
    let given = arrive(&mut recv, 0, stream(&records)).unwrap();
    let offsets: Vec<u64> = (0..=4).map(|count| stream(&records[..count]).len() as u64).collect();
    let at = |record: &Incoming| if let Incoming::Reply { at, .. } = record { *at } else { u64::MAX };
    assert_eq!(given.iter().map(at).collect::<Vec<_>>(), [offsets[1], offsets[3]]);

    recv.reply_taken(offsets[3]);
    assert_eq!((recv.consumed(), recv.queued() as u64), (0, offsets[4]));
    assert_eq!(texts(&mut recv), ["a", "b"]);
    assert_eq!((recv.consumed(), recv.read_offset()), (offsets[1], offsets[4]));
    recv.reply_taken(offsets[1]);
    assert_eq!((recv.consumed(), recv.queued(), recv.allocated()), (offsets[4], 0, 0));
}

#[test]
fn what_does_not_wait_is_passed_over() {
    let mut recv = buffer(None);
    let end = |ask| Outgoing::AskEnd { ask, outcome: AskOutcome::NoReply };
    let stream = stream(&[open(LaneKind::Messages), end(0), Outgoing::Cancel { ask: 3 }]);
    assert_eq!(arrive(&mut recv, 0, stream.clone()).unwrap().len(), 3);
    assert!(!recv.is_readable());
    assert_eq!((recv.consumed(), recv.allocated()), (stream.len() as u64, 0));
}

#[test]
fn what_was_given_out_is_not_readable_although_the_scan_goes_on() {
    let mut recv = buffer(MESSAGES);
    let bytes = stream(&[reply("1"), reply("2"), message("a"), reply("3")]);
    let broken = [&bytes[..], &head(1, true), b"\xFF"].concat();
    recv.insert(0, broken.clone().into(), broken.len()).unwrap();
    let given_out: Vec<(u64, bool)> = std::iter::from_fn(|| match recv.scan() {
        Ok(Some(Incoming::Reply { at, .. })) => {
            recv.reply_taken(at);
            Some((at, recv.is_readable()))
        }
        Ok(record) => panic!("{record:?} instead of an answer or a broken rule"),
        Err(_) => None,
    })
    .collect();
    let offset = |count: usize| stream(&[reply("1"), reply("2"), message("a")][..count]).len() as u64;
    assert_eq!(given_out, [(0, false), (offset(1), false), (offset(3), true)]);
    assert_eq!(texts(&mut recv), ["a"]);
    assert!(!recv.is_readable());
    assert_eq!(recv.consumed(), bytes.len() as u64);
}

#[test]
fn a_whole_record_is_not_copied_and_a_divided_one_once() {
    let mut recv = buffer(MESSAGES);
    let stream = stream(&[Outgoing::Message(vec![1; 2000].into()), Outgoing::Message(vec![2; 5000].into())]);
    let (first, rest) = (stream.slice(..4000), stream.slice(4000..));
    arrive(&mut recv, 0, first.clone()).unwrap();
    arrive(&mut recv, 4000, rest).unwrap();
    let mut payload = || match recv.next() {
        Some(Incoming::Message(message)) => message.payload,
        other => panic!("{other:?}"),
    };
    let inside = first.as_ptr_range();
    assert!(inside.contains(&payload().as_ptr()));
    let copied = payload();
    assert_eq!(copied, vec![2; 5000]);
    assert!(!inside.contains(&copied.as_ptr()));
}

#[test]
fn little_of_much_memory_is_copied() {
    let mut recv = buffer(MESSAGES);
    let stream = stream(&[Outgoing::Message(vec![1; 2000].into())]);
    let memory = stream.as_ptr_range();
    recv.insert(0, stream.clone(), stream.len() * 3).unwrap();
    assert_eq!(recv.scan(), Ok(None));
    let Some(Incoming::Message(message)) = recv.next() else { panic!() };
    assert!(!memory.contains(&message.payload.as_ptr()));
}

#[test]
fn what_is_first_to_be_taken_is_not_copied_though_an_answer_waits() {
    let mut recv = buffer(MESSAGES);
    let answer = stream(&[reply("1")]);
    let at = answer.len() as u64;
    arrive(&mut recv, 0, answer).unwrap();
    let stream = stream(&[message("a")]);
    arrive(&mut recv, at, stream.clone()).unwrap();
    let Some(Incoming::Message(message)) = recv.next() else { panic!() };
    assert!(stream.as_ptr_range().contains(&message.payload.as_ptr()));
}

#[test]
fn a_large_record_in_pieces_takes_its_length_and_not_more_than_can_come() {
    let large = stream(&[Outgoing::Message(vec![1; 10_000].into())]);
    for piece in [100, 3000, 9000] {
        let mut recv = buffer(MESSAGES);
        for at in (0..9000).step_by(piece) {
            arrive(&mut recv, at as u64, large.slice(at..at + piece)).unwrap();
        }
        assert!(recv.allocated() <= large.len() + 512, "{} in pieces of {piece}", recv.allocated());
    }
    let (window, small) = (5000, stream(&[Outgoing::Message(vec![0; 3000].into())]));
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, window);
    arrive(&mut recv, 0, small.clone()).unwrap();
    recv.next();
    arrive(&mut recv, small.len() as u64, large.slice(..1000)).unwrap();
    let most = window as usize - small.len();
    assert!(recv.allocated() <= most + 512, "{} where {most} can come", recv.allocated());
}

#[test]
fn small_records_in_pieces_are_kept_together_in_some_that_are_given_back_one_by_one() {
    let (count, window) = (3000, 1 << 20);
    let record = stream(&[Outgoing::Message(vec![1; 98].into())]);
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, window);
    for at in (0..count * record.len()).step_by(record.len()) {
        arrive(&mut recv, at as u64, record.slice(..50)).unwrap();
        arrive(&mut recv, at as u64 + 50, record.slice(50..)).unwrap();
        let (arrived, allocated) = (at + record.len(), recv.allocated());
        assert!(allocated <= arrived + 40 * 1024, "{allocated} bytes for {arrived}");
    }
    for taken in 1..=count {
        recv.next().unwrap();
        let (left, allocated) = ((count - taken) * record.len(), recv.allocated());
        assert!(allocated <= left + 40 * 1024, "{allocated} bytes for {left}");
    }
}

#[test]
fn tiny_pieces_cost_little() {
    let window = 1 << 16;
    let stream = stream(&vec![message(""); window]);
    for order in [[0, 1], [1, 0]] {
        let mut recv = buffer(MESSAGES);
        let mut most = 0;
        for parity in order {
            for at in (parity..stream.len()).step_by(2) {
                // One byte of a packet of 64.
                recv.insert(at as u64, stream.slice(at..=at), 64).unwrap();
                assert_eq!(recv.scan(), Ok(None));
                most = most.max(recv.allocated());
            }
        }
        assert!(most <= 2 * window + 8192, "{most} bytes for {window}");
        assert_eq!(recv.received(), stream.len() as u64);
        assert_eq!(texts(&mut recv).len(), stream.len());
        assert_eq!(recv.allocated(), 0);
    }
}

#[test]
fn a_record_larger_than_the_window_asks_for_room_once_it_is_first() {
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 1000);
    let stream = stream(&[message("a"), Outgoing::Message(vec![1; 5000].into())]);
    arrive(&mut recv, 0, stream.slice(..1000)).unwrap();
    assert_eq!(recv.wants(), None);
    recv.next();
    assert_eq!(recv.wants(), Some(stream.len() as u64));
    recv.set_limit(stream.len() as u64);
    assert_eq!(recv.wants(), None);
    arrive(&mut recv, 1000, stream.slice(1000..)).unwrap();
    assert!(recv.is_readable());
}

#[test]
fn what_is_discarded_is_consumed_and_its_asks_are_told() {
    let ask = |id| Outgoing::Ask(AskId(id), "?".into());
    let mut recv = buffer(MESSAGES);
    let records = [message("a"), ask(1), message("b")];
    let stream_before = stream(&records);
    let at = stream_before.len() as u64;
    arrive(&mut recv, 0, stream_before).unwrap();
    recv.discard();
    let asked = Incoming::Ask { at: stream(&records[..1]).len() as u64, message: "?".into() };
    assert_eq!(arrive(&mut recv, 0, Bytes::new()), Ok(vec![asked]));
    assert_eq!(recv.consumed(), at);
    let rest = stream(&[ask(2), message("c"), Outgoing::Fin]);
    assert_eq!(arrive(&mut recv, at, rest.clone()), Ok(vec![Incoming::Ask { at, message: "?".into() }]));
    assert!(!recv.is_readable() && recv.is_finished());
    assert_eq!((recv.consumed(), recv.allocated()), (at + rest.len() as u64, 0));

    let mut recv = buffer(BYTES);
    recv.discard();
    arrive(&mut recv, 0, stream(&[Outgoing::Bytes("x".into()), Outgoing::Fin])).unwrap();
    assert!(recv.is_finished());
}

#[test]
fn the_end_is_taken_when_it_is_all_that_is_left() {
    let mut recv = buffer(MESSAGES);
    let stream = stream(&[message("a"), Outgoing::Fin]);
    arrive(&mut recv, 0, stream.slice(..3)).unwrap();
    assert!(!recv.fin_received());
    arrive(&mut recv, 3, stream.slice(3..)).unwrap();
    recv.take_fin();
    assert!(recv.fin_received() && !recv.is_finished());
    recv.next();
    recv.take_fin();
    assert!(recv.is_finished() && !recv.is_readable());
    assert_eq!(recv.next(), None);
}

#[test]
fn bytes_can_be_taken_of_a_record_that_is_not_whole() {
    let mut recv = buffer(BYTES);
    let mut bytes = head(10, false);
    bytes.extend(b"abcd");
    arrive(&mut recv, 0, bytes).unwrap();
    assert_eq!(recv.read(3), Some(ReadBytes::Data("abc".into())));
    assert_eq!(recv.read(3), Some(ReadBytes::Data("d".into())));
    assert_eq!((recv.read(3), recv.is_readable(), recv.consumed()), (None, false, 5));
    assert_eq!(recv.wants(), None);
}

#[test]
fn an_empty_record_on_a_byte_lane_means_nothing() {
    let mut recv = buffer(BYTES);
    arrive(&mut recv, 0, [head(0, false), head(0, false)].concat()).unwrap();
    assert_eq!((recv.read(9), recv.consumed(), recv.allocated()), (None, 2, 0));
}

/// Bytes that are often the start of something.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0_u8..20, 1 => any::<u8>()];
    let record = (0_u8..10, collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, body)| {
        let mut record = head(body.len() as u64 + 1, true);
        record.push(kind);
        record.extend(body);
        record
    });
    let known = prop_oneof![
        Just(message("hello")),
        Just(reply("there")),
        Just(open(LaneKind::Messages)),
        Just(open(LaneKind::Bytes)),
        Just(Outgoing::Cancel { ask: 7 }),
        Just(Outgoing::Fin),
    ];
    let piece = prop_oneof![
        1 => collection::vec(byte, 0..10),
        1 => record,
        4 => known.prop_map(|record| stream(&[record]).to_vec()),
    ];
    collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// However they are divided, the same bytes give the same, and the first one that breaks a rule is found.
    #[test]
    fn noise_is_taken_or_refused_alike(
        kind in prop_oneof![Just(None), Just(MESSAGES), Just(BYTES)],
        bytes in noise(),
        cuts in collection::vec(any::<Index>(), 0..6),
        reads in any::<bool>(),
    ) {
        let bytes = Bytes::from(bytes);
        let run = |cuts: &[usize]| {
            let mut recv = buffer(kind);
            let (mut given, mut taken, mut read) = (Vec::new(), Vec::new(), Vec::new());
            let mut result = Ok(());
            let mut start = 0;
            for end in cuts.iter().copied().chain([bytes.len()]) {
                recv.insert(start as u64, bytes.slice(start..end), end - start).unwrap();
                start = end;
                loop {
                    match recv.scan() {
                        Ok(Some(record)) => given.push(record),
                        Ok(None) => break,
                        Err(violation) => result = Err(violation),
                    }
                    if result.is_err() {
                        break;
                    }
                }
                if reads || result.is_err() || end == bytes.len() {
                    taken.extend(core::iter::from_fn(|| recv.next()));
                    while let Some(ReadBytes::Data(bytes)) = recv.read(7) {
                        read.extend_from_slice(&bytes);
                    }
                }
                assert!(recv.consumed() <= recv.received() && recv.allocated() <= 16 * 1024);
                if result.is_err() {
                    assert_eq!(recv.scan().map(drop), result);
                    break;
                }
            }
            (given, taken, read, result)
        };
        let mut cuts = Vec::from_iter(cuts.iter().map(|cut| cut.index(bytes.len() + 1)));
        cuts.sort_unstable();
        prop_assert_eq!(run(&cuts), run(&[]));
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<RecvBuffer>() <= 160, "{}", size_of::<RecvBuffer>());
    assert!(size_of::<SendBuffer>() <= 208, "{}", size_of::<SendBuffer>());
}

#[test]
fn answers_that_nobody_takes_keep_back_those_behind_them() {
    let mut recv = RecvBuffer::new(MESSAGES, LIMITS, 1 << 20);
    let stream = stream(&vec![reply(""); 3 * MAX_REPLIES]);
    let len = stream.len();
    let mut given = Vec::new();
    for at in (0..len).step_by(1000) {
        given.extend(arrive(&mut recv, at as u64, stream.slice(at..len.min(at + 1000))).unwrap());
    }
    assert_eq!(given.len(), MAX_REPLIES);
    assert!(recv.allocated() <= 2 * len + 32 * MAX_REPLIES, "{} bytes of {len}", recv.allocated());
    let mut next = 0;
    while let Some(Incoming::Reply { at, .. }) = given.get(next) {
        recv.reply_taken(*at);
        next += 1;
        while let Some(record) = recv.scan().unwrap() {
            given.push(record);
        }
    }
    assert_eq!((next, recv.consumed(), recv.queued()), (3 * MAX_REPLIES, len as u64, 0));
}

#[test]
fn what_waits_for_answers_to_be_taken_holds_no_memory_beside_its_own() {
    let mut records = vec![reply(""); MAX_REPLIES];
    records.push(Outgoing::Message(vec![7; 20_000].into()));
    let waits = stream(&records[MAX_REPLIES..]).len();
    for (capacity, is_held) in [(2 * waits, true), (2 * waits + 1, false)] {
        let mut recv = buffer(MESSAGES);
        let arrived = stream(&records);
        recv.insert(0, arrived.clone(), capacity).unwrap();
        while recv.scan().unwrap().is_some() {}
        let is_inside = arrived.as_ptr_range().contains(&recv.fresh.as_ptr());
        assert_eq!(is_inside, is_held, "{waits} of {capacity} bytes");
    }
}
