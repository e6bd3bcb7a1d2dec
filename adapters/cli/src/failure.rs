//! Why the tool ends with an exit code other than 0.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Something that failed: one line for people, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Exit code 1.
    pub(crate) fn new(what: impl fmt::Display) -> Failure {
        Failure { line: one_line(&what.to_string()), code: 1 }
    }

    /// Bad arguments: exit code 2.
    pub(crate) fn usage(what: impl fmt::Display) -> Failure {
        Failure { code: 2, ..Failure::new(what) }
    }

    /// The session was lost: exit code 3.
    pub(crate) fn session_lost(what: impl fmt::Display) -> Failure {
        Failure { code: 3, ..Failure::new(what) }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(error)
    }
}

/// A text as one line that does nothing to a terminal: reasons are the peer's texts and may contain anything.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = String::with_capacity(text.len());
    for character in words.join(" ").chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_harmless_line() {
        assert_eq!(one_line("  one\n\ttwo \u{1b}[2J\u{e4}\u{9b} "), "one two \\u{1b}[2J\u{e4}\\u{9b}");
    }
}
