//! A client and a server without std: both machines are built, driven and drained.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use steadfast::{
    Bytes, Config, Event, LaneId, LinkAction, LinkId, LinkKind, Message, Received, Server, ServerConfig, ServerEvent,
    Socket, Time,
};

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

/// Hands out a fixed piece of memory once and takes nothing back.
struct Bump {
    next: AtomicUsize,
}

const MEMORY: usize = 1 << 20;

#[repr(align(4096))]
struct Memory(core::cell::UnsafeCell<[u8; MEMORY]>);

// SAFETY: the bytes are only reached through the disjoint pieces that `Bump` hands out.
unsafe impl Sync for Memory {}

static HEAP: Memory = Memory(core::cell::UnsafeCell::new([0; MEMORY]));

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: AtomicUsize::new(0) };

// SAFETY: pieces are aligned, lie inside the memory and never overlap; none is given out twice.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = |next: usize| {
            let start = next.checked_next_multiple_of(layout.align())?;
            start.checked_add(layout.size()).filter(|end| layout.align() <= 4096 && *end <= MEMORY)
        };
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place) {
            // SAFETY: `place` has checked that the piece lies inside the memory.
            Ok(next) => unsafe { HEAP.0.get().cast::<u8>().add(next.next_multiple_of(layout.align())) },
            Err(_) => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Runs a client and a server over one link in memory; the number of messages that came back.
#[unsafe(no_mangle)]
pub extern "C" fn steadfast_no_std() -> usize {
    let link = LinkId(1);
    let (Ok(mut client), Ok(mut server)) = (
        Socket::new(Arc::new(Config::default()), vec![Arc::from("memory")], Bytes::new(), [1; 32], Time::ZERO),
        Server::new(Arc::new(ServerConfig::default()), [2; 32], Time::ZERO),
    ) else {
        return 0;
    };
    client.connect(Time::ZERO);
    let _ = client.send(Time::ZERO, LaneId::MAIN, Message::new("hello"));
    let mut echoes = 0;
    for now in (0..100).map(Time::from_millis) {
        while let Some(action) = client.poll_link_action() {
            if let LinkAction::Dial(_) = action {
                client.handle_link_up(now, link, LinkKind::Stream);
                server.handle_link_up(now, link, LinkKind::Stream);
            }
        }
        while let Some(transmit) = client.poll_transmit(now, link) {
            transmit.segments().iter().for_each(|bytes| server.handle_bytes(now, link, bytes.clone()));
        }
        while server.poll_link_action().is_some() {}
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Open(request) => drop(server.accept(now, request.id)),
                ServerEvent::Socket(id, Event::Readable(lane)) => {
                    let Some(socket) = server.socket_mut(id) else { continue };
                    while let Some(Received::Message(message)) = socket.recv(now, lane) {
                        let _ = socket.send(now, lane, message);
                    }
                }
                _ => {}
            }
        }
        while let Some(transmit) = server.poll_transmit(now, link) {
            transmit.segments().iter().for_each(|bytes| client.handle_bytes(now, link, bytes.clone()));
        }
        while client.poll_event().is_some() {}
        while client.recv(now, LaneId::MAIN).is_some() {
            echoes += 1;
        }
        client.handle_timeout(now);
        server.handle_timeout(now);
    }
    echoes
}
