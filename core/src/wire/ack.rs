//! Which packets of a datagram link have arrived (PROTOCOL.md §14.3).

use core::ops::Range;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::error::WireError;
use super::varint;

/// An ACK. Its ranges are read when they are asked for, so that nothing is allocated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ack {
    /// How long the largest number waited.
    pub(crate) delay: Duration,
    largest: u64,
    first: u64,
    /// Pairs of gap and length, known to be good.
    rest: Bytes,
}

/// Most ranges behind the first.
const MAX_FURTHER: u64 = 31;

const MALFORMED: WireError = WireError::Malformed("ack");

impl Ack {
    /// Takes the body of the frame off `packet`.
    pub(super) fn decode(packet: &mut Bytes) -> Result<Ack, WireError> {
        let [largest, delay, count, first] = varint::take_all(packet)?;
        if count > MAX_FURTHER {
            return Err(MALFORMED);
        }
        let mut lowest = largest.checked_sub(first).ok_or(MALFORMED)?;
        let all = packet.clone();
        for _ in 0..count {
            let pair = varint::take_all(packet)?;
            lowest = below(lowest, pair).ok_or(MALFORMED)?.start;
        }
        let rest = all.slice(..all.len() - packet.len());
        Ok(Ack { delay: Duration::from_micros(delay), largest, first, rest })
    }

    /// Appends the frame without its type, of at most 32 ranges that descend and leave gaps. There must be one.
    pub(super) fn encode(delay: Duration, mut ranges: impl Iterator<Item = Range<u64>> + Clone, out: &mut BytesMut) {
        let count = ranges.clone().count().saturating_sub(1) as u64;
        let Some(first) = ranges.next() else { return };
        let delay = delay.as_micros().min(u64::MAX as u128) as u64;
        varint::put_all([first.end - 1, delay, count.min(MAX_FURTHER), first.end - 1 - first.start], out);
        let mut lowest = first.start;
        for range in ranges.take(MAX_FURTHER as usize) {
            varint::put_all([lowest - range.end - 1, range.end - 1 - range.start], out);
            lowest = range.start;
        }
    }

    /// The numbers that have arrived, in descending ranges that do not touch.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + Clone + use<> {
        // A number of 64 bits all ones would end beyond them; it is never used.
        let first = self.largest - self.first..self.largest.saturating_add(1);
        let (mut lowest, mut rest) = (first.start, self.rest.clone());
        let further = core::iter::from_fn(move || {
            let range = below(lowest, varint::take_all(&mut rest).ok()?)?;
            lowest = range.start;
            Some(range)
        });
        core::iter::once(first).chain(further)
    }
}

/// The range that a gap and a length describe below `lowest`.
fn below(lowest: u64, [gap, length]: [u64; 2]) -> Option<Range<u64>> {
    let last = lowest.checked_sub(2)?.checked_sub(gap)?;
    Some(last.checked_sub(length)?..last + 1)
}
