//! The books of the reference model: every stream of a world, and what the applications see of them.

use std::collections::{BTreeMap, BTreeSet};

use steadfast::{Message, SendId, Unconfirmed};

use crate::model::asks::AskBook;
use crate::model::content::{Kind, Mark, Shape, is_pattern};
use crate::model::stream::{Entry, EntryFate, Reader, Stream, StreamEnd};
use crate::world::End;

/// Everything that was ever accepted for sending, in a whole world.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) streams: Vec<Stream>,
    pub(super) asks: AskBook,
    /// The stream that each end writes on its main lane.
    pub(super) mains: BTreeMap<End, usize>,
    /// Ends that close, and ends of servers that go away.
    closing: BTreeSet<End>,
    moving: BTreeSet<End>,
    by_send: BTreeMap<(End, SendId), (usize, usize)>,
    volatile_seen: BTreeSet<(u32, u32)>,
    volatile_sent: BTreeMap<u32, u32>,
    /// How many messages and bytes of byte lanes were delivered.
    pub(super) delivered: u64,
}

impl Ledger {
    pub(super) fn open(&mut self, mut stream: Stream) -> usize {
        stream.may_move = self.moving.contains(&stream.writer);
        stream.may_end = stream.may_move || self.closing.contains(&stream.writer);
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
        let is_new = self.volatile_seen.insert((mark.stream, mark.index));
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
        let is_open = |entry: &Entry| {
            entry.fate == EntryFate::Open || entry.fate == EntryFate::PassedOver && entry.is_handed_back
        };
        let is_due = |entry: &Entry| !entry.may_drop && is_open(entry);
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
    pub(super) fn end_arrived(&mut self, reader: End, stream: usize) {
        let s = &mut self.streams[stream];
        s.readers.entry(reader).or_default();
        let what = (s.writer, s.lane);
        if s.may_move {
            return;
        }
        let may_end = s.end != StreamEnd::Open || s.may_end || s.is_forgotten;
        assert!(may_end, "{what:?} has ended and was never finished");
        assert!(!s.is_end_seen || !s.is_strict(), "{what:?} has ended twice");
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
        self.closing.insert(end);
        self.streams.iter_mut().filter(|s| s.writer == end).for_each(|s| s.may_end = true);
    }

    /// The server of this end goes away.
    pub(super) fn moving(&mut self, end: End) {
        self.moving.insert(end);
        self.streams.iter_mut().filter(|s| s.writer == end).for_each(|s| (s.may_end, s.may_move) = (true, true));
    }

    /// The writer was told that all of the stream and its end are confirmed.
    pub(super) fn finish_confirmed(&mut self, stream: usize) {
        let s = &mut self.streams[stream];
        if s.may_move {
            return;
        }
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
