//! What a record counts and how much room it takes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::super::record::{Head, Violation, decode_message, encode_message};
use super::super::*;
use super::LIMITS;
use crate::code::CloseReason;
use crate::config::{Config, MAX_NAME};
use crate::ids::AskId;
use crate::message::{LaneOptions, Message};
use crate::wire::varint;

/// A record of each kind: what the application gave of it, in bytes, and whether that is a message.
fn records() -> [(Outgoing, usize, bool); 10] {
    let named = || Message::new(vec![7; 1000]).with_name("x".repeat(200)).with_headers(vec![b' '; 3000]);
    let refused = AskOutcome::Refused(CloseReason::app(u32::MAX, "because"));
    let ask = u64::MAX;
    let (name, namespace) = ("x".repeat(100), "x".repeat(200));
    let options = LaneOptions { name, namespace, headers: vec![b' '; 3000].into(), ..LaneOptions::default() };
    [
        (Outgoing::Message(vec![7; 1000].into()), 1000, true),
        (Outgoing::Message(named()), 4200, true),
        (Outgoing::Ask(AskId(0), named()), 4200, true),
        (Outgoing::Reply { ask, message: "answer".into(), more: true }, 6, true),
        (Outgoing::AskEnd { ask, outcome: AskOutcome::NoReply }, 0, false),
        (Outgoing::AskEnd { ask, outcome: refused }, 7, false),
        (Outgoing::Cancel { ask }, 0, false),
        (Outgoing::Open(Box::new(options)), 3300, false),
        (Outgoing::Fin, 0, false),
        (Outgoing::Bytes(vec![7; 1000].into()), 1000, false),
    ]
}

#[test]
fn a_record_counts_what_the_application_gave() {
    for (record, content, is_message) in records() {
        let mut send = SendBuffer::new(u64::MAX);
        send.push(record.clone());
        let counted = (content + Config::MESSAGE_OVERHEAD, usize::from(is_message));
        assert_eq!((send.buffered(), send.messages()), counted, "{record:?}");
        send.stage(crate::time::Time::ZERO);
        assert_eq!((send.buffered(), send.messages()), counted, "{record:?}");
    }
}

#[test]
fn sizes_are_known_of_what_waits_and_of_what_is_written() {
    let large = || Message::new(vec![7; 5000]).with_name("name").with_headers(vec![b' '; 30]);
    let answer = Outgoing::Reply { ask: 1, message: large(), more: false };
    let pushed = [Outgoing::Ask(AskId(1), large()), Outgoing::Message(vec![7; 5000].into()), answer];
    let mut send = SendBuffer::new(u64::MAX);
    pushed.into_iter().chain(records().map(|(record, ..)| record)).for_each(|record| send.push(record));
    let expected = [(5000, 30), (5000, 0), (5000, 30), (1000, 0), (1000, 3000), (1000, 3000), (6, 0), (0, 3000)];
    for _ in 0..2 {
        assert_eq!(Vec::from_iter(send.sizes()), expected);
        send.stage(crate::time::Time::ZERO);
    }
}

#[test]
fn room_is_made_for_all_of_a_head_and_not_much_more() {
    for (record, ..) in records() {
        let mut head = BytesMut::new();
        record.encode_head(&mut head);
        let is_plain = head[0] & 1 == 0;
        let most = head.len() + if is_plain { varint::MAX_LEN } else { 10 * varint::MAX_LEN };
        assert!((head.len()..=most).contains(&record.head_bound()), "{} for {record:?}", head.len());
    }
}

#[test]
fn the_longest_record_is_that_of_the_largest_message_with_all_that_may_go_with_it() {
    let overhead = 2 + 3 * varint::MAX_LEN as u64;
    let largest = LIMITS.max_message as u64 + LIMITS.max_headers as u64 + 2 * MAX_NAME as u64 + overhead;
    for (extended, largest) in [(false, LIMITS.max_message as u64), (true, largest)] {
        for body in [largest, largest + 1] {
            let checked = Head { extended, len: 1, body }.check(LIMITS);
            assert_eq!(checked.is_ok(), body == largest, "{body} bytes");
        }
    }
}

#[test]
fn a_message_can_stand_alone() {
    let named = Message::new(vec![7; 1000]).with_name("name").with_headers("{}");
    for message in [Message::new(""), Message::new("text"), named] {
        let record = encode_message(message.clone());
        assert_eq!(decode_message(record.clone()), Ok(message));
        let short = decode_message(record.slice(..record.len() - 1));
        let long = decode_message([&record[..], &[0]].concat().into());
        for wrong in [short, long] {
            assert!(matches!(wrong, Err(Violation::Malformed(_))), "{wrong:?}");
        }
    }
    let mut end = BytesMut::new();
    Outgoing::Fin.encode_head(&mut end);
    assert!(matches!(decode_message(end.freeze()), Err(Violation::Unexpected(_))));
}
