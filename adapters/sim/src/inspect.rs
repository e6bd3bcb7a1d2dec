//! What packets carry, as far as can be seen from outside (PROTOCOL.md §3, §14.1).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use crate::by_hand::{MAGIC, new_session, read};
use crate::net::Carriage;

/// What a datagram, or a segment of a stream, is for. Where it is for several things: the first of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Content {
    /// A handshake.
    Handshake,
    /// Bytes of lanes of which some were sent before.
    Again,
    /// Bytes of lanes, or a volatile message.
    Data,
    /// Something else than what the others say.
    Control,
    /// Reports of what has arrived, was taken and may come.
    Ack,
}

/// What one side of a client's links has put into the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Bytes that the network has taken, with what each datagram costs beside its own.
    pub wire_bytes: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Datagrams without any bytes of messages.
    pub bare_datagrams: u64,
    /// Bytes of lanes that had been put into the network before.
    pub resent_bytes: u64,
}

/// What is in a write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Contents {
    /// The packets, one after the other, with what each says.
    parts: Vec<Part>,
    /// The bytes of lanes in it.
    stretches: Vec<Stretch>,
    /// The id of the session that begins in it.
    pub(crate) session: Option<Vec<u8>>,
}

/// Bytes of a lane in a write.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stretch {
    lane: u64,
    offset: u64,
    len: u64,
    /// How far the lane's bytes were sent before.
    sent: u64,
    /// Where in the write they end; as long as that is not known, how many bytes of the packet follow.
    end: usize,
}

/// One packet of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    end: usize,
    content: Content,
    label: String,
}

impl Contents {
    /// What these bytes of the write are for, and the same in a few words.
    pub(crate) fn of(&self, bytes: Range<usize>) -> (Content, String) {
        let starts = std::iter::once(0).chain(self.parts.iter().map(|part| part.end));
        let within = self.parts.iter().zip(starts);
        let within = within.filter(|(part, start)| part.end > bytes.start && *start < bytes.end);
        let (mut content, mut label, mut count) = (None, String::new(), 0);
        for (part, start) in within {
            content = Some(content.map_or(part.content, |content: Content| content.min(part.content)));
            count += 1;
            match count {
                1 if start < bytes.start => label = format!("… {}", part.label),
                1 => label.push_str(&part.label),
                2 | FEW => label += &format!(", {}", part.label),
                _ if !label.ends_with('…') => label.push_str(", …"),
                _ => {}
            }
        }
        // What cannot be read has no label; nothing ends in a blank, which a trace could not keep.
        label.truncate(label.trim_end().len());
        (content.unwrap_or(Content::Control), label)
    }
}

/// Looks into what one side of a client's links writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inspector {
    /// Of the session that it has seen begin: nothing that was sent before is of this one.
    session: Vec<u8>,
    /// By lane, how far its bytes were sent.
    sent: BTreeMap<u64, u64>,
    pub(crate) traffic: Traffic,
}

/// More frames than this are not in a label.
const FEW: usize = 3;

impl Inspector {
    /// Looks at what was handed to a link in one piece: a datagram, or whole packets of a stream.
    pub(crate) fn look(&mut self, carriage: Carriage, bytes: &[u8]) -> Contents {
        let mut contents = Contents::default();
        match carriage {
            Carriage::Datagram => {
                let mut found = Found::default();
                self.datagram(bytes, &mut found);
                self.traffic.datagrams += 1;
                self.traffic.bare_datagrams += u64::from(!found.has_message_bytes);
                self.keep(bytes.len(), found, &mut contents);
            }
            Carriage::Segment => {
                let mut at = 0;
                while let Some((len, size)) = read(&bytes[at..]) {
                    let packet = at + size..(at + size).saturating_add(len as usize);
                    let Some(packet) = bytes.get(packet) else { break };
                    let mut found = Found::default();
                    self.packet(packet, &mut found);
                    at += size + packet.len();
                    self.keep(at, found, &mut contents);
                }
            }
        }
        contents
    }

    fn keep(&mut self, end: usize, found: Found, contents: &mut Contents) {
        self.traffic.resent_bytes += found.resent_bytes;
        let content = found.contents.iter().min().copied().unwrap_or(Content::Control);
        contents.parts.push(Part { end, content, label: found.label });
        let in_write = |stretch: Stretch| Stretch { end: end.saturating_sub(stretch.end), ..stretch };
        contents.stretches.extend(found.stretches.into_iter().map(in_write));
        contents.session = contents.session.take().or(found.session);
    }

    fn datagram(&mut self, bytes: &[u8], found: &mut Found) {
        // The tag of suite 0 is 4 bytes.
        let Some((flags, body)) = bytes.split_first().filter(|(_, body)| body.len() > 4) else { return };
        let body = &body[..body.len() - 4];
        match flags {
            0x80 => match self.greeting(body).filter(|piece| piece.starts_with(&MAGIC)) {
                Some(piece) => self.packet(piece, found),
                None => found.note(Content::Handshake, "GREETING"),
            },
            0x81 => found.note(Content::Handshake, "COOKIE"),
            flags if flags & 0x80 == 0 => {
                // Behind the connection id and the packet number.
                let frames = body.get(8..).and_then(|rest| Some(&rest[read(rest)?.1..]));
                frames.into_iter().for_each(|frames| self.frames(frames, found));
            }
            _ => {}
        }
    }

    /// The piece of a handshake packet that stands in a GREETING.
    fn greeting<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = body.get(16..)?;
        sized(&mut rest)?;
        let [_, _] = numbers(&mut rest)?;
        let piece = rest;
        let (len, size) = (sized(&mut rest)?, read(piece)?.1);
        piece.get(size..size + len)
    }

    fn packet(&mut self, packet: &[u8], found: &mut Found) {
        match packet.strip_prefix(&MAGIC) {
            Some(rest) => {
                found.note(Content::Handshake, rest.first().map_or("HANDSHAKE", |kind| handshake(*kind)));
                if let Some(session) = new_session(packet) {
                    found.session = Some(session.to_vec());
                    self.begin(session);
                }
            }
            None => self.frames(packet, found),
        }
    }

    fn frames(&mut self, mut rest: &[u8], found: &mut Found) {
        while let Some(after) = self.frame(rest, found) {
            rest = after;
        }
    }

    /// Notes the frame at the beginning, and gives what follows it; nothing for what cannot be read.
    fn frame<'a>(&mut self, bytes: &'a [u8], found: &mut Found) -> Option<&'a [u8]> {
        let mut rest = bytes;
        let kind = number(&mut rest)?;
        match kind {
            0x02 => {
                let (lane, offset) = (number(&mut rest)?, number(&mut rest)?);
                let len = sized(&mut rest)? as u64;
                self.data(lane, offset..offset.saturating_add(len), rest.len(), found);
            }
            0x04 => {
                let [lane, consumed, received, _] = numbers(&mut rest)?;
                found.note(Content::Ack, &on_lane("LANE", lane, &format!("{}", consumed.saturating_add(received))));
            }
            0x06 => found.note(Content::Control, &format!("PING {}", number(&mut rest)? % 1000)),
            0x08 => found.note(Content::Control, &format!("PONG {}", number(&mut rest)? % 1000)),
            0x0A => {
                number(&mut rest)?;
                found.has_message_bytes |= sized(&mut rest)? > 0;
                found.note(Content::Data, "VOLATILE");
            }
            0x0C => {
                number(&mut rest)?;
                found.note(Content::Ack, "ALLOW");
            }
            0x0E => {
                number(&mut rest)?;
                found.note(Content::Ack, "LANE_DONE");
            }
            0x12 => found.note(Content::Control, "CLOSED"),
            0x18 => {
                let [_, offset] = numbers(&mut rest)?;
                found.note(Content::Control, &format!("PROMPT {offset}"));
            }
            0x1A => {
                let [largest, _, count, _] = numbers(&mut rest)?;
                for _ in 0..count {
                    numbers::<2>(&mut rest)?;
                }
                found.note(Content::Ack, &format!("ACK {largest}"));
            }
            0x1C | 0x1E => {
                rest = rest.get(8..)?;
                found.note(Content::Control, if kind == 0x1C { "CHALLENGE" } else { "RESPONSE" });
            }
            0x10 | 0x14 | 0x16 => {
                sized(&mut rest)?;
                found.note(Content::Control, ["CLOSE", "", "ABORT", "", "", "", "GOAWAY"][kind as usize - 0x10]);
            }
            odd if odd % 2 == 1 => {
                sized(&mut rest)?;
                found.note(Content::Control, "UNKNOWN");
            }
            _ => return None,
        }
        Some(rest)
    }

    /// Of a write that was looked at all bytes from `at` on are lost before the network has taken them: of the lanes' bytes
    /// in them none was sent.
    pub(crate) fn take_back(&mut self, contents: &Contents, at: usize) {
        for stretch in contents.stretches.iter().rev() {
            let lost = (stretch.end.saturating_sub(at) as u64).min(stretch.len);
            let end = stretch.offset.saturating_add(stretch.len);
            let left = end - lost;
            self.traffic.resent_bytes =
                self.traffic.resent_bytes.saturating_sub(stretch.sent.min(end).saturating_sub(left));
            // Unless another link has carried more meanwhile.
            if let Some(sent) = self.sent.get_mut(&stretch.lane).filter(|sent| **sent == stretch.sent.max(end)) {
                *sent = stretch.sent.max(left);
            }
        }
    }

    /// Bytes of a lane, behind which so many of the packet follow.
    fn data(&mut self, lane: u64, bytes: Range<u64>, follow: usize, found: &mut Found) {
        let sent = self.sent.entry(lane).or_default();
        let (offset, len) = (bytes.start, bytes.end - bytes.start);
        let resent = (*sent).min(bytes.end).saturating_sub(offset);
        found.stretches.push(Stretch { lane, offset, len, sent: *sent, end: follow });
        *sent = (*sent).max(bytes.end);
        found.has_message_bytes |= len > 0;
        found.resent_bytes += resent;
        let content = if resent > 0 { Content::Again } else { Content::Data };
        found.note(content, &on_lane("DATA", lane, &format!("{offset}+{len}")));
    }

    /// A session begins, if it is another one: its offsets begin at 0.
    pub(crate) fn begin(&mut self, session: &[u8]) {
        if self.session != session {
            self.session = session.to_vec();
            self.sent.clear();
        }
    }
}

fn handshake(kind: u8) -> &'static str {
    match kind {
        1 => "HELLO",
        2 => "WELCOME",
        3 => "REJECT",
        _ => "HANDSHAKE",
    }
}

/// The main lane need not be named.
fn on_lane(what: &str, lane: u64, rest: &str) -> String {
    if lane == 0 { format!("{what} {rest}") } else { format!("{what} {rest} (lane {lane})") }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (value, size) = read(rest)?;
    *rest = &rest[size..];
    Some(value)
}

fn numbers<const N: usize>(rest: &mut &[u8]) -> Option<[u64; N]> {
    let mut values = [0; N];
    for value in &mut values {
        *value = number(rest)?;
    }
    Some(values)
}

/// Passes over a sized field, and gives its length.
fn sized(rest: &mut &[u8]) -> Option<usize> {
    let len = number(rest)? as usize;
    *rest = rest.get(len..)?;
    Some(len)
}

#[derive(Default)]
struct Found {
    contents: Vec<Content>,
    label: String,
    has_message_bytes: bool,
    resent_bytes: u64,
    stretches: Vec<Stretch>,
    session: Option<Vec<u8>>,
}

impl Found {
    fn note(&mut self, content: Content, label: &str) {
        if self.contents.len() < FEW {
            let comma = if self.contents.is_empty() { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(self.label, "{comma}{label}");
        } else if self.contents.len() == FEW {
            self.label.push_str(", …");
        }
        self.contents.push(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_hand;

    fn segment(inspector: &mut Inspector, packets: &[&[u8]]) -> Contents {
        let bytes: Vec<u8> = packets.iter().flat_map(|frames| by_hand::packet(frames)).collect();
        inspector.look(Carriage::Segment, &bytes)
    }

    /// A datagram of the short form (PROTOCOL.md §14.1).
    fn short(frames: &[u8]) -> Vec<u8> {
        [&[0x20][..], &[9; 8], &by_hand::varint(300), frames, &[7; 4]].concat()
    }

    fn whole(contents: &Contents) -> (Content, String) {
        contents.of(0..usize::MAX)
    }

    #[test]
    fn a_packet_is_named_by_what_matters_most() {
        let mut inspector = Inspector::default();
        let mut look = |frames: &[&[u8]]| {
            let (content, label) = whole(&segment(&mut inspector, &[&frames.concat()]));
            (content, label.to_owned())
        };
        let named = |content, label: &str| (content, label.to_owned());
        assert_eq!(
            look(&[&by_hand::data(0, 0, b"hello"), &by_hand::report(2, 10, 7, 99)]),
            named(Content::Data, "DATA 0+5, LANE 10 (lane 2)")
        );
        assert_eq!(look(&[&by_hand::data(0, 3, b"lo, you")]), named(Content::Again, "DATA 3+7"));
        assert_eq!(look(&[&by_hand::report(0, 10, 7, 99)]), named(Content::Ack, "LANE 10"));
        assert_eq!(
            look(&[&by_hand::report(0, 10, 7, 99), &by_hand::ping(5), &by_hand::close(1)]),
            named(Content::Control, "LANE 10, PING 5, CLOSE")
        );
        let many: Vec<u8> = (0..9).flat_map(by_hand::ping).collect();
        assert_eq!(look(&[&many]).1, "PING 0, PING 1, PING 2, …");
        assert_eq!(inspector.traffic.resent_bytes, 2);
        assert_eq!(inspector.traffic.datagrams, 0);
    }

    #[test]
    fn the_pieces_of_a_write_are_told_apart() {
        let mut inspector = Inspector::default();
        let hello = by_hand::hello(&[]);
        let data = by_hand::packet(&by_hand::data(0, 0, &[7; 100]));
        let ping = by_hand::packet(&by_hand::ping(5));
        let contents = inspector.look(Carriage::Segment, &[&hello[..], &data, &ping].concat());
        let behind = hello.len() + data.len();
        for (bytes, content, label) in [
            (0..hello.len(), Content::Handshake, "HELLO"),
            (0..hello.len() + 1, Content::Handshake, "HELLO, DATA 0+100"),
            (hello.len()..hello.len() + 50, Content::Data, "DATA 0+100"),
            (hello.len() + 50..behind, Content::Data, "… DATA 0+100"),
            (behind - 1..behind + 1, Content::Data, "… DATA 0+100, PING 5"),
            (behind..behind + ping.len(), Content::Control, "PING 5"),
        ] {
            assert_eq!(contents.of(bytes), (content, label.into()));
        }
    }

    #[test]
    fn what_is_lost_before_it_has_left_was_not_sent() {
        let write =
            [by_hand::data(0, 0, &[7; 100]), by_hand::data(0, 100, &[7; 100])].map(|data| by_hand::packet(&data));
        let (first, whole) = (write[0].len(), write.concat());
        for left in 0..=whole.len() {
            let mut inspector = Inspector::default();
            let contents = inspector.look(Carriage::Segment, &whole);
            inspector.take_back(&contents, left);
            inspector.look(Carriage::Segment, &whole);
            let behind = |end: usize| 100 - end.saturating_sub(left).min(100);
            let again = behind(first) + behind(whole.len());
            assert_eq!(inspector.traffic.resent_bytes, again as u64, "{left} bytes had left");
        }
    }

    #[test]
    fn datagrams_are_counted_and_bare_ones_apart() {
        let mut inspector = Inspector::default();
        let ack = [&by_hand::varint(0x1A)[..], &[9, 0, 1, 2, 0, 3]].concat();
        for (frames, content, label) in [
            (by_hand::data(0, 0, &[0; 100]), Content::Data, "DATA 0+100"),
            (ack.clone(), Content::Ack, "ACK 9"),
            ([ack, by_hand::data(0, 50, &[0; 100])].concat(), Content::Again, "ACK 9, DATA 50+100"),
            ([&[0x1C][..], &[1; 8], &[0x1E], &[1; 8]].concat(), Content::Control, "CHALLENGE, RESPONSE"),
        ] {
            let contents = inspector.look(Carriage::Datagram, &short(&frames));
            assert_eq!(whole(&contents), (content, label.into()));
        }
        let hello = [&MAGIC[..], &[1, 1, 1, 0, 0, 0, 0, 0]].concat();
        let greeting = [&[0x80][..], &[5; 16], &[2, 0, 0], &[12, 0, 12], &hello, &[7; 4]].concat();
        let contents = inspector.look(Carriage::Datagram, &greeting);
        assert_eq!(whole(&contents), (Content::Handshake, "HELLO".into()));
        let traffic = inspector.traffic;
        assert_eq!((traffic.datagrams, traffic.bare_datagrams, traffic.resent_bytes), (5, 3, 50));
    }

    #[test]
    fn anything_can_be_looked_at() {
        let mut rng = crate::Rng::new(1);
        for _ in 0..10_000 {
            let len = rng.size(0..=60);
            let bytes = rng.bytes(len);
            Inspector::default().look(Carriage::Segment, &bytes);
            Inspector::default().look(Carriage::Datagram, &bytes);
            let packet = by_hand::packet(&bytes);
            let contents = Inspector::default().look(Carriage::Segment, &[&packet[..], &packet].concat());
            for from in 0..packet.len() {
                let (_, label) = contents.of(from..from + 5);
                let read_back = label.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(label, read_back, "as a trace keeps it");
            }
        }
    }
}
