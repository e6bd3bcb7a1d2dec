//! The bound on memory that the core's documentation states.

use steadfast::{Config, Congestion};

/// The most memory that a socket of this configuration takes with so many live lanes, in bytes, beside what its
/// application holds or asks for, and beside the answers of a client whose server goes away: the formula of [`Config`]'s
/// documentation.
pub fn memory_bound(config: &Config, lanes: usize) -> usize {
    let buffers = config.send_buffer + 2 * config.receive_buffer + config.max_message + 3 * config.volatile_buffer;
    buffers + 100 * config.max_open_asks + (128 << 10) + ((1 << 10) + config.max_headers) * lanes
}

/// The most memory that comes to this on a datagram link with datagrams of 1,200 bytes, likewise.
pub fn datagram_bound(config: &Config) -> usize {
    let packets = match config.congestion {
        Congestion::FixedWindow { bytes } => (bytes / LEAST_PACKET).min(MOST_PACKETS),
        _ => MOST_PACKETS,
    };
    2 * 300 * packets + (66 << 10)
}

/// The smallest packet that counts against the congestion window, in bytes.
const LEAST_PACKET: usize = 15;
/// As many are remembered.
const MOST_PACKETS: usize = 32_768;
