//! What one side receives on a lane, until its application takes it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::assembler::Assembler;
use super::chunks::shrink;
use super::record::{Extended, FIN_LEN, Head, Incoming, RecordLimits, Violation, waits};
use crate::config::MAX_MESSAGE;
use crate::message::{LaneKind, Message};

/// What is smaller is copied behind what waits already, so that much of little costs little, in bytes.
const SMALL: usize = 1024;
/// How much is collected by such copying in one piece, in bytes.
const COLLECT: usize = 16 * 1024;
/// A buffer for a record grows with what arrived, up to so many times of it.
const GROWTH: u64 = 8;

/// What [`RecvBuffer::read`] gives.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum ReadBytes {
    /// Never empty.
    Data(Bytes),
    Finished,
}

/// One direction of a lane on its receiver's side: bytes in any order become records in order.
///
/// What arrives is scanned once, record by record. Scanned records wait in pieces that begin and end with a record; only
/// the last record, while a part of it is missing, stands in a buffer of its own. So a record is always in one piece,
/// which is a slice of what arrived when it arrived whole, and is copied once when it did not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RecvBuffer {
    /// Whole records from `read` on.
    ready: VecDeque<Bytes>,
    /// What arrived and is being scanned: the first `walked` bytes of it are. Empty between scans.
    fresh: Bytes,
    fresh_capacity: usize,
    walked: usize,
    rare: Option<Box<Rare>>,
    /// The application has taken what is before `read`, records before `scanned` are known to be good, all bytes before
    /// `received` are here, and none may come from `limit` on.
    read: u64,
    scanned: u64,
    received: u64,
    limit: u64,
    limits: RecordLimits,
    /// Byte lane: what is missing of the record at `scanned`, and at `read`.
    arriving: u32,
    reading: u32,
    /// `None` until OPEN tells.
    kind: Option<LaneKind>,
    end: End,
    discarding: bool,
}

/// How far the lane's end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum End {
    Ahead,
    Received,
    Taken,
}

/// What is needed while something is incomplete.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Rare {
    /// Behind the ready pieces: small whole records that were copied, `whole` bytes, then a part of the next record.
    tail: Vec<u8>,
    whole: usize,
    /// What comes after `fresh`.
    assembler: Assembler,
    /// Where the answers start that were given out by a scan, in order, and whether they were taken.
    replies: VecDeque<(u64, bool)>,
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
            ready: VecDeque::new(),
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
        let reply = self.rare.as_ref().and_then(|rare| rare.replies.front());
        reply.map_or(self.read, |(at, _)| self.read.min(*at))
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

    /// Whether there is something to take.
    pub(crate) fn is_readable(&self) -> bool {
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
        let assembler = &mut self.rare.get_or_insert_default().assembler;
        assembler.insert(offset.max(self.received), bytes, capacity);
        self.received = assembler.contiguous(self.received);
        Ok(())
    }

    /// Looks through what arrived. Gives the records that do not wait for the application: OPEN, answers, ends of asks and
    /// cancellations. To be called until `None`.
    ///
    /// # Errors
    /// When the peer broke a rule of the lane. What was scanned before can still be taken.
    pub(crate) fn scan(&mut self) -> Result<Option<Incoming>, Violation> {
        loop {
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
        self.tidy();
        Ok(None)
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
            let Some((bytes, capacity)) = next else { return Ok(Step::Done) };
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
                Extended::Reply { .. } => keep(self.fresh.slice(body), self.fresh.len(), self.fresh_capacity),
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
            let rare = self.rare.get_or_insert_default();
            if let Some(head) = Head::parse(rare.partial())? {
                break head;
            }
            let Some(byte) = self.fresh.first() else { return Ok(Step::More) };
            rare.tail.push(*byte);
            self.fresh.advance(1);
        };
        self.check(head)?;
        if self.is_plain_bytes(head) {
            self.arriving = head.body as u32;
            self.close_partial(head.len);
            return Ok(Step::More);
        }
        let len = head.len + head.body as usize;
        let have = self.partial().len();
        let count = self.fresh.len().min(len - have);
        let arrived = self.fresh.split_to(count);
        self.extend_partial(len, &arrived);
        if have + count < len {
            return Ok(Step::More);
        }
        let at = self.scanned;
        if !head.extended {
            self.close_partial(len);
            return Ok(Step::More);
        }
        let extended = self.examine(&self.partial()[head.len..])?;
        let body = match extended {
            Extended::Reply { .. } => Bytes::copy_from_slice(&self.partial()[head.len..]),
            _ => Bytes::new(),
        };
        self.close_partial(len);
        Ok(self.accept(at, extended, body).map_or(Step::More, Step::Record))
    }

    /// Adds bytes to the record of `len` bytes of which a part is here. Its buffer grows with what arrived and within the
    /// credit, whatever the length says, and to the exact length in the end.
    fn extend_partial(&mut self, len: usize, bytes: &[u8]) {
        if len >= SMALL {
            self.collect();
        }
        let credit = self.limit - self.scanned;
        let tail = &mut self.rare.get_or_insert_default().tail;
        let needed = tail.len() + bytes.len();
        if len >= SMALL && tail.capacity() < needed {
            let capacity = (needed as u64 * GROWTH).min(credit).min(len as u64) as usize;
            tail.reserve_exact(capacity.max(needed) - tail.len());
        }
        tail.extend_from_slice(bytes);
    }

    /// The record of which a part was here is whole.
    fn close_partial(&mut self, len: usize) {
        self.scanned += len as u64;
        let rare = self.rare.get_or_insert_default();
        rare.whole = rare.tail.len();
        if len >= SMALL || rare.whole >= COLLECT {
            self.collect();
        }
    }

    /// Moves the small records that were collected to the ready ones.
    fn collect(&mut self) {
        let Some(rare) = self.rare.as_mut().filter(|rare| rare.whole > 0) else { return };
        let partial = rare.tail.split_off(rare.whole);
        let whole = core::mem::replace(&mut rare.tail, partial);
        rare.whole = 0;
        let wasteful = whole.len() < whole.capacity() / 2;
        self.ready.push_back(if wasteful { Bytes::copy_from_slice(&whole) } else { Bytes::from(whole) });
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
    fn store(&mut self, whole: Bytes) {
        if whole.is_empty() {
            return;
        }
        let is_first = self.ready.is_empty() && self.rare.as_ref().is_none_or(|rare| rare.whole == 0);
        if is_first || whole.len() >= SMALL {
            self.collect();
            let len = whole.len();
            return self.ready.push_back(keep(whole, len, self.fresh_capacity));
        }
        let rare = self.rare.get_or_insert_default();
        rare.tail.extend_from_slice(&whole);
        rare.whole = rare.tail.len();
        if rare.whole >= COLLECT {
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
                self.rare.get_or_insert_default().replies.push_back((at, false));
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

    // ---- taking ----

    /// Message lane: takes the next message, ask or end, in order. After the end, nothing.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        // The common case, apart for speed: a plain message, and another one behind it in the same piece.
        if let (Some(front), Some(LaneKind::Messages)) = (self.ready.front_mut(), self.kind) {
            if let Ok(Some(Head { extended: false, len, body })) = Head::parse(front) {
                let end = len + body as usize;
                if front.get(end).is_some_and(|next| next & 1 == 0) {
                    self.read += end as u64;
                    front.advance(len);
                    return Some(Incoming::Message(Message::new(front.split_to(body as usize))));
                }
            }
        }
        self.next_any()
    }

    fn next_any(&mut self) -> Option<Incoming> {
        if self.kind == Some(LaneKind::Bytes) {
            return None;
        }
        while self.read < self.scanned {
            let at = self.read;
            let front = self.front()?;
            let head = Head::parse(front).ok()??;
            front.advance(head.len);
            let len = head.body as usize;
            let mut body = if front.len() == len { core::mem::take(front) } else { front.split_to(len) };
            self.taken(head.len + len);
            let record = if head.extended {
                match Extended::parse(&body, self.limits).ok()? {
                    Extended::Message(layout) => Incoming::Message(layout.take(&mut body)),
                    Extended::Ask(layout) => Incoming::Ask { at, message: layout.take(&mut body) },
                    Extended::Fin => {
                        self.end = End::Taken;
                        Incoming::Fin
                    }
                    _ => continue,
                }
            } else {
                Incoming::Message(Message::new(body))
            };
            self.pass();
            return Some(record);
        }
        None
    }

    /// Byte lane: takes the next bytes, at most `max`, or the end. After the end, nothing.
    pub(crate) fn read(&mut self, max: usize) -> Option<ReadBytes> {
        if self.kind != Some(LaneKind::Bytes) || max == 0 {
            return None;
        }
        self.pass();
        if self.read >= self.scanned {
            return None;
        }
        if self.reading == 0 {
            self.take_fin();
            return Some(ReadBytes::Finished);
        }
        let max = max.min(self.reading as usize);
        let front = self.front()?;
        let bytes = front.split_to(front.len().min(max));
        self.reading -= bytes.len() as u32;
        self.taken(bytes.len());
        self.pass();
        Some(ReadBytes::Data(bytes))
    }

    /// The application has taken the answer whose record starts at `at`, or nobody wants it.
    pub(crate) fn reply_taken(&mut self, at: u64) {
        let Some(rare) = &mut self.rare else { return };
        if let Ok(index) = rare.replies.binary_search_by_key(&at, |(at, _)| *at) {
            rare.replies[index].1 = true;
        }
        while rare.replies.front().is_some_and(|(_, taken)| *taken) {
            rare.replies.pop_front();
        }
        self.tidy();
    }

    /// Takes the end of the lane if nothing is left before it.
    pub(crate) fn take_fin(&mut self) {
        if self.end == End::Received && self.scanned - self.read == FIN_LEN {
            self.end = End::Taken;
            self.skip(FIN_LEN as usize);
        }
    }

    /// From now on what can be taken is dropped by [`RecvBuffer::scan`], which gives the asks among it.
    pub(crate) fn discard(&mut self) {
        self.discarding = true;
    }

    /// Goes over what the application does not take: records that were given out, and heads on a byte lane.
    fn pass(&mut self) {
        while self.read < self.scanned && self.reading == 0 {
            let is_bytes = self.kind == Some(LaneKind::Bytes);
            let Some(front) = self.front() else { return };
            let Ok(Some(head)) = Head::parse(front) else { return };
            match (head.extended, is_bytes) {
                (false, false) => return,
                (false, true) => {
                    self.reading = head.body as u32;
                    self.skip(head.len);
                }
                (true, _) if waits(front[head.len]) => return,
                (true, _) => self.skip(head.len + head.body as usize),
            }
        }
    }

    fn skip(&mut self, count: usize) {
        if let Some(front) = self.front() {
            front.advance(count);
        }
        self.taken(count);
    }

    /// `count` bytes were taken from the front.
    fn taken(&mut self, count: usize) {
        self.read += count as u64;
        if self.ready.front().is_some_and(Bytes::is_empty) {
            self.ready.pop_front();
            self.tidy();
        }
    }

    /// The first piece of what was scanned and not taken.
    fn front(&mut self) -> Option<&mut Bytes> {
        if self.ready.is_empty() {
            self.collect();
        }
        if self.ready.is_empty() && self.walked > 0 {
            let walked = self.fresh.split_to(core::mem::take(&mut self.walked));
            self.store(walked);
        }
        self.ready.front_mut()
    }

    /// The part that is here of a record that is not whole.
    fn partial(&self) -> &[u8] {
        self.rare.as_ref().map_or(&[], |rare| rare.partial())
    }

    /// Gives up memory that is no longer needed.
    fn tidy(&mut self) {
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        } else {
            shrink(&mut self.ready);
        }
        if let Some(rare) = &mut self.rare {
            shrink(&mut rare.replies);
            if rare.tail.is_empty() && rare.assembler.is_empty() && rare.replies.is_empty() {
                self.rare = None;
            }
        }
    }

    /// Bytes of heap behind it, as far as it can tell.
    pub(crate) fn allocated(&self) -> usize {
        let pieces: usize = self.ready.iter().chain([&self.fresh]).map(Bytes::len).sum();
        let rare = self.rare.as_ref().map_or(0, |rare| {
            size_of::<Rare>()
                + rare.tail.capacity()
                + rare.assembler.allocated()
                + rare.replies.capacity() * size_of::<(u64, bool)>()
        });
        pieces + self.ready.capacity() * size_of::<Bytes>() + rare
    }
}

impl Rare {
    fn partial(&self) -> &[u8] {
        &self.tail[self.whole..]
    }
}

/// `bytes` itself, when `len` bytes of the memory behind it are in use and that is half of it or more; else a copy.
fn keep(bytes: Bytes, len: usize, capacity: usize) -> Bytes {
    if len >= capacity.div_ceil(2) { bytes } else { Bytes::copy_from_slice(&bytes) }
}
