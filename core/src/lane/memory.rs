//! How much memory may live for the sake of little.

use alloc::collections::VecDeque;

use bytes::Bytes;

/// The bytes themselves, when at least half of the `capacity` that lives as long as they is in use; else a copy. With them
/// how much memory that is. `used`: how much of it is in use, with what else of it is kept as long.
pub(crate) fn keep(bytes: Bytes, used: usize, capacity: usize) -> (Bytes, usize) {
    if used >= capacity.div_ceil(2) {
        return (bytes, capacity);
    }
    let len = bytes.len();
    (Bytes::copy_from_slice(&bytes), len)
}

/// Gives back the memory of a queue that was much longer.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    const SMALL: usize = 64;
    if queue.capacity() > SMALL && queue.len() < queue.capacity() / 8 {
        queue.shrink_to((queue.len() * 2).max(SMALL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_was_eight_times_as_long_is_given_room_for_twice_its_length() {
        for (capacity, len, kept) in
            [(64, 0, 64), (65, 0, 64), (65, 8, 65), (800, 0, 64), (800, 20, 64), (800, 99, 198), (800, 100, 800)]
        {
            let mut queue = VecDeque::with_capacity(capacity);
            queue.extend(0..len);
            shrink(&mut queue);
            assert_eq!((queue.capacity(), queue.len()), (kept, len), "{len} of {capacity}");
        }
    }
}
