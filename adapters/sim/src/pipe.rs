//! One direction of a stream link.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use steadfast::Time;

use crate::conditions::Conditions;
use crate::rng::Rng;

/// Bytes on their way from one end of a stream link to the other: in order, in random pieces.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pieces: VecDeque<(Time, BytesMut)>,
    under_way: usize,
    free_at: Time,
    last_arrival: Time,
    end: Ending,
    /// Whether the world has the next arrival in its agenda.
    pub(crate) is_scheduled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Ending {
    /// Goes on.
    #[default]
    Open,
    /// The reader sees the end at this time.
    At(Time),
    /// Whatever is written is gone, and nobody is told.
    Hole,
    /// The reader has seen the end.
    Over,
}

/// What comes out of a pipe.
#[derive(Debug)]
pub(crate) enum Arrival {
    Piece(BytesMut),
    End,
}

impl Pipe {
    pub(crate) fn is_writable(&self, conditions: &Conditions) -> bool {
        matches!(self.end, Ending::Open | Ending::Hole) && self.under_way < conditions.room
    }

    /// Whether what is written now arrives.
    pub(crate) fn is_open(&self) -> bool {
        self.end == Ending::Open
    }

    /// How many bytes were written and have not arrived.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(crate) fn write(&mut self, now: Time, mut bytes: Bytes, conditions: &Conditions, rng: &mut Rng) {
        if self.end == Ending::Hole {
            self.under_way += bytes.len();
            return;
        }
        if self.end != Ending::Open {
            return;
        }
        while bytes.has_remaining() {
            let piece = bytes.split_to(rng.size(conditions.piece.clone()).clamp(1, bytes.len()));
            let mut buffer = BytesMut::with_capacity(rng.size(conditions.buffer.clone()).max(piece.len()));
            buffer.extend_from_slice(&piece);
            self.under_way += piece.len();
            self.free_at = self.free_at.max(now) + transmission_time(piece.len(), conditions.rate);
            self.last_arrival = self.last_arrival.max(self.free_at + rng.duration(&conditions.latency));
            self.pieces.push_back((self.last_arrival, buffer));
        }
    }

    /// Nothing follows what was written.
    pub(crate) fn finish(&mut self, now: Time, latency: Duration) {
        if self.end == Ending::Open {
            self.last_arrival = self.last_arrival.max(now + latency);
            self.end = Ending::At(self.last_arrival);
        }
    }

    /// Breaks: the first `keep` bytes of what is under way still arrive, the rest never. With `notice` the reader sees
    /// the end that long afterwards.
    pub(crate) fn break_off(&mut self, now: Time, mut keep: usize, notice: Option<Duration>) {
        if matches!(self.end, Ending::Over | Ending::Hole) {
            return;
        }
        self.pieces.retain_mut(|(_, piece)| {
            piece.truncate(keep);
            keep -= piece.len();
            !piece.is_empty()
        });
        self.under_way = self.pieces.iter().map(|(_, piece)| piece.len()).sum();
        self.last_arrival = self.pieces.back().map_or(now, |(at, _)| *at);
        self.end = Ending::Hole;
        if let Some(latency) = notice {
            self.end = Ending::Open;
            self.finish(now, latency);
        }
    }

    /// When the next piece, or the end, arrives.
    pub(crate) fn next_arrival(&self) -> Option<Time> {
        match (self.pieces.front(), self.end) {
            (Some((at, _)), _) => Some(*at),
            (None, Ending::At(at)) => Some(at),
            (None, _) => None,
        }
    }

    /// What has arrived.
    pub(crate) fn read(&mut self, now: Time) -> Option<Arrival> {
        if self.next_arrival()? > now {
            return None;
        }
        match self.pieces.pop_front() {
            Some((_, piece)) => {
                self.under_way -= piece.len();
                Some(Arrival::Piece(piece))
            }
            None => {
                self.end = Ending::Over;
                Some(Arrival::End)
            }
        }
    }
}

fn transmission_time(len: usize, rate: Option<u64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| Duration::from_micros(len as u64 * 1_000_000 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(pipe: &mut Pipe) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        while let Some(arrival) = pipe.read(Time::MAX) {
            match arrival {
                Arrival::Piece(piece) => read.extend_from_slice(&piece),
                Arrival::End => return (read, true),
            }
        }
        (read, false)
    }

    #[test]
    fn bytes_arrive_in_order_and_then_the_end() {
        let mut rng = Rng::new(3);
        let conditions = Conditions { piece: 1..=9, ..Conditions::default() };
        let mut pipe = Pipe::default();
        let written: Bytes = rng.bytes(500).into();
        pipe.write(Time::ZERO, written.clone(), &conditions, &mut rng);
        pipe.finish(Time::ZERO, Duration::ZERO);
        assert!(pipe.read(Time::ZERO).is_none(), "nothing arrives before its time");
        assert_eq!(everything(&mut pipe), (written.to_vec(), true));
    }

    #[test]
    fn a_broken_pipe_yields_a_first_part() {
        for keep in 0..=10 {
            let mut pipe = Pipe::default();
            let conditions = Conditions { piece: 1..=4, ..Conditions::default() };
            pipe.write(Time::ZERO, Bytes::from(vec![7; 10]), &conditions, &mut Rng::new(3));
            pipe.break_off(Time::ZERO, keep, Some(Duration::ZERO));
            assert_eq!(everything(&mut pipe), (vec![7; keep], true));
        }
    }

    #[test]
    fn a_hole_fills_up_and_says_nothing() {
        let mut rng = Rng::new(3);
        let conditions = Conditions { room: 100, ..Conditions::default() };
        let mut pipe = Pipe::default();
        pipe.break_off(Time::ZERO, 0, None);
        assert!(pipe.is_writable(&conditions));
        pipe.write(Time::ZERO, Bytes::from(vec![7; 100]), &conditions, &mut rng);
        assert!(!pipe.is_writable(&conditions));
        assert_eq!(everything(&mut pipe), (Vec::new(), false));
    }

    #[test]
    fn a_rate_spreads_bytes_over_time() {
        let mut rng = Rng::new(3);
        let conditions = Conditions { rate: Some(1000), piece: 100..=100, ..Conditions::default() };
        let mut pipe = Pipe::default();
        pipe.write(Time::ZERO, Bytes::from(vec![7; 1000]), &conditions, &mut rng);
        let half = Time::from_millis(501);
        assert_eq!(std::iter::from_fn(|| pipe.read(half)).count(), 5);
    }
}
