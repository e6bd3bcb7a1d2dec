//! One lane: a stream of records in each direction, addressed by byte offsets (PROTOCOL.md §4).

mod assembler;
mod chunks;
mod extended;
mod handback;
mod ledger;
mod memory;
mod outlet;
mod pieces;
pub(crate) mod record;
mod recv;
mod replies;
mod send;
mod tags;
mod tail;
mod take;
mod waiting;

pub(crate) use handback::{Handback, UnconfirmedRecord};
pub(crate) use memory::keep;
pub(crate) use outlet::Outlet;
pub(crate) use record::{AskOutcome, Incoming, Outgoing, RecordLimits};
pub(crate) use recv::RecvBuffer;
pub(crate) use send::SendBuffer;
pub(crate) use take::ReadBytes;
pub(crate) use waiting::Waiting;

#[cfg(test)]
mod tests;
