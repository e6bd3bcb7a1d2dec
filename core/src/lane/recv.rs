//! What one side receives on a lane, until its application takes it.

use alloc::boxed::Box;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::assembler::Assembler;
use super::extended::Extended;
use super::memory::keep;
use super::pieces::Pieces;
use super::record::{Head, Incoming, RecordLimits, Violation};
use super::replies::Replies;
use super::tail::Tail;
use crate::config::MAX_MESSAGE;
use crate::message::LaneKind;

/// What is smaller is copied behind what waits already, so that much of little costs little, in bytes.
const SMALL: usize = 1024;
/// How much is collected by such copying in one piece, in bytes.
const COPIED: usize = 16 * 1024;

/// How many answers are given out ahead of their turn before the scan waits for one of them to be taken. Given out, a tiny
/// answer costs many times its bytes.
pub(super) const MAX_REPLIES: usize = 1024;

/// One direction of a lane on its receiver's side: bytes in any order become records in order.
///
/// What arrives is scanned once, record by record. Scanned records wait in pieces that begin and end with a record; only
/// the last record, while a part of it is missing, stands in a buffer of its own. So a record is always in one piece,
/// which is a slice of what arrived when it arrived whole, and is copied once when it did not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RecvBuffer {
    /// Whole records from `read` on.
    pub(super) ready: Pieces,
    /// What arrived and is being scanned: the first `walked` bytes of it are. Empty between scans, unless they wait for
    /// answers to be taken.
    pub(super) fresh: Bytes,
    fresh_capacity: usize,
    pub(super) walked: usize,
    pub(super) rare: Option<Box<Rare>>,
    /// The application has taken what is before `read`, records before `scanned` are known to be good, all bytes before
    /// `received` are here, and none may come from `limit` on.
    pub(super) read: u64,
    pub(super) scanned: u64,
    pub(super) received: u64,
    limit: u64,
    pub(super) limits: RecordLimits,
    /// Byte lane: what is missing of the record at `scanned`, and at `read`.
    arriving: u32,
    pub(super) reading: u32,
    /// `None` until OPEN tells.
    pub(super) kind: Option<LaneKind>,
    pub(super) end: End,
    pub(super) discarding: bool,
}

/// How far the lane's end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum End {
    Ahead,
    Received,
    Taken,
}

/// What is needed while something is incomplete.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rare {
    /// Between the ready pieces and `fresh`.
    tail: Tail,
    /// What comes after `fresh`.
    assembler: Assembler,
    pub(super) replies: Replies,
}

/// What a step of a scan came to.
enum Step {
    Record(Incoming),
    More,
    Done,
}

impl RecvBuffer {
    /// An empty buffer. `kind`: of the lane, `None` when the peer's OPEN is to tell; `limit`: the credit from the start.
    pub(crate) fn new(kind: Option<LaneKind>, limits: RecordLimits, limit: u64) -> RecvBuffer {
        RecvBuffer {
            ready: Pieces::default(),
            fresh: Bytes::new(),
            fresh_capacity: 0,
            walked: 0,
            rare: None,
            read: 0,
            scanned: 0,
            received: 0,
            limit,
            limits,
            arriving: 0,
            reading: 0,
            kind,
            end: End::Ahead,
            discarding: false,
        }
    }

    // ---- looking ----

    /// Up to where all bytes are here.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Up to where the application has taken everything, answers included.
    pub(crate) fn consumed(&self) -> u64 {
        let reply = self.rare.as_ref().and_then(|rare| rare.replies.first());
        reply.map_or(self.read, |at| self.read.min(at))
    }

    /// Up to where the application has taken what comes in order: answers do not count.
    pub(crate) fn read_offset(&self) -> u64 {
        self.read
    }

    /// Up to where the peer may send.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Gives more credit; less has no effect.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Bytes that arrived in order and are not consumed.
    pub(crate) fn queued(&self) -> usize {
        (self.received - self.consumed()) as usize
    }

    /// Whether there is something to take: what was given out is not, although a scan that has not ended stands behind it.
    pub(crate) fn is_readable(&mut self) -> bool {
        self.pass();
        self.read < self.scanned
    }

    /// Whether the peer's end of the lane is here.
    pub(crate) fn fin_received(&self) -> bool {
        self.end != End::Ahead
    }

    /// Whether the application has taken the end of the lane.
    pub(crate) fn is_finished(&self) -> bool {
        self.end == End::Taken
    }

    /// When everything before the record that is arriving was consumed, and it ends beyond the limit: where it ends.
    pub(crate) fn wants(&self) -> Option<u64> {
        if self.consumed() != self.scanned {
            return None;
        }
        let head = Head::parse(self.partial()).ok().flatten()?;
        let end = self.scanned.checked_add(head.len as u64)?.checked_add(head.body)?;
        (end > self.limit).then_some(end)
    }

    // ---- arriving ----

    /// Takes bytes that arrived, in any order, new or not. They are slices of `capacity` bytes of memory. To be followed by
    /// [`RecvBuffer::scan`].
    ///
    /// # Errors
    /// When they are beyond the limit.
    pub(crate) fn insert(&mut self, offset: u64, mut bytes: Bytes, capacity: usize) -> Result<(), Violation> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.limit {
            return Err(Violation::FlowControl { end, limit: self.limit });
        }
        if end <= self.received || bytes.is_empty() {
            return Ok(());
        }
        bytes.advance(self.received.saturating_sub(offset) as usize);
        let assembling = self.rare.as_ref().is_some_and(|rare| !rare.assembler.is_empty());
        if offset <= self.received && self.fresh.is_empty() && !assembling {
            self.fresh = bytes;
            self.fresh_capacity = capacity;
            self.received = end;
            return Ok(());
        }
        let received = self.received;
        let assembler = &mut self.rare().assembler;
        assembler.insert(offset.max(received), bytes, capacity);
        self.received = assembler.contiguous(received);
        Ok(())
    }

    /// Looks through what arrived. Gives the records that do not wait for the application: OPEN, answers, ends of asks and
    /// cancellations. To be called until `None`.
    ///
    /// # Errors
    /// When the peer broke a rule of the lane. What was scanned before can still be taken.
    pub(crate) fn scan(&mut self) -> Result<Option<Incoming>, Violation> {
        while !self.waits_for_replies() {
            match self.step()? {
                Step::Record(record) => return Ok(Some(record)),
                Step::More => {}
                Step::Done => break,
            }
        }
        if self.discarding {
            while let Some(record) = self.drop_next() {
                if matches!(record, Incoming::Ask { .. }) {
                    return Ok(Some(record));
                }
            }
        }
        self.pass();
        self.keep_fresh();
        self.tidy();
        Ok(None)
    }

    fn waits_for_replies(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.replies.len() >= MAX_REPLIES)
    }

    /// What is not scanned may stay long after what came with it was taken.
    fn keep_fresh(&mut self) {
        if !self.fresh.is_empty() {
            let len = self.fresh.len();
            (self.fresh, self.fresh_capacity) = keep(core::mem::take(&mut self.fresh), len, self.fresh_capacity);
        }
    }

    fn drop_next(&mut self) -> Option<Incoming> {
        if self.kind == Some(LaneKind::Bytes) {
            while self.read(usize::MAX).is_some() {}
            return None;
        }
        self.next()
    }

    fn step(&mut self) -> Result<Step, Violation> {
        let partial = self.partial().len();
        if self.fresh.is_empty() {
            let next = self.rare.as_mut().and_then(|rare| rare.assembler.pop(self.scanned + partial as u64));
            let Some((bytes, capacity)) = next else {
                // A record that breaks a rule goes on breaking it.
                return if partial > 0 { self.complete().map(|_| Step::Done) } else { Ok(Step::Done) };
            };
            (self.fresh, self.fresh_capacity) = (bytes, capacity);
        }
        if partial > 0 { self.complete() } else { self.walk() }
    }

    /// Scans records in what arrived, up to one that is to be given out or is not whole.
    fn walk(&mut self) -> Result<Step, Violation> {
        loop {
            let rest = &self.fresh[self.walked..];
            if self.arriving > 0 {
                let count = rest.len().min(self.arriving as usize);
                self.arriving -= count as u32;
                self.advance(count);
                if self.arriving > 0 {
                    break;
                }
                continue;
            }
            let Some(head) = Head::parse(rest)? else { break };
            self.check(head)?;
            if self.is_plain_bytes(head) {
                self.arriving = head.body as u32;
                self.advance(head.len);
                continue;
            }
            if head.body > (rest.len() - head.len) as u64 {
                break;
            }
            let len = head.len + head.body as usize;
            if !head.extended {
                self.advance(len);
                continue;
            }
            let body = self.walked + head.len..self.walked + len;
            let extended = self.examine(&self.fresh[body.clone()])?;
            let body = match extended {
                // It may stay long after what came with it was taken.
                Extended::Reply { .. } => keep(self.fresh.slice(body), self.fresh.len(), self.fresh_capacity).0,
                _ => Bytes::new(),
            };
            let at = self.scanned;
            self.advance(len);
            if let Some(record) = self.accept(at, extended, body) {
                return Ok(Step::Record(record));
            }
        }
        self.settle();
        Ok(Step::More)
    }

    fn advance(&mut self, count: usize) {
        self.walked += count;
        self.scanned += count as u64;
    }

    /// Adds what arrived to the record of which a part is here.
    fn complete(&mut self) -> Result<Step, Violation> {
        let head = loop {
            if let Some(head) = Head::parse(self.partial())? {
                break head;
            }
            if self.fresh.is_empty() {
                return Ok(Step::More);
            }
            let byte = self.fresh.split_to(1);
            self.rare().tail.extend(&byte);
        };
        self.check(head)?;
        if self.is_plain_bytes(head) {
            self.arriving = head.body as u32;
            self.close_partial(head.len);
            return Ok(Step::More);
        }
        let len = head.len + head.body as usize;
        let missing = len - self.partial().len();
        let arrived = self.fresh.split_to(missing.min(self.fresh.len()));
        self.extend_partial(len, &arrived);
        if arrived.len() < missing {
            return Ok(Step::More);
        }
        let at = self.scanned;
        if !head.extended {
            self.close_partial(len);
            return Ok(Step::More);
        }
        let body = &self.partial()[head.len..];
        let extended = self.examine(body)?;
        let body = match extended {
            Extended::Reply { .. } => Bytes::copy_from_slice(body),
            _ => Bytes::new(),
        };
        self.close_partial(len);
        Ok(self.accept(at, extended, body).map_or(Step::More, Step::Record))
    }

    /// Adds bytes to the record of `len` bytes of which a part is here.
    fn extend_partial(&mut self, len: usize, bytes: &[u8]) {
        let credit = self.limit - self.scanned;
        if len >= SMALL {
            // A large one stands alone.
            self.collect();
            self.rare().tail.reserve(bytes.len(), len, credit);
        }
        self.rare().tail.extend(bytes);
    }

    /// The record of which a part was here is whole.
    fn close_partial(&mut self, len: usize) {
        self.scanned += len as u64;
        let tail = &mut self.rare().tail;
        tail.close();
        if len >= SMALL || tail.whole() >= COPIED {
            self.collect();
        }
    }

    /// Makes the small records ready that were copied together.
    pub(super) fn collect(&mut self) {
        if let Some(whole) = self.rare.as_mut().and_then(|rare| rare.tail.take()) {
            self.ready.push(whole);
        }
    }

    /// Ends the scan of what arrived: its whole records are ready, the rest is the beginning of a record.
    fn settle(&mut self) {
        let mut whole = core::mem::take(&mut self.fresh);
        let rest = whole.split_off(core::mem::take(&mut self.walked));
        self.store(whole);
        if !rest.is_empty() {
            let head = Head::parse(&rest).ok().flatten();
            self.extend_partial(head.map_or(0, |head| head.len + head.body as usize), &rest);
        }
    }

    /// Makes whole records ready, by reference or as a copy.
    pub(super) fn store(&mut self, whole: Bytes) {
        if whole.is_empty() {
            return;
        }
        let is_first = self.ready.is_empty() && self.rare.as_ref().is_none_or(|rare| rare.tail.whole() == 0);
        if is_first || whole.len() >= SMALL {
            self.collect();
            let len = whole.len();
            return self.ready.push(keep(whole, len, self.fresh_capacity).0);
        }
        let tail = &mut self.rare().tail;
        tail.push(&whole);
        if tail.whole() >= COPIED {
            self.collect();
        }
    }

    // ---- the rules ----

    /// Whether a record with this head may come now, as far as the head can tell.
    fn check(&self, head: Head) -> Result<(), Violation> {
        if self.end != End::Ahead {
            return Err(Violation::Unexpected("record behind the end of the lane"));
        }
        match self.kind {
            None if !head.extended => Err(Violation::Unexpected("record before OPEN")),
            Some(LaneKind::Bytes) if !head.extended => {
                head.check(RecordLimits { max_message: MAX_MESSAGE, ..self.limits })
            }
            _ => head.check(self.limits),
        }
    }

    fn is_plain_bytes(&self, head: Head) -> bool {
        !head.extended && self.kind == Some(LaneKind::Bytes)
    }

    /// What an extended record is, and whether it may come now.
    fn examine(&self, body: &[u8]) -> Result<Extended, Violation> {
        let extended = Extended::parse(body, self.limits)?;
        match (&extended, self.kind) {
            (Extended::Open(_), None) => {}
            (Extended::Open(_), Some(_)) => return Err(Violation::Unexpected("OPEN")),
            (_, None) => return Err(Violation::Unexpected("record before OPEN")),
            (Extended::Fin, _) | (_, Some(LaneKind::Messages)) => {}
            (_, Some(LaneKind::Bytes)) => return Err(Violation::Unexpected("record of a message on a byte lane")),
        }
        Ok(extended)
    }

    /// Takes notice of a record that starts at `at`; gives those that do not wait. `body` is that of an answer.
    fn accept(&mut self, at: u64, extended: Extended, mut body: Bytes) -> Option<Incoming> {
        Some(match extended {
            Extended::Open(options) => {
                self.kind = Some(options.kind);
                Incoming::Open(options)
            }
            Extended::Reply { ask, layout, more } => {
                self.rare().replies.push(at);
                Incoming::Reply { at, ask, message: layout.take(&mut body), more }
            }
            Extended::AskEnd { ask, outcome } => Incoming::AskEnd { ask, outcome },
            Extended::Cancel { ask } => Incoming::Cancel { ask },
            Extended::Fin => {
                self.end = End::Received;
                return None;
            }
            Extended::Message(_) | Extended::Ask(_) => return None,
        })
    }

    // ---- memory ----

    /// The part that is here of a record that is not whole.
    fn partial(&self) -> &[u8] {
        self.rare.as_ref().map_or(&[], |rare| rare.tail.partial())
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives up memory that is no longer needed.
    pub(super) fn tidy(&mut self) {
        self.ready.tidy();
        if let Some(rare) = &mut self.rare {
            if rare.tail.is_empty() && rare.assembler.is_empty() && rare.replies.is_empty() {
                self.rare = None;
            }
        }
    }

    /// Bytes of heap behind it, as far as it can tell.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        let rare = |rare: &Rare| {
            size_of::<Rare>() + rare.tail.allocated() + rare.assembler.allocated() + rare.replies.allocated()
        };
        self.ready.allocated() + self.fresh.len() + self.rare.as_deref().map_or(0, rare)
    }
}
