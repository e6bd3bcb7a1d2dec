//! Where the bytes of a stream go when they are transmitted.

use bytes::Bytes;

/// Takes transmitted bytes: where they belong, then the bytes, piece by piece.
pub(crate) trait Outlet {
    /// The lane of what follows.
    fn lane(&mut self, _number: u64) {}
    /// How much of the room is taken by what [`Outlet::begin`] writes, at most, for a piece at `offset`.
    #[inline]
    fn head(&self, _offset: u64) -> usize {
        0
    }
    /// `length` bytes from `offset` on follow.
    fn begin(&mut self, offset: u64, length: usize);
    /// Some of them, so few that they are copied.
    fn copy(&mut self, bytes: &[u8]);
    /// Some of them.
    fn share(&mut self, bytes: Bytes);
}

/// Collects the pieces.
#[cfg(test)]
impl Outlet for alloc::vec::Vec<Bytes> {
    fn begin(&mut self, _offset: u64, _length: usize) {}

    fn copy(&mut self, bytes: &[u8]) {
        self.push(Bytes::copy_from_slice(bytes));
    }

    fn share(&mut self, bytes: Bytes) {
        self.push(bytes);
    }
}
