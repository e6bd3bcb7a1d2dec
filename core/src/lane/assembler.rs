//! Bytes that arrived out of order, until those before them are here.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::memory::keep;

/// Bytes in a block. One bit each says which are here: 32 words, the longest array that serde takes.
const BLOCK: usize = 32 * 64;
/// What a piece costs beside its bytes.
const PIECE_OVERHEAD: usize = 96;
/// What pieces may cost beyond twice the range that they span, in bytes.
const ALLOWANCE: usize = 4096;

/// Ranges of bytes by their offset.
///
/// They are kept as pieces, slices of what arrived. When these come to cost more than twice the range from the first to
/// the last one, because they are tiny, they are copied into blocks, until nothing is left.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Assembler {
    /// By start, without overlap.
    pieces: BTreeMap<u64, Piece>,
    /// By start, a multiple of [`BLOCK`]. One of the two maps is empty.
    blocks: BTreeMap<u64, Box<Block>>,
    /// What the pieces cost.
    cost: usize,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Piece {
    bytes: Bytes,
    /// How much memory lives as long as the bytes.
    capacity: usize,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Block {
    bytes: Vec<u8>,
    here: [u64; BLOCK / 64],
}

impl Piece {
    fn new(bytes: Bytes, capacity: usize) -> Piece {
        let len = bytes.len();
        let (bytes, capacity) = keep(bytes, len, capacity);
        Piece { bytes, capacity }
    }

    fn cost(&self) -> usize {
        self.capacity + PIECE_OVERHEAD
    }
}

impl Assembler {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.blocks.is_empty()
    }

    /// Adds the bytes at `offset`, which live in `capacity` bytes of memory. None may have been taken before.
    pub(super) fn insert(&mut self, mut offset: u64, mut bytes: Bytes, capacity: usize) {
        if !self.blocks.is_empty() {
            return self.write(offset, &bytes);
        }
        let mut end = offset + bytes.len() as u64;
        if let Some((start, piece)) = self.pieces.range(..=offset).next_back() {
            let known = (start + piece.bytes.len() as u64).saturating_sub(offset);
            if known >= bytes.len() as u64 {
                return;
            }
            bytes.advance(known as usize);
            offset += known;
        }
        // From the last one on, so that only the first can reach beyond the end.
        while let Some((&start, piece)) = self.pieces.range(offset..end).next_back() {
            if start + piece.bytes.len() as u64 > end {
                bytes.truncate((start - offset) as usize);
                end = start;
            } else {
                self.cost -= piece.cost();
                self.pieces.remove(&start);
            }
        }
        if bytes.is_empty() {
            return;
        }
        let piece = Piece::new(bytes, capacity);
        self.cost += piece.cost();
        self.pieces.insert(offset, piece);
        if self.cost > ALLOWANCE + 2 * self.span() {
            self.cost = 0;
            for (offset, piece) in core::mem::take(&mut self.pieces) {
                self.write(offset, &piece.bytes);
            }
        }
    }

    /// From the first to the last byte.
    fn span(&self) -> usize {
        match (self.pieces.first_key_value(), self.pieces.last_key_value()) {
            (Some((first, _)), Some((last, piece))) => (last - first) as usize + piece.bytes.len(),
            _ => 0,
        }
    }

    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = (offset % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            self.blocks.entry(offset - within as u64).or_insert_with(Block::new).write(within, now);
            bytes = rest;
            offset += now.len() as u64;
        }
    }

    /// How far the bytes reach without a gap, from `offset` on.
    pub(super) fn contiguous(&self, mut offset: u64) -> u64 {
        while let Some(piece) = self.pieces.get(&offset) {
            offset += piece.bytes.len() as u64;
        }
        loop {
            let within = offset % BLOCK as u64;
            let Some(block) = self.blocks.get(&(offset - within)) else { return offset };
            let end = block.contiguous(within as usize);
            offset += end as u64 - within;
            if end < BLOCK {
                return offset;
            }
        }
    }

    /// Takes some of the bytes at `offset`, before which nothing may be left, and the memory that lives as long as they.
    pub(super) fn pop(&mut self, offset: u64) -> Option<(Bytes, usize)> {
        if let Some(piece) = self.pieces.remove(&offset) {
            self.cost -= piece.cost();
            return Some((piece.bytes, piece.capacity));
        }
        let within = (offset % BLOCK as u64) as usize;
        let start = offset - within as u64;
        let block = self.blocks.get(&start)?;
        let end = block.contiguous(within);
        if end == within {
            return None;
        }
        let bytes = Bytes::copy_from_slice(&block.bytes[within..end]);
        if block.is_over(end) {
            self.blocks.remove(&start);
        }
        Some((bytes, end - within))
    }

    /// Bytes of heap behind it, about: maps are counted as if their nodes were half full.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let pieces: usize = self.pieces.values().map(|piece| piece.capacity + PIECE_OVERHEAD).sum();
        pieces + self.blocks.len() * (BLOCK + size_of::<Block>() + 64)
    }
}

impl Block {
    fn new() -> Box<Block> {
        Box::new(Block { bytes: alloc::vec![0; BLOCK], here: [0; BLOCK / 64] })
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.bytes[at..end].copy_from_slice(bytes);
        for word in at / 64..end.div_ceil(64) {
            let from = at.saturating_sub(word * 64);
            let to = (end - word * 64).min(64);
            self.here[word] |= u64::MAX >> (64 - (to - from)) << from;
        }
    }

    /// How far the bytes reach without a gap, from `at` on.
    fn contiguous(&self, at: usize) -> usize {
        let mut end = at;
        while end < BLOCK {
            let ones = (self.here[end / 64] >> (end % 64)).trailing_ones() as usize;
            end += ones;
            if ones == 0 || end % 64 != 0 {
                break;
            }
        }
        end
    }

    /// Whether nothing is here from `at` on.
    fn is_over(&self, at: usize) -> bool {
        match self.here.get(at / 64..) {
            Some([first, rest @ ..]) => first >> (at % 64) == 0 && rest.iter().all(|word| *word == 0),
            Some([]) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn byte(offset: u64) -> u8 {
        (offset * 7 + offset / 256) as u8
    }

    /// What must have arrived, byte by byte.
    struct Naive {
        here: Vec<bool>,
        received: u64,
    }

    impl Naive {
        fn insert(&mut self, range: core::ops::Range<u64>) {
            range.for_each(|offset| self.here[offset as usize] = true);
            while self.here[self.received as usize] {
                self.received += 1;
            }
        }
    }

    fn check(ranges: impl IntoIterator<Item = (u64, u64, bool, bool)>) -> Result<(), TestCaseError> {
        const SIZE: u64 = 20_000;
        let mut assembler = Assembler::default();
        let mut naive = Naive { here: vec![false; SIZE as usize + 1], received: 0 };
        let (mut taken, mut last) = (0, 0);
        for (start, len, wasteful, take) in ranges {
            let end = (start + len).min(SIZE);
            let start = start.max(naive.received);
            if start < end {
                let bytes = Bytes::from_iter((start..end).map(byte));
                let capacity = bytes.len() * if wasteful { 3 } else { 1 };
                assembler.insert(start, bytes, capacity);
                prop_assert_eq!(assembler.contiguous(naive.received), {
                    naive.insert(start..end);
                    naive.received
                });
                last = last.max(end);
            }
            let bound = 2 * (last - taken.min(last)) as usize + ALLOWANCE + 5 * BLOCK;
            prop_assert!(assembler.allocated() <= bound, "{} of {bound}", assembler.allocated());
            if take {
                while let Some((bytes, capacity)) = assembler.pop(taken) {
                    prop_assert!(!bytes.is_empty() && bytes.len() <= capacity && capacity <= 2 * bytes.len());
                    prop_assert!(bytes.iter().zip(taken..).all(|(found, offset)| *found == byte(offset)));
                    taken += bytes.len() as u64;
                }
                prop_assert_eq!(taken, naive.received);
                prop_assert_eq!(assembler.is_empty(), naive.here[taken as usize..].iter().all(|here| !here));
            }
        }
        Ok(())
    }

    fn range(most: u64) -> impl Strategy<Value = (u64, u64, bool, bool)> {
        (0..20_000_u64, 1..=most, any::<bool>(), proptest::bool::weighted(0.1))
    }

    proptest! {
        #[test]
        fn ranges_in_any_order_come_out_in_order(ranges in proptest::collection::vec(range(3000), 0..100)) {
            check(ranges)?;
        }

        #[test]
        fn so_do_tiny_ones_among_large_ones(
            ranges in proptest::collection::vec(prop_oneof![20 => range(3), 1 => range(3000)], 0..2000),
        ) {
            check(ranges)?;
        }
    }

    #[test]
    fn what_is_not_tiny_is_not_copied_even_when_a_larger_piece_replaces_it() {
        const SIZE: usize = 16_000;
        let memory = Bytes::from_iter((0..SIZE as u64).map(byte));
        for size in [100, 4000] {
            let mut assembler = Assembler::default();
            for start in (0..SIZE).step_by(size).rev() {
                let inner = start + size / 8..start + size * 7 / 8;
                assembler.insert(inner.start as u64, memory.slice(inner), size);
                assembler.insert(start as u64, memory.slice(start..start + size), size);
            }
            let mut taken = 0;
            while let Some((bytes, _)) = assembler.pop(taken as u64) {
                assert_eq!(bytes.as_ptr(), memory[taken..].as_ptr(), "pieces of {size}");
                taken += bytes.len();
            }
            assert_eq!(taken, SIZE);
        }
    }

    #[test]
    fn every_second_byte_and_then_the_others() {
        let single = |take| move |index| (index, 1, true, take);
        let odd = (0..2000).map(|index| 2 * index + 1).map(single(false));
        let even = (0..2000).map(|index| 2 * index);
        let descending = even.clone().rev().map(single(false));
        check(odd.clone().chain(descending).chain([(0, 20_000, false, true)])).unwrap();
        check(odd.chain(even.map(single(true)))).unwrap();
    }

    #[test]
    fn what_was_taken_costs_nothing_any_more() {
        let memory = Bytes::from(vec![7; 1000]);
        let mut assembler = Assembler::default();
        for start in (0..100_000).step_by(1000) {
            assembler.insert(start, memory.clone(), memory.len());
            assert_eq!(assembler.pop(start).unwrap().0.as_ptr(), memory.as_ptr(), "at {start}");
        }
    }

    #[test]
    fn many_pieces_cost_little_more_than_twice_the_range_that_they_span() {
        for (first, len) in [(0, 50), (1 << 40, 1)] {
            let mut assembler = Assembler::default();
            for index in 0..1000 {
                assembler.insert(first + index * (len + 1), Bytes::from(vec![7; len as usize]), len as usize);
            }
            let bound = 2 * 1000 * (len as usize + 1) + ALLOWANCE + 5 * BLOCK;
            assert!(assembler.allocated() <= bound, "{} of {bound}", assembler.allocated());
        }
    }

    /// Inserts these ranges one after the other: which pieces are there then, and whether they cost what they should.
    fn pieces(ranges: &[(u64, u64)]) -> (Vec<(u64, u64)>, bool) {
        let mut assembler = Assembler::default();
        for (start, end) in ranges.iter().copied() {
            let bytes = Bytes::from_iter((start..end).map(byte));
            assembler.insert(start, bytes.clone(), bytes.len());
        }
        let pieces = assembler.pieces.iter().map(|(start, piece)| (*start, start + piece.bytes.len() as u64));
        let pieces: Vec<_> = pieces.collect();
        let cost: usize = assembler.pieces.values().map(Piece::cost).sum();
        (pieces, assembler.cost == cost)
    }

    #[test]
    fn what_overlaps_is_kept_once_and_counted_once() {
        for (ranges, expected) in [
            // Inside, and all of it again.
            (vec![(10, 20), (12, 18)], vec![(10, 20)]),
            (vec![(10, 20), (10, 20), (10, 15), (15, 20)], vec![(10, 20)]),
            // Over one end, over both, and between two.
            (vec![(10, 20), (15, 25)], vec![(10, 20), (20, 25)]),
            (vec![(10, 20), (5, 15)], vec![(5, 10), (10, 20)]),
            (vec![(10, 20), (5, 25)], vec![(5, 25)]),
            (vec![(10, 20), (5, 20)], vec![(5, 20)]),
            (vec![(10, 20), (25, 30), (15, 28)], vec![(10, 20), (20, 25), (25, 30)]),
            // Over several, of which the next one begins where the known bytes end.
            (vec![(10, 20), (20, 30), (10, 40)], vec![(10, 20), (20, 40)]),
            (vec![(5, 8), (10, 12), (15, 25), (0, 20)], vec![(0, 15), (15, 25)]),
            (vec![(10, 20), (20, 30), (10, 25)], vec![(10, 20), (20, 30)]),
        ] {
            assert_eq!(pieces(&ranges), (expected, true), "{ranges:?}");
        }
    }
}
