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
            // Whoever waits for its fate, or for all to be confirmed, is to look again.
            access.startle();
            Some(message)
        })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.handle.with(|access| access.signals.fates.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};

    use bytes::Bytes;
    use steadfast::{Config, LaneId, SendOptions, Socket as Machine};

    use super::*;
    use crate::client::Client;
    use crate::handle::CachedClock;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_for_a_message_hears_that_it_was_taken_back() {
        let mut clock = CachedClock::new();
        let machine = Machine::new(Config::default().into(), Vec::new(), Bytes::new(), [1; 32], clock.read()).unwrap();
        let handle = Handle::of_client(Client::new(machine, clock));
        let id = handle.with(|access| {
            let now = access.now();
            let id = access.machine.send_with(now, LaneId::MAIN, "m".into(), &SendOptions::default()).unwrap();
            access.signals.fates.insert(id, None);
            id
        });
        let sent = Sent::new(handle, id);
        let count = Arc::<Count>::default();
        let waker = count.clone().into();
        let mut cx = Context::from_waker(&waker);
        let mut confirmed = pin!(sent.confirmed());
        assert_eq!(confirmed.as_mut().poll(&mut cx), Poll::Pending);
        assert!(sent.cancel().is_some());
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "it is woken");
        assert_eq!(confirmed.as_mut().poll(&mut cx), Poll::Ready(Err(NotConfirmed::Cancelled)));
    }
}
