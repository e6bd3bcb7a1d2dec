//! Lanes from outside: both ends joined, and each rule.

mod bytes;
mod pipe;
mod receiving;
mod records;
mod sending;

use alloc::vec::Vec;

use super::{Outgoing, RecordLimits, SendBuffer, UnconfirmedRecord};
use crate::time::Time;

const LIMITS: RecordLimits = RecordLimits { max_message: 1 << 20, max_headers: 1 << 16 };

fn restored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    postcard::from_bytes(&postcard::to_allocvec(value).unwrap()).unwrap()
}

/// All that the buffer hands back, which is as many messages as it says.
fn handed_back(send: &mut SendBuffer, now: Time) -> Vec<UnconfirmedRecord> {
    let handback = restored(&send.take_unconfirmed(now));
    let (messages, mut records) = (handback.messages(), Vec::new());
    handback.take(|record| records.push(record));
    let is_message = |record: &&UnconfirmedRecord| {
        matches!(record.out, Outgoing::Message(_) | Outgoing::Reply { .. } | Outgoing::Bytes(_))
    };
    assert_eq!(messages, records.iter().filter(is_message).count());
    records
}
