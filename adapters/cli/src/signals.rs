//! The wish to end, from a terminal or another process.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(not(unix))]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves, and one that comes while nobody waits for it is
    /// kept for who does next.
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(not(unix))]
            interrupt: tokio::signal::windows::ctrl_c()?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! { _ = self.interrupt.recv() => (), _ = self.terminate.recv() => () }
        #[cfg(not(unix))]
        let _ = self.interrupt.recv().await;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, id};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_while_nobody_waits_is_not_lost() {
        for kind in ["-INT", "-TERM"] {
            let (mut early, mut late) = (Signals::new().unwrap(), Signals::new().unwrap());
            let sent = Command::new("kill").args([kind, &id().to_string()]).status().unwrap();
            assert!(sent.success());
            early.next().await;
            // It has come by now, and only the other one was waiting.
            tokio::time::timeout(Duration::from_secs(5), late.next()).await.expect("the signal was kept");
        }
    }
}
