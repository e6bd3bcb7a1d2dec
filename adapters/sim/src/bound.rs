//! The bound on memory that the core's documentation states.

use steadfast::Config;

/// The most memory that a socket of this configuration takes with so many live lanes, in bytes, beside what its
/// application holds or asks for: the formula of [`Config`]'s documentation.
pub fn memory_bound(config: &Config, lanes: usize) -> usize {
    let buffers = config.send_buffer + 2 * config.receive_buffer + config.max_message + 3 * config.volatile_buffer;
    buffers + 100 * config.max_open_asks + (128 << 10) + ((1 << 10) + config.max_headers) * lanes
}
