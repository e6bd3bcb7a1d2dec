//! What packets carried, and what of it has to be sent again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::recovery::Fate;

/// Bytes of a lane's stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LaneBytes {
    pub(crate) lane: u64,
    pub(crate) range: Range<u64>,
}

/// State of which the newest value is sent again when a packet with it is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    Allow,
    Close,
    Closed,
    GoAway,
    Challenge,
    Response,
    Report(u64),
    LaneDone(u64),
    Prompt(u64),
}

/// What one packet carried. Most carry one piece of a lane, or one word.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Carried {
    piece: Option<LaneBytes>,
    pieces: Vec<LaneBytes>,
    /// How many of the pieces stood in the packet for their own sake; those behind them were repeated.
    wanted: usize,
    words: Vec<Word>,
}

impl Carried {
    /// Adds a piece that is to arrive. A piece that goes on where the last one ended becomes one with it.
    pub(crate) fn add_piece(&mut self, lane: u64, range: Range<u64>) {
        self.wanted += usize::from(self.push(lane, range));
    }

    /// Adds a piece that another packet carries, too.
    pub(crate) fn add_repeated(&mut self, lane: u64, range: Range<u64>) {
        self.push(lane, range);
    }

    fn push(&mut self, lane: u64, range: Range<u64>) -> bool {
        let last = self.pieces.last_mut().or(self.piece.as_mut());
        if let Some(last) = last.filter(|last| last.lane == lane && last.range.end == range.start) {
            last.range.end = range.end;
            return false;
        }
        let piece = LaneBytes { lane, range };
        match &self.piece {
            None => self.piece = Some(piece),
            Some(_) => self.pieces.push(piece),
        }
        true
    }

    pub(crate) fn add_word(&mut self, word: Word) {
        self.words.push(word);
    }

    /// Whether it is reports alone: nobody waits to hear that they arrived.
    pub(crate) fn is_reports(&self) -> bool {
        let is_report = |word: &Word| matches!(word, Word::Report(_));
        self.piece.is_none() && !self.words.is_empty() && self.words.iter().all(is_report)
    }

    fn pieces(&self) -> impl Iterator<Item = &LaneBytes> {
        self.piece.iter().chain(&self.pieces)
    }

    /// The pieces that stood in the packet for their own sake.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &LaneBytes> {
        self.pieces().take(self.wanted)
    }
}

/// Which bytes of the lanes the peer has received by what it acknowledged, and what has to be sent again.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outstanding {
    main: Stream,
    others: BTreeMap<u64, Stream>,
    /// The lanes with lost bytes.
    lost: BTreeSet<u64>,
    /// What was lost and sent again, and is to be sent once more when nothing else is.
    copies: VecDeque<LaneBytes>,
    words: BTreeSet<Word>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Stream {
    acked: Ranges,
    lost: Ranges,
}

/// With fewer acknowledged ranges than this in a lane it is not asked what the peer has received.
const FEW: usize = 32;
/// Most pieces that wait to be sent once more.
const COPIES: usize = 64;

impl Outstanding {
    /// A packet's fate is known. `received`: up to where the peer has received a lane, as far as it told.
    pub(crate) fn on_fate(&mut self, fate: Fate, carried: &Carried, received: impl Fn(u64) -> u64) {
        for LaneBytes { lane, range } in carried.pieces() {
            let stream = if *lane == 0 { &mut self.main } else { self.others.entry(*lane).or_default() };
            match fate {
                Fate::Acked | Fate::Found => {
                    stream.acked.insert(range.clone());
                    if stream.acked.len() > FEW {
                        stream.acked.insert(0..received(*lane));
                        // What is forgotten is sent again at worst.
                        stream.acked.forget_lowest();
                    }
                    stream.lost.remove(range.clone());
                }
                Fate::Lost => {
                    for gap in stream.acked.gaps(range.clone()) {
                        stream.lost.insert(gap);
                        stream.lost.close_lowest();
                    }
                }
            }
            if stream.lost.is_empty() {
                self.lost.remove(lane);
            } else {
                self.lost.insert(*lane);
            }
        }
        if fate == Fate::Lost {
            self.words.extend(carried.words.iter().copied());
        }
    }

    /// Whether bytes are to be sent again.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A lane and the first of its bytes that are to be sent again.
    pub(crate) fn first_lost(&self) -> Option<LaneBytes> {
        let lane = *self.lost.first()?;
        let stream = if lane == 0 { &self.main } else { self.others.get(&lane)? };
        Some(LaneBytes { lane, range: stream.lost.first()? })
    }

    /// These bytes need not be sent again, or are.
    pub(crate) fn take_lost(&mut self, lane: u64, range: Range<u64>) {
        let stream = if lane == 0 { Some(&mut self.main) } else { self.others.get_mut(&lane) };
        let rest = stream.is_some_and(|stream| {
            stream.lost.remove(range);
            !stream.lost.is_empty()
        });
        if !rest {
            self.lost.remove(&lane);
        }
    }

    /// These bytes were sent again with nothing behind them, and are to be sent once more.
    pub(crate) fn copy_later(&mut self, bytes: LaneBytes) {
        if self.copies.len() < COPIES {
            self.copies.push_back(bytes);
        }
    }

    pub(crate) fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// The next bytes that are to be sent once more.
    pub(crate) fn take_copy(&mut self) -> Option<LaneBytes> {
        let copy = self.copies.pop_front();
        if self.copies.is_empty() {
            self.copies = VecDeque::new();
        }
        copy
    }

    pub(crate) fn drop_copies(&mut self) {
        self.copies = VecDeque::new();
    }

    /// The parts of these bytes that no acknowledged packet carried.
    pub(crate) fn unacknowledged(&self, LaneBytes { lane, range }: &LaneBytes) -> Vec<LaneBytes> {
        let gap = |range| LaneBytes { lane: *lane, range };
        match if *lane == 0 { Some(&self.main) } else { self.others.get(lane) } {
            Some(stream) => stream.acked.gaps(range.clone()).map(gap).collect(),
            None => Vec::from([gap(range.clone())]),
        }
    }

    /// State that was lost and is to be told again, once.
    pub(crate) fn take_words(&mut self) -> BTreeSet<Word> {
        core::mem::take(&mut self.words)
    }

    /// Forgets lanes that are over, when there are many of them.
    pub(crate) fn tidy(&mut self, live: usize, is_live: impl Fn(u64) -> bool) {
        if self.others.len() > 2 * live + 16 {
            self.others.retain(|lane, _| is_live(*lane));
            let others = &self.others;
            self.lost.retain(|lane| *lane == 0 || others.contains_key(lane));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(lane: u64, range: Range<u64>) -> Carried {
        let mut carried = Carried::default();
        carried.add_piece(lane, range);
        carried
    }

    #[test]
    fn what_the_peer_has_received_is_one_range_whatever_it_leaves_unacknowledged() {
        let mut outstanding = Outstanding::default();
        for number in 0..10_000 {
            outstanding.on_fate(Fate::Acked, &piece(2, 20 * number..20 * number + 10), |_| 20 * number);
        }
        assert!(outstanding.others[&2].acked.len() <= FEW + 2);
    }

    #[test]
    fn of_too_many_ranges_the_lowest_count_as_not_acknowledged_and_all_that_is_lost_is_sent_again() {
        let mut outstanding = Outstanding::default();
        for number in 0..10_000 {
            outstanding.on_fate(Fate::Acked, &piece(2, 20 * number..20 * number + 10), |_| 0);
            outstanding.on_fate(Fate::Lost, &piece(2, 20 * number + 12..20 * number + 18), |_| 0);
        }
        let stream = &outstanding.others[&2];
        assert!(stream.acked.len() <= 1024 && stream.lost.len() <= 1024);
        assert_eq!(stream.lost.first().map(|first| first.start), Some(12));
        let again: u64 = (0..10_000)
            .filter(|number| stream.lost.gaps(20 * number + 12..20 * number + 18).count() == 0)
            .count() as u64;
        assert_eq!(again, 10_000);
    }

    #[test]
    fn pieces_of_one_lane_that_go_on_are_one() {
        let mut carried = Carried::default();
        for (lane, range) in [(0, 0..10), (0, 10..20), (2, 20..30), (2, 30..35), (2, 40..50)] {
            carried.add_piece(lane, range);
        }
        carried.add_repeated(4, 0..5);
        let pieces = [(0, 0..20), (2, 20..35), (2, 40..50), (4, 0..5)].map(|(lane, range)| LaneBytes { lane, range });
        assert!(carried.pieces().eq(&pieces));
        assert!(carried.wanted().eq(&pieces[..3]));
    }

    #[test]
    fn what_no_acknowledged_packet_carried_is_known_for_each_lane() {
        for lane in [0, 2] {
            let mut outstanding = Outstanding::default();
            let all = LaneBytes { lane, range: 0..30 };
            assert_eq!(outstanding.unacknowledged(&all), core::slice::from_ref(&all));
            outstanding.on_fate(Fate::Acked, &piece(lane, 10..20), |_| 0);
            let rest = [0..10, 20..30].map(|range| LaneBytes { lane, range });
            assert_eq!(outstanding.unacknowledged(&all), rest);
        }
    }

    #[test]
    fn a_few_ranges_are_kept_apart_without_a_look_at_what_was_received() {
        let mut outstanding = Outstanding::default();
        for number in 0..FEW as u64 {
            outstanding.on_fate(Fate::Acked, &piece(2, 20 * number..20 * number + 10), |_| unreachable!());
        }
        assert_eq!(outstanding.others[&2].acked.len(), FEW);
    }

    #[test]
    fn so_many_pieces_wait_to_be_sent_once_more() {
        let mut outstanding = Outstanding::default();
        let bytes = |number| LaneBytes { lane: 2, range: number..number + 1 };
        (0..100).for_each(|number| outstanding.copy_later(bytes(number)));
        for number in 0..COPIES as u64 {
            assert!(outstanding.has_copies());
            assert_eq!(outstanding.take_copy(), Some(bytes(number)));
        }
        assert!(!outstanding.has_copies());
        assert_eq!(outstanding.take_copy(), None);
    }

    #[test]
    fn lanes_that_are_over_are_forgotten_when_there_are_many() {
        let mut outstanding = Outstanding::default();
        for lane in (0..=44).step_by(2) {
            outstanding.on_fate(Fate::Lost, &piece(lane, 0..10), |_| 0);
            outstanding.tidy(3, |lane| lane < 8);
        }
        assert_eq!(outstanding.others.len(), 2 * 3 + 16);
        outstanding.on_fate(Fate::Lost, &piece(46, 0..10), |_| 0);
        outstanding.tidy(3, |lane| lane < 8);
        assert!(outstanding.others.keys().eq(&[2, 4, 6]));
        assert!(outstanding.lost.iter().eq(&[0, 2, 4, 6]));
    }
}
