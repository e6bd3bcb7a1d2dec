//! A global allocator that counts.
#![expect(unsafe_code, reason = "an allocator is unsafe code: it hands every call to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// The system's allocator. While [`during`] runs, it counts for all threads; otherwise it costs one load and branch.
#[derive(Debug)]
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// What was allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Calls of `alloc` and `realloc`.
    pub allocations: u64,
    /// Bytes allocated and not freed; negative when older ones were freed.
    pub live: i64,
    /// The most that `live` was.
    pub peak: i64,
}

/// Counts what happens in a function, on all threads. One at a time.
pub fn during<T>(act: impl FnOnce() -> T) -> (T, Counts) {
    CALLS.store(0, Relaxed);
    LIVE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    ON.store(true, Relaxed);
    let value = act();
    ON.store(false, Relaxed);
    (value, Counts { allocations: CALLS.load(Relaxed), live: LIVE.load(Relaxed), peak: PEAK.load(Relaxed) })
}

fn grow(bytes: usize) {
    let live = LIVE.fetch_add(bytes as i64, Relaxed) + bytes as i64;
    PEAK.fetch_max(live, Relaxed);
}

fn shrink(bytes: usize) {
    LIVE.fetch_sub(bytes as i64, Relaxed);
}

fn is_on() -> bool {
    ON.load(Relaxed)
}

// SAFETY: every call goes to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_on() {
            CALLS.fetch_add(1, Relaxed);
            grow(layout.size());
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_on() {
            CALLS.fetch_add(1, Relaxed);
            grow(layout.size());
        }
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_on() {
            CALLS.fetch_add(1, Relaxed);
            shrink(layout.size());
            grow(size);
        }
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if is_on() {
            shrink(layout.size());
        }
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}
