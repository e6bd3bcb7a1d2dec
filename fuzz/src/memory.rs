//! What machines take of memory, counted by the allocator, against the bound that their configuration states.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use steadfast::{Server, ServerConfig, Socket};
use steadfast_sim::memory_bound;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a message, an ask or a receipt that the application asked for may cost beside the buffers: an entry in a map.
const ENTRY: u64 = 400;
/// A handshake that is not done, as the documentation of `Server` says.
const HANDSHAKE: usize = 66 << 10;
/// What is kept of a session that has ended.
const TOMBSTONE: usize = 400;
/// What a datagram that was sent may cost as long as it is remembered.
const SENT: usize = 300;
/// What the pieces of a HELLO may take on a datagram link.
const PIECES: usize = 130 << 10;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// The bytes that come free with a value: those that nothing else holds.
fn memory_of<T>(value: T) -> usize {
    let before = allocated();
    drop(value);
    before - allocated()
}

/// The bound of `Config`'s documentation.
fn bound(socket: &Socket) -> usize {
    let (config, stats) = (socket.config(), socket.stats());
    let entries = ENTRY * (stats.messages_sent + stats.messages_received);
    memory_bound(config, stats.lanes) + entries as usize
}

/// The machines, of which nothing else may hold a part any more, stay within their bounds. They have sent so many
/// `datagrams`.
pub(crate) fn check((client, server): (Socket, Server), config: &ServerConfig, datagrams: usize) {
    let of_sockets: usize = server.sockets().filter_map(|id| server.socket(id)).map(|socket| bound(&socket)).sum();
    let handshakes = (config.max_unknown_links + config.max_pending) * HANDSHAKE;
    let pieces = if datagrams > 0 { PIECES } else { 0 };
    let of_server = of_sockets + handshakes + config.max_sockets * (TOMBSTONE + pieces) + SENT * datagrams;
    let of_client = bound(&client) + SENT * datagrams + pieces;
    let memory = memory_of(client);
    assert!(memory <= of_client, "the client takes {memory} bytes, and its bound is {of_client}");
    let memory = memory_of(server);
    assert!(memory <= of_server, "the server takes {memory} bytes, and its bound is {of_server}");
}
