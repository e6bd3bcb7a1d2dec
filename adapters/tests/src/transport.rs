//! What carries the sockets of a test.

use std::cell::Cell;

thread_local! {
    static ANY_PORT: Cell<&'static str> = const { Cell::new("tcp://127.0.0.1:0") };
}

/// A free loopback port, of TCP unless [`over_udp`] says otherwise.
pub(crate) fn any_port() -> &'static str {
    ANY_PORT.get()
}

/// Runs a test whose servers are at UDP ports.
pub fn over_udp(test: impl FnOnce()) {
    let tcp = ANY_PORT.replace("udp://127.0.0.1:0");
    test();
    ANY_PORT.set(tcp);
}
