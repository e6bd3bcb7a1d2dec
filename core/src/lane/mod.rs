//! One lane: a stream of records in each direction, addressed by byte offsets (PROTOCOL.md §4).

mod assembler;
mod chunks;
pub(crate) mod record;
mod recv;
mod send;
mod waiting;

pub(crate) use record::{AskOutcome, Incoming, Outgoing, RecordLimits};
pub(crate) use recv::{ReadBytes, RecvBuffer};
pub(crate) use send::{SendBuffer, UnconfirmedRecord, cost};
pub(crate) use waiting::Waiting;

#[cfg(test)]
mod tests;
