//! Writes a trace while a world runs, and compares it with the one that it should be.

use crate::trace::{Divergence, Entry, Trace};

/// What a world has recorded so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    trace: Trace,
    expected: Option<Trace>,
    divergence: Option<Divergence>,
}

impl Recorder {
    pub(crate) fn new(seed: u64, expected: Option<Trace>) -> Recorder {
        Recorder { trace: Trace { seed, entries: Vec::new() }, expected, divergence: None }
    }

    pub(crate) fn add(&mut self, entry: Entry) {
        if let Some(expected) = self.expected.as_ref().filter(|_| self.divergence.is_none()) {
            let after = self.trace.entries.len();
            let expected = expected.entries.get(after);
            if expected != Some(&entry) {
                self.divergence = Some(Divergence { after, expected: expected.cloned(), found: Some(entry.clone()) });
            }
        }
        self.trace.entries.push(entry);
    }

    /// The first difference so far.
    pub(crate) fn divergence(&self) -> Option<&Divergence> {
        self.divergence.as_ref()
    }

    /// What was recorded, when nothing more will come.
    pub(crate) fn finish(self) -> Result<Trace, Divergence> {
        let after = self.trace.entries.len();
        match (self.divergence, self.expected.and_then(|expected| expected.entries.into_iter().nth(after))) {
            (Some(divergence), _) => Err(divergence),
            (None, Some(expected)) => Err(Divergence { after, expected: Some(expected), found: None }),
            (None, None) => Ok(self.trace),
        }
    }
}
