//! Proofs of knowing a session's secret, and random numbers from a seed.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A message authentication code. Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Mac([u8; Mac::LEN]);

impl Mac {
    /// Bytes in a MAC.
    pub(crate) const LEN: usize = 32;

    /// The MAC that stands on the wire as `bytes`.
    pub(crate) const fn from_bytes(bytes: [u8; Mac::LEN]) -> Mac {
        Mac(bytes)
    }

    /// The bytes as they stand on the wire.
    pub(crate) const fn as_bytes(&self) -> &[u8; Mac::LEN] {
        &self.0
    }
}

impl PartialEq for Mac {
    fn eq(&self, other: &Mac) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Mac {}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// The key with which one of the two roles proves that it knows the session's secret (PROTOCOL.md §3.6).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MacKey([u8; 32]);

impl MacKey {
    /// The key of what the client says.
    pub(crate) fn client(secret: &[u8; 32]) -> MacKey {
        MacKey(blake3::derive_key("steadfast 1 client mac", secret))
    }

    /// The key of what the server says.
    pub(crate) fn server(secret: &[u8; 32]) -> MacKey {
        MacKey(blake3::derive_key("steadfast 1 server mac", secret))
    }

    /// The MAC of `transcript` followed by `bytes`.
    pub(crate) fn mac(&self, transcript: &[u8], bytes: &[u8]) -> Mac {
        Mac(blake3::Hasher::new_keyed(&self.0).update(transcript).update(bytes).finalize().into())
    }

    /// Whether `mac` is the MAC of `transcript` followed by `bytes`, in constant time.
    pub(crate) fn verify(&self, transcript: &[u8], bytes: &[u8], mac: &Mac) -> bool {
        self.mac(transcript, bytes) == *mac
    }
}

/// What the connection id of a datagram link comes from: the first bytes of a keyed hash (PROTOCOL.md §14.1).
pub(crate) fn connection_id(secret: &[u8; 32], epoch: u64, from_server: bool) -> [u8; 8] {
    let key = blake3::derive_key("steadfast 1 connection id", secret);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&epoch.to_le_bytes()).update(&[u8::from(from_server)]);
    let mut id = [0; 8];
    hasher.finalize_xof().fill(&mut id);
    id
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// Random numbers that follow from a seed alone and tell nothing about one another: the output stream of keyed BLAKE3.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rng {
    key: [u8; 32],
    /// Of the next byte in the key's output stream.
    position: u64,
}

impl Rng {
    /// The numbers of `seed`, from the first one on.
    pub(crate) fn new(seed: [u8; 32]) -> Rng {
        Rng { key: blake3::derive_key("steadfast 1 random", &seed), position: 0 }
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let mut stream = blake3::Hasher::new_keyed(&self.key).finalize_xof();
        stream.set_position(self.position);
        stream.fill(bytes);
        self.position = stream.position();
    }

    /// `N` random bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number of all 64 bits.
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `n`; 0 when `n` is 0. The bias is at most n / 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rng(at {})", self.position)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_mac_holds_for_its_key_transcript_and_bytes_alone() {
        let key = MacKey::client(&[1; 32]);
        let mac = key.mac(b"transcript", b"bytes");
        assert!(key.verify(b"transcript", b"bytes", &mac));
        assert!(!key.verify(b"transcripT", b"bytes", &mac));
        assert!(!key.verify(b"transcript", b"byteS", &mac));
        assert!(!MacKey::server(&[1; 32]).verify(b"transcript", b"bytes", &mac));
        assert!(!MacKey::client(&[2; 32]).verify(b"transcript", b"bytes", &mac));
        assert!(!key.verify(b"transcript", b"bytes", &Mac::default()));
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_in_pieces_of_any_size() {
        let whole: [u8; 200] = Rng::new([3; 32]).array();
        let (mut rng, mut pieces) = (Rng::new([3; 32]), [0; 200]);
        for (start, end) in [(0, 1), (1, 64), (64, 65), (65, 190), (190, 200)] {
            rng.fill(&mut pieces[start..end]);
        }
        assert_eq!(pieces, whole);
        assert_ne!(Rng::new([4; 32]).array(), whole);
    }

    #[test]
    fn a_restored_generator_goes_on_where_it_was() {
        let mut rng = Rng::new([5; 32]);
        rng.u64();
        let snapshot = postcard::to_allocvec(&rng).unwrap();
        let mut restored: Rng = postcard::from_bytes(&snapshot).unwrap();
        assert_eq!(restored, rng);
        assert_eq!(restored.u64(), rng.u64());
    }

    #[test]
    fn numbers_below_a_limit_spread_over_all_of_it() {
        let mut rng = Rng::new([6; 32]);
        let mut counts = [0; 10];
        (0..10_000).for_each(|_| counts[rng.below(10) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
    }

    #[test]
    fn debug_texts_keep_keys_and_seeds_to_themselves() {
        assert_eq!(format!("{:?} {:?}", MacKey::client(&[1; 32]), Rng::new([1; 32])), "MacKey(..) Rng(at 0)");
    }
}
