//! The clock of all sockets: microseconds since the system started, sleep included where the system counts it.

use steadfast::Time;

/// The present time.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn now() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Time::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}

/// The present time.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn now() -> Time {
    use std::sync::OnceLock;
    use std::time::Instant;

    static EPOCH: OnceLock<Instant> = OnceLock::new();
    Time::ZERO + EPOCH.get_or_init(Instant::now).elapsed()
}
