//! How an application takes what a receive buffer has.

use bytes::{Buf, Bytes};

use super::extended::{Extended, FIN_LEN, waits};
use super::record::{Head, Incoming};
use super::recv::{End, RecvBuffer};
use crate::message::{LaneKind, Message};

/// What [`RecvBuffer::read`] gives.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum ReadBytes {
    /// Never empty.
    Data(Bytes),
    Finished,
}

impl RecvBuffer {
    /// Message lane: takes the next message if it is a plain one that ends before `end`, and another one stands behind
    /// it in the same piece. The common case, apart for speed.
    #[inline]
    pub(crate) fn next_plain(&mut self, end: u64) -> Option<Bytes> {
        let front = self.ready.front_mut().filter(|_| self.kind == Some(LaneKind::Messages))?;
        let Ok(Some(Head { extended: false, len, body })) = Head::parse(front) else { return None };
        let size = len + body as usize;
        let follows = front.get(size).is_some_and(|next| next & 1 == 0);
        if !follows || self.read + size as u64 >= end {
            return None;
        }
        self.read += size as u64;
        front.advance(len);
        Some(front.split_to(body as usize))
    }

    /// Message lane: takes the next message, ask or end, in order. After the end, nothing.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
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
        if let Some(rare) = &mut self.rare {
            rare.replies.take(at);
            self.tidy();
        }
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
    pub(super) fn pass(&mut self) {
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
        if self.ready.pass() {
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
}
