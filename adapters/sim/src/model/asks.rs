//! The reference model of asks: what the asker may see, given what the handler did.

use std::collections::BTreeMap;

use steadfast::{AskError, AskId, AskRef, Code, ProtocolCode, Reply, Time};

use crate::model::content::{Kind, Mark, Shape};
use crate::world::End;

/// All asks of a world.
#[derive(Debug, Default)]
pub(super) struct AskBook {
    asks: Vec<Ask>,
    by_id: BTreeMap<(End, AskId), usize>,
    by_place: BTreeMap<(u32, u32), usize>,
    handled: BTreeMap<(End, AskRef), usize>,
}

/// One ask.
#[derive(Debug)]
pub(super) struct Ask {
    asker: End,
    place: (u32, u32),
    deadline: Option<Time>,
    is_cancelled: bool,
    /// The handler, once it has the ask.
    pub(super) handler: Option<End>,
    /// What the handler's socket has accepted.
    replies: Vec<(Shape, bool)>,
    handler_end: Option<HandlerEnd>,
    /// How many of the replies the asker has.
    seen: usize,
    /// Whether the asker knows the end.
    pub(super) is_over: bool,
    /// The asker's process is gone, or is an older copy of itself: it may never hear of the end.
    is_abandoned: bool,
    /// One of the two is an older copy of itself: anything may be seen.
    is_loose: bool,
}

/// How the handler has ended an ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HandlerEnd {
    Answered,
    Refused(u32),
    Dropped,
}

impl AskBook {
    pub(super) fn asked(&mut self, asker: End, id: AskId, place: Mark, deadline: Option<Time>) {
        let ask = self.asks.len();
        let place = (place.stream, place.index);
        self.asks.push(Ask {
            asker,
            place,
            deadline,
            is_cancelled: false,
            handler: None,
            replies: Vec::new(),
            handler_end: None,
            seen: 0,
            is_over: false,
            is_abandoned: false,
            is_loose: false,
        });
        let former = self.by_id.insert((asker, id), ask);
        assert!(former.is_none_or(|former| self.asks[former].is_loose), "{id:?} was given twice");
        self.by_place.insert(place, ask);
    }

    pub(super) fn cancelled(&mut self, asker: End, id: AskId) {
        let ask = self.by_id[&(asker, id)];
        self.asks[ask].is_cancelled = true;
    }

    /// The handler has got an ask.
    pub(super) fn arrived(&mut self, handler: End, ask: AskRef, mark: Mark) {
        let number = self.by_place[&(mark.stream, mark.index)];
        let record = &mut self.asks[number];
        assert!(record.handler.is_none() || record.is_loose, "an ask was handled twice: {record:?}");
        record.handler = Some(handler);
        self.handled.insert((handler, ask), number);
    }

    /// The mark of the next reply to an ask.
    pub(super) fn next_reply(&self, handler: End, ask: AskRef) -> Mark {
        let record = &self.asks[self.handled[&(handler, ask)]];
        let part = record.replies.len() as u16;
        Mark { kind: Kind::Reply, stream: record.place.0, index: record.place.1, part }
    }

    pub(super) fn replied(&mut self, handler: End, ask: AskRef, shape: Shape, more: bool) {
        let record = self.handled_ask(handler, ask);
        record.replies.push((shape, more));
        if !more {
            record.handler_end = Some(HandlerEnd::Answered);
        }
    }

    pub(super) fn ended(&mut self, handler: End, ask: AskRef, end: HandlerEnd) {
        self.handled_ask(handler, ask).handler_end = Some(end);
    }

    /// The asker has got a reply or an end.
    pub(super) fn reply_arrived(&mut self, asker: End, id: AskId, reply: &Reply, now: Time) {
        let ask = &mut self.asks[self.by_id[&(asker, id)]];
        assert!(!ask.is_over || ask.is_loose, "{reply:?} came after the end of {ask:?}");
        match reply {
            Reply::Answer { message, more } => {
                if ask.is_loose {
                    ask.is_over = !more;
                    return;
                }
                assert!(!ask.is_cancelled, "an answer to a cancelled ask: {ask:?}");
                let part = ask.seen as u16;
                let mark = Mark { kind: Kind::Reply, stream: ask.place.0, index: ask.place.1, part };
                assert!(ask.seen < ask.replies.len(), "an answer that was never given: {reply:?} to {ask:?}");
                let (shape, said_more) = ask.replies[ask.seen];
                assert!(*message == shape.compose(mark), "answer {mark:?} is another one: {:?}", Mark::of(message));
                assert_eq!(*more, said_more, "answer {mark:?}");
                ask.seen += 1;
                ask.is_over = !more;
            }
            Reply::Failed(error) => {
                ask.check_failure(error, now);
                ask.is_over = true;
            }
        }
    }

    /// Whether an ask's end is known to its asker.
    pub(super) fn is_over(&self, asker: End, id: AskId) -> bool {
        self.asks[self.by_id[&(asker, id)]].is_over
    }

    /// The asks whose end the asker does not know.
    pub(super) fn open(&self) -> impl Iterator<Item = &Ask> {
        self.asks.iter().filter(|ask| !ask.is_over && !ask.is_abandoned)
    }

    /// How many were made.
    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// The asker's process is gone.
    pub(super) fn abandon(&mut self, asker: End) {
        self.asks.iter_mut().filter(|ask| ask.asker == asker).for_each(|ask| ask.is_abandoned = true);
    }

    /// This process is an older copy of itself.
    pub(super) fn loosen(&mut self, end: End) {
        self.abandon(end);
        let concerned = |ask: &&mut Ask| ask.asker == end || ask.handler == Some(end);
        self.asks.iter_mut().filter(concerned).for_each(|ask| ask.is_loose = true);
    }

    fn handled_ask(&mut self, handler: End, ask: AskRef) -> &mut Ask {
        &mut self.asks[self.handled[&(handler, ask)]]
    }
}

impl Ask {
    fn check_failure(&self, error: &AskError, now: Time) {
        let is_right = match error {
            AskError::Refused(reason) => match reason.code {
                Code::App(code) => self.handler_end == Some(HandlerEnd::Refused(code)),
                Code::Protocol(code) => code == ProtocolCode::TooManyAsks,
            },
            // A finished or discarded lane ends asks in this way, too.
            AskError::NoReply => self.handler_end.is_none_or(|end| end == HandlerEnd::Dropped),
            AskError::TimedOut => self.deadline.is_some_and(|deadline| deadline <= now),
            AskError::Cancelled => self.is_cancelled,
            AskError::Unsent => self.handler.is_none(),
            AskError::InDoubt => true,
        };
        assert!(is_right || self.is_loose, "{error:?} at {now:?} of {self:?}");
    }
}
