//! The one source of chance in a simulated world.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A small deterministic generator (SplitMix64): the same seed gives the same numbers, for ever and on every machine.
/// Good enough to choose schedules with; not for secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed. Neighbouring seeds give unrelated numbers.
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed);
        rng.0 = rng.u64();
        rng
    }

    /// A generator of its own, so that what one part of a world draws does not move what another part draws.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.u64())
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of the range.
    ///
    /// # Panics
    /// When the range is empty; so do [`Rng::size`] and [`Rng::duration`].
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high, "nothing is within {low}..={high}");
        low + self.below((high - low).saturating_add(1))
    }

    /// A size of the range.
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let (low, high) = range.into_inner();
        self.number(low as u64..=high as u64) as usize
    }

    /// A duration of the range, in whole microseconds.
    pub fn duration(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        Duration::from_micros(self.number(range.start().as_micros() as u64..=range.end().as_micros() as u64))
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True in `percent` of 100 times.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True with this probability: 0 is never, 1 always.
    pub fn chance(&mut self, probability: f64) -> bool {
        // The 53 bits that a number of this type holds exactly, as a fraction of 1.
        ((self.u64() >> 11) as f64) / ((1_u64 << 53) as f64) < probability
    }

    /// One of the choices.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Any bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 7);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.u64().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// A seed for a machine.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed.copy_from_slice(&self.bytes(32));
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert!((0..100).all(|_| a.u64() == b.u64()));
        assert_ne!(Rng::new(7).u64(), Rng::new(8).u64());
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_both_ends() {
        let mut rng = Rng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.number(3..=5)).collect();
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
        assert!((3..=5).all(|n| drawn.contains(&n)));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.number(9..=9), 9);
        assert_eq!(rng.bytes(13).len(), 13);
        assert!((0..1000).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
    }

    #[test]
    #[should_panic(expected = "nothing is within 5000..=3000")]
    fn an_empty_range_is_named() {
        Rng::new(1).duration(&(Duration::from_millis(5)..=Duration::from_millis(3)));
    }
}
