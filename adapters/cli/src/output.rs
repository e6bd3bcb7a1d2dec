//! Standard output and standard error, each written by a thread of its own, so that a reader who takes its time
//! holds up whoever waits for it and never the links.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::failure::{Failure, one_line};

/// Standard output.
#[derive(Clone)]
pub(crate) struct Output {
    queue: mpsc::Sender<Job>,
}

/// What is to be written, and who waits for it.
type Job = (Vec<u8>, oneshot::Sender<io::Result<()>>);

impl Output {
    pub(crate) fn new() -> io::Result<Output> {
        let (queue, mut jobs) = mpsc::channel::<Job>(1);
        // The thread is not joined: a write that nobody reads must not keep the process.
        std::thread::Builder::new().name("stdout".into()).spawn(move || {
            while let Some((bytes, done)) = jobs.blocking_recv() {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(&bytes).and_then(|()| stdout.flush());
                // Whoever asked may have been dropped meanwhile.
                let _ = done.send(written);
            }
        })?;
        Ok(Output { queue })
    }

    /// Writes and flushes.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) async fn write(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        let (done, written) = oneshot::channel();
        // Where the thread is gone, `done` is as well.
        let _ = self.queue.send((bytes, done)).await;
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format_args!("standard output: {error}")))
            }
            _ => Err(Failure::new("standard output is closed")),
        }
    }
}

/// Lines for people on standard error.
#[derive(Clone)]
pub(crate) struct Notes {
    queue: blocking::SyncSender<Note>,
}

enum Note {
    Line(String),
    Flush(blocking::SyncSender<()>),
}

/// How many lines may wait. When nobody reads standard error, further ones are dropped.
const NOTES: usize = 1024;

impl Notes {
    pub(crate) fn new() -> io::Result<Notes> {
        let (queue, notes) = blocking::sync_channel(NOTES);
        std::thread::Builder::new().name("stderr".into()).spawn(move || {
            for note in notes {
                match note {
                    Note::Line(line) => {
                        if writeln!(io::stderr(), "{line}").is_err() {
                            return;
                        }
                    }
                    // Whoever asked may have stopped waiting.
                    Note::Flush(done) => drop(done.try_send(())),
                }
            }
        })?;
        Ok(Notes { queue })
    }

    /// Writes a line, soon.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        // Full or closed: nobody reads.
        let _ = self.queue.try_send(Note::Line(one_line(&line.to_string())));
    }

    /// Waits until all lines are written, but no longer than a moment.
    pub(crate) fn flush(&self) {
        let (done, written) = blocking::sync_channel(1);
        if self.queue.try_send(Note::Flush(done)).is_ok() {
            // Too late, or closed: nobody reads.
            let _ = written.recv_timeout(Duration::from_millis(500));
        }
    }
}
