//! The file that the demo carries: one from disk, or bytes made from the seed.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes of a file that is made from the seed.
const MADE: u64 = 8 << 20;

/// What is carried, once or again and again.
pub(crate) enum Source {
    File(PathBuf),
    Made(u64),
}

impl Source {
    /// The file at this path.
    ///
    /// # Errors
    /// When it cannot be read, or is no file that has an end and can be read again.
    pub(crate) async fn file(path: &Path) -> io::Result<Source> {
        // Asked before it is opened: a pipe that nobody writes would never open.
        let metadata = tokio::fs::metadata(path).await?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        File::open(path).await?;
        Ok(Source::File(path.to_owned()))
    }

    /// Opens it for the `round`-th time. Made files differ from round to round.
    pub(crate) async fn open(&self, round: u64) -> io::Result<Reader> {
        let from = match self {
            Source::File(path) => From::File(File::open(path).await?),
            Source::Made(seed) => {
                let key = *blake3::hash(&super::mix(*seed, round).to_le_bytes()).as_bytes();
                From::Made { bytes: Box::new(blake3::Hasher::new_keyed(&key).finalize_xof()), left: MADE }
            }
        };
        Ok(Reader { from, hash: Hash::default() })
    }
}

/// The bytes of one round, hashed as they are read.
pub(crate) struct Reader {
    from: From,
    pub(crate) hash: Hash,
}

enum From {
    File(File),
    Made { bytes: Box<blake3::OutputReader>, left: u64 },
}

impl Reader {
    /// The next bytes, at most as many as `buffer` has; 0 at the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.from {
            From::File(file) => file.read(buffer).await?,
            From::Made { bytes, left } => {
                let count = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                bytes.fill(&mut buffer[..count]);
                *left -= count as u64;
                count
            }
        };
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// Length and hash of bytes that go by.
#[derive(Clone, Default)]
pub(crate) struct Hash {
    hasher: blake3::Hasher,
}

impl Hash {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.hasher.count() == other.hasher.count() && self.hasher.finalize() == other.hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(source: &Source, round: u64) -> (u64, Hash) {
        let mut reader = source.open(round).await.unwrap();
        let (mut length, mut buffer) = (0, vec![0; 100_000]);
        loop {
            match reader.read(&mut buffer).await.unwrap() {
                0 => return (length, reader.hash),
                count => length += count as u64,
            }
        }
    }

    #[tokio::test]
    async fn a_made_file_depends_on_seed_and_round_only() {
        let (length, first) = read(&Source::Made(1), 0).await;
        assert_eq!(length, MADE);
        assert!(read(&Source::Made(1), 0).await.1 == first);
        assert!(read(&Source::Made(1), 1).await.1 != first);
        assert!(read(&Source::Made(2), 0).await.1 != first);
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused() {
        for path in ["/", "/nothing/here", "/dev/zero"] {
            assert!(Source::file(Path::new(path)).await.is_err(), "{path}");
        }
    }
}
