//! One direction of one lane in the reference model: what was accepted, and what has become of it.

use std::collections::BTreeMap;

use steadfast::{Fate, LaneId, LaneKind, LaneOptions, SendId, Unconfirmed};

use crate::model::content::{Kind, Mark, Shape, is_pattern};
use crate::world::End;

/// One direction of one lane.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) writer: End,
    pub(super) lane: LaneId,
    pub(super) options: LaneOptions,
    /// The other direction, where both are known.
    pub(super) reverse: Option<usize>,
    pub(super) entries: Vec<Entry>,
    /// Byte lanes: how much was written, read, and from where on it was handed back.
    pub(super) written: u64,
    pub(super) read: u64,
    /// Byte lanes: from where on it was handed back as never sent.
    pub(super) unsent_from: Option<u64>,
    pub(super) is_handed_back: bool,
    /// How many entries there were when last something was handed back.
    pub(super) handed_back_up_to: usize,
    /// Sockets that read this stream.
    pub(super) readers: BTreeMap<End, Reader>,
    pub(super) end: StreamEnd,
    pub(super) is_end_seen: bool,
    /// One of the two sides closes, which finishes the stream at some moment.
    pub(super) may_end: bool,
    /// The writer is sent elsewhere: one session of it ends, and what it writes meanwhile is for the next one.
    pub(super) may_move: bool,
    /// The reader does not want it: nothing has to be delivered.
    pub(super) is_discarded: bool,
    /// The writer's process is gone, or is an older copy of itself: what it had accepted may be lost without a word.
    pub(super) is_forgotten: bool,
    /// The reader's process is an older copy of itself: it may read again what it had read.
    pub(super) is_reread: bool,
}

/// How far the half-close of a stream has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum StreamEnd {
    #[default]
    Open,
    /// The writer has finished it.
    Finished,
    /// The writer was told that all of it is confirmed.
    Told,
}

/// A socket that reads a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader {
    /// The first entry that it may have: the ones before were handed back before its session began.
    pub(super) first: usize,
    /// The first entry that it has not passed.
    pub(super) next: usize,
}

/// A message that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) id: Option<SendId>,
    /// It may be dropped before it is transmitted: it has a time to live or a key.
    pub(super) may_drop: bool,
    pub(super) fate: EntryFate,
    pub(super) is_confirmed: bool,
    pub(super) is_handed_back: bool,
}

/// What has become of an accepted message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EntryFate {
    /// Under way.
    Open,
    /// The reader has it.
    Delivered,
    /// The reader has a later one, and the writer must have been told, or be told, that this one was dropped.
    PassedOver,
    /// The writer was told that it was dropped, or dropped it itself.
    Dropped,
    /// It was handed back as never sent.
    Unsent,
}

impl Stream {
    pub(super) fn new(writer: End, lane: LaneId, options: LaneOptions) -> Stream {
        Stream {
            writer,
            lane,
            options,
            reverse: None,
            entries: Vec::new(),
            written: 0,
            read: 0,
            unsent_from: None,
            is_handed_back: false,
            handed_back_up_to: 0,
            readers: BTreeMap::new(),
            end: StreamEnd::Open,
            is_end_seen: false,
            may_end: false,
            may_move: false,
            is_discarded: false,
            is_forgotten: false,
            is_reread: false,
        }
    }

    pub(super) fn is_bytes(&self) -> bool {
        self.options.kind == LaneKind::Bytes
    }

    /// Whether the reader has everything that it can still get.
    pub(super) fn is_settled(&self) -> bool {
        // What becomes of asks is in the book of asks.
        let is_done = |entry: &Entry| entry.fate != EntryFate::Open || entry.is_handed_back || entry.kind == Kind::Ask;
        let bytes_done = self.read == self.written || self.is_handed_back;
        self.is_discarded || !self.is_strict() || (bytes_done && self.entries.iter().all(is_done))
    }

    /// Whether both processes are the ones they always were.
    pub(super) fn is_strict(&self) -> bool {
        !self.is_forgotten && !self.is_reread
    }

    pub(super) fn take_back_bytes(&mut self, stream: usize, items: &[&Unconfirmed]) {
        if self.is_forgotten {
            return;
        }
        let total: u64 = items.iter().map(|item| item.message.payload.len() as u64).sum();
        assert!(total <= self.written, "byte lane {stream}: {total} bytes handed back of {}", self.written);
        let mut at = self.written - total;
        assert!(
            at <= self.read || self.is_discarded || self.is_reread,
            "byte lane {stream}: bytes {}..{at} are lost",
            self.read
        );
        for item in items {
            assert!(is_pattern(&item.message.payload, stream as u64, at), "byte lane {stream}: other bytes came back");
            if item.fate == Fate::Unsent {
                assert!(at >= self.read, "byte lane {stream}: bytes from {at} on came back as unsent and were read");
                self.unsent_from.get_or_insert(at);
            }
            at += item.message.payload.len() as u64;
        }
        self.is_handed_back = true;
    }

    /// From the last one backwards, because only there it is certain which entry an item is that does not say so.
    pub(super) fn take_back_messages(&mut self, stream: usize, items: &[&Unconfirmed]) {
        let mut end = self.entries.len();
        for item in items.iter().rev() {
            let index = self.find_back(stream, end, item);
            let entry = &mut self.entries[index];
            let what = format!("message {index} of stream {stream} was handed back as {:?}", item.fate);
            assert_eq!(item.id, entry.id, "{what} under another id");
            let is_delivered = entry.fate == EntryFate::Delivered;
            assert!(self.is_forgotten || !(is_delivered && item.fate == Fate::Unsent), "{what} and was delivered");
            entry.is_handed_back = true;
            if item.fate == Fate::Unsent && !is_delivered {
                entry.fate = EntryFate::Unsent;
            }
            end = index;
        }
    }

    /// The last entry before `end` that can have come back, which must be this item.
    fn find_back(&self, stream: usize, end: usize, item: &Unconfirmed) -> usize {
        for (index, entry) in self.entries[..end].iter().enumerate().rev() {
            let mark = Mark { kind: entry.kind, stream: stream as u32, index: index as u32, part: 0 };
            let is_free = !entry.is_confirmed && !entry.is_handed_back && entry.fate != EntryFate::Dropped;
            if (is_free || self.is_forgotten) && item.message == entry.shape.compose(mark) {
                return index;
            }
            let may_miss = !is_free || entry.may_drop || entry.kind == Kind::Ask || self.is_forgotten;
            assert!(
                may_miss,
                "message {index} of stream {stream} was not handed back, and an earlier one was: {item:?}"
            );
        }
        panic!("stream {stream}: handed back out of order, twice, changed, or never accepted: {item:?}");
    }
}
