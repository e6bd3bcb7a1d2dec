//! Unsigned LEB128 of 64 bits, in its shortest form only (PROTOCOL.md §3.1).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::WireError;

/// The longest varint, in bytes.
pub(crate) const MAX_LEN: usize = 10;

/// How many bytes `value` takes.
pub(crate) const fn len(value: u64) -> usize {
    // 1 to 64 significant bits, 7 in each byte.
    ((64 - (value | 1).leading_zeros()).div_ceil(7)) as usize
}

/// Appends `value`.
pub(crate) fn put(value: u64, out: &mut impl BufMut) {
    let mut bytes = [0; MAX_LEN];
    let length = write(value, &mut bytes);
    out.put_slice(&bytes[..length]);
}

/// Appends some numbers, at once: their bytes are few.
#[inline]
pub(crate) fn put_all<const N: usize>(values: [u64; N], out: &mut BytesMut) {
    let mut bytes = [[0; MAX_LEN]; N];
    let bytes = bytes.as_flattened_mut();
    let mut length = 0;
    for value in values {
        length += write(value, &mut bytes[length..]);
    }
    // It is inlined, `put_slice` is not.
    out.extend_from_slice(&bytes[..length]);
}

/// Writes `value` to the start of `bytes`; how many it takes.
#[inline]
fn write(mut value: u64, bytes: &mut [u8]) -> usize {
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    length + 1
}

/// The varint at the start of `bytes` and its length; `None` when it goes on beyond them.
///
/// # Errors
/// When it is not the shortest form of a number of 64 bits.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    match bytes {
        [first, ..] if *first < 0x80 => Ok(Some((u64::from(*first), 1))),
        [first, second @ 1..0x80, ..] => Ok(Some((u64::from(*first & 0x7F) | u64::from(*second) << 7, 2))),
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    let mut partial = Partial::default();
    for (index, byte) in bytes.iter().enumerate() {
        if let Some(value) = partial.push(*byte)? {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

/// Takes the varint at the start of `bytes`.
///
/// # Errors
/// When there is none, whole and in its shortest form.
pub(crate) fn take(bytes: &mut Bytes) -> Result<u64, WireError> {
    let (value, length) = read(bytes)?.ok_or(WireError::Malformed("varint"))?;
    bytes.advance(length);
    Ok(value)
}

/// Takes the varints at the start of `bytes`.
///
/// # Errors
/// When they are not there, whole and in their shortest form.
#[inline]
pub(crate) fn take_all<const N: usize>(bytes: &mut Bytes) -> Result<[u64; N], WireError> {
    let (mut values, mut at) = ([0; N], 0);
    for value in &mut values {
        let (number, length) = read(&bytes[at..])?.ok_or(WireError::Malformed("varint"))?;
        *value = number;
        at += length;
    }
    bytes.advance(at);
    Ok(values)
}

/// A varint of which a part has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Partial {
    value: u64,
    length: u8,
}

impl Partial {
    /// Takes the next byte; the number when that was the last.
    ///
    /// # Errors
    /// When the bytes are not the shortest form of a number of 64 bits.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<u64>, WireError> {
        let index = usize::from(self.length);
        let longer_than_needed = byte == 0 && index > 0;
        // Nine bytes hold 63 bits, so the tenth can only be a 1.
        let over_64_bits = index >= MAX_LEN || (index == MAX_LEN - 1 && byte > 1);
        if longer_than_needed || over_64_bits {
            return Err(WireError::Malformed("varint"));
        }
        self.value |= u64::from(byte & 0x7F) << (7 * index);
        self.length += 1;
        Ok((byte < 0x80).then_some(self.value))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::samples::number;

    const MALFORMED: Result<Option<(u64, usize)>, WireError> = Err(WireError::Malformed("varint"));

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(value, &mut out);
        out
    }

    #[test]
    fn lengths_change_where_seven_bits_are_full() {
        for bits in 1..64 {
            let power = 1_u64 << bits;
            assert_eq!(len(power - 1), encoded(power - 1).len());
            assert_eq!(len(power), encoded(power).len());
        }
        assert_eq!((len(0), len(127), len(128), len(u64::MAX)), (1, 1, 2, MAX_LEN));
    }

    #[test]
    fn a_longer_form_than_needed_is_malformed() {
        for value in [0, 1, 127, 128, 300, 1 << 40, u64::MAX >> 1] {
            let mut longer = encoded(value);
            *longer.last_mut().unwrap() |= 0x80;
            longer.push(0);
            assert_eq!(read(&longer), MALFORMED, "{value}");
        }
    }

    #[test]
    fn more_than_64_bits_are_malformed() {
        let nine = [0xFF; 9];
        assert_eq!(read(&[&nine[..], &[1]].concat()), Ok(Some((u64::MAX, 10))));
        assert_eq!(read(&[&nine[..], &[2]].concat()), MALFORMED);
        assert_eq!(read(&[&nine[..], &[0x81]].concat()), MALFORMED);
        assert_eq!(read(&nine), Ok(None));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(value in number(), tail in any::<[u8; 3]>()) {
            let bytes = encoded(value);
            prop_assert_eq!(len(value), bytes.len());
            prop_assert_eq!(read(&[&bytes[..], &tail].concat()), Ok(Some((value, bytes.len()))));
            for length in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..length]), Ok(None));
            }
        }

        #[test]
        fn what_is_read_is_the_one_form_of_its_number(bytes in any::<[u8; 12]>()) {
            if let Ok(Some((value, length))) = read(&bytes) {
                prop_assert_eq!(encoded(value), &bytes[..length]);
            }
        }
    }
}
