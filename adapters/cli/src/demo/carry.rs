//! The file on its way: a lane of bytes for each round.

use std::sync::atomic::{AtomicU64, Ordering};

use steadfast_tokio::{AnyLane, LaneOptions, Socket};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::source::{Hash, Source};
use crate::failure::Failure;

/// Bytes read and written at once.
const PIECE: usize = 64 * 1024;

/// What of the file has arrived.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) bytes: AtomicU64,
    pub(crate) files: AtomicU64,
}

/// Carries the file once, then again and again until the time is up. Each time what arrives is compared with what was
/// sent.
///
/// # Errors
/// When the file cannot be read or sent, or something else arrives.
pub(crate) async fn send(
    socket: &Socket,
    source: &Source,
    until: Instant,
    mut arriving: mpsc::Receiver<Hash>,
    arrived: &Arrived,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    for round in 0.. {
        let mut lane = socket.open_byte_lane(options(round)).await.map_err(Failure::new)?;
        let mut reader = source.open(round).await?;
        loop {
            match reader.read(&mut piece).await? {
                0 => break,
                count => lane.write_all(&piece[..count]).await?,
            }
        }
        lane.shutdown().await?;
        if arriving.recv().await != Some(reader.hash) {
            return Err(Failure::new(format_args!("the file has arrived changed in round {round}")));
        }
        arrived.files.fetch_add(1, Ordering::Relaxed);
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}

fn options(round: u64) -> LaneOptions {
    LaneOptions { name: format!("file {round}"), priority: 1, ..LaneOptions::default() }
}

/// Takes the lanes that the peer opens, one after the other, and tells of each what has arrived on it.
///
/// # Errors
/// When a lane ends before its end.
pub(crate) async fn receive(socket: &Socket, arriving: mpsc::Sender<Hash>, arrived: &Arrived) -> Result<(), Failure> {
    while let Some(lane) = socket.accept_lane().await {
        let AnyLane::Bytes(mut lane) = lane else { return Err(Failure::new("a lane of messages was opened")) };
        let mut hash = Hash::default();
        while let Some(bytes) = lane.read_chunk(PIECE).await? {
            hash.update(&bytes);
            arrived.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        arriving.send(hash).await.map_err(Failure::new)?;
    }
    Ok(())
}
