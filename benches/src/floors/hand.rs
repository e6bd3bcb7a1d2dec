//! The least that messages over a TCP connection need: varint lengths, batches written by hand, owned slices of what
//! arrived. No reliability beyond the connection, no limits.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::seqack::{length, put_length};
use crate::loopback::RawStream;

/// How many bytes are collected before they are written.
const BATCH: usize = 64 * 1024;
/// From this size on a payload is written from where it is, in bytes.
const LARGE: usize = 16 * 1024;
/// How much is read at once at least, in bytes.
const READ: usize = 64 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub struct HandEnd<S> {
    stream: S,
    batch: BytesMut,
    input: Bytes,
    /// How much the next read buffer holds: a message as large as the last one that did not fit, so that it is not copied.
    capacity: usize,
}

impl<S: RawStream> HandEnd<S> {
    /// Over this connection.
    pub fn new(stream: S) -> HandEnd<S> {
        HandEnd { stream, batch: BytesMut::with_capacity(2 * BATCH), input: Bytes::new(), capacity: READ }
    }

    /// Puts a message into the batch, and writes the batch when it is full.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(&mut self, payload: &Bytes) -> io::Result<()> {
        put_length(payload.len(), &mut self.batch);
        if payload.len() >= LARGE {
            self.stream.write(&self.batch, payload).await?;
            self.batch.clear();
            return Ok(());
        }
        self.batch.extend_from_slice(payload);
        if self.batch.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Writes the batch.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.stream.write(&self.batch, &[]).await?;
            self.batch.clear();
        }
        Ok(())
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection's, also its end.
    pub async fn read(&mut self) -> io::Result<Bytes> {
        loop {
            let needed = match length(&self.input) {
                Some((head, length)) if self.input.len() >= head + length => {
                    self.input.advance(head);
                    return Ok(self.input.split_to(length));
                }
                Some((head, length)) => {
                    self.capacity = (head + length).max(READ);
                    head + length
                }
                None => self.input.len() + 1,
            };
            let mut buffer = Vec::with_capacity(self.capacity);
            buffer.extend_from_slice(&self.input);
            while buffer.len() < needed {
                if self.stream.read(&mut buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.input = buffer.into();
        }
    }
}
