//! What one side sends on a lane, from the confirmed offset on.

use alloc::boxed::Box;
use core::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::chunks::Chunks;
use super::ledger::{Class, Ledger};
use super::outlet::Outlet;
use super::record::{INLINE_PAYLOAD, Outgoing, put_plain_head};
use super::tags::{Tag, Tags};
use super::waiting::{Name, Waiting, WaitingQueue};
use crate::code::ProtocolCode;
use crate::config::{Config, MAX_MESSAGE};
use crate::ids::{AskId, SendId};
use crate::message::Message;
use crate::time::Time;
use crate::wire::varint;

/// What a record counts in the send buffer: what the application gave, and a share for what goes with it.
pub(super) fn cost(out: &Outgoing) -> usize {
    out.content() + Config::MESSAGE_OVERHEAD
}

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

/// One direction of a lane on its sender's side: a stream of records from the confirmed offset on, and the records that
/// wait behind it without an offset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SendBuffer {
    pub(super) chunks: Chunks,
    pub(super) ledger: Ledger,
    /// Up to where bytes were transmitted, and up to where the peer has received.
    pub(super) sent: u64,
    acked: u64,
    limit: u64,
    gate: u64,
    resent: u64,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few lanes need.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rare {
    pub(super) waiting: WaitingQueue,
    pub(super) tags: Tags,
}

impl SendBuffer {
    /// An empty buffer; `limit` is the credit from the start.
    pub(crate) fn new(limit: u64) -> SendBuffer {
        SendBuffer {
            chunks: Chunks::default(),
            ledger: Ledger::default(),
            sent: 0,
            acked: 0,
            limit,
            gate: u64::MAX,
            resent: 0,
            rare: None,
        }
    }

    // ---- looking ----

    /// The cost of all that waits or is unconfirmed.
    pub(crate) fn buffered(&self) -> usize {
        self.ledger.cost() + self.waiting().map_or(0, WaitingQueue::cost)
    }

    /// How many messages, asks and replies wait or are unconfirmed.
    pub(crate) fn messages(&self) -> usize {
        self.ledger.messages() + self.waiting().map_or(0, WaitingQueue::messages)
    }

    /// Payload and headers of each record that can have such, in bytes.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let heads = self.chunks.heads(self.ledger.records().map(|entry| entry.len() as usize));
        let staged = self.ledger.records().zip(heads).filter(|(entry, _)| !entry.is_bytes());
        let waiting = self.waiting().into_iter().flat_map(WaitingQueue::records);
        staged.filter_map(|(_, head)| Outgoing::sizes_of(head)).chain(waiting.filter_map(Outgoing::sizes))
    }

    /// Up to where bytes were transmitted.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Up to where the peer's application has consumed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.ledger.confirmed()
    }

    /// Up to where the peer has received.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The end of the stream, without what waits.
    pub(crate) fn end(&self) -> u64 {
        self.ledger.end()
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
        self.ledger.cursor() < self.ledger.end() || self.has_waiting()
    }

    /// Whether there is something to transmit, within credit and gate.
    pub(crate) fn has_data(&self) -> bool {
        self.ledger.cursor() < self.limit.min(self.gate) && self.is_pending()
    }

    /// Whether [`SendBuffer::finish`] was called.
    pub(crate) fn is_finishing(&self) -> bool {
        self.ledger.closed
    }

    /// Whether all and the end were confirmed.
    pub(crate) fn is_finished(&self) -> bool {
        self.ledger.closed && self.is_idle()
    }

    /// Whether nothing waits and nothing is unconfirmed.
    pub(crate) fn is_idle(&self) -> bool {
        self.ledger.confirmed() == self.ledger.end() && !self.has_waiting()
    }

    // ---- accepting ----

    /// Appends a message that is nothing but a payload, when nothing waits: the common case, apart for speed. Whether it
    /// did.
    #[inline]
    pub(crate) fn push_plain(&mut self, message: &Message) -> bool {
        let plain = message.meta.is_none() && self.rare.is_none() && !self.ledger.closed;
        if plain {
            self.append_plain(&message.payload, Class::Message);
        }
        plain
    }

    /// Appends a record. An ask waits, everything else only behind what waits. Ignored after [`SendBuffer::finish`].
    pub(crate) fn push(&mut self, out: Outgoing) {
        if self.ledger.closed {
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
        if self.ledger.closed {
            return None;
        }
        self.rare().waiting.push(out, Some(wait))
    }

    /// Appends the end of the lane. Nothing can follow it.
    pub(crate) fn finish(&mut self) {
        self.push(Outgoing::Fin);
        self.ledger.closed = true;
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
    pub(super) fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.waiting.is_idle() && rare.tags.is_empty()) {
            self.rare = None;
        }
    }

    // ---- the stream ----

    fn append(&mut self, out: Outgoing) {
        match out {
            Outgoing::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(MAX_MESSAGE));
                    self.append_plain(&piece, Class::Bytes);
                }
            }
            out => self.append_extended(out),
        }
    }

    fn append_plain(&mut self, payload: &Bytes, class: Class) {
        let content = payload.len();
        let open = self.open(varint::MAX_LEN + inline(content));
        let before = open.len();
        put_plain_head(content, open);
        let overhead = open.len() - before;
        self.append_payload(payload);
        self.ledger.push(overhead, content, class);
    }

    fn append_extended(&mut self, out: Outgoing) {
        let (content, payload_len) = (out.content(), out.payload_len());
        let class = if out.is_user() { Class::Message } else { Class::Control };
        let open = self.open(out.head_bound() + inline(payload_len));
        let before = open.len();
        out.encode_head(open);
        let overhead = open.len() - before + payload_len - content;
        self.append_payload(&out.into_payload());
        self.ledger.push(overhead, content, class);
    }

    /// The chunk to write to, with room for `room` bytes.
    #[inline]
    fn open(&mut self, room: usize) -> &mut BytesMut {
        if self.chunks.room() < room {
            self.chunks.renew(room);
        }
        &mut self.chunks.open
    }

    #[inline]
    fn append_payload(&mut self, payload: &Bytes) {
        if payload.len() <= INLINE_PAYLOAD {
            self.chunks.open.extend_from_slice(payload);
        } else {
            self.chunks.push(payload.clone());
        }
    }

    /// Moves all that waits into the stream and answers the stream's end.
    pub(crate) fn stage(&mut self, now: Time) -> u64 {
        self.fill(now, u64::MAX);
        self.ledger.end()
    }

    /// Nothing from this offset on is transmitted.
    pub(crate) fn set_gate(&mut self, offset: u64) {
        self.gate = offset;
    }

    /// Moves what waits into the stream, as long as that ends before `end`.
    fn fill(&mut self, now: Time, end: u64) {
        while self.ledger.end() < end {
            let at = self.ledger.end();
            let Some(rare) = &mut self.rare else { break };
            let Some((out, wait)) = rare.waiting.pop(now) else { break };
            rare.tags.push(at, &out, wait.as_ref());
            self.append(out);
        }
        self.tidy();
    }

    /// The next bytes to transmit, at most `max`: their offset and how many. They go to `out`. `assigned` is
    /// told the offset of each ask that is transmitted for the first time. A waiting message whose time has come is
    /// dropped; [`SendBuffer::expire`] tells.
    pub(crate) fn next_data(
        &mut self,
        now: Time,
        max: usize,
        out: &mut impl Outlet,
        assigned: &mut impl FnMut(AskId, u64),
    ) -> Option<(u64, usize)> {
        let offset = self.ledger.cursor();
        let max = max.saturating_sub(out.head(offset));
        let stop = self.limit.min(self.gate).min(offset.saturating_add(max as u64));
        if offset >= stop {
            return None;
        }
        if self.rare.is_some() {
            self.fill(now, stop);
        }
        self.ledger.advance(stop, max);
        let end = self.ledger.cursor();
        if end == offset {
            return None;
        }
        let len = (end - offset) as usize;
        out.begin(offset, len);
        self.chunks.transmit(len, out);
        self.resent += self.sent.min(end) - offset.min(self.sent);
        self.assume_sent(end, assigned);
        Some((offset, len))
    }

    /// Transmits bytes again that were transmitted before, at most `max` with their head: from the start of `range`, or from where
    /// they are not confirmed. Which ones they were. They go to `out`.
    pub(crate) fn send_again(&mut self, range: Range<u64>, max: usize, out: &mut impl Outlet) -> Option<Range<u64>> {
        let start = range.start.max(self.confirmed());
        let max = max.saturating_sub(out.head(start)) as u64;
        let end = range.end.min(self.sent).min(start.saturating_add(max));
        if start >= end {
            return None;
        }
        let (len, cursor) = ((end - start) as usize, (self.ledger.cursor() - self.confirmed()) as usize);
        self.chunks.seek((start - self.confirmed()) as usize);
        out.begin(start, len);
        self.chunks.transmit(len, out);
        self.chunks.seek(cursor);
        self.resent += len as u64;
        Some(start..end)
    }

    /// All up to here was transmitted, or may have been by another process that held this state.
    pub(crate) fn assume_sent(&mut self, offset: u64, assigned: &mut impl FnMut(AskId, u64)) {
        let offset = offset.min(self.ledger.end());
        if offset > self.sent {
            if let Some(rare) = &self.rare {
                rare.tags.asks(self.sent..offset).for_each(|(id, at)| assigned(id, at));
            }
            self.sent = offset;
        }
    }

    // ---- confirmation ----

    /// Whether a report can be, and can follow the earlier ones. For the first report of a new link.
    ///
    /// # Errors
    /// When it cannot: one side is an older copy of itself.
    pub(crate) fn check_report(&self, received: u64, consumed: u64) -> Result<(), Mismatch> {
        if consumed < self.confirmed() {
            return Err(Mismatch::Receded { consumed, confirmed: self.confirmed() });
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
        let before = self.confirmed();
        if consumed <= before {
            return Ok(());
        }
        self.ledger.confirm(consumed);
        self.chunks.release((self.confirmed() - before) as usize);
        if let Some(rare) = &mut self.rare {
            while let Some(tag) = rare.tags.pop_before(self.ledger.confirmed()) {
                if let Tag::Send { id, receipt: true } = tag {
                    confirmed(id);
                }
            }
            self.tidy();
        }
        if self.confirmed() < consumed { Err(Mismatch::Inside { consumed }) } else { Ok(()) }
    }

    /// A new link: transmits again from what the peer has received.
    pub(crate) fn rewind(&mut self, received: u64) {
        let offset = received.clamp(self.confirmed(), self.sent);
        self.ledger.seek(offset);
        self.chunks.seek((offset - self.confirmed()) as usize);
    }

    /// Transmits nothing again of what the peer has received.
    pub(crate) fn skip(&mut self, received: u64) {
        if received > self.ledger.cursor() {
            self.rewind(received);
        }
    }

    /// Bytes of heap behind it, as far as it can tell.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        let rare = |rare: &Rare| size_of::<Rare>() + rare.waiting.allocated() + rare.tags.allocated();
        self.chunks.allocated() + self.ledger.allocated() + self.rare.as_deref().map_or(0, rare)
    }
}

/// How much of a payload is copied behind its record's head.
fn inline(payload: usize) -> usize {
    if payload <= INLINE_PAYLOAD { payload } else { 0 }
}
