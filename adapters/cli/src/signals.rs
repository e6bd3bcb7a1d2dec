//! The wish to end, from a terminal or another process.

use std::io;

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! { _ = tokio::signal::ctrl_c() => (), _ = self.terminate.recv() => () }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
