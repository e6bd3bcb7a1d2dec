//! What the demo shows while it runs and says at its end.

use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use super::plan::Cuts;
use super::talk::Account;
use crate::output::Notes;

/// Without a terminal a line is printed this often.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Where the demo stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) elapsed: Duration,
    /// Both voices together.
    pub(crate) messages: Account,
    pub(crate) file_bytes: u64,
    pub(crate) files: u64,
    pub(crate) cuts: Cuts,
    pub(crate) resumes: u64,
    /// Bytes that wait or are not confirmed, on both sides.
    pub(crate) unconfirmed: u64,
}

impl Standing {
    fn bytes(&self) -> u64 {
        self.file_bytes + self.messages.bytes
    }

    fn rate(&self) -> u64 {
        (self.bytes() as f64 / self.elapsed.as_secs_f64().max(0.001)) as u64
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s  {} at {}/s  {} messages  {} cuts  {} resumes  {} unconfirmed",
            self.elapsed.as_secs_f64(),
            HumanBytes(self.bytes()),
            HumanBytes(self.rate()),
            HumanCount(self.messages.received),
            self.cuts.total(),
            self.resumes,
            HumanBytes(self.unconfirmed),
        )
    }
}

/// The display while the demo runs: one line that changes on a terminal, a line now and then elsewhere.
pub(crate) enum Progress {
    Terminal(ProgressBar),
    Lines(Notes, Instant),
}

impl Progress {
    pub(crate) fn new(notes: &Notes) -> Progress {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::default_spinner());
            Progress::Terminal(bar)
        } else {
            Progress::Lines(notes.clone(), Instant::now())
        }
    }

    pub(crate) fn show(&mut self, standing: &Standing) {
        match self {
            Progress::Terminal(bar) => {
                bar.set_message(standing.to_string());
                bar.tick();
            }
            Progress::Lines(notes, last) if last.elapsed() >= LINES_EVERY => {
                *last += LINES_EVERY;
                notes.line(standing);
            }
            Progress::Lines(..) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Progress::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The result as the last line of `--json`: messages are counted over both directions, asks and answers included.
#[derive(Serialize, Debug)]
pub(crate) struct Summary {
    sent: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    /// Links harmed: resets, truncations and stalls.
    cuts: u64,
    resumes: u64,
    /// Of the file and of messages, as the applications received them.
    bytes: u64,
    seconds: f64,
}

impl Summary {
    pub(crate) fn new(standing: &Standing) -> Summary {
        let Account { sent, received, faults, .. } = standing.messages;
        Summary {
            sent,
            received,
            lost: faults.lost,
            duplicated: faults.duplicated,
            reordered: faults.reordered,
            cuts: standing.cuts.total(),
            resumes: standing.resumes,
            bytes: standing.bytes(),
            seconds: standing.elapsed.as_millis() as f64 / 1000.0,
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.sent == self.received && self.lost == 0 && self.duplicated == 0 && self.reordered == 0
    }
}

/// The result for people.
pub(crate) fn for_people(standing: &Standing) -> String {
    let Standing { cuts, messages: Account { sent, received, faults, .. }, .. } = standing;
    let of_them = |count: u64| if count == 0 { "none".into() } else { HumanCount(count).to_string() };
    format!(
        "\
link       cut {} times in {:.1} s: {} resets, {} truncations, {} stalls; resumed {} times
file       carried {} times, {} in all, {}/s with the messages
messages   {} sent, {} received
           {} lost, {} duplicated, {} out of order",
        cuts.total(),
        standing.elapsed.as_secs_f64(),
        cuts.resets,
        cuts.truncations,
        cuts.stalls,
        standing.resumes,
        standing.files,
        HumanBytes(standing.file_bytes),
        HumanBytes(standing.rate()),
        HumanCount(*sent),
        HumanCount(*received),
        of_them(faults.lost),
        of_them(faults.duplicated),
        of_them(faults.reordered),
    )
}
