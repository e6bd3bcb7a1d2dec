//! What passes between a machine and its adapter: bytes in, bytes out, what to do with links, and when to wake.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::ids::LinkId;
use crate::time::Time;

/// Bytes that arrived, with the size of the buffer they stand in: a slice of them is kept only where it fills at least
/// half of that buffer, else it is copied, so that what is kept is at most twice what is counted.
#[derive(Clone, Debug)]
pub struct RecvBytes {
    /// The bytes.
    pub bytes: Bytes,
    /// How many bytes of memory live as long as a slice of them.
    pub capacity: usize,
}

impl From<Bytes> for RecvBytes {
    /// Bytes in a buffer of just their size.
    fn from(bytes: Bytes) -> RecvBytes {
        RecvBytes { capacity: bytes.len(), bytes }
    }
}

impl From<BytesMut> for RecvBytes {
    fn from(bytes: BytesMut) -> RecvBytes {
        RecvBytes { capacity: bytes.capacity(), bytes: bytes.freeze() }
    }
}

impl From<Vec<u8>> for RecvBytes {
    fn from(bytes: Vec<u8>) -> RecvBytes {
        RecvBytes { capacity: bytes.capacity(), bytes: bytes.into() }
    }
}

/// Bytes to write to a link, in order, as they are: a small head and shared segments. It is a [`Buf`], so that a
/// vectored write can take it piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Transmit {
    segments: Segments,
    next: usize,
}

/// Most packets have few segments, which stand in place.
#[derive(Clone, Debug)]
enum Segments {
    Few { list: [Bytes; FEW], count: usize },
    Many(Vec<Bytes>),
}

const FEW: usize = 3;

impl Default for Segments {
    fn default() -> Segments {
        Segments::Few { list: [const { Bytes::new() }; FEW], count: 0 }
    }
}

impl Transmit {
    /// The segments not yet taken through [`Buf`].
    pub fn segments(&self) -> &[Bytes] {
        let all = match &self.segments {
            Segments::Few { list, count } => &list[..*count],
            Segments::Many(list) => list,
        };
        &all[self.next..]
    }

    /// Appends a segment.
    pub(crate) fn push(&mut self, segment: Bytes) {
        match &mut self.segments {
            Segments::Few { list, count } if *count < FEW => {
                list[*count] = segment;
                *count += 1;
            }
            Segments::Few { list, .. } => {
                let few = list.iter_mut().map(core::mem::take);
                self.segments = Segments::Many(few.chain([segment]).collect());
            }
            Segments::Many(list) => list.push(segment),
        }
    }

    /// What stands at this place, to be replaced.
    pub(crate) fn segment_mut(&mut self, index: usize) -> &mut Bytes {
        match &mut self.segments {
            Segments::Few { list, .. } => &mut list[index],
            Segments::Many(list) => &mut list[index],
        }
    }

    /// Bytes not yet taken.
    pub fn len(&self) -> usize {
        self.segments().iter().map(Bytes::len).sum()
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Transmit {
    fn from(bytes: Bytes) -> Transmit {
        [bytes].into_iter().collect()
    }
}

impl FromIterator<Bytes> for Transmit {
    fn from_iter<I: IntoIterator<Item = Bytes>>(segments: I) -> Transmit {
        let mut transmit = Transmit::default();
        segments.into_iter().for_each(|segment| transmit.push(segment));
        transmit
    }
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.segments().first().map_or(&[], |segment| segment)
    }

    /// # Panics
    /// When `count` is more than what remains, as [`Buf::advance`] says.
    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let segment = self.segment_mut(self.next);
            let step = count.min(segment.len());
            segment.advance(step);
            count -= step;
            if segment.is_empty() {
                self.next += 1;
            }
        }
    }
}

/// What an adapter has to do with links.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkAction {
    /// Connect to this address; a former attempt that is still under way is given up. Answer with `handle_link_up`,
    /// or with `handle_dial_failed`.
    Dial(Arc<str>),
    /// Give up the attempt that is under way.
    CancelDial,
    /// The link has output: pull it with `poll_transmit` while the link can write. Told once until `poll_transmit`
    /// answers `None` for the link.
    Flush(LinkId),
    /// Write what `poll_transmit` still has for the link, then close it. The machine hears nothing from it any more.
    HangUp(LinkId),
}

/// When the machine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline {
    /// When; in the past when something is due already.
    pub at: Time,
    /// For what.
    pub timer: Timer,
}

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Timer {
    /// An action or event is queued: poll for it.
    Output,
    /// The next connection attempt.
    Redial,
    /// The end of a connection attempt: dialling and handshake.
    Attempt,
    /// The peer has been silent for as long as is tolerated.
    Silence,
    /// This side must be heard of.
    Keepalive,
    /// What was consumed is to be confirmed.
    Acknowledge,
    /// A waiting message's time to live ends.
    TimeToLive,
    /// An ask's time runs out.
    Ask,
    /// The end of a close or of a drain.
    Close,
    /// The end of a session whose client is away, or of what is kept of an ended one.
    Retention,
    /// A datagram link: a packet is lost, missed or may leave.
    Recovery,
    /// A link has not said in time who it is, or nobody has decided about an open.
    Open,
}

#[cfg(test)]
mod tests {
    use proptest::collection;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_arrived_states_the_memory_that_it_stands_in() {
        let mut bytes = BytesMut::with_capacity(100);
        bytes.extend_from_slice(b"few");
        assert_eq!(RecvBytes::from(bytes).capacity, 100);
        let mut bytes = Vec::with_capacity(200);
        bytes.extend_from_slice(b"few");
        assert_eq!(RecvBytes::from(bytes).capacity, 200);
        assert_eq!(RecvBytes::from(Bytes::from_static(b"few")).capacity, 3);
    }

    proptest! {
        #[test]
        fn writes_of_any_size_take_the_segments_in_order(
            segments in collection::vec(collection::vec(any::<u8>(), 1..50), 0..6),
            writes in collection::vec(0..100_usize, 0..20),
        ) {
            let all = segments.concat();
            let mut transmit = segments.into_iter().map(Bytes::from).collect::<Transmit>();
            let mut written = Vec::new();
            for most in writes.into_iter().chain([usize::MAX; 6]) {
                prop_assert_eq!(transmit.segments().concat(), &all[written.len()..]);
                prop_assert_eq!((transmit.len(), transmit.remaining()), (all.len() - written.len(), transmit.len()));
                prop_assert_eq!(transmit.is_empty(), written.len() == all.len());
                let chunk = transmit.chunk();
                prop_assert_eq!(chunk.is_empty(), transmit.is_empty());
                let taken = most.min(chunk.len());
                written.extend_from_slice(&chunk[..taken]);
                transmit.advance(taken);
            }
            prop_assert_eq!(written, all);
        }

        #[test]
        fn a_vectored_write_may_end_inside_any_segment(
            segments in collection::vec(collection::vec(any::<u8>(), 1..50), 1..6),
            written in any::<prop::sample::Index>(),
        ) {
            let all = segments.concat();
            let mut transmit = segments.into_iter().map(Bytes::from).collect::<Transmit>();
            let written = written.index(all.len() + 1);
            transmit.advance(written);
            prop_assert_eq!(transmit.segments().concat(), &all[written..]);
        }
    }

    #[test]
    fn bytes_alone_are_one_segment() {
        let transmit = Transmit::from(Bytes::from_static(b"farewell"));
        assert_eq!(transmit.segments(), [Bytes::from_static(b"farewell")]);
    }
}
