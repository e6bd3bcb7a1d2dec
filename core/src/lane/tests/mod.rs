//! Lanes from outside: both ends joined, and each rule.

mod bytes;
mod pipe;
mod receiving;
mod records;
mod sending;

use super::RecordLimits;

const LIMITS: RecordLimits = RecordLimits { max_message: 1 << 20, max_headers: 1 << 16 };

fn restored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    postcard::from_bytes(&postcard::to_allocvec(value).unwrap()).unwrap()
}
