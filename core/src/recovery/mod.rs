//! What a datagram link needs to be reliable: packet numbers, round-trip times, loss, congestion and pacing
//! (after RFC 9002, RFC 8985 and BBR).
//!
//! Nothing here knows of sockets, lanes or frames. Each direction of a link has two ends:
//!
//! * [`Recovery`] at the sender numbers packets, remembers what each of them carried, says when the next may leave and when one is lost.
//! * [`AckTracker`] at the receiver drops duplicates and says what is acknowledged and when.
//!
//! The sender's loop:
//!
//! 1. [`Recovery::permit`]: may a packet leave now? [`Permit::Now`] and nothing to send: [`Recovery::on_app_limited`].
//! 2. Build the packet with [`Recovery::next_number`]; set its "acknowledge soon" bit if [`Recovery::asks_ack`]; then [`Recovery::on_sent`].
//!    A packet that only acknowledges needs no permit and goes through [`Recovery::on_sent_untracked`].
//! 3. For each ACK that arrives [`Recovery::on_ack`]; at [`Recovery::poll_timeout`] [`Recovery::on_timeout`]. Both report the fate of packets.
//!
//! The receiver's loop: [`AckTracker::is_duplicate`] before a packet is looked into, [`AckTracker::on_received`] after it, and an ACK when one
//! [is due](AckTracker::due) or a packet leaves anyway and [one would say something new](AckTracker::has_news).

mod ack_aggregation;
mod ack_tracker;
mod congestion;
mod delivery;
mod fixed_window;
mod loss_rate;
mod noise;
mod pacer;
mod probe_timer;
mod range_set;
mod rate_based;
mod redundancy;
mod reordering;
mod rtt;
mod sender;
mod sent;
mod spare_room;

pub(crate) use ack_tracker::{AckTracker, Asks, MAX_ACK_RANGES};
pub(crate) use redundancy::{PathView, Redundancy};
pub(crate) use sender::{Fate, Permit, Recovery, Settings};

#[cfg(test)]
mod tests;
