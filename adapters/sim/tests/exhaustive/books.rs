//! What the two applications know, and what must hold between them at every moment.

use std::collections::VecDeque;

use steadfast::{Closed, Code, Event, Fate, LinkLoss, ProtocolCode, SendId, Unconfirmed};
use steadfast_sim::Side;

/// The applications of both sides. What breaks a promise is kept as `broken`, for the search to find.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Books {
    pages: [Page; 2],
    /// How many bytes a message has beyond the least.
    padding: usize,
    /// The first promise that was broken.
    pub(crate) broken: Option<&'static str>,
    /// The server has fenced a link that looked alive.
    pub(crate) taken_over: bool,
}

/// One side: as a writer of the messages 0, 1, 2, …, and as a reader of the other side's.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Page {
    /// How many messages the socket has accepted.
    pub(crate) written: u8,
    /// Those of them that were confirmed one by one.
    confirmed: Vec<u8>,
    /// Those of them that were handed back.
    pub(crate) back: Vec<(u8, bool)>,
    /// Receipts to come.
    receipts: VecDeque<(SendId, u8)>,
    /// How many of the other side's messages this application has taken.
    pub(crate) taken: u8,
    /// An event told that there is something to read, and it was not read to its end.
    pub(crate) readable: bool,
    /// The application has closed the socket.
    pub(crate) closing: bool,
    /// The session was lost, for this reason.
    pub(crate) lost: Option<Code>,
    /// The socket has ended; whether cleanly.
    pub(crate) closed: Option<bool>,
}

impl Books {
    /// Messages have so many bytes beyond the least.
    pub(crate) fn new(padding: usize) -> Books {
        Books { padding, ..Books::default() }
    }

    /// The page of one side.
    pub(crate) fn of(&self, side: Side) -> &Page {
        &self.pages[side as usize]
    }

    pub(crate) fn of_mut(&mut self, side: Side) -> &mut Page {
        &mut self.pages[side as usize]
    }

    /// A promise must hold.
    pub(crate) fn expect(&mut self, holds: bool, promise: &'static str) {
        if !holds {
            self.broken.get_or_insert(promise);
        }
    }

    /// The payload of a side's message.
    pub(crate) fn payload(&self, writer: Side, number: u8) -> Vec<u8> {
        let mut payload = vec![if writer == Side::Client { b'c' } else { b's' }, number];
        payload.resize(payload.len() + self.padding, number);
        payload
    }

    /// The socket has accepted the side's next message.
    pub(crate) fn wrote(&mut self, writer: Side, receipt: Option<SendId>) {
        let page = self.of_mut(writer);
        page.receipts.extend(receipt.map(|id| (id, page.written)));
        page.written += 1;
    }

    /// The reader's application was given a message.
    pub(crate) fn took(&mut self, reader: Side, payload: &[u8]) {
        let (writer, number) = (reader.other(), self.of(reader).taken);
        let is_next = payload == self.payload(writer, number) && number < self.of(writer).written;
        self.expect(is_next, "messages arrive once and in order");
        self.expect(!self.of(writer).back.contains(&(number, false)), "what was handed back as unsent never arrives");
        self.of_mut(reader).taken += 1;
    }

    /// A side was told something. What is to be taken back with it stands in `back`.
    pub(crate) fn heard(&mut self, side: Side, event: &Event, back: &[Unconfirmed]) {
        match event {
            Event::Readable(_) => self.of_mut(side).readable = true,
            Event::Confirmed(id) => self.confirmed(side, *id),
            Event::LinkLost(loss) => self.taken_over |= side == Side::Server && was_fenced(loss),
            Event::SessionLost(lost) => self.of_mut(side).lost = Some(lost.reason.code),
            Event::Closed(closed) => self.ended(side, closed),
            _ => {}
        }
        self.handed_back(side, back);
    }

    fn confirmed(&mut self, side: Side, id: SendId) {
        let receipt = self.of_mut(side).receipts.pop_front().filter(|(awaited, _)| *awaited == id);
        self.expect(receipt.is_some(), "confirmations come once and in order");
        let Some((_, number)) = receipt else { return };
        self.expect(number < self.of(side.other()).taken, "what is confirmed was taken");
        self.of_mut(side).confirmed.push(number);
    }

    fn handed_back(&mut self, side: Side, back: &[Unconfirmed]) {
        for unconfirmed in back {
            let number = unconfirmed.message.payload[1];
            let (in_doubt, taken) = (unconfirmed.fate == Fate::InDoubt, self.of(side.other()).taken);
            self.expect(in_doubt || number >= taken, "what is handed back as unsent was not taken");
            let page = self.of(side);
            let follows = page.back.last().is_none_or(|(last, _)| *last < number);
            let is_open = number < page.written && !page.confirmed.contains(&number);
            self.expect(follows, "messages are handed back once and in order");
            self.expect(is_open, "what was confirmed is not handed back");
            self.of_mut(side).back.push((number, in_doubt));
        }
    }

    fn ended(&mut self, side: Side, closed: &Closed) {
        self.expect(self.of(side).closed.is_none(), "a socket ends once");
        let (written, taken) = (self.of(side).written, self.of(side.other()).taken);
        self.expect(!closed.clean || taken == written, "a clean end means that the peer has taken everything");
        self.of_mut(side).closed = Some(closed.clean);
    }

    /// Whether each message that a side has written was taken by the other one or handed back.
    pub(crate) fn is_accounted_for(&self, writer: Side) -> bool {
        let (page, taken) = (self.of(writer), self.of(writer.other()).taken);
        (taken..page.written).all(|number| page.back.iter().any(|(back, _)| *back == number))
    }

    /// Whether the side's messages have all been taken, and it was told nothing else.
    pub(crate) fn has_arrived(&self, writer: Side) -> bool {
        let page = self.of(writer);
        page.back.is_empty() && page.lost.is_none() && self.of(writer.other()).taken == page.written
    }
}

fn was_fenced(loss: &LinkLoss) -> bool {
    loss.reason.code == Code::Protocol(ProtocolCode::Fenced)
}
