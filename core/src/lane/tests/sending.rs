//! What a send buffer transmits, holds back and gives up.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::send::Mismatch;
use super::super::*;
use super::handed_back;
use crate::config::Config;
use crate::ids::{AskId, SendId};
use crate::message::{Fate, Message};
use crate::time::Time;

const NOW: Time = Time::from_millis(100);

fn message(len: usize) -> Outgoing {
    Outgoing::Message(vec![7; len].into())
}

fn waiting(id: u64) -> Waiting {
    Waiting { id: SendId(id), expires: None, key: None, receipt: true }
}

/// A buffer with credit for everything.
fn buffer(records: impl IntoIterator<Item = Outgoing>) -> SendBuffer {
    let mut send = SendBuffer::new(u64::MAX);
    records.into_iter().for_each(|record| send.push(record));
    send
}

fn transmit(send: &mut SendBuffer, max: usize) -> Option<(u64, usize)> {
    send.next_data(NOW, max, &mut Vec::new(), &mut |_, _| ())
}

fn report(send: &mut SendBuffer, received: u64, consumed: u64) -> Result<Vec<SendId>, Mismatch> {
    let mut confirmed = Vec::new();
    send.on_report(received, consumed, 0, &mut |id| confirmed.push(id)).map(|()| confirmed)
}

#[test]
fn a_transmission_ends_with_a_record_unless_that_makes_it_much_shorter() {
    let mut send = buffer([message(300), message(300), message(300), message(3000)]);
    assert_eq!(transmit(&mut send, 1000), Some((0, 906)));
    assert_eq!(transmit(&mut send, 1000), Some((906, 1000)));
    assert_eq!(transmit(&mut send, 4000), Some((1906, 2002)));
    let mut send = buffer([message(98), message(98), message(98)]);
    assert_eq!(transmit(&mut send, 200), Some((0, 200)));
}

proptest! {
    /// Wherever it starts, and whatever was confirmed before.
    #[test]
    fn a_transmission_of_half_its_room_or_more_ends_with_a_record(
        bytes in any::<bool>(),
        lens in collection::vec(1_usize..600, 1..30),
        steps in collection::vec((0_u8..4, any::<Index>(), 1_usize..2000), 0..40),
    ) {
        let mut send = SendBuffer::new(u64::MAX);
        let mut ends = Vec::new();
        for len in lens {
            let payload = Bytes::from(vec![7; len]);
            send.push(if bytes { Outgoing::Bytes(payload) } else { Outgoing::Message(payload.into()) });
            ends.push(send.end());
        }
        let mut cursor = 0;
        for (step, index, max) in steps {
            let sent = send.sent();
            match step {
                0 => {
                    let received = index.index(sent as usize + 1) as u64;
                    send.rewind(received);
                    cursor = received.max(send.confirmed());
                }
                1 => {
                    let consumed = index.index(sent as usize + 1) as u64;
                    let whole = ends.iter().copied().filter(|end| *end <= consumed).max().unwrap_or(0);
                    report(&mut send, sent, if bytes { consumed } else { whole }).unwrap();
                    cursor = cursor.max(send.confirmed());
                }
                _ => {
                    let stop = send.end().min(cursor + max as u64);
                    let long = cursor + max as u64 / 2..=stop;
                    let end = ends.iter().copied().filter(|end| *end > cursor && long.contains(end)).max();
                    let end = end.unwrap_or(stop);
                    prop_assert_eq!(transmit(&mut send, max), (end > cursor).then(|| (cursor, (end - cursor) as usize)));
                    cursor = end;
                }
            }
        }
    }
}

#[test]
fn a_large_payload_is_referenced_and_a_small_one_copied() {
    let (small, large) = (Bytes::from(vec![1; 500]), Bytes::from(vec![2; 1025]));
    let mut send = buffer([small.clone(), large.clone()].map(|payload| Outgoing::Message(payload.into())));
    let mut out = Vec::new();
    send.next_data(NOW, usize::MAX, &mut out, &mut |_, _| ()).unwrap();
    assert_eq!(out.len(), 2);
    assert_eq!(out[1].as_ptr(), large.as_ptr());
    assert!(!out[0].as_ptr_range().contains(&small.as_ptr()));
}

/// Whether each piece was shared.
struct Shared(Vec<bool>);

impl Outlet for Shared {
    fn begin(&mut self, _offset: u64, _length: usize) {}

    fn copy(&mut self, _bytes: &[u8]) {
        self.0.push(false);
    }

    fn share(&mut self, _bytes: Bytes) {
        self.0.push(true);
    }
}

#[test]
fn up_to_512_bytes_are_copied_and_more_is_shared() {
    for (max, shared) in [(1, false), (512, false), (513, true)] {
        for (payload, skipped) in [(1000, 0), (5000, 2)] {
            let mut send = buffer([message(payload)]);
            transmit(&mut send, skipped);
            let mut out = Shared(Vec::new());
            send.next_data(NOW, max, &mut out, &mut |_, _| ()).unwrap();
            assert_eq!(out.0, [shared], "{max} bytes of a payload of {payload}");
        }
    }
}

#[test]
fn many_small_records_share_chunks_and_segments() {
    let mut send = buffer((0..1000).map(|_| message(64)));
    let mut out = Vec::new();
    send.next_data(NOW, 1 << 20, &mut out, &mut |_, _| ()).unwrap();
    assert!(out.len() <= 10, "{}", out.len());
}

#[test]
fn the_first_chunk_is_as_large_as_the_last_one_was_unless_half_of_that_was_enough() {
    let mut send = SendBuffer::new(u64::MAX);
    // So many records of 128 bytes, of which each makes sure of 136, and how large the chunk of the first one is.
    for (round, (records, size)) in
        [(1, 1024), (15, 1024), (1, 2048), (16, 1024), (3, 2048), (1, 1024)].iter().enumerate()
    {
        for record in 0..*records {
            if record % 2 == 0 {
                send.push(message(126));
            } else {
                send.push_plain(&Message::new(vec![7; 126]));
            }
            if record == 0 {
                assert_eq!(send.chunks.room() + 128, *size, "round {round}");
            }
        }
        transmit(&mut send, usize::MAX);
        let end = send.end();
        report(&mut send, end, end).unwrap();
        assert_eq!(send.allocated(), 0);
    }
}

#[test]
fn room_is_made_at_once_for_as_many_records_as_there_were_but_not_for_very_many() {
    for (before, room) in [(10, 10), (3000, 2048)] {
        let mut send = buffer((0..before).map(|_| message(0)));
        transmit(&mut send, usize::MAX);
        let end = send.end();
        report(&mut send, end, end).unwrap();
        send.push(message(0));
        assert_eq!(send.ledger.allocated(), room * size_of::<u64>());
    }
}

#[test]
fn memory_is_a_little_more_than_what_is_counted() {
    for len in [0, 1, 64, 1024, 100_000] {
        for flush in [false, true] {
            let mut send = SendBuffer::new(u64::MAX);
            for _ in 0..1000 {
                send.push(message(len));
                if flush {
                    transmit(&mut send, usize::MAX);
                }
                let bound = send.buffered() * 5 / 4 + 40 * 1024;
                assert!(send.allocated() <= bound, "{} of {bound} at {len}", send.allocated());
            }
        }
    }
}

#[test]
fn credit_and_gate_hold_back() {
    let mut send = SendBuffer::new(50);
    send.push(message(98));
    send.set_gate(30);
    assert_eq!((transmit(&mut send, 1000), transmit(&mut send, 1000)), (Some((0, 30)), None));
    assert!(!send.has_data());
    send.set_gate(u64::MAX);
    assert!(send.has_data());
    assert_eq!(transmit(&mut send, 1000), Some((30, 20)));
    assert!(!send.has_data());
    send.on_report(50, 0, 200, &mut |_| ()).unwrap();
    assert!(send.has_data());
    assert_eq!(transmit(&mut send, 1000), Some((50, 50)));
    assert!(!send.has_data());
}

#[test]
fn staging_moves_what_waits_behind_the_gate() {
    let mut send = SendBuffer::new(u64::MAX);
    send.set_gate(0);
    send.push_waiting(message(10), waiting(1));
    send.push(Outgoing::Ask(AskId(5), Message::new("?")));
    assert_eq!(transmit(&mut send, 1000), None);
    let end = send.stage(NOW);
    assert_eq!(send.cancel(SendId(1)), None);
    send.push_waiting(message(10), waiting(2));
    send.set_gate(end);
    let mut assigned = Vec::new();
    let data = send.next_data(NOW, 1000, &mut Vec::new(), &mut |id, at| assigned.push((id, at)));
    assert_eq!(data, Some((0, end as usize)));
    assert_eq!(assigned, [(AskId(5), 11)]);
    assert!(!send.has_data());
    assert!(send.cancel(SendId(2)).is_some());
}

#[test]
fn the_smallest_room_is_a_step_forward() {
    let mut send = buffer([message(3), message(3)]);
    let steps: Vec<u64> = core::iter::from_fn(|| transmit(&mut send, 1)).map(|(offset, _)| offset).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn what_finds_no_room_can_still_be_taken_back() {
    let mut send = SendBuffer::new(11);
    send.push_waiting(message(10), waiting(1));
    send.push_waiting(message(10), waiting(2));
    assert_eq!(transmit(&mut send, 1000), Some((0, 11)));
    assert_eq!((send.cancel(SendId(1)), send.cancel(SendId(2)).is_some()), (None, true));
}

#[test]
fn an_ask_can_be_taken_back_until_it_is_transmitted() {
    let mut send = buffer([5, 6].map(|id| Outgoing::Ask(AskId(id), Message::new("?"))));
    assert_eq!((send.cancel_ask(AskId(6)), send.cancel_ask(AskId(6))), (Some(Message::new("?")), None));
    transmit(&mut send, 1000);
    assert_eq!((send.cancel_ask(AskId(5)), send.messages()), (None, 1));
}

#[test]
fn the_short_way_is_for_plain_messages_behind_nothing_that_waits() {
    let plain = Message::new("text");
    let mut send = buffer([]);
    assert!(send.push_plain(&plain) && !send.push_plain(&plain.clone().with_name("name")));
    assert_eq!(send, buffer([Outgoing::Message(plain.clone())]));
    send.push_waiting(message(10), waiting(1));
    assert!(!send.push_plain(&plain), "it would overtake");
    let mut send = buffer([]);
    send.finish();
    assert!(!send.push_plain(&plain), "it would follow the end");
    assert_eq!(send.messages(), 0);
}

/// Bytes as they stand in frames with a head of ten.
#[derive(Default)]
struct Framed(Vec<u8>);

impl Outlet for Framed {
    fn head(&self, _offset: u64) -> usize {
        10
    }

    fn begin(&mut self, _offset: u64, _length: usize) {}

    fn copy(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: Bytes) {
        self.copy(&bytes);
    }
}

#[test]
fn what_is_sent_again_was_sent_and_is_not_confirmed() {
    let payload = |first: u8| Bytes::from_iter(first..first + 98);
    let mut send = buffer([0, 100, 150].map(|first| Outgoing::Message(payload(first).into())));
    let mut out = Framed::default();
    assert_eq!(send.next_data(NOW, 260, &mut out, &mut |_, _| ()), Some((0, 200)), "a head takes ten");
    assert_eq!(send.next_data(NOW, 60, &mut out, &mut |_, _| ()), Some((200, 50)));
    let stream = out.0;
    let mut resent = 0;
    for (confirmed, range, max, expected) in [
        (0, 0..50, 1000, Some(0..50)),
        (0, 120..300, 1000, Some(120..250)),
        (0, 10..50, 30, Some(10..30)),
        (0, 10..50, 10, None),
        (0, 250..300, 1000, None),
        (100, 0..50, 1000, None),
        (100, 50..120, 1000, Some(100..120)),
        (100, 50..120, 15, Some(100..105)),
    ] {
        report(&mut send, 250, confirmed).unwrap();
        let mut out = Framed::default();
        assert_eq!(send.send_again(range.clone(), max, &mut out), expected, "{range:?} in {max}");
        let expected = expected.unwrap_or(0..0);
        assert_eq!(out.0, stream[expected.start as usize..expected.end as usize], "{range:?} in {max}");
        resent += expected.end - expected.start;
        assert_eq!(send.resent(), resent);
    }
    let mut out = Framed::default();
    assert_eq!(send.next_data(NOW, 1000, &mut out, &mut |_, _| ()), Some((250, 50)), "it goes on where it was");
    assert_eq!(out.0, payload(150)[48..]);
}

#[test]
fn reports_that_cannot_be_are_refused() {
    let mut send = buffer([message(98), message(98)]);
    transmit(&mut send, 100);
    transmit(&mut send, 50);
    assert_eq!(report(&mut send, 151, 0), Err(Mismatch::Received { received: 151, sent: 150 }));
    assert_eq!(report(&mut send, 100, 101), Err(Mismatch::Consumed { consumed: 101, received: 100 }));
    assert_eq!(report(&mut send, 120, 50), Err(Mismatch::Inside { consumed: 50 }));
    assert_eq!(report(&mut send, 120, 100), Ok(vec![]));
    assert_eq!((send.confirmed(), send.acked()), (100, 120));
    assert_eq!(report(&mut send, 110, 0), Ok(vec![]), "an older one has no effect");
    assert_eq!((send.confirmed(), send.acked()), (100, 120));
    assert_eq!(send.check_report(150, 99), Err(Mismatch::Receded { consumed: 99, confirmed: 100 }));
    assert_eq!(send.check_report(150, 100), Ok(()));
}

#[test]
fn what_is_counted_is_freed_at_consumption() {
    let named = Message::new(vec![0; 2000]).with_name("name").with_headers("{}");
    let mut send = buffer([Outgoing::Message(named), message(10)]);
    let cost = [2006 + Config::MESSAGE_OVERHEAD, 10 + Config::MESSAGE_OVERHEAD];
    assert_eq!((send.buffered(), send.messages()), (cost[0] + cost[1], 2));
    transmit(&mut send, usize::MAX);
    let end = send.end();
    report(&mut send, end, end - 11).unwrap();
    assert_eq!((send.buffered(), send.messages()), (cost[1], 1));
    report(&mut send, end, end).unwrap();
    assert_eq!((send.buffered(), send.messages(), send.allocated()), (0, 0, 0));
}

#[test]
fn an_expired_message_is_neither_sent_nor_forgotten() {
    let mut send = SendBuffer::new(u64::MAX);
    send.push_waiting(message(10), Waiting { expires: Some(NOW), ..waiting(1) });
    send.push_waiting(message(20), waiting(2));
    assert_eq!(send.next_expiry(), Some(NOW));
    assert_eq!(transmit(&mut send, 1000), Some((0, 21)));
    assert_eq!(send.next_expiry(), Some(NOW), "it is still to be told");
    assert_eq!((send.expire(NOW), send.expire(NOW)), (Some(SendId(1)), None));
    assert_eq!((send.next_expiry(), send.messages()), (None, 1));
    assert_eq!(report(&mut send, 21, 21), Ok(vec![SendId(2)]));
}

#[test]
fn a_newer_message_of_the_key_queues_at_the_end() {
    let keyed = |id, key: &'static str| Waiting { key: Some(key.into()), receipt: false, ..waiting(id) };
    let mut send = SendBuffer::new(u64::MAX);
    assert_eq!(send.push_waiting(message(1), keyed(1, "a")), None);
    assert_eq!(send.push_waiting(message(2), keyed(2, "b")), None);
    assert_eq!(send.push_waiting(message(3), keyed(3, "a")), Some(SendId(1)));
    let ids: Vec<_> = handed_back(&mut send.clone(), NOW).into_iter().map(|record| record.id).collect();
    assert_eq!(ids, [Some(SendId(2)), Some(SendId(3))]);
    transmit(&mut send, 2);
    assert_eq!(send.push_waiting(message(4), keyed(4, "b")), None, "it was transmitted");
    assert_eq!(send.push_waiting(message(5), keyed(5, "a")), Some(SendId(3)));
}

#[test]
fn replacing_for_ever_costs_nothing() {
    let mut send = SendBuffer::new(0);
    send.push_waiting(message(10), waiting(0));
    for id in 1..10_000 {
        let wait = Waiting { key: Some("key".into()), expires: Some(NOW), ..waiting(id) };
        send.push_waiting(message(10), wait);
        assert!(send.allocated() < 4096, "{}", send.allocated());
    }
    assert_eq!(send.messages(), 2);
}

#[test]
fn what_is_taken_back_gives_back_its_place_in_the_queue() {
    let count = 1001;
    for order in [|n: u64, _: u64| n, |n, count| count - 1 - n, |n, count| n * 5 % count] {
        let mut send = SendBuffer::new(0);
        (0..count).for_each(|id| assert_eq!(send.push_waiting(message(0), waiting(id)), None));
        let full = send.allocated();
        for taken in 1..=count {
            assert!(send.cancel(SendId(order(taken - 1, count))).is_some());
            let (left, allocated) = ((count - taken) as usize, send.allocated());
            let most = full * left / count as usize * 4 + 4096;
            assert!(allocated <= most, "{allocated} bytes for {left} messages, {full} for {count}");
        }
        assert!(send.is_idle());
    }
}

#[test]
fn a_new_link_transmits_again_from_what_was_received() {
    let mut send = buffer([message(98), message(98)]);
    transmit(&mut send, 100);
    transmit(&mut send, 50);
    send.rewind(120);
    assert_eq!((transmit(&mut send, 10), send.resent()), (Some((120, 10)), 10));
    assert_eq!((transmit(&mut send, 100), send.resent()), (Some((130, 70)), 30));
    report(&mut send, 200, 100).unwrap();
    send.rewind(0);
    assert_eq!((transmit(&mut send, 100), send.sent()), (Some((100, 100)), 200));
}

#[test]
fn what_was_received_meanwhile_is_not_transmitted_again() {
    let mut send = buffer([message(98), message(98)]);
    transmit(&mut send, 200);
    send.rewind(0);
    send.skip(100);
    assert_eq!(transmit(&mut send, 50), Some((100, 50)));
    send.skip(100);
    assert_eq!(transmit(&mut send, 100), Some((150, 50)));
}

#[test]
fn what_may_have_been_sent_is_in_doubt() {
    let mut send = buffer([message(98)]);
    send.push(Outgoing::Ask(AskId(1), Message::new("?")));
    send.push(message(98));
    let end = send.stage(NOW);
    let mut assigned = Vec::new();
    send.assume_sent(end - 100, &mut |id, at| assigned.push((id, at)));
    assert_eq!(assigned, [(AskId(1), 100)]);
    assert_eq!(report(&mut send, end - 100, 100), Ok(vec![]));
    let fates: Vec<_> = handed_back(&mut send, NOW).into_iter().map(|record| record.fate).collect();
    assert_eq!(fates, [Fate::InDoubt, Fate::Unsent]);
}

#[test]
fn what_was_handed_back_is_behind_the_stream() {
    let mut send = buffer([message(98), message(98)]);
    transmit(&mut send, 150);
    send.take_unconfirmed(NOW);
    assert!(send.is_idle() && !send.has_data());
    send.push(message(98));
    assert_eq!((send.confirmed(), send.sent(), transmit(&mut send, 1000)), (200, 200, Some((200, 100))));
}

#[test]
fn nothing_follows_the_end_and_it_is_finished_when_that_is_confirmed() {
    let mut send = buffer([message(10)]);
    send.finish();
    send.finish();
    send.push(message(10));
    assert_eq!(send.push_waiting(message(10), waiting(1)), None);
    assert_eq!((transmit(&mut send, 100), send.messages()), (Some((0, 13)), 1));
    report(&mut send, 13, 11).unwrap();
    assert!(send.is_finishing() && !send.is_finished() && !send.is_idle());
    report(&mut send, 13, 13).unwrap();
    assert!(send.is_finished() && send.is_idle());
}

fn retracted(send: &mut SendBuffer) -> Vec<(Outgoing, Option<Waiting>)> {
    let mut retracted = Vec::new();
    send.retract_unsent(|out, wait| retracted.push((out, wait)));
    retracted
}

#[test]
fn a_retracted_end_lets_the_lane_go_on() {
    let mut send = buffer([message(10)]);
    transmit(&mut send, 5);
    send.finish();
    assert_eq!(retracted(&mut send), [(Outgoing::Fin, None)]);
    assert!(!send.is_finishing());
    assert_eq!(handed_back(&mut send, NOW), [UnconfirmedRecord { out: message(10), id: None, fate: Fate::InDoubt }]);
}

#[test]
fn times_move_to_another_clock() {
    let mut send = SendBuffer::new(0);
    let later = Time::from_millis(150);
    send.push_waiting(message(1), Waiting { expires: Some(later), ..waiting(1) });
    send.rebase(NOW, Time::from_millis(1100));
    let moved = Time::from_millis(1150);
    assert_eq!((send.next_expiry(), send.expire(later)), (Some(moved), None));
    assert_eq!(retracted(&mut send)[0].1.as_ref().unwrap().expires, Some(moved));
}

#[test]
fn buffers_are_equal_when_their_bytes_are() {
    let buffer = |text: &'static str| buffer([Outgoing::Message(text.into())]);
    assert_eq!(buffer("a"), buffer("a"));
    assert_ne!(buffer("a"), buffer("b"));
}
