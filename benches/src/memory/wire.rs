//! One direction of a connection in memory.

use bytes::Bytes;
use steadfast::RecvBytes;

/// How much is read at once, in bytes: what the adapters read.
const READ: usize = 64 * 1024;

/// Copies what is written into read buffers of 64 KiB, as the kernel does between a write and a read. A buffer of which
/// nothing was kept is used again, as the adapters do.
#[derive(Debug, Default)]
pub(super) struct Wire {
    buffer: Vec<u8>,
    /// How many bytes were written.
    pub(super) written: u64,
}

impl Wire {
    /// Writes; each read buffer that is full arrives.
    pub(super) fn write(&mut self, mut bytes: &[u8], arrive: &mut impl FnMut(RecvBytes)) {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer = Vec::with_capacity(READ);
            }
            let (now, later) = bytes.split_at(bytes.len().min(READ - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == READ {
                self.flush(arrive);
            }
        }
    }

    /// What was written arrives, also when it does not fill a read buffer.
    pub(super) fn flush(&mut self, arrive: &mut impl FnMut(RecvBytes)) {
        if self.buffer.is_empty() {
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        arrive(RecvBytes { bytes: bytes.clone(), capacity: READ });
        if let Ok(mut buffer) = bytes.try_into_mut() {
            buffer.clear();
            self.buffer = buffer.into();
        }
    }
}
