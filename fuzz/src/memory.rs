//! What machines take of memory, counted by the allocator, against the bound that their configuration states.

use std::alloc::System;
use std::borrow::Cow;
use std::sync::Arc;

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use steadfast::{Server, ServerConfig, Socket, Time};
use steadfast_sim::{freeze, memory_bound, thaw};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What an ask or a receipt under way may cost beside the buffers: entries in maps.
const ENTRY: usize = 400;
/// A call that allocates less moves too little to be weighed.
const GRAIN: usize = 4 << 10;
/// A handshake that is not done, as the documentation of `Server` says.
pub(crate) const HANDSHAKE: usize = 66 << 10;
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

/// The bound of `Config`'s documentation, with so many asks and receipts under way.
fn bound(socket: &Socket, wants: usize) -> usize {
    memory_bound(socket.config(), socket.stats().lanes) + ENTRY * wants
}

/// What comes to it on datagram links by which so many were sent.
pub(crate) fn of_datagrams(count: usize) -> usize {
    if count > 0 { PIECES + SENT * count } else { 0 }
}

/// A call of a machine, from its beginning.
pub(crate) struct Call(Stats);

impl Call {
    pub(crate) fn begin() -> Call {
        Call(ALLOCATOR.stats())
    }

    /// The call is over, after which the sockets of the machine are these. What they hold and what came free in the call is no
    /// less than what lived at once, and stays within their bounds and `more`. Copies are weighed, which share nothing.
    pub(crate) fn weigh<'a>(
        self,
        sockets: impl Iterator<Item = Cow<'a, Socket>>,
        now: Time,
        wants: usize,
        more: usize,
    ) {
        let after = ALLOCATOR.stats();
        if after.bytes_allocated - self.0.bytes_allocated < GRAIN {
            return;
        }
        let freed = after.bytes_deallocated - self.0.bytes_deallocated;
        let (mut held, mut most) = (0, more);
        for socket in sockets {
            let state = freeze(&socket.snapshot(now));
            held += memory_of(thaw(&state, Arc::new(socket.config().clone()), now));
            most += bound(&socket, wants);
        }
        assert!(held + freed <= most, "{held} bytes are held, {freed} came free in one call, and the bound is {most}");
    }
}

/// The machines, of which nothing else may hold a part any more, stay within their bounds. So many asks and receipts are under
/// way on each socket, and they have sent so many `datagrams`.
pub(crate) fn check((client, server): (Socket, Server), config: &ServerConfig, wants: usize, datagrams: usize) {
    let of_sockets: usize =
        server.sockets().filter_map(|id| server.socket(id)).map(|socket| bound(&socket, wants)).sum();
    let handshakes = (config.max_unknown_links + config.max_pending) * HANDSHAKE;
    let pieces = if datagrams > 0 { PIECES } else { 0 };
    let of_server = of_sockets + handshakes + config.max_sockets * (TOMBSTONE + pieces) + SENT * datagrams;
    let of_client = bound(&client, wants) + of_datagrams(datagrams);
    let memory = memory_of(client);
    assert!(memory <= of_client, "the client takes {memory} bytes, and its bound is {of_client}");
    let memory = memory_of(server);
    assert!(memory <= of_server, "the server takes {memory} bytes, and its bound is {of_server}");
}
