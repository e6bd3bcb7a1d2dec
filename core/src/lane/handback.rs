//! How a send buffer gives back what it accepted.

use alloc::collections::VecDeque;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::chunks::Chunks;
use super::ledger::Entry;
use super::record::Outgoing;
use super::send::SendBuffer;
use super::tags::{Tag, Tags};
use super::waiting::Waiting;
use crate::ids::SendId;
use crate::message::Fate;
use crate::time::Time;

/// A record that was accepted and is not confirmed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct UnconfirmedRecord {
    pub(crate) out: Outgoing,
    pub(crate) id: Option<SendId>,
    pub(crate) fate: Fate,
}

/// What a send buffer gave up: all that was accepted and is not confirmed, as compact as it was there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Handback {
    records: VecDeque<Entry>,
    chunks: Chunks,
    tags: Tags,
    /// Where the first record starts, and up to where bytes were transmitted.
    confirmed: u64,
    sent: u64,
}

impl SendBuffer {
    /// Takes out all records of which no byte was ever transmitted, in order, one by one. When the end of the lane is one of
    /// them, the lane goes on.
    pub(crate) fn retract_unsent(&mut self, mut each: impl FnMut(Outgoing, Option<Waiting>)) {
        let records = self.ledger.split_off(self.sent);
        let start = self.ledger.end();
        let chunks = self.chunks.split_off((start - self.ledger.confirmed()) as usize);
        let tags = self.rare.as_mut().map(|rare| rare.tags.split_off(start)).unwrap_or_default();
        let mut goes_on = false;
        let mut each = |out, wait| {
            goes_on |= matches!(out, Outgoing::Fin);
            each(out, wait);
        };
        decode(start, records, chunks, tags, |_, out, wait| each(out, wait));
        self.take_waiting(each);
        self.ledger.closed &= !goes_on;
    }

    /// Takes out all that is not confirmed. What waits and has not expired is moved behind the stream for it.
    pub(crate) fn take_unconfirmed(&mut self, now: Time) -> Handback {
        let (confirmed, sent) = (self.confirmed(), self.sent);
        self.stage(now);
        let records = self.ledger.take();
        let chunks = core::mem::take(&mut self.chunks);
        self.sent = self.ledger.end();
        let tags = self.rare.take().map(|rare| rare.tags).unwrap_or_default();
        Handback { records, chunks, tags, confirmed, sent }
    }

    fn take_waiting(&mut self, mut each: impl FnMut(Outgoing, Option<Waiting>)) {
        if let Some(rare) = &mut self.rare {
            while let Some((out, wait)) = rare.waiting.take() {
                each(out, wait);
            }
        }
        self.tidy();
    }
}

impl Handback {
    /// How many messages the application gets of it: asks end by themselves, and bytes of one fate are joined.
    pub(crate) fn messages(&self) -> usize {
        let asks = self.tags.asks(self.confirmed..u64::MAX).count();
        let (mut at, mut messages) = (self.confirmed, 0);
        let (mut in_doubt, mut unsent) = (false, false);
        for entry in &self.records {
            messages += usize::from(entry.is_message());
            if entry.is_bytes() {
                in_doubt |= at + entry.overhead() < self.sent;
                unsent |= at + entry.len() > self.sent;
            }
            at += entry.len();
        }
        messages - asks + usize::from(in_doubt) + usize::from(unsent)
    }

    /// Gives all records to `each`, in order. Bytes of a byte lane have their fate byte by byte, and are joined where they
    /// share it.
    pub(crate) fn take(self, each: impl FnMut(UnconfirmedRecord)) {
        let sent = self.sent;
        let mut joined = Joined { each, bytes: None };
        decode(self.confirmed, self.records, self.chunks, self.tags, |range, out, wait| match out {
            Outgoing::Bytes(mut bytes) => {
                let first = range.end - bytes.len() as u64;
                let in_doubt = sent.clamp(first, range.end) - first;
                joined.push_bytes(bytes.split_to(in_doubt as usize), Fate::InDoubt);
                joined.push_bytes(bytes, Fate::Unsent);
            }
            out => joined.push(out, wait, if range.start < sent { Fate::InDoubt } else { Fate::Unsent }),
        });
        joined.close();
    }
}

/// Takes the stream apart that starts at `at`: each record, and where it stands.
fn decode(
    mut at: u64,
    records: VecDeque<Entry>,
    mut chunks: Chunks,
    mut tags: Tags,
    mut each: impl FnMut(Range<u64>, Outgoing, Option<Waiting>),
) {
    for entry in records {
        let (mut ask, mut wait) = (None, None);
        while let Some(tag) = tags.pop_before(at + 1) {
            match tag {
                Tag::Ask(id) => ask = Some(id),
                Tag::Send { id, receipt } => wait = Some(Waiting { id, expires: None, key: None, receipt }),
            }
        }
        let (record, payload) = chunks.take(entry.len() as usize);
        let out = if entry.is_bytes() {
            Some(Outgoing::Bytes(content(record, payload, entry.overhead() as usize)))
        } else {
            Outgoing::decode(record, payload, ask)
        };
        debug_assert!(out.is_some(), "what this side wrote it can read");
        let range = at..at + entry.len();
        at = range.end;
        if let Some(out) = out {
            each(range, out, wait);
        }
    }
}

/// What a byte lane's record carries behind its first `overhead` bytes. It stands in one of the two.
fn content(mut record: Bytes, payload: Bytes, overhead: usize) -> Bytes {
    record.advance(overhead.min(record.len()));
    if record.is_empty() { payload } else { record }
}

/// What [`Handback::take`] gives out.
struct Joined<F> {
    each: F,
    /// Bytes of one fate that may be joined with the next ones.
    bytes: Option<(BytesMut, Fate)>,
}

impl<F: FnMut(UnconfirmedRecord)> Joined<F> {
    fn push(&mut self, out: Outgoing, wait: Option<Waiting>, fate: Fate) {
        self.close();
        (self.each)(UnconfirmedRecord { out, id: wait.map(|wait| wait.id), fate });
    }

    fn push_bytes(&mut self, bytes: Bytes, fate: Fate) {
        match &mut self.bytes {
            _ if bytes.is_empty() => {}
            Some((joined, joined_fate)) if *joined_fate == fate => joined.extend_from_slice(&bytes),
            Some(_) | None => {
                self.close();
                self.bytes = Some((BytesMut::from(bytes), fate));
            }
        }
    }

    fn close(&mut self) {
        if let Some((bytes, fate)) = self.bytes.take() {
            (self.each)(UnconfirmedRecord { out: Outgoing::Bytes(bytes.freeze()), id: None, fate });
        }
    }
}
