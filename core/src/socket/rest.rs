//! A socket on which nothing happens, and how it waits as bytes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Socket;
use crate::config::Config;
use crate::sparse;

/// About how many bytes an idle socket is before they are packed.
const TYPICAL: usize = 320;

impl Socket {
    /// Whether nothing of the application's is under way: nothing waits for it, for the peer or for a confirmation.
    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty()
            && self.actions.is_empty()
            && self.lanes.is_idle()
            && self.asks.is_idle()
            && self.volatile.is_idle()
            && self.report_at.is_none()
            && self.farewell.is_none()
            && self.handback.is_empty()
            && self.ending.is_none()
            && self.drain.is_none()
    }

    /// Whether the link is ready and in the middle of nothing, liveness included; or there is none.
    pub(crate) fn is_link_idle(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.is_idle())
    }

    /// All of the socket but its configuration, as bytes for [`Socket::from_bytes`] in the same process. `None`: it cannot
    /// be written.
    pub(crate) fn to_bytes(&self) -> Option<Box<[u8]>> {
        // Most of an idle socket is zeros.
        postcard::to_extend(self, Vec::with_capacity(TYPICAL)).ok().map(|bytes: Vec<u8>| sparse::pack(&bytes))
    }

    /// The socket that was written, with the configuration that it had.
    pub(crate) fn from_bytes(bytes: &[u8], config: Arc<Config>) -> Option<Socket> {
        let (socket, _) = postcard::take_from_bytes(&sparse::unpack(bytes)).ok()?;
        Some(Socket { config, ..socket })
    }
}
