//! Read buffers: one or two for each thread instead of one for each link, so that idle links hold none.

use std::cell::RefCell;

use bytes::Bytes;
use steadfast::RecvBytes;

pub(crate) use crate::runtime::READ_BUFFER;

/// A plain buffer and one for what is under TLS.
const SPARE: usize = 2;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for `capacity` bytes.
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    BUFFERS.with_borrow_mut(|buffers| {
        let fitting = buffers.iter().position(|buffer| buffer.capacity() == capacity);
        fitting.map_or_else(|| Vec::with_capacity(capacity), |index| buffers.swap_remove(index))
    })
}

/// Gives a buffer back.
pub(crate) fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < SPARE {
            buffers.push(buffer);
        }
    });
}

/// Hands over what a buffer holds, and takes the buffer back unless something of it was kept.
pub(crate) fn hand_over(buffer: Vec<u8>, receive: impl FnOnce(RecvBytes)) {
    let capacity = buffer.capacity();
    let bytes = Bytes::from(buffer);
    receive(RecvBytes { bytes: bytes.clone(), capacity });
    if let Ok(mut buffer) = bytes.try_into_mut() {
        buffer.clear();
        give(buffer.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> (Vec<u8>, *const u8) {
        let mut buffer = take(READ_BUFFER);
        buffer.resize(len, 7);
        let at = buffer.as_ptr();
        (buffer, at)
    }

    #[test]
    fn a_buffer_of_which_nothing_was_kept_is_used_again() {
        for len in [1, READ_BUFFER - 1, READ_BUFFER] {
            let (buffer, at) = filled(len);
            hand_over(buffer, |received| assert_eq!((received.bytes.len(), received.capacity), (len, READ_BUFFER)));
            let next = take(READ_BUFFER);
            assert_eq!((next.as_ptr(), next.len(), next.capacity()), (at, 0, READ_BUFFER));
            give(next);
        }
    }

    #[test]
    fn a_buffer_that_was_kept_stays_as_it_was() {
        let (buffer, at) = filled(9);
        let mut kept = Bytes::new();
        hand_over(buffer, |received| kept = received.bytes);
        let next = take(READ_BUFFER);
        assert_ne!(next.as_ptr(), at);
        assert_eq!(&kept[..], [7; 9]);
    }
}
