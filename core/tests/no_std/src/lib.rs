//! A client and a server without std: both machines are built, driven and drained.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use steadfast::{Bytes, Config, LaneId, LinkAction, LinkId, LinkKind, Message, Server, ServerConfig, Socket, Time};

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

/// Runs a client and a server over one link in memory; the number of bytes that passed.
#[unsafe(no_mangle)]
pub extern "C" fn steadfast_no_std() -> usize {
    let (mut now, link) = (Time::ZERO, LinkId(1));
    let addresses = vec![Arc::from("memory")];
    let (Ok(mut client), Ok(mut server)) = (
        Socket::new(Arc::new(Config::default()), addresses, Bytes::new(), [1; 32], now),
        Server::new(Arc::new(ServerConfig::default()), [2; 32], now),
    ) else {
        return 0;
    };
    client.connect(now);
    let _ = client.send(now, LaneId::MAIN, Message::new("hello"));
    let mut passed = 0;
    for _ in 0..100 {
        now = now + core::time::Duration::from_millis(1);
        while let Some(action) = client.poll_link_action() {
            if let LinkAction::Dial(_) = action {
                client.handle_link_up(now, link, LinkKind::Stream);
                server.handle_link_up(now, link, LinkKind::Stream);
            }
        }
        while let Some(transmit) = client.poll_transmit(now, link) {
            for bytes in transmit.segments() {
                passed += bytes.len();
                server.handle_bytes(now, link, bytes.clone());
            }
        }
        while server.poll_event().is_some() || server.poll_link_action().is_some() {}
        while let Some(transmit) = server.poll_transmit(now, link) {
            for bytes in transmit.segments() {
                passed += bytes.len();
                client.handle_bytes(now, link, bytes.clone());
            }
        }
        while client.poll_event().is_some() {}
        client.handle_timeout(now);
        server.handle_timeout(now);
    }
    passed
}
