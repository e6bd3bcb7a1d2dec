//! The reference model: for each direction of each lane a queue of what was accepted and what has become of it.

use std::collections::BTreeMap;

use steadfast::{Fate, LaneId, LaneKind, LaneOptions, Message, SendId, Unconfirmed};

use crate::model::asks::AskBook;
use crate::model::content::{Kind, Mark, Shape, is_pattern};
use crate::world::End;

/// Everything that was ever accepted for sending, in a whole world.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) streams: Vec<Stream>,
    pub(super) asks: AskBook,
    /// The stream that each end writes on its main lane.
    pub(super) mains: BTreeMap<End, usize>,
    by_send: BTreeMap<(End, SendId), (usize, usize)>,
    volatile_seen: BTreeMap<(u32, u32), ()>,
    volatile_sent: BTreeMap<u32, u32>,
    /// How many messages and bytes of byte lanes were delivered.
    pub(super) delivered: u64,
}

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
    unsent_from: Option<u64>,
    is_handed_back: bool,
    /// How many entries there were when last something was handed back.
    handed_back_up_to: usize,
    /// Sockets that read this stream.
    readers: BTreeMap<End, Reader>,
    pub(super) end: StreamEnd,
    is_end_seen: bool,
    /// One of the two sides closes, which finishes the stream at some moment.
    may_end: bool,
    /// The reader does not want it: nothing has to be delivered.
    pub(super) is_discarded: bool,
    /// The writer's process is gone, or is an older copy of itself: what it had accepted may be lost without a word.
    pub(super) is_forgotten: bool,
    /// The reader's process is an older copy of itself: it may read again what it had read.
    is_reread: bool,
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
struct Reader {
    /// The first entry that it may have: the ones before were handed back before its session began.
    first: usize,
    /// The first entry that it has not passed.
    next: usize,
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
    fn is_strict(&self) -> bool {
        !self.is_forgotten && !self.is_reread
    }

    fn take_back_bytes(&mut self, stream: usize, items: &[&Unconfirmed]) {
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
    fn take_back_messages(&mut self, stream: usize, items: &[&Unconfirmed]) {
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

impl Ledger {
    pub(super) fn open(&mut self, stream: Stream) -> usize {
        self.streams.push(stream);
        self.streams.len() - 1
    }

    /// The number that the next message of the stream will have.
    pub(super) fn next_mark(&self, stream: usize, kind: Kind) -> Mark {
        Mark { kind, stream: stream as u32, index: self.streams[stream].entries.len() as u32, part: 0 }
    }

    /// A message was accepted.
    pub(super) fn accepted(&mut self, stream: usize, kind: Kind, shape: Shape, id: Option<SendId>, may_drop: bool) {
        let s = &mut self.streams[stream];
        if let Some(id) = id {
            self.by_send.insert((s.writer, id), (stream, s.entries.len()));
        }
        let fate = EntryFate::Open;
        s.entries.push(Entry { kind, shape, id, may_drop, fate, is_confirmed: false, is_handed_back: false });
    }

    /// The number of the next volatile message of a stream.
    pub(super) fn next_volatile(&mut self, stream: usize) -> Mark {
        let index = self.volatile_sent.entry(stream as u32).or_default();
        *index += 1;
        Mark { kind: Kind::Volatile, stream: stream as u32, index: *index, part: 0 }
    }

    pub(super) fn volatile_arrived(&mut self, message: &Message) {
        let mark = Mark::of(message).expect("a volatile message says which one it is");
        assert_eq!(mark.kind, Kind::Volatile);
        let sent = self.volatile_sent.get(&mark.stream).copied().unwrap_or(0);
        assert!(mark.index <= sent, "a volatile message that was never sent: {mark:?}");
        let is_new = self.volatile_seen.insert((mark.stream, mark.index), ()).is_none();
        assert!(is_new, "a volatile message came twice: {mark:?}");
    }

    /// The reader has taken a message from a lane. `stream` is where it must be from, if that is known. Gives where it
    /// is from.
    pub(super) fn arrived(
        &mut self,
        reader: End,
        stream: Option<usize>,
        is_ask: bool,
        message: &Message,
    ) -> Option<Mark> {
        let kind = if is_ask { Kind::Ask } else { Kind::Plain };
        let mark = match (Mark::of(message), stream) {
            (Some(mark), _) => mark,
            (None, Some(stream)) if self.streams[stream].is_strict() => self.next_unmarked(stream, reader),
            // A process is gone, or is an older copy of itself: nobody can say any more which one it was.
            (None, _) => return None,
        };
        assert_eq!(mark.kind, kind, "a message of another kind: {mark:?}");
        if let Some(stream) = stream {
            assert_eq!(mark.stream as usize, stream, "a message of another lane or socket");
        }
        let s = &mut self.streams[mark.stream as usize];
        let index = mark.index as usize;
        let known = s.readers.entry(reader).or_default();
        assert!(index >= known.next, "{reader:?}: message {mark:?} came after a later one, or twice: {known:?}");
        assert!(
            index >= known.first || s.is_forgotten,
            "message {mark:?} was handed back and then came out of a new session"
        );
        let due = std::mem::replace(&mut known.next, index + 1);
        let entry = s.entries.get(index).unwrap_or_else(|| panic!("message {mark:?} was never accepted"));
        assert!(*message == entry.shape.compose(mark), "message {mark:?} has changed on its way");
        let is_new = matches!(entry.fate, EntryFate::Open | EntryFate::PassedOver);
        // An older copy of a process sends anew, or reads anew.
        let may_repeat = s.is_forgotten || s.is_reread && entry.fate == EntryFate::Delivered;
        assert!(is_new || may_repeat, "{reader:?}: message {mark:?} came out after {:?}", entry.fate);
        let is_loose = !s.is_strict();
        for (passed, entry) in s.entries[..index].iter_mut().enumerate().skip(due) {
            // What came back in doubt may still come out of its old session.
            if entry.fate == EntryFate::Open && !entry.is_handed_back {
                assert!(
                    entry.may_drop || is_loose,
                    "message {passed} of stream {} was lost: {index} came after it to {reader:?}: {entry:?}",
                    mark.stream
                );
                entry.fate = EntryFate::PassedOver;
            }
        }
        s.entries[index].fate = EntryFate::Delivered;
        self.delivered += 1;
        Some(mark)
    }

    /// The first message that is due for this reader. One that came back in doubt may still come out of its old session.
    fn next_unmarked(&self, stream: usize, reader: End) -> Mark {
        let s = &self.streams[stream];
        let first = s.readers.get(&reader).map_or(0, |reader| reader.first.max(reader.next));
        let is_due = |entry: &Entry| !entry.may_drop && entry.fate == EntryFate::Open;
        let due = s.entries.iter().skip(first).position(is_due).map(|at| at + first);
        let index = due.unwrap_or_else(|| panic!("a message came on stream {stream} and none was due"));
        Mark { kind: s.entries[index].kind, stream: stream as u32, index: index as u32, part: 0 }
    }

    pub(super) fn bytes_arrived(&mut self, reader: End, stream: usize, bytes: &[u8]) {
        let s = &mut self.streams[stream];
        assert!(!bytes.is_empty(), "a read of nothing");
        s.readers.entry(reader).or_default();
        if s.is_forgotten {
            return;
        }
        assert!(is_pattern(bytes, stream as u64, s.read), "byte lane {stream} has other bytes at {}", s.read);
        s.read += bytes.len() as u64;
        self.delivered += bytes.len() as u64;
        assert!(s.read <= s.written, "byte lane {stream} gave more than was written");
        let unsent = s.unsent_from.unwrap_or(u64::MAX);
        assert!(s.read <= unsent, "byte lane {stream} gave bytes that were handed back as unsent");
    }

    /// The reader has seen the end of the stream.
    pub(super) fn end_arrived(&mut self, stream: usize) {
        let s = &mut self.streams[stream];
        let what = (s.writer, s.lane);
        let may_end = s.end != StreamEnd::Open || s.may_end || s.is_forgotten;
        assert!(may_end, "{what:?} has ended and was never finished");
        assert!(!s.is_end_seen || s.is_forgotten, "{what:?} has ended twice");
        let is_loose = s.is_discarded || !s.is_strict();
        for entry in &mut s.entries {
            if entry.fate == EntryFate::Open {
                let may_pass = entry.may_drop || entry.is_handed_back || is_loose;
                assert!(may_pass, "{what:?} ended before {entry:?}");
                entry.fate = EntryFate::PassedOver;
            }
        }
        let is_all = s.read == s.written || s.is_handed_back || is_loose;
        assert!(is_all, "{what:?} ended after {} bytes", s.read);
        s.is_end_seen = true;
    }

    /// The writer was told that its message was taken.
    pub(super) fn confirmed(&mut self, writer: End, id: SendId) {
        let (stream, index) = self.by_send[&(writer, id)];
        let s = &mut self.streams[stream];
        let entry = &mut s.entries[index];
        if s.is_forgotten {
            return;
        }
        assert!(!entry.is_confirmed, "message {index} of stream {stream} was confirmed twice");
        assert!(!entry.is_handed_back, "message {index} of stream {stream} was confirmed after it was handed back");
        let is_taken = entry.fate == EntryFate::Delivered || s.is_discarded;
        assert!(is_taken, "message {index} of stream {stream} was confirmed and the application did not have it");
        entry.is_confirmed = true;
    }

    /// The writer was told that its message was dropped while it waited, or took it back.
    pub(super) fn dropped(&mut self, writer: End, id: SendId, is_wanted: bool) {
        let (stream, index) = self.by_send[&(writer, id)];
        let s = &mut self.streams[stream];
        let entry = &mut s.entries[index];
        assert!(entry.may_drop || is_wanted, "message {index} of stream {stream} was dropped for no reason");
        let is_free = matches!(entry.fate, EntryFate::Open | EntryFate::PassedOver) && !entry.is_handed_back;
        assert!(is_free || s.is_forgotten, "message {index} of stream {stream} was dropped after {:?}", entry.fate);
        entry.fate = EntryFate::Dropped;
        entry.may_drop = true;
    }

    /// What was handed back to a writer: of each lane all that is not confirmed, whole and in order.
    pub(super) fn handed_back(&mut self, writer: End, unconfirmed: &[Unconfirmed]) {
        let mut by_stream: BTreeMap<usize, Vec<&Unconfirmed>> = BTreeMap::new();
        for item in unconfirmed {
            let is_its = |s: &Stream| s.writer == writer && s.lane == item.lane;
            let stream = self.streams.iter().rposition(is_its).expect("handed back on a lane that this end has");
            if item.reply_to.is_none() {
                by_stream.entry(stream).or_default().push(item);
            }
        }
        for (stream, items) in by_stream {
            let s = &mut self.streams[stream];
            if s.is_bytes() { s.take_back_bytes(stream, &items) } else { s.take_back_messages(stream, &items) }
        }
        for s in self.streams.iter_mut().filter(|s| s.writer == writer) {
            s.handed_back_up_to = s.entries.len();
        }
    }

    /// This end closes, or its peer does: all that it writes is finished.
    pub(super) fn closing(&mut self, end: End) {
        self.streams.iter_mut().filter(|s| s.writer == end).for_each(|s| s.may_end = true);
    }

    /// The writer was told that all of the stream and its end are confirmed.
    pub(super) fn finish_confirmed(&mut self, stream: usize) {
        let s = &mut self.streams[stream];
        let what = (s.writer, s.lane);
        assert!(s.end != StreamEnd::Open || s.may_end || s.is_forgotten, "{what:?}: finished and nobody did");
        assert!(s.end != StreamEnd::Told || s.is_forgotten, "{what:?}: finished twice");
        assert!(s.is_settled(), "{what:?}: finished before the reader had all of it");
        s.end = StreamEnd::Told;
    }

    /// How far this end has read each stream.
    pub(super) fn positions(&self, reader: End) -> Vec<(usize, usize, u64)> {
        let position = |(number, s): (usize, &Stream)| (number, s.readers.get(&reader).map_or(0, |r| r.next), s.read);
        self.streams.iter().enumerate().map(position).collect()
    }

    /// A process is an older copy of itself: it has read as far as it had then, and may write again what it wrote since.
    pub(super) fn go_back(&mut self, end: End, positions: &[(usize, usize, u64)]) {
        for s in &mut self.streams {
            s.is_forgotten |= s.writer == end;
            s.is_reread |= s.readers.contains_key(&end);
        }
        for (number, next, read) in positions {
            let s = &mut self.streams[*number];
            if let Some(reader) = s.readers.get_mut(&end) {
                reader.next = *next;
                s.read = *read;
            }
        }
    }

    /// A new reader of a stream: whatever was handed back before is not for it.
    pub(super) fn add_reader(&mut self, stream: usize, reader: End) {
        let s = &mut self.streams[stream];
        s.readers.insert(reader, Reader { first: s.handed_back_up_to, next: 0 });
    }
}
