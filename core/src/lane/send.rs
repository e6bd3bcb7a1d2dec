//! What one side sends on a lane, from the confirmed offset on.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::chunks::{Chunks, shrink};
use super::record::{INLINE_PAYLOAD, Outgoing, put_plain_head};
use super::waiting::{Name, Waiting, WaitingQueue};
use crate::code::ProtocolCode;
use crate::config::{Config, MAX_MESSAGE};
use crate::ids::{AskId, SendId};
use crate::message::{Fate, Message};
use crate::time::Time;
use crate::wire::varint;

/// What a record counts in the send buffer: what the application gave, and a share for what goes with it.
pub(crate) fn cost(out: &Outgoing) -> usize {
    out.content() + Config::MESSAGE_OVERHEAD
}

/// For how many records room is made at once, at most.
const MAX_HINT: usize = 2048;

/// A report from the peer that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum Mismatch {
    #[error("received up to {received} is more than the {sent} that were sent")]
    Received { received: u64, sent: u64 },
    #[error("consumed up to {consumed} is more than the {received} that were received")]
    Consumed { consumed: u64, received: u64 },
    #[error("consumed up to {consumed} is less than the {confirmed} that were confirmed")]
    Receded { consumed: u64, confirmed: u64 },
    #[error("consumed up to {consumed} is inside of a record")]
    Inside { consumed: u64 },
}

impl Mismatch {
    /// The protocol code to answer with.
    pub(crate) fn code(&self) -> ProtocolCode {
        ProtocolCode::StateMismatch
    }
}

/// A record that was accepted and is not confirmed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct UnconfirmedRecord {
    pub(crate) out: Outgoing,
    pub(crate) id: Option<SendId>,
    pub(crate) fate: Fate,
}

/// One direction of a lane on its sender's side: a stream of records from the confirmed offset on, and the records that
/// wait behind it without an offset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SendBuffer {
    chunks: Chunks,
    records: VecDeque<Entry>,
    /// Up to where the peer has consumed, and has received.
    confirmed: u64,
    acked: u64,
    /// What is transmitted next, and what was transmitted at most.
    cursor: u64,
    sent: u64,
    end: u64,
    limit: u64,
    gate: u64,
    resent: u64,
    /// Of the records in the stream.
    cost: usize,
    messages: u32,
    /// The cursor by record: how many records are before it, and how many bytes of the next one.
    index: u32,
    part: u32,
    /// How much stood in the stream before it was last empty: its records, and its bytes in KiB.
    last_records: u16,
    last_size: u8,
    finishing: bool,
    rare: Option<Box<Rare>>,
}

/// What few lanes need.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Rare {
    waiting: WaitingQueue,
    /// Of records in the stream, by ascending offset.
    tags: VecDeque<Tag>,
}

/// What is known of the record that starts at an offset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Tag {
    at: u64,
    what: TagKind,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum TagKind {
    Send { id: SendId, receipt: bool },
    Ask(AskId),
}

impl Rare {
    /// The asks whose records start in a range.
    fn asks(&self, range: Range<u64>) -> impl Iterator<Item = (AskId, u64)> + '_ {
        let first = self.tags.partition_point(|tag| tag.at < range.start);
        let tags = self.tags.range(first..).take_while(move |tag| tag.at < range.end);
        tags.filter_map(|tag| match tag.what {
            TagKind::Ask(id) => Some((id, tag.at)),
            TagKind::Send { .. } => None,
        })
    }
}

/// Takes the first tag when its record starts before an offset.
fn next_tag(tags: &mut VecDeque<Tag>, before: u64) -> Option<Tag> {
    if tags.front()?.at < before { tags.pop_front() } else { None }
}

/// A record in the stream, packed: its length, how much of it is not the application's, and what it is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Entry(u64);

impl Entry {
    const LEN_BITS: u32 = 40;
    const OVERHEAD_BITS: u32 = 16;
    const USER: u64 = 1 << 62;
    const BYTES: u64 = 1 << 63;

    fn new(len: u64, overhead: u64, kind: u64) -> Entry {
        debug_assert!(len >> Entry::LEN_BITS == 0 && overhead >> Entry::OVERHEAD_BITS == 0);
        Entry(len | overhead << Entry::LEN_BITS | kind)
    }

    fn len(self) -> u64 {
        self.0 & ((1 << Entry::LEN_BITS) - 1)
    }

    fn overhead(self) -> u64 {
        self.0 >> Entry::LEN_BITS & ((1 << Entry::OVERHEAD_BITS) - 1)
    }

    fn cost(self) -> usize {
        (self.len() - self.overhead()) as usize + Config::MESSAGE_OVERHEAD
    }

    fn is_user(self) -> bool {
        self.0 & Entry::USER != 0
    }

    fn is_bytes(self) -> bool {
        self.0 & Entry::BYTES != 0
    }

    /// What is left of a record of bytes without its first `count` bytes.
    fn without(self, count: u64) -> Entry {
        Entry::new(self.len() - count, self.overhead().saturating_sub(count), Entry::BYTES)
    }
}

impl SendBuffer {
    /// An empty buffer; `limit` is the credit from the start.
    pub(crate) fn new(limit: u64) -> SendBuffer {
        SendBuffer {
            chunks: Chunks::default(),
            records: VecDeque::new(),
            confirmed: 0,
            acked: 0,
            cursor: 0,
            sent: 0,
            end: 0,
            limit,
            gate: u64::MAX,
            resent: 0,
            cost: 0,
            messages: 0,
            index: 0,
            part: 0,
            last_records: 0,
            last_size: 0,
            finishing: false,
            rare: None,
        }
    }

    // ---- looking ----

    /// The cost of all that waits or is unconfirmed.
    pub(crate) fn buffered(&self) -> usize {
        self.cost + self.waiting().map_or(0, WaitingQueue::cost)
    }

    /// How many messages, asks and replies wait or are unconfirmed.
    pub(crate) fn messages(&self) -> usize {
        self.messages as usize + self.waiting().map_or(0, WaitingQueue::messages)
    }

    /// Up to where bytes were transmitted.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Up to where the peer's application has consumed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Up to where the peer has received.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The end of the stream, without what waits.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes were transmitted again.
    pub(crate) fn resent(&self) -> u64 {
        self.resent
    }

    fn waiting(&self) -> Option<&WaitingQueue> {
        self.rare.as_ref().map(|rare| &rare.waiting)
    }

    fn has_waiting(&self) -> bool {
        self.waiting().is_some_and(|waiting| !waiting.is_empty())
    }

    fn is_pending(&self) -> bool {
        self.cursor < self.end || self.has_waiting()
    }

    /// Whether there is something to transmit, within credit and gate.
    pub(crate) fn has_data(&self) -> bool {
        self.cursor < self.limit.min(self.gate) && self.is_pending()
    }

    /// Whether only credit is missing.
    pub(crate) fn is_blocked(&self) -> bool {
        self.limit <= self.cursor && self.cursor < self.gate && self.is_pending()
    }

    /// Whether [`SendBuffer::finish`] was called.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Whether all and the end were confirmed.
    pub(crate) fn is_finished(&self) -> bool {
        self.finishing && self.is_idle()
    }

    /// Whether nothing waits and nothing is unconfirmed.
    pub(crate) fn is_idle(&self) -> bool {
        self.confirmed == self.end && !self.has_waiting()
    }

    // ---- accepting ----

    /// Appends a record. An ask waits, everything else only behind what waits. Ignored after [`SendBuffer::finish`].
    #[inline]
    pub(crate) fn push(&mut self, out: Outgoing) {
        match out {
            // The common case, apart for speed.
            Outgoing::Message(Message { payload, meta: None }) if self.rare.is_none() && !self.finishing => {
                self.append_plain(payload, Entry::USER);
                self.messages += 1;
            }
            out => self.push_any(out),
        }
    }

    fn push_any(&mut self, out: Outgoing) {
        if self.finishing {
            return;
        }
        if self.has_waiting() || matches!(out, Outgoing::Ask(..)) {
            self.rare().waiting.push(out, None);
        } else {
            self.append(out);
        }
    }

    /// Appends a record that waits until it is transmitted. Answers which one of the same key it replaces; that one is
    /// dropped. Ignored after [`SendBuffer::finish`].
    pub(crate) fn push_waiting(&mut self, out: Outgoing, wait: Waiting) -> Option<SendId> {
        if self.finishing {
            return None;
        }
        self.rare().waiting.push(out, Some(wait))
    }

    /// Appends the end of the lane. Nothing can follow it.
    pub(crate) fn finish(&mut self) {
        self.push(Outgoing::Fin);
        self.finishing = true;
    }

    /// Takes back a message that waits.
    pub(crate) fn cancel(&mut self, id: SendId) -> Option<Message> {
        self.cancel_name(Name::Send(id))
    }

    /// Takes back an ask that waits.
    pub(crate) fn cancel_ask(&mut self, id: AskId) -> Option<Message> {
        self.cancel_name(Name::Ask(id))
    }

    fn cancel_name(&mut self, name: Name) -> Option<Message> {
        let out = self.rare.as_mut()?.waiting.cancel(name)?;
        self.tidy();
        out.into_message()
    }

    /// When the first waiting message expires; in the past when one was dropped of which [`SendBuffer::expire`] has not
    /// told.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.waiting()?.next_expiry()
    }

    /// Drops a waiting message whose time has come. To be called until `None`.
    pub(crate) fn expire(&mut self, now: Time) -> Option<SendId> {
        let expired = self.rare.as_mut()?.waiting.expire(now);
        self.tidy();
        expired
    }

    /// The same times on another clock.
    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        if let Some(rare) = &mut self.rare {
            rare.waiting.rebase(from, to);
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives up what is no longer needed.
    fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.waiting.is_idle() && rare.tags.is_empty()) {
            self.rare = None;
        }
    }

    // ---- the stream ----

    /// Moves a record that waited into the stream.
    fn admit(&mut self, out: Outgoing, wait: Option<Waiting>) {
        let at = self.end;
        let ask = if let Outgoing::Ask(id, _) = out { Some(TagKind::Ask(id)) } else { None };
        let send = wait.map(|wait| TagKind::Send { id: wait.id, receipt: wait.receipt });
        if ask.is_some() || send.is_some() {
            self.rare().tags.extend(ask.into_iter().chain(send).map(|what| Tag { at, what }));
        }
        self.append(out);
    }

    fn append(&mut self, out: Outgoing) {
        match out {
            Outgoing::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(MAX_MESSAGE));
                    self.append_plain(piece, Entry::BYTES);
                }
            }
            out if out.is_user() => {
                self.append_extended(out, Entry::USER);
                self.messages += 1;
            }
            out => self.append_extended(out, 0),
        }
    }

    fn append_plain(&mut self, payload: Bytes, kind: u64) {
        let content = payload.len();
        let room = varint::MAX_LEN + content.min(INLINE_PAYLOAD);
        let open = self.open(room);
        let head = open.len();
        put_plain_head(content, open);
        let head = open.len() - head;
        self.append_payload(payload);
        self.enter(head, content, kind);
    }

    fn append_extended(&mut self, out: Outgoing, kind: u64) {
        let content = out.content();
        let payload_len = out.payload_len();
        let room = out.head_bound() + payload_len.min(INLINE_PAYLOAD);
        let open = self.open(room);
        let before = open.len();
        out.encode_head(open);
        let overhead = open.len() - before + payload_len - content;
        self.append_payload(out.into_payload());
        self.enter(overhead, content, kind);
    }

    /// The chunk to write to, with room for `room` bytes.
    #[inline]
    fn open(&mut self, room: usize) -> &mut BytesMut {
        if self.chunks.room() < room {
            // A stream that fills and empties again and again does not grow from nothing each time.
            let size = (self.end - self.confirmed).max(u64::from(self.last_size) * 1024);
            self.chunks.renew(size as usize, room);
            if self.records.is_empty() {
                self.records.reserve_exact(self.last_records.into());
            }
        }
        &mut self.chunks.open
    }

    fn append_payload(&mut self, payload: Bytes) {
        if payload.len() <= INLINE_PAYLOAD {
            self.chunks.open.put_slice(&payload);
        } else {
            self.chunks.push(payload);
        }
    }

    /// Takes a record into account that was appended to the stream.
    fn enter(&mut self, overhead: usize, content: usize, kind: u64) {
        let len = (overhead + content) as u64;
        self.records.push_back(Entry::new(len, overhead as u64, kind));
        self.end += len;
        self.cost += content + Config::MESSAGE_OVERHEAD;
    }

    /// Moves all that waits into the stream and answers the stream's end.
    pub(crate) fn stage(&mut self, now: Time) -> u64 {
        self.fill(now, u64::MAX);
        self.end
    }

    /// Nothing from this offset on is transmitted.
    pub(crate) fn set_gate(&mut self, offset: u64) {
        self.gate = offset;
    }

    /// Moves what waits into the stream, as long as that ends before `end`.
    fn fill(&mut self, now: Time, end: u64) {
        while self.end < end {
            let Some((out, wait)) = self.rare.as_mut().and_then(|rare| rare.waiting.pop(now)) else { break };
            self.admit(out, wait);
        }
        self.tidy();
    }

    /// The next bytes to transmit, at most `max`: their offset and how many. They are appended to `out`. `assigned` is
    /// told the offset of each ask that is transmitted for the first time. A waiting message whose time has come is
    /// dropped; [`SendBuffer::expire`] tells.
    pub(crate) fn next_data(
        &mut self,
        now: Time,
        max: usize,
        out: &mut Vec<Bytes>,
        assigned: &mut impl FnMut(AskId, u64),
    ) -> Option<(u64, usize)> {
        let offset = self.cursor;
        let stop = self.limit.min(self.gate).min(offset.saturating_add(max as u64));
        if offset >= stop {
            return None;
        }
        if self.rare.is_some() {
            self.fill(now, stop);
        }
        let end = self.cut(stop, max);
        let len = (end - offset) as usize;
        if len == 0 {
            return None;
        }
        self.chunks.transmit(len, out);
        self.cursor = end;
        self.resent += self.sent.min(self.cursor) - offset.min(self.sent);
        if self.cursor > self.sent {
            if let Some(rare) = &self.rare {
                rare.asks(self.sent..self.cursor).for_each(|(id, at)| assigned(id, at));
            }
            self.sent = self.cursor;
        }
        Some((offset, len))
    }

    /// Where to end a transmission of at most `max` bytes that must not reach beyond `stop`: with a record, unless that
    /// makes it much shorter, for what arrives as whole records need not be put together.
    fn cut(&mut self, stop: u64, max: usize) -> u64 {
        if stop >= self.end {
            (self.index, self.part) = (self.records.len() as u32, 0);
            return self.end;
        }
        let mut start = self.cursor - u64::from(self.part);
        for entry in self.records.range(self.index as usize..) {
            if start + entry.len() > stop {
                break;
            }
            start += entry.len();
            self.index += 1;
        }
        let is_long = start >= self.cursor + max as u64 / 2;
        let end = if is_long { start } else { stop };
        self.part = (end - start) as u32;
        end
    }

    // ---- confirmation ----

    /// Whether a report can be, and can follow the earlier ones. For the first report of a new link.
    ///
    /// # Errors
    /// When it cannot: one side is an older copy of itself.
    pub(crate) fn check_report(&self, received: u64, consumed: u64) -> Result<(), Mismatch> {
        if consumed < self.confirmed {
            return Err(Mismatch::Receded { consumed, confirmed: self.confirmed });
        }
        self.check(received, consumed)
    }

    fn check(&self, received: u64, consumed: u64) -> Result<(), Mismatch> {
        if received > self.sent {
            return Err(Mismatch::Received { received, sent: self.sent });
        }
        if consumed > received {
            return Err(Mismatch::Consumed { consumed, received });
        }
        Ok(())
    }

    /// Takes a report: frees what was consumed and tells `confirmed` of it where a receipt is wanted. What is smaller than
    /// in earlier reports has no effect.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn on_report(
        &mut self,
        received: u64,
        consumed: u64,
        limit: u64,
        confirmed: &mut impl FnMut(SendId),
    ) -> Result<(), Mismatch> {
        self.check(received, consumed)?;
        self.limit = self.limit.max(limit);
        self.acked = self.acked.max(received);
        if consumed <= self.confirmed {
            return Ok(());
        }
        let mut at = self.confirmed;
        let mut count = 0;
        let mut inside = None;
        for entry in &self.records {
            let end = at + entry.len();
            if end > consumed {
                inside = Some(*entry).filter(|_| at < consumed);
                break;
            }
            at = end;
            count += 1;
            self.cost -= entry.cost();
            self.messages -= u32::from(entry.is_user());
        }
        self.records.drain(..count);
        self.index = self.index.saturating_sub(count as u32);
        if let Some(entry) = inside.filter(|entry| entry.is_bytes()) {
            let rest = entry.without(consumed - at);
            self.cost = self.cost - entry.cost() + rest.cost();
            self.records[0] = rest;
            at = consumed;
        }
        if self.records.is_empty() {
            self.last_records = count.min(MAX_HINT) as u16;
            self.last_size = ((at - self.confirmed) / 1024).min(u8::MAX.into()) as u8;
        }
        self.release(at, confirmed);
        if at < consumed { Err(Mismatch::Inside { consumed }) } else { Ok(()) }
    }

    /// All records before this offset are gone.
    fn release(&mut self, confirmed: u64, tell: &mut impl FnMut(SendId)) {
        self.chunks.release((confirmed - self.confirmed) as usize);
        self.confirmed = confirmed;
        self.cursor = self.cursor.max(confirmed);
        if self.index == 0 {
            self.part = (self.cursor - confirmed) as u32;
        }
        if self.records.is_empty() {
            self.records = VecDeque::new();
        } else {
            shrink(&mut self.records);
        }
        if let Some(rare) = &mut self.rare {
            while let Some(tag) = next_tag(&mut rare.tags, confirmed) {
                if let TagKind::Send { id, receipt: true } = tag.what {
                    tell(id);
                }
            }
            self.tidy();
        }
    }

    /// A new link: transmits again from what the peer has received.
    pub(crate) fn rewind(&mut self, received: u64) {
        self.cursor = received.clamp(self.confirmed, self.sent);
        let mut rest = self.cursor - self.confirmed;
        self.chunks.seek(rest as usize);
        self.index = 0;
        while let Some(entry) = self.records.get(self.index as usize).filter(|entry| entry.len() <= rest) {
            rest -= entry.len();
            self.index += 1;
        }
        self.part = rest as u32;
    }

    // ---- giving back ----

    /// Takes out all records of which no byte was ever transmitted, in order.
    pub(crate) fn retract_unsent(&mut self) -> Vec<(Outgoing, Option<Waiting>)> {
        let mut start = self.end;
        let mut kept = self.records.len();
        while let Some(entry) = kept.checked_sub(1).and_then(|last| self.records.get(last)) {
            if start - entry.len() < self.sent {
                break;
            }
            start -= entry.len();
            kept -= 1;
        }
        let records = self.records.split_off(kept);
        let chunks = self.chunks.split_off((start - self.confirmed) as usize);
        self.end = start;
        let mut retracted = Vec::new();
        self.decode(start, records, chunks, |_, out, wait| retracted.push((out, wait)));
        self.take_waiting(|out, wait| retracted.push((out, wait)));
        self.finishing &= !matches!(retracted.last(), Some((Outgoing::Fin, _)));
        retracted
    }

    /// Takes out all that is not confirmed, in order. Bytes of a byte lane are joined where they share their fate.
    pub(crate) fn take_unconfirmed(&mut self) -> Vec<UnconfirmedRecord> {
        let start = self.confirmed;
        let records = core::mem::take(&mut self.records);
        let chunks = core::mem::take(&mut self.chunks);
        let sent = self.sent;
        (self.confirmed, self.cursor, self.sent) = (self.end, self.end, self.end);
        (self.index, self.part) = (0, 0);
        let mut list = Unconfirmed::default();
        self.decode(start, records, chunks, |at, out, wait| {
            list.push(out, wait, if at < sent { Fate::InDoubt } else { Fate::Unsent });
        });
        self.take_waiting(|out, wait| list.push(out, wait, Fate::Unsent));
        self.rare = None;
        self.finishing = false;
        list.finish()
    }

    /// Takes records that start at `at` apart, with the tags that they have.
    fn decode(
        &mut self,
        mut at: u64,
        records: VecDeque<Entry>,
        mut chunks: Chunks,
        mut each: impl FnMut(u64, Outgoing, Option<Waiting>),
    ) {
        let mut tags = match &mut self.rare {
            Some(rare) => rare.tags.split_off(rare.tags.partition_point(|tag| tag.at < at)),
            None => VecDeque::new(),
        };
        for entry in records {
            self.cost -= entry.cost();
            self.messages -= u32::from(entry.is_user());
            let (mut ask, mut wait) = (None, None);
            while let Some(tag) = next_tag(&mut tags, at + 1) {
                match tag.what {
                    TagKind::Ask(id) => ask = Some(id),
                    TagKind::Send { id, receipt } => wait = Some(Waiting { id, expires: None, key: None, receipt }),
                }
            }
            let (record, payload) = chunks.take(entry.len() as usize);
            let out = if entry.is_bytes() {
                Some(Outgoing::Bytes(content(record, payload, entry.overhead() as usize)))
            } else {
                Outgoing::decode(record, payload, ask)
            };
            debug_assert!(out.is_some(), "what this side wrote it can read");
            if let Some(out) = out {
                each(at, out, wait);
            }
            at += entry.len();
        }
    }

    fn take_waiting(&mut self, mut each: impl FnMut(Outgoing, Option<Waiting>)) {
        if let Some(rare) = &mut self.rare {
            while let Some((out, wait)) = rare.waiting.take() {
                each(out, wait);
            }
        }
        self.tidy();
    }

    /// Bytes of heap behind it, as far as it can tell.
    pub(crate) fn allocated(&self) -> usize {
        let rare = self
            .rare
            .as_ref()
            .map_or(0, |rare| size_of::<Rare>() + rare.waiting.allocated() + rare.tags.capacity() * size_of::<Tag>());
        self.chunks.allocated() + self.records.capacity() * size_of::<Entry>() + rare
    }
}

/// What a byte lane's record carries behind its first `overhead` bytes.
fn content(mut record: Bytes, payload: Bytes, overhead: usize) -> Bytes {
    record.advance(overhead.min(record.len()));
    if record.is_empty() { payload } else { join(record, &payload) }
}

fn join(first: Bytes, second: &[u8]) -> Bytes {
    if second.is_empty() {
        return first;
    }
    let mut joined = BytesMut::from(first);
    joined.extend_from_slice(second);
    joined.freeze()
}

/// The list that [`SendBuffer::take_unconfirmed`] makes.
#[derive(Default)]
struct Unconfirmed {
    list: Vec<UnconfirmedRecord>,
    /// Bytes of one fate that may be joined with the next ones.
    bytes: Option<(BytesMut, Fate)>,
}

impl Unconfirmed {
    fn push(&mut self, out: Outgoing, wait: Option<Waiting>, fate: Fate) {
        match (out, &mut self.bytes) {
            (Outgoing::Bytes(bytes), Some((joined, joined_fate))) if *joined_fate == fate => {
                joined.extend_from_slice(&bytes);
            }
            (Outgoing::Bytes(bytes), _) => {
                self.close();
                self.bytes = Some((BytesMut::from(bytes), fate));
            }
            (out, _) => {
                self.close();
                self.list.push(UnconfirmedRecord { out, id: wait.map(|wait| wait.id), fate });
            }
        }
    }

    fn close(&mut self) {
        if let Some((bytes, fate)) = self.bytes.take() {
            self.list.push(UnconfirmedRecord { out: Outgoing::Bytes(bytes.freeze()), id: None, fate });
        }
    }

    fn finish(mut self) -> Vec<UnconfirmedRecord> {
        self.close();
        self.list
    }
}
