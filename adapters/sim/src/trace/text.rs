//! A trace as lines of text, written and read.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use steadfast::{LinkId, State, Time};

use crate::conditions::{Break, Side};
use crate::inspect::Content;
use crate::net::PacketId;
use crate::trace::{Entry, Happened, Party, SentPacket, Trace};

/// What the first line begins with.
const HEAD: &str = "steadfast trace 1, seed ";

/// A text that is no trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceError {
    /// Which line, from 1 on.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not of a trace: `{}`", self.line, self.text)
    }
}

impl std::error::Error for TraceError {}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}", self.seed)?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl FromStr for Trace {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Trace, TraceError> {
        let mut lines = text.lines().enumerate();
        let wrong = |(at, text): (usize, &str)| TraceError { line: at + 1, text: text.into() };
        let first = lines.next().unwrap_or_default();
        let seed = first.1.strip_prefix(HEAD).and_then(|seed| seed.parse().ok()).ok_or(wrong(first))?;
        let entries = lines.map(|(at, line)| Entry::parse(line).map_err(|NotAnEntry| wrong((at, line))));
        Ok(Trace { seed, entries: entries.collect::<Result<_, _>>()? })
    }
}

/// A line that says nothing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NotAnEntry;

impl fmt::Display for Entry {
    /// One line, which begins with the microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.at.as_micros())?;
        match &self.what {
            Happened::Sent(sent) => {
                let SentPacket { packet, link, to, wire_len, digest, content, label } = sent;
                let (to, content) = (name(&SIDES, *to), name(&CONTENTS, *content));
                write!(f, "sent {} link {} to {to} {wire_len} {digest:016x} {content} {label}", packet.0, link.0)
            }
            Happened::Lost(packet, node) => write!(f, "lost {} {node}", packet.0),
            Happened::Arrived(packet, false) => write!(f, "arrived {}", packet.0),
            Happened::Arrived(packet, true) => write!(f, "arrived {} changed", packet.0),
            Happened::Up(link, side) => write!(f, "up link {} {}", link.0, name(&SIDES, *side)),
            Happened::Down(link, side) => write!(f, "down link {} {}", link.0, name(&SIDES, *side)),
            Happened::Broken(link, how) => write!(f, "broken link {} {}", link.0, name(&BREAKS, *how)),
            Happened::State(party, state) => write!(f, "state {} {party}", name(&STATES, *state)),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Client(client) => write!(f, "client {client}"),
            Party::Server(server, Some(client)) => write!(f, "server {server} of client {client}"),
            Party::Server(server, None) => write!(f, "server {server}"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Result<Entry, NotAnEntry> {
        let mut words = Words(line.split_whitespace());
        let at = Time::from_micros(words.number()?);
        let what = match words.next()? {
            "sent" => {
                let packet = PacketId(words.number()?);
                let link = words.link()?;
                words.expect("to")?;
                let to = words.one_of(&SIDES)?;
                let wire_len = words.number()?;
                let digest = u64::from_str_radix(words.next()?, 16).map_err(|_| NotAnEntry)?;
                let content = words.one_of(&CONTENTS)?;
                let label = words.0.by_ref().collect::<Vec<_>>().join(" ");
                Happened::Sent(SentPacket { packet, link, to, wire_len, digest, content, label })
            }
            "lost" => Happened::Lost(PacketId(words.number()?), words.next()?.into()),
            "arrived" => {
                let packet = PacketId(words.number()?);
                Happened::Arrived(packet, words.0.next().map_or(Ok(false), changed)?)
            }
            "up" => Happened::Up(words.link()?, words.one_of(&SIDES)?),
            "down" => Happened::Down(words.link()?, words.one_of(&SIDES)?),
            "broken" => Happened::Broken(words.link()?, words.one_of(&BREAKS)?),
            "state" => {
                let state = words.one_of(&STATES)?;
                Happened::State(words.party()?, state)
            }
            _ => return Err(NotAnEntry),
        };
        words.0.next().map_or(Ok(Entry { at, what }), |_| Err(NotAnEntry))
    }
}

fn changed(word: &str) -> Result<bool, NotAnEntry> {
    if word == "changed" { Ok(true) } else { Err(NotAnEntry) }
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, NotAnEntry> {
        self.0.next().ok_or(NotAnEntry)
    }

    fn expect(&mut self, word: &str) -> Result<(), NotAnEntry> {
        if self.next()? == word { Ok(()) } else { Err(NotAnEntry) }
    }

    fn number<T: FromStr>(&mut self) -> Result<T, NotAnEntry> {
        self.next()?.parse().map_err(|_| NotAnEntry)
    }

    fn link(&mut self) -> Result<LinkId, NotAnEntry> {
        self.expect("link")?;
        Ok(LinkId(self.number()?))
    }

    fn one_of<T: Copy>(&mut self, names: &[(T, &str)]) -> Result<T, NotAnEntry> {
        let word = self.next()?;
        names.iter().find(|(_, name)| *name == word).map(|(value, _)| *value).ok_or(NotAnEntry)
    }

    fn party(&mut self) -> Result<Party, NotAnEntry> {
        match self.next()? {
            "client" => Ok(Party::Client(self.number()?)),
            "server" => {
                let server = self.number()?;
                let Some(of) = self.0.next() else { return Ok(Party::Server(server, None)) };
                if of != "of" {
                    return Err(NotAnEntry);
                }
                self.expect("client")?;
                Ok(Party::Server(server, Some(self.number()?)))
            }
            _ => Err(NotAnEntry),
        }
    }
}

const SIDES: [(Side, &str); 2] = [(Side::Client, "client"), (Side::Server, "server")];

const CONTENTS: [(Content, &str); 5] = [
    (Content::Handshake, "handshake"),
    (Content::Data, "data"),
    (Content::Again, "again"),
    (Content::Ack, "ack"),
    (Content::Control, "control"),
];

const BREAKS: [(Break, &str); 4] = [
    (Break::Reset, "reset"),
    (Break::HalfOpen(Side::Client), "half-open-client"),
    (Break::HalfOpen(Side::Server), "half-open-server"),
    (Break::Stall, "stall"),
];

const STATES: [(State, &str); 4] = [
    (State::Disconnected, "disconnected"),
    (State::Connecting, "connecting"),
    (State::Ready, "ready"),
    (State::Closed, "closed"),
];

fn name<T: PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    names.iter().find(|(named, _)| *named == value).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Trace {
        let sent = |content| {
            let (packet, link, label) = (PacketId(7), LinkId(3), "DATA 0+5, LANE 7".into());
            Happened::Sent(SentPacket { packet, link, to: Side::Server, wire_len: 1428, digest: 0xAB, content, label })
        };
        let mut all: Vec<Happened> = CONTENTS.iter().map(|(content, _)| sent(*content)).collect();
        all.push(Happened::Lost(PacketId(7), "loss".into()));
        all.extend([false, true].map(|is_changed| Happened::Arrived(PacketId(8), is_changed)));
        all.extend(Side::BOTH.map(|side| Happened::Up(LinkId(1), side)));
        all.extend(Side::BOTH.map(|side| Happened::Down(LinkId(1), side)));
        all.extend(Break::ALL.map(|how| Happened::Broken(LinkId(1), how)));
        for (state, _) in STATES {
            let parties = [Party::Client(4), Party::Server(0, Some(4)), Party::Server(1, None)];
            all.extend(parties.map(|party| Happened::State(party, state)));
        }
        let entries = all.into_iter().enumerate().map(|(at, what)| Entry { at: Time::from_micros(at as u64), what });
        Trace { seed: 7, entries: entries.collect() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let trace = everything();
        let text = trace.to_string();
        assert_eq!(text.parse(), Ok(trace), "{text}");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let text = everything().to_string();
        for (line, wrong) in [
            (1, "something else"),
            (2, ""),
            (4, "17 arrived"),
            (5, "17 lost 3 loss twice"),
            (6, "x up"),
            (7, "17 arrived 3 late"),
        ] {
            let mut lines: Vec<&str> = text.lines().collect();
            lines[line - 1] = wrong;
            let error = lines.join("\n").parse::<Trace>().expect_err("not a trace");
            assert_eq!(error, TraceError { line, text: wrong.into() });
        }
        assert_eq!("".parse::<Trace>().expect_err("not a trace").line, 1);
    }
}
