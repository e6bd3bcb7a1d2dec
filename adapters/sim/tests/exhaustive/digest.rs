//! A snapshot as one number, without what does not decide what a socket does next.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;

use serde::ser::{self, Serialize, Serializer};
use steadfast::{Server, Snapshot, Time};

/// Whether the field is left out: what is only counted; the numbers by which a durable socket holds its output back, which
/// these sockets are not; how fast a path delivers and how much it loses, for which a fixed window does not ask.
fn is_left_out(name: &str) -> bool {
    let name = name.as_bytes();
    matches!(name, b"bytes_sent" | b"bytes_received" | b"bytes_resent" | b"messages_sent" | b"messages_received")
        || matches!(name, b"resumes" | b"resent" | b"gate" | b"last_gate")
        || matches!(name, b"delivery" | b"departure" | b"loss_rate" | b"pacer")
}

/// Whether the field is when the clock of a datagram link began, and whether it tells the time by this clock.
fn is_clock(name: &str) -> (bool, bool) {
    (matches!(name.as_bytes(), b"start"), matches!(name.as_bytes(), b"recovery" | b"arrivals"))
}

/// Equal for sockets that will behave alike: times are relative in a snapshot.
pub(crate) fn digest(snapshot: &Snapshot) -> u64 {
    let mut digest = Digest { hasher: DefaultHasher::new(), start: 0, clock: 0, is_time: false, is_start: false };
    snapshot.serialize(&mut digest).expect("nothing can fail");
    digest.hasher.finish()
}

/// What a server knows beside its sockets, with times that count from `now`: it has no snapshot, so this is what it shows.
pub(crate) fn digest_of_server(server: &Server, now: Time) -> u64 {
    let text = format!("{server:?}");
    let (before, rest) = text.rsplit_once(", greetings: ").expect("links and opens that wait");
    let (rest, _) = rest.rsplit_once(", arena: ").expect("memory comes last");
    let rng = before.split(", table: ").next().expect("something");
    let mut hasher = DefaultHasher::new();
    rng.rsplit_once(", rng: ").expect("a state of chance").1.hash(&mut hasher);
    for word in rest.split([' ', '(', ')', ',']) {
        match time(word) {
            Some(time) => (time.since(now), now.since(time)).hash(&mut hasher),
            None => word.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// A time as it shows itself: seconds and six digits of their parts.
fn time(word: &str) -> Option<Time> {
    let (seconds, parts) = word.strip_suffix('s')?.split_once('.')?;
    let parts = Some(parts).filter(|parts| parts.len() == 6)?;
    let micros: u64 = seconds.parse().ok()?;
    Some(Time::from_micros(micros * 1_000_000 + parts.parse::<u64>().ok()?))
}

/// A hash that is the same in every run.
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes what is written to it: values, lengths of what varies in length, and which variant of an enum it is.
struct Digest {
    hasher: DefaultHasher,
    /// When the clock of a link began, and what is added to times: that, where they are told by this clock.
    start: u64,
    clock: u64,
    /// What the next number is.
    is_time: bool,
    is_start: bool,
}

impl Digest {
    fn add(&mut self, value: impl Hash) -> Result<(), Never> {
        value.hash(&mut self.hasher);
        Ok(())
    }
}

#[derive(Debug)]
enum Never {}

impl Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl ser::Error for Never {
    fn custom<T: Display>(text: T) -> Never {
        panic!("{text}")
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Never> {
            self.add(value)
        })*
    };
}

impl Serializer for &mut Digest {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain!(serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]);
    plain!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32);
    plain!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);

    fn serialize_u64(self, value: u64) -> Result<(), Never> {
        match (take(&mut self.is_time), take(&mut self.is_start)) {
            (true, true) => {
                self.start = value;
                Ok(())
            }
            (true, false) if value < u64::MAX => self.add(value.wrapping_add(self.clock)),
            _ => self.add(value),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), Never> {
        self.add(value.to_bits())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Never> {
        self.add(value.to_bits())
    }

    fn serialize_none(self) -> Result<(), Never> {
        self.add(false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Never> {
        self.add(true)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Never> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Never> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Never> {
        self.add(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Never> {
        self.is_time = name == "Time";
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.add(index)?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Never> {
        self.add(length)?;
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Never> {
        self.serialize_seq(length)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Never> {
        self.add(index)?;
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Never> {
        self.add(index)?;
        Ok(self)
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident),*) => {
        $(impl ser::$trait for &mut Digest {
            type Ok = ();
            type Error = Never;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Never> {
                Ok(())
            }
        })*
    };
}

elements!(SerializeSeq: serialize_element, SerializeTuple: serialize_element);
elements!(SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field);

impl ser::SerializeMap for &mut Digest {
    type Ok = ();
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Never> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for &mut Digest {
            type Ok = ();
            type Error = Never;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Never> {
                if is_left_out(name) {
                    return Ok(());
                }
                let (is_start, by_own_clock) = is_clock(name);
                self.is_start = is_start;
                self.clock = if by_own_clock { self.start } else { self.clock };
                value.serialize(&mut **self)?;
                self.clock = if by_own_clock { 0 } else { self.clock };
                Ok(())
            }

            fn end(self) -> Result<(), Never> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);
