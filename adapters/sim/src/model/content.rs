//! What the model's applications write: contents that say where they belong, so that a reader can tell whether it has
//! the right one, and that can be made again, so that nothing has to be kept.

use steadfast::Message;

use crate::rng::Rng;

/// Bytes of the mark at the beginning of a payload that is long enough for it.
const MARK: usize = 12;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Plain,
    Ask,
    Reply,
    Volatile,
}

/// Which message it is: the one of this number on this stream. Of a reply: the ask's stream and number, and which of the
/// ask's replies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) stream: u32,
    pub(super) index: u32,
    pub(super) part: u16,
}

/// How large a message is and what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) payload: u32,
    pub(super) has_name: bool,
    pub(super) headers: u16,
}

impl Shape {
    /// A random shape: mostly small, sometimes empty, sometimes of the largest size.
    pub(super) fn random(rng: &mut Rng, max_message: usize, max_headers: usize) -> Shape {
        let payload = match rng.below(16) {
            0 => 0,
            1 => 1,
            2 => max_message,
            3 | 4 => rng.size(0..=max_message),
            5..=8 => rng.size(0..=2000),
            _ => rng.size(0..=100),
        };
        let headers = if rng.one_in(5) { rng.size(20..=max_headers.clamp(20, 1000)) } else { 0 };
        Shape { payload: payload.min(max_message) as u32, has_name: rng.one_in(5), headers: headers as u16 }
    }

    /// The same shape, large enough to tell which message it is.
    pub(super) fn marked(self) -> Shape {
        Shape { payload: self.payload.max(MARK as u32), ..self }
    }

    pub(super) fn compose(self, mark: Mark) -> Message {
        let mut payload = Vec::with_capacity((self.payload as usize).max(MARK));
        payload.push(b"parv"[mark.kind as usize]);
        payload.push(0x5A);
        payload.extend_from_slice(&mark.part.to_be_bytes());
        payload.extend_from_slice(&mark.stream.to_be_bytes());
        payload.extend_from_slice(&mark.index.to_be_bytes());
        let key = u64::from(mark.stream) << 32 | u64::from(mark.index);
        extend_with_pattern(&mut payload, key, 0, (self.payload as usize).saturating_sub(MARK));
        payload.truncate(self.payload as usize);
        let mut message = Message::new(payload);
        if self.has_name {
            message = message.with_name(format!("{}.{}.{}.{}", mark.kind as u8, mark.stream, mark.index, mark.part));
        }
        if self.headers > 0 {
            let padding = "h".repeat(usize::from(self.headers).saturating_sub(20));
            message = message.with_headers(format!("{{\"{:08x}\":\"{padding}\"}}", mark.index));
        }
        message
    }
}

impl Kind {
    fn from_number(number: usize) -> Option<Kind> {
        [Kind::Plain, Kind::Ask, Kind::Reply, Kind::Volatile].get(number).copied()
    }
}

impl Mark {
    /// Reads which message this is. `None` when it does not tell.
    pub(super) fn of(message: &Message) -> Option<Mark> {
        if let Some(mark) = message.payload.first_chunk::<MARK>() {
            return Some(Mark {
                kind: Kind::from_number(b"parv".iter().position(|letter| *letter == mark[0])?)?,
                part: u16::from_be_bytes([mark[2], mark[3]]),
                stream: u32::from_be_bytes([mark[4], mark[5], mark[6], mark[7]]),
                index: u32::from_be_bytes([mark[8], mark[9], mark[10], mark[11]]),
            });
        }
        let mut numbers = message.name()?.split('.').map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        let kind = Kind::from_number(next()? as usize)?;
        Some(Mark { kind, stream: next()?, index: next()?, part: next()? as u16 })
    }
}

/// The bytes of a byte stream's pattern from a position on.
pub(super) fn extend_with_pattern(bytes: &mut Vec<u8>, key: u64, from: u64, len: usize) {
    bytes.extend((from..from + len as u64).map(|at| pattern(key, at)));
}

/// Whether these bytes are the pattern from a position on.
pub(super) fn is_pattern(bytes: &[u8], key: u64, from: u64) -> bool {
    bytes.iter().zip(from..).all(|(byte, at)| *byte == pattern(key, at))
}

/// Differs from position to position and from key to key, so that bytes of another place are seen.
fn pattern(key: u64, at: u64) -> u8 {
    let mixed = (key ^ at >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8 ^ (at as u8).wrapping_mul(37)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_message_tells_which_one_it_is() {
        let mut rng = Rng::new(5);
        for index in 0..500 {
            let mark = Mark { kind: *rng.pick(&[Kind::Plain, Kind::Reply]), stream: 7, index, part: 3 };
            let shape = Shape::random(&mut rng, 5000, 1000);
            let message = shape.compose(mark);
            assert_eq!(message.payload.len(), shape.payload as usize);
            let is_marked = shape.payload as usize >= MARK || shape.has_name;
            assert_eq!(Mark::of(&message), is_marked.then_some(mark), "{shape:?}");
        }
    }

    #[test]
    fn a_pattern_is_seen_to_be_shifted() {
        let mut bytes = Vec::new();
        extend_with_pattern(&mut bytes, 9, 100, 200);
        assert!(is_pattern(&bytes, 9, 100));
        assert!(!is_pattern(&bytes, 9, 101) && !is_pattern(&bytes, 8, 100));
    }
}
