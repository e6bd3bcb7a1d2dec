//! A map by ids that this side gives out in ascending order: nobody else can choose them, so that a plain mix of their
//! bits is hash enough.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such ids.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// The odd number next to 2^64 divided by the golden ratio: consecutive numbers come out far apart.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes numbers by one multiplication.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_ids_spread_over_high_and_low_bits() {
        let hash = |number| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(number);
            hasher.finish()
        };
        // A table takes its place from the low bits and its tag from the seven highest.
        for bits in [0..7, 57..64] {
            let values: std::collections::BTreeSet<u64> = (0..1024).map(|id| hash(id) >> bits.start & 0x7F).collect();
            assert_eq!(values.len(), 128);
        }
    }
}
