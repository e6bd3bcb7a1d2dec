//! Datagrams on their way out, joined.

use std::net::SocketAddr;

use bytes::{Buf, BufMut};
use quinn_udp::Transmit as Joined;
use steadfast::Transmit;

/// The most bytes that are sent as one, which is what the length of a UDP datagram can say.
const MAX_JOINED: usize = 65_507;

/// Datagrams to one address which leave together: all of one size, but the last, which may be smaller.
#[derive(Default)]
pub(crate) struct Outbox {
    contents: Vec<u8>,
    /// The size of the first.
    size: usize,
    count: usize,
    is_full: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// Takes a datagram, at most `max_joined` together; gives it back when it has to wait for the next turn.
    pub(crate) fn push(&mut self, datagram: Transmit, max_joined: usize) -> Result<(), Transmit> {
        let len = datagram.remaining();
        let fits = len <= self.size && self.contents.len() + len <= MAX_JOINED;
        if !self.is_empty() && (self.is_full || !fits) {
            return Err(datagram);
        }
        if self.is_empty() {
            self.size = len;
        }
        self.contents.put(datagram);
        self.count += 1;
        self.is_full = len < self.size || self.count >= max_joined;
        Ok(())
    }

    /// What to send, and where to.
    pub(crate) fn transmit(&self, destination: SocketAddr) -> Option<Joined<'_>> {
        (!self.is_empty()).then(|| Joined {
            destination,
            ecn: None,
            contents: &self.contents,
            segment_size: (self.count > 1).then_some(self.size),
            src_ip: None,
        })
    }

    /// All was sent.
    pub(crate) fn clear(&mut self) {
        self.contents.clear();
        (self.size, self.count, self.is_full) = (0, 0, false);
    }

    /// Gives the memory up, for a time without work.
    pub(crate) fn shrink(&mut self) {
        self.contents = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn datagram(len: usize) -> Transmit {
        Transmit::from(Bytes::from(vec![len as u8; len]))
    }

    /// How many of these datagrams leave together.
    fn joined(sizes: &[usize], max_joined: usize) -> usize {
        let mut outbox = Outbox::default();
        sizes.iter().take_while(|size| outbox.push(datagram(**size), max_joined).is_ok()).count()
    }

    #[test]
    fn what_leaves_together_is_of_one_size_but_the_last() {
        assert_eq!(joined(&[1200, 1200, 1200], 64), 3);
        assert_eq!(joined(&[1200, 1200, 700, 700], 64), 3);
        assert_eq!(joined(&[700, 1200], 64), 1);
        assert_eq!(joined(&[1200; 5], 2), 2);
        assert_eq!(joined(&[1200; 100], 64), 54);
        assert_eq!(joined(&[40], 1), 1);
    }

    #[test]
    fn what_was_sent_makes_room() {
        let (mut outbox, to) = (Outbox::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(outbox.transmit(to).is_none());
        outbox.push(datagram(100), 2).unwrap();
        assert_eq!(outbox.transmit(to).unwrap().segment_size, None);
        outbox.push(datagram(60), 2).unwrap();
        let sent = outbox.transmit(to).unwrap();
        assert_eq!((sent.contents.len(), sent.segment_size), (160, Some(100)));
        assert!(outbox.push(datagram(60), 2).is_err());
        outbox.clear();
        assert!(outbox.is_empty() && outbox.push(datagram(200), 2).is_ok());
    }
}
