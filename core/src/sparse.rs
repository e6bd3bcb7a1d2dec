//! Bytes many of which are zero, in fewer bytes.
//!
//! In front of each group of eight bytes stands a mask of those that are not zero, and only these follow it.

use alloc::boxed::Box;
use alloc::vec::Vec;

const GROUP: usize = 8;

/// The bytes, packed.
pub(crate) fn pack(bytes: &[u8]) -> Box<[u8]> {
    let mut packed = alloc::vec![0; bytes.len() + bytes.len().div_ceil(GROUP)];
    let mut len = 0;
    for group in bytes.chunks(GROUP) {
        let at = len;
        len += 1;
        let mut mask = 0;
        for (index, byte) in group.iter().enumerate() {
            // Without a branch: where a zero was written, the next byte follows.
            let counts = *byte != 0;
            packed[len] = *byte;
            mask |= u8::from(counts) << index;
            len += usize::from(counts);
        }
        packed[at] = mask;
    }
    packed.truncate(len);
    packed.into_boxed_slice()
}

/// The bytes that were packed, and up to seven zeros behind them.
pub(crate) fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * packed.len());
    let mut rest = packed.iter();
    while let Some(mask) = rest.next() {
        bytes.extend((0..GROUP).map(|index| if mask >> index & 1 == 0 { 0 } else { *rest.next().unwrap_or(&0) }));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_out_again(
            bytes in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..100),
        ) {
            let unpacked = unpack(&pack(&bytes));
            prop_assert_eq!(&unpacked[..bytes.len()], &bytes[..]);
            prop_assert!(unpacked.len() < bytes.len() + GROUP && unpacked[bytes.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn zeros_take_an_eighth() {
        assert_eq!(pack(&[0; 800]).len(), 100);
        assert_eq!(pack(&[1; 800]).len(), 900);
    }
}
