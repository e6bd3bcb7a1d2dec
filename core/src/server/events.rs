//! The server's own events that wait for the application.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{ServerEvent, SocketId};

/// The queue of events. A client may resume as often as it likes: of its fresh payloads only the newest is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<ServerEvent>,
    /// The newest payload of each socket of which a `Reauthenticated` waits, where that stands empty.
    auths: BTreeMap<SocketId, Bytes>,
}

impl Events {
    pub(super) fn push(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Reauthenticated(id, auth) => {
                if self.auths.insert(id, auth).is_none() {
                    self.queue.push_back(ServerEvent::Reauthenticated(id, Bytes::new()));
                }
            }
            event => self.queue.push_back(event),
        }
    }

    pub(super) fn pop(&mut self) -> Option<ServerEvent> {
        let mut event = self.queue.pop_front()?;
        if let ServerEvent::Reauthenticated(id, auth) = &mut event {
            *auth = self.auths.remove(id).unwrap_or_default();
        }
        Some(event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
