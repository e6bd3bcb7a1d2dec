//! Lines of standard input as messages.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// Why there is no further line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("standard input: line {line} is over the limit of {limit} bytes")]
    TooLong { line: u64, limit: usize },
    #[error("standard input: {0}")]
    Io(#[from] io::Error),
}

/// Lines, read by a thread of its own: at most a few pieces ahead of who takes them.
pub(crate) struct Lines {
    batches: mpsc::Receiver<Result<Vec<Bytes>, InputError>>,
    batch: std::vec::IntoIter<Bytes>,
}

impl Lines {
    /// The lines of standard input, each at most `limit` bytes long.
    pub(crate) fn of_stdin(limit: usize) -> io::Result<Lines> {
        Lines::of(io::stdin(), limit)
    }

    fn of(from: impl Read + Send + 'static, limit: usize) -> io::Result<Lines> {
        let (sender, batches) = mpsc::channel(1);
        // The thread is not joined: a read that waits for a terminal must not keep the process.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            if let Err(error) = read(from, limit, &sender) {
                // Nobody listens any more: nothing to tell.
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Lines { batches, batch: Vec::new().into_iter() })
    }

    /// The next line without its end; `None` at the end of input. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, InputError>> {
        loop {
            if let Some(line) = self.batch.next() {
                return Some(Ok(line));
            }
            match self.batches.recv().await? {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn read(
    mut from: impl Read,
    limit: usize,
    to: &mpsc::Sender<Result<Vec<Bytes>, InputError>>,
) -> Result<(), InputError> {
    let mut piece = vec![0; PIECE];
    let mut rest = BytesMut::new();
    let mut lines = 0;
    loop {
        let count = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        let mut searched = rest.len();
        rest.extend_from_slice(&piece[..count]);
        let mut batch = Vec::new();
        while let Some(length) = rest[searched..].iter().position(|byte| *byte == b'\n') {
            batch.push(rest.split_to(searched + length).freeze());
            rest.advance(1);
            searched = 0;
        }
        if count == 0 && !rest.is_empty() {
            batch.push(rest.split().freeze());
        }
        let too_long = batch.iter().position(|line| line.len() > limit);
        batch.truncate(too_long.unwrap_or(batch.len()));
        lines += batch.len() as u64;
        if !batch.is_empty() && to.blocking_send(Ok(batch)).is_err() {
            return Ok(());
        }
        if too_long.is_some() || rest.len() > limit {
            return Err(InputError::TooLong { line: lines + 1, limit });
        }
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time.
    struct Drip(&'static [u8], usize);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    async fn lines(text: &'static [u8], step: usize, limit: usize) -> (Vec<Bytes>, Option<String>) {
        let mut lines = Lines::of(Drip(text, step), limit).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => all.push(line),
                Err(error) => return (all, Some(error.to_string())),
            }
        }
        (all, None)
    }

    #[tokio::test]
    async fn lines_are_bytes_without_their_ends_however_they_come() {
        for step in [1, 2, 3, 100] {
            let (all, error) = lines(b"one\n\n\xff\x00 two\r\nlast", step, 100).await;
            assert_eq!(all, [&b"one"[..], b"", b"\xff\x00 two\r", b"last"]);
            assert_eq!(error, None);
        }
    }

    #[tokio::test]
    async fn no_input_is_no_line() {
        assert_eq!(lines(b"", 1, 100).await, (vec![], None));
    }

    #[tokio::test]
    async fn a_line_over_the_limit_ends_the_input_after_those_before_it() {
        for step in [1, 100] {
            let (all, error) = lines(b"a\nbcd\nefgh\nij\n", step, 3).await;
            assert_eq!(all, [&b"a"[..], b"bcd"]);
            assert_eq!(error.unwrap(), "standard input: line 3 is over the limit of 3 bytes");
        }
    }
}
