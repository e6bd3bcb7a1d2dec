//! What was accepted for sending, and what has become of it: whatever comes out must be that, once and in order, or must
//! have been handed back. Every check is an assertion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::Arbitrary;
use steadfast::{
    AskError, AskId, AskRef, Code, Fate, Incarnation, LaneId, Message, Reply, SendId, SendOptions, SessionId, Time,
    Unconfirmed,
};

/// A socket, by whatever name it goes at present: the client is 0, then come those of the server.
pub(crate) type Party = usize;

/// The client.
pub(crate) const CLIENT: Party = 0;

/// How large a message is, and what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Arbitrary)]
pub(crate) struct Shape {
    len: u16,
    headers: u8,
    /// The mark stands in the name, and the payload may be empty.
    is_named: bool,
}

/// Which message it is: of this number on this stream; of a reply, the ask's number and which of its replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) kind: Kind,
    pub(crate) stream: u16,
    pub(crate) index: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Plain,
    Ask,
    Reply,
    Volatile,
}

const KINDS: [Kind; 4] = [Kind::Plain, Kind::Ask, Kind::Reply, Kind::Volatile];

impl Shape {
    pub(crate) const SMALL: Shape = Shape { len: 3, headers: 0, is_named: false };

    /// The message of this shape and mark, with a payload of `max` bytes at most.
    pub(crate) fn compose(self, mark: Mark, max: usize) -> Message {
        let [s, t] = mark.stream.to_be_bytes();
        let [i, j] = mark.index.to_be_bytes();
        let mut payload = if self.is_named { Vec::new() } else { vec![mark.kind as u8, s, t, i, j] };
        let len = usize::from(self.len).min(max.saturating_sub(payload.len()));
        payload.extend((0..len).map(|at| at as u8 ^ i ^ j.wrapping_mul(29)));
        let mut message = Message::new(payload);
        if self.is_named {
            message = message.with_name(format!("{}.{}.{}", mark.kind as u8, mark.stream, mark.index));
        }
        if self.headers > 0 {
            message = message.with_headers(format!("\"{}\"", "h".repeat(usize::from(self.headers))));
        }
        message
    }
}

impl Mark {
    /// Reads which message this is.
    fn of(message: &Message) -> Option<Mark> {
        let (kind, stream, index) = match message.name() {
            Some(name) => {
                let mut numbers = name.split('.').map(str::parse::<u16>);
                let mut next = || numbers.next()?.ok();
                (usize::from(next()?), next()?, next()?)
            }
            None => match message.payload[..] {
                [kind, s, t, i, j, ..] => (kind.into(), u16::from_be_bytes([s, t]), u16::from_be_bytes([i, j])),
                _ => return None,
            },
        };
        Some(Mark { kind: *KINDS.get(kind)?, stream, index })
    }
}

/// The byte of a byte lane at a position.
pub(crate) fn pattern(stream: usize, at: u64) -> u8 {
    (at as u8).wrapping_mul(37) ^ (at >> 8) as u8 ^ (stream as u8).wrapping_mul(101)
}

fn is_pattern(bytes: &[u8], stream: usize, from: u64) -> bool {
    bytes.iter().zip(from..).all(|(byte, at)| *byte == pattern(stream, at))
}

/// One direction of one lane.
#[derive(Debug)]
pub(crate) struct Stream {
    writer: Party,
    lane: LaneId,
    entries: Vec<Entry>,
    /// Byte lanes.
    pub(crate) written: u64,
    read: u64,
    unsent_from: u64,
    is_handed_back: bool,
    /// The first entry that each reader has not passed.
    next: BTreeMap<Party, usize>,
    /// The reader does not want it.
    is_discarded: bool,
    /// The writer's process has died without a word.
    is_forgotten: bool,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    is_ask: bool,
    id: Option<SendId>,
    /// It may be dropped before it is transmitted.
    may_drop: bool,
    fate: EntryFate,
    is_confirmed: bool,
    is_handed_back: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum EntryFate {
    Open,
    Delivered,
    /// A later one was delivered, so this one must have been dropped.
    PassedOver,
    Dropped,
    Unsent,
}

#[derive(Debug)]
struct Ask {
    asker: Party,
    deadline: Option<Time>,
    is_cancelled: bool,
    is_handled: bool,
    replies: Vec<(Message, bool)>,
    refused: Option<u32>,
    seen: usize,
    is_over: bool,
    /// One of the two processes has died.
    is_abandoned: bool,
}

/// Everything that was ever accepted in a scene.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) streams: Vec<Stream>,
    asks: Vec<Ask>,
    by_send: BTreeMap<(Party, SendId), (usize, usize)>,
    by_ask: BTreeMap<(Party, AskId), usize>,
    handled: BTreeMap<(Party, AskRef), usize>,
    by_place: BTreeMap<(u16, u16), usize>,
    volatile: Vec<(Message, bool)>,
    sessions: BTreeMap<(Party, Incarnation), SessionId>,
    /// Lanes that a side gave up reading: whether it is the client, and the lane's number.
    discarded: BTreeSet<(bool, u64)>,
    /// Somebody is an older copy of itself, or the link lies: nothing that comes out means anything.
    pub(crate) is_loose: bool,
    /// A server has gone away: what is written on a main lane goes on in another session.
    pub(crate) has_moved: bool,
    /// The link may repeat what it has carried.
    pub(crate) may_repeat_volatile: bool,
}

impl Books {
    pub(crate) fn open(&mut self, writer: Party, lane: LaneId) -> usize {
        self.streams.push(Stream {
            writer,
            lane,
            entries: Vec::new(),
            written: 0,
            read: 0,
            unsent_from: u64::MAX,
            is_handed_back: false,
            next: BTreeMap::new(),
            is_discarded: self.discarded.contains(&(writer != CLIENT, lane.number())),
            is_forgotten: false,
        });
        self.streams.len() - 1
    }

    /// A side gives up reading a lane: nothing has to be delivered there.
    pub(crate) fn discarded(&mut self, reader: Party, lane: LaneId) {
        let place = (reader == CLIENT, lane.number());
        let is_it = |stream: &&mut Stream| (stream.writer != CLIENT, stream.lane.number()) == place;
        self.streams.iter_mut().filter(is_it).for_each(|stream| stream.is_discarded = true);
        self.discarded.insert(place);
    }

    /// A process has died without a word.
    pub(crate) fn forget(&mut self, party: Party) {
        self.streams.iter_mut().filter(|stream| stream.writer == party).for_each(|stream| stream.is_forgotten = true);
        self.asks.iter_mut().filter(|ask| ask.asker == party).for_each(|ask| ask.is_abandoned = true);
    }

    // ---- writers ----

    pub(crate) fn next_mark(&self, stream: usize, kind: Kind) -> Mark {
        Mark { kind, stream: stream as u16, index: self.streams[stream].entries.len() as u16 }
    }

    pub(crate) fn accepted(&mut self, stream: usize, message: Message, id: Option<SendId>, options: &SendOptions) {
        let may_drop = options.time_to_live.is_some() || options.key.is_some();
        let s = &mut self.streams[stream];
        let former = id.and_then(|id| self.by_send.insert((s.writer, id), (stream, s.entries.len())));
        assert!(former.is_none() || self.is_loose, "{id:?} was given twice");
        let fate = EntryFate::Open;
        s.entries.push(Entry {
            message,
            is_ask: false,
            id,
            may_drop,
            fate,
            is_confirmed: false,
            is_handed_back: false,
        });
    }

    pub(crate) fn asked(&mut self, stream: usize, message: Message, id: AskId, deadline: Option<Time>) {
        let (asker, index) = (self.streams[stream].writer, self.streams[stream].entries.len());
        self.accepted(stream, message, None, &SendOptions::default());
        let entry = &mut self.streams[stream].entries[index];
        // One that is cancelled, or whose time runs out, while it waits is dropped, and ends as an ask.
        (entry.is_ask, entry.may_drop) = (true, true);
        let former = self.by_ask.insert((asker, id), self.asks.len());
        assert!(former.is_none() || self.is_loose, "{id:?} was given twice");
        self.by_place.insert((stream as u16, index as u16), self.asks.len());
        self.asks.push(Ask {
            asker,
            deadline,
            is_cancelled: false,
            is_handled: false,
            replies: Vec::new(),
            refused: None,
            seen: 0,
            is_over: false,
            is_abandoned: false,
        });
    }

    pub(crate) fn cancelled_ask(&mut self, party: Party, id: AskId) {
        let ask = self.by_ask[&(party, id)];
        self.asks[ask].is_cancelled = true;
    }

    pub(crate) fn next_volatile(&self) -> Mark {
        Mark { kind: Kind::Volatile, stream: 0, index: self.volatile.len() as u16 }
    }

    pub(crate) fn sent_volatile(&mut self, message: Message) {
        self.volatile.push((message, false));
    }

    pub(crate) fn confirmed(&mut self, party: Party, id: SendId) {
        if self.is_loose {
            return;
        }
        let (stream, index) = self.by_send[&(party, id)];
        let is_discarded = self.streams[stream].is_discarded;
        let entry = &mut self.streams[stream].entries[index];
        assert!(!entry.is_confirmed, "{entry:?} was confirmed twice");
        assert!(!entry.is_handed_back, "{entry:?} was handed back and then confirmed");
        assert!(entry.fate == EntryFate::Delivered || is_discarded, "{entry:?} was confirmed and nobody has it");
        entry.is_confirmed = true;
    }

    /// A message was dropped while it waited: with notice, or because its writer `wants` it.
    pub(crate) fn dropped(&mut self, party: Party, id: SendId, wants: bool) {
        if self.is_loose {
            return;
        }
        let (stream, index) = self.by_send[&(party, id)];
        let entry = &mut self.streams[stream].entries[index];
        assert!(entry.may_drop || wants, "{entry:?} was dropped for no reason");
        let is_free = matches!(entry.fate, EntryFate::Open | EntryFate::PassedOver) && !entry.is_handed_back;
        assert!(is_free, "{entry:?} was dropped after its fate was known");
        entry.fate = EntryFate::Dropped;
    }

    /// What a writer got back, lane by lane.
    pub(crate) fn handed_back(&mut self, party: Party, items: &[Unconfirmed]) {
        if self.is_loose {
            return;
        }
        let mut lanes: BTreeMap<LaneId, Vec<&Unconfirmed>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.reply_to.is_none()) {
            lanes.entry(item.lane).or_default().push(item);
        }
        for (lane, items) in lanes {
            let is_its = |stream: &Stream| stream.writer == party && stream.lane == lane;
            let number = self.streams.iter().position(is_its).expect("handed back on a lane that was there");
            let stream = &mut self.streams[number];
            if stream.written > 0 { stream.take_back_bytes(number, &items) } else { stream.take_back_messages(&items) }
        }
    }

    /// The writer was told that a lane and its end are confirmed.
    pub(crate) fn finish_confirmed(&self, stream: usize) {
        let s = &self.streams[stream];
        let goes_on = self.has_moved && s.lane == LaneId::MAIN;
        assert!(self.is_loose || goes_on || s.is_settled(), "finished and not all of it was taken: {s:?}");
    }

    // ---- readers ----

    /// A message was taken. Gives the stream that it is of.
    pub(crate) fn delivered(&mut self, reader: Party, lane: LaneId, message: &Message, ask: Option<AskRef>) {
        if self.is_loose {
            return;
        }
        let mark = Mark::of(message).expect("a message that says which one it is");
        let kind = if ask.is_some() { Kind::Ask } else { Kind::Plain };
        assert_eq!(mark.kind, kind, "a message of another kind");
        let (stream, index) = (usize::from(mark.stream), usize::from(mark.index));
        let s = self.streams.get_mut(stream).expect("a message of a stream that there is");
        assert_eq!(s.lane.number(), lane.number(), "{mark:?} came on another lane");
        assert_ne!(s.writer == CLIENT, reader == CLIENT, "{mark:?} came back to its own side");
        let due = s.next.insert(reader, index + 1).unwrap_or(0);
        assert!(due <= index, "{mark:?} came after a later one, or twice");
        let entry = s.entries.get_mut(index).expect("a message that was accepted");
        assert!(*message == entry.message, "{mark:?} has changed on its way");
        assert!(matches!(entry.fate, EntryFate::Open | EntryFate::PassedOver), "{mark:?} came out after {entry:?}");
        entry.fate = EntryFate::Delivered;
        for passed in s.entries[..index].iter_mut().skip(due) {
            if passed.fate == EntryFate::Open && !passed.is_handed_back {
                assert!(
                    passed.may_drop || s.is_forgotten || s.is_discarded,
                    "{passed:?} was lost: {mark:?} came after it"
                );
                passed.fate = EntryFate::PassedOver;
            }
        }
        if let Some(ask) = ask {
            let number = self.by_place[&(mark.stream, mark.index)];
            assert!(!std::mem::replace(&mut self.asks[number].is_handled, true), "{mark:?} is handled twice");
            self.handled.insert((reader, ask), number);
        }
    }

    /// A party is in this session.
    pub(crate) fn met(&mut self, party: Party, incarnation: Incarnation, session: SessionId) {
        self.sessions.insert((party, incarnation), session);
    }

    /// The stream that the peer of this party writes on a lane: in the same session, or in one that its writer has not heard
    /// of yet.
    pub(crate) fn incoming(&self, reader: Party, writers: &[Party], lane: LaneId) -> Option<usize> {
        let session = |party: Party, lane: LaneId| self.sessions.get(&(party, lane.incarnation()));
        let here = session(reader, lane);
        let newest = |is_of: &dyn Fn(Option<&SessionId>) -> bool| {
            self.streams.iter().rposition(|stream| {
                let is_it = writers.contains(&stream.writer) && stream.lane.number() == lane.number();
                is_it && is_of(session(stream.writer, stream.lane))
            })
        };
        newest(&|there| there.is_some() && there == here).or_else(|| newest(&|there| there.is_none()))
    }

    pub(crate) fn bytes_delivered(&mut self, stream: usize, bytes: &[u8]) {
        let s = &mut self.streams[stream];
        if self.is_loose || s.is_forgotten {
            return;
        }
        assert!(!bytes.is_empty(), "a read of nothing");
        assert!(is_pattern(bytes, stream, s.read), "lane of bytes {stream}: other bytes at {}", s.read);
        s.read += bytes.len() as u64;
        assert!(s.read <= s.written, "lane of bytes {stream}: more than was written");
        assert!(s.read <= s.unsent_from, "lane of bytes {stream}: what was handed back as unsent");
    }

    pub(crate) fn volatile_arrived(&mut self, message: &Message) {
        if self.is_loose {
            return;
        }
        let mark = Mark::of(message).expect("a message that says which one it is");
        let (sent, has_come) = &mut self.volatile[usize::from(mark.index)];
        assert!(message == sent, "{mark:?} has changed on its way");
        assert!(!std::mem::replace(has_come, true) || self.may_repeat_volatile, "{mark:?} came twice");
    }

    /// The mark of the next reply to an ask.
    pub(crate) fn next_reply(&self, handler: Party, ask: AskRef) -> Mark {
        let number = self.handled.get(&(handler, ask)).copied().unwrap_or(0);
        let part = self.asks.get(number).map_or(0, |ask| ask.replies.len());
        Mark { kind: Kind::Reply, stream: number as u16, index: part as u16 }
    }

    pub(crate) fn replied(&mut self, handler: Party, ask: AskRef, message: Message, more: bool) {
        if let Some(number) = self.handled.get(&(handler, ask)) {
            self.asks[*number].replies.push((message, more));
        }
    }

    pub(crate) fn refused(&mut self, handler: Party, ask: AskRef, code: u32) {
        if let Some(number) = self.handled.get(&(handler, ask)) {
            self.asks[*number].refused = Some(code);
        }
    }

    /// The asker has got a reply or the end.
    pub(crate) fn reply_arrived(&mut self, asker: Party, id: AskId, reply: &Reply, now: Time) {
        let ask = &mut self.asks[self.by_ask[&(asker, id)]];
        if self.is_loose {
            ask.is_over = !matches!(reply, Reply::Answer { more: true, .. });
            return;
        }
        assert!(!ask.is_over, "{reply:?} came after the end of {ask:?}");
        match reply {
            Reply::Answer { message, more } => {
                assert!(!ask.is_cancelled, "an answer to a cancelled ask: {ask:?}");
                let given = ask.replies.get(ask.seen).expect("an answer that was given");
                assert!((message, more) == (&given.0, &given.1), "another answer than {given:?}: {reply:?}");
                ask.seen += 1;
                ask.is_over = !more;
            }
            Reply::Failed(error) => {
                let is_right = match error {
                    AskError::Refused(reason) => match reason.code {
                        Code::App(code) => ask.refused == Some(code),
                        Code::Protocol(_) => true,
                    },
                    AskError::TimedOut => ask.deadline.is_some_and(|deadline| deadline <= now),
                    AskError::Cancelled => ask.is_cancelled,
                    AskError::Unsent => !ask.is_handled,
                    AskError::NoReply => ask.replies.last().is_none_or(|(_, more)| *more),
                    AskError::InDoubt => true,
                };
                assert!(is_right, "{error:?} of {ask:?}");
                ask.is_over = true;
            }
        }
    }

    // ---- the end ----

    /// Whether the end of the ask is known to its asker.
    pub(crate) fn is_over(&self, party: Party, id: AskId) -> bool {
        self.asks[self.by_ask[&(party, id)]].is_over
    }

    /// Nothing of what was written is missing.
    pub(crate) fn check_all_accounted_for(&self) {
        if self.is_loose {
            return;
        }
        for stream in &self.streams {
            assert!(stream.is_settled(), "something was lost: {stream:?}");
            let is_told = |entry: &Entry| entry.fate != EntryFate::PassedOver || entry.is_ask || entry.is_handed_back;
            let is_free = stream.is_discarded || stream.is_forgotten;
            assert!(is_free || stream.entries.iter().all(is_told), "dropped without a word: {stream:?}");
        }
        for ask in &self.asks {
            assert!(ask.is_over || ask.is_abandoned, "an ask without an end: {ask:?}");
        }
    }
}

impl Stream {
    /// Whether the reader has all that it can still get.
    pub(crate) fn is_settled(&self) -> bool {
        let is_done = |entry: &Entry| entry.fate != EntryFate::Open || entry.is_handed_back || entry.is_ask;
        let bytes_done = self.read == self.written || self.is_handed_back;
        self.is_discarded || self.is_forgotten || bytes_done && self.entries.iter().all(is_done)
    }

    /// The reader has seen the end: nothing may come any more.
    pub(crate) fn check_end(&self) {
        let is_over = |entry: &Entry| {
            entry.fate != EntryFate::Open || entry.is_handed_back || entry.may_drop || self.is_forgotten
        };
        let bytes_done = self.read == self.written || self.is_handed_back || self.is_forgotten;
        assert!(self.is_discarded || bytes_done && self.entries.iter().all(is_over), "ended too early: {self:?}");
    }

    /// All from some position on, without a gap, and nothing before it is missing.
    fn take_back_bytes(&mut self, number: usize, items: &[&Unconfirmed]) {
        let total: u64 = items.iter().map(|item| item.message.payload.len() as u64).sum();
        let mut at = self.written.checked_sub(total).expect("no more handed back than written");
        assert!(at <= self.read || self.is_discarded, "bytes {}..{at} of lane of bytes {number} are lost", self.read);
        for item in items {
            assert!(is_pattern(&item.message.payload, number, at), "lane of bytes {number}: other bytes came back");
            if item.fate == Fate::Unsent {
                assert!(at >= self.read, "lane of bytes {number}: unsent from {at} on, and read");
                self.unsent_from = self.unsent_from.min(at);
            }
            at += item.message.payload.len() as u64;
        }
        self.is_handed_back = true;
    }

    /// In order, each once, whole; and before the last one none is missing that could have come back.
    fn take_back_messages(&mut self, items: &[&Unconfirmed]) {
        let mut from = 0;
        for item in items {
            let is_it = |entry: &Entry| !entry.is_handed_back && entry.id == item.id && entry.message == item.message;
            let at = self.entries[from..].iter().position(is_it).map(|at| from + at);
            let at = at.unwrap_or_else(|| panic!("handed back twice, out of order or changed: {item:?} of {self:?}"));
            let entry = &mut self.entries[at];
            assert!(!entry.is_confirmed, "{entry:?} was confirmed and then handed back");
            assert_ne!(entry.fate, EntryFate::Dropped, "{entry:?} was dropped and then handed back");
            let is_delivered = entry.fate == EntryFate::Delivered;
            assert!(!(is_delivered && item.fate == Fate::Unsent), "{entry:?} came back as unsent");
            entry.is_handed_back = true;
            if item.fate == Fate::Unsent {
                entry.fate = EntryFate::Unsent;
            }
            from = at + 1;
        }
    }
}

/// A time of the fuzzer's choice, of up to a minute.
pub(crate) fn millis(choice: u16) -> Duration {
    Duration::from_millis(u64::from(choice))
}
