//! Both directions of a socket, until it has ended.

use std::future::Future;

use futures_util::FutureExt;
use steadfast_tokio::{CloseReason, Socket};

use crate::failure::Failure;
use crate::output::Output;

/// Runs both directions until `life` says that the socket has ended, and closes the socket when both are done. What
/// arrived before the end is heard to the last message. Gives what `life` and, if it was done, `speaking` gave.
///
/// # Errors
/// When hearing fails; the socket is closing then, with what has failed as the reason.
pub(crate) async fn exchange<E, S>(
    socket: &Socket,
    life: impl Future<Output = E>,
    speaking: impl Future<Output = S>,
    hearing: impl Future<Output = Result<(), Failure>>,
) -> Result<(E, Option<S>), Failure> {
    let (mut life, mut speaking, mut hearing) =
        (std::pin::pin!(life), std::pin::pin!(speaking), std::pin::pin!(hearing));
    let (mut spoken, mut heard) = (None, false);
    let end = loop {
        tokio::select! {
            end = &mut life => break end,
            result = &mut speaking, if spoken.is_none() => spoken = Some(result),
            result = &mut hearing, if !heard => match result {
                Ok(()) => heard = true,
                Err(failure) => {
                    // Else the peer would wait for somebody who does not come back.
                    drop(socket.close(CloseReason::app(1, failure.to_string())));
                    return Err(failure);
                }
            },
        }
        if spoken.is_some() && heard {
            drop(socket.close(CloseReason::app(0, "both sides have finished")));
            break life.await;
        }
    };
    if !heard {
        hearing.await?;
    }
    // The last confirmation and the end of the socket may have come together.
    Ok((end, spoken.or_else(|| speaking.now_or_never())))
}

/// Prints every message until the peer has finished or the socket has ended.
///
/// # Errors
/// When standard output takes no more.
pub(crate) async fn print(socket: &Socket, output: &Output) -> Result<(), Failure> {
    /// So many bytes are written at once.
    const BATCH: usize = 64 * 1024;

    while let Some(first) = socket.recv().await {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(received) = next {
            batch.extend_from_slice(&received.message().payload);
            batch.push(b'\n');
            next = if batch.len() < BATCH { socket.try_recv() } else { None };
        }
        output.write(batch).await?;
    }
    Ok(())
}
