//! What a run put out, as one number: two runs of a seed must agree on it.

use std::hash::{DefaultHasher, Hasher};

use serde::Serialize;

/// A running hash over outputs.
#[derive(Clone, Debug, Default)]
pub struct Digest(DefaultHasher);

impl Digest {
    /// The hash so far.
    pub fn digest(&self) -> u64 {
        self.0.finish()
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    /// Adds a value by its serialized form.
    ///
    /// # Panics
    /// When the value cannot be serialized.
    pub fn value(&mut self, value: &impl Serialize) {
        self.bytes(&postcard::to_allocvec(value).expect("a value that can be serialized"));
    }
}
