//! What does not hold yet, and is excused in the targets as long as it says so here.

/// A message whose time to live ran out is told to be `Expired` even when its lane ends, or its session, before the machine
/// is woken for it.
pub(crate) const LATE_EXPIRY_IS_TOLD: bool = false;

/// A durable socket takes a record that is larger than its lane's window.
pub(crate) const DURABLE_TAKES_LARGE_RECORDS: bool = true;
