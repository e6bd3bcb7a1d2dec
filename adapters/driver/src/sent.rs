//! A message that was accepted for sending and is followed.

use std::sync::Arc;

use steadfast::{Message, SendId};

use crate::error::NotConfirmed;
use crate::handle::{Access, Handle};
use crate::signals::Interest;

/// A message that was accepted for sending: what becomes of it can be followed, and until it is transmitted it can be
/// taken back. Dropping this changes nothing for the message.
#[derive(Debug)]
pub struct Sent {
    handle: Arc<Handle>,
    id: SendId,
}

impl Sent {
    pub(crate) fn new(handle: Arc<Handle>, id: SendId) -> Sent {
        Sent { handle, id }
    }

    /// The message's name, by which [`Unconfirmed`](crate::Unconfirmed) knows it, too.
    pub fn id(&self) -> SendId {
        self.id
    }

    /// Waits until the peer's application has taken the message. Cancellation-safe: it can be awaited again.
    ///
    /// # Errors
    /// Why no confirmation will come.
    pub async fn confirmed(&self) -> Result<(), NotConfirmed> {
        let id = self.id;
        let look = |access: &mut Access<'_>| access.signals.fates.get(&id).copied().flatten().ok_or(Interest::Sent(id));
        self.handle.until(look).await
    }

    /// Takes the message back; `None` when it has been transmitted already.
    pub fn cancel(&self) -> Option<Message> {
        self.handle.with(|access| {
            let now = access.now();
            let message = access.machine.cancel_send(now, self.id)?;
            access.signals.fates.insert(self.id, Some(Err(NotConfirmed::Cancelled)));
            Some(message)
        })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.handle.with(|access| access.signals.fates.remove(&self.id));
    }
}
