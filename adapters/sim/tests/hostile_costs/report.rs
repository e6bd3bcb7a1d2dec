//! The bounds that the documentation states, and the table of what attacks cost beside them.

use std::time::Duration;

use steadfast::{Config, ServerConfig};
use steadfast_sim::{datagram_bound, memory_bound};

use crate::victim::{Cost, READ_BUFFER};

/// What passes through a machine in one call beside what it keeps: the buffer that was read, a packet of 65 KiB on its
/// way out or in, the lane states of a handshake taken apart (2,049 of 40 bytes).
const PASSING: usize = READ_BUFFER + 2 * (66 << 10) + 2049 * 40;
/// A handshake that is not done, and what is kept of a session that has ended (documentation of `Server`).
const HANDSHAKE: usize = 66 << 10;
const TOMBSTONE: usize = 400;
/// A datagram link, and what it takes while a HELLO arrives in pieces.
pub(crate) const DOOR: usize = 200;
pub(crate) const PIECES: usize = 130 << 10;

/// The bound for a socket, and what passes through it.
pub(crate) fn of_socket(config: &Config, lanes: usize) -> usize {
    memory_bound(config, lanes) + PASSING
}

/// The bound of `Server`'s documentation with so many sockets of attackers, each with so many lanes, and no handshakes
/// but one at a time.
pub(crate) fn of_sessions(config: &ServerConfig, sockets: usize, lanes: usize) -> usize {
    config.max_sockets * TOMBSTONE + sockets * memory_bound(&config.socket, lanes) + PASSING
}

/// The same with as many handshakes as there may be.
pub(crate) fn of_server(config: &ServerConfig, sockets: usize, lanes: usize) -> usize {
    (config.max_unknown_links + config.max_pending) * HANDSHAKE + of_sessions(config, sockets, lanes)
}

/// What a datagram link adds to its socket, and to its server.
pub(crate) fn of_datagram_link(config: &Config) -> usize {
    datagram_bound(config) + DOOR + PIECES
}

/// What one attack cost.
pub(crate) struct Row {
    sent: u64,
    units: u64,
    unit: &'static str,
    peak: usize,
    bound: usize,
    allocated: usize,
    outputs: u64,
    spent: Duration,
    end: &'static str,
}

impl Row {
    pub(crate) fn new(
        cost: &Cost,
        units: u64,
        unit: &'static str,
        bound: usize,
        spent: Duration,
        end: &'static str,
    ) -> Row {
        let Cost { sent, peak, allocated, outputs } = *cost;
        Row { sent, units, unit, peak, bound, allocated, outputs, spent, end }
    }

    /// Holds the cost against its bounds: memory, and the work for each unit of the attack. `each`: how many bytes may be
    /// allocated for a unit on the way, and how many outputs and wake-ups it may cause.
    pub(crate) fn check(self, each: (usize, u64)) -> Row {
        let units = self.units as usize;
        let (allocated, outputs) = (self.allocated / units, self.outputs as f64 / units as f64);
        eprintln!("   peak {} of {}, {allocated} B and {outputs:.2} outputs a unit", self.peak, self.bound);
        assert!(self.peak <= self.bound, "{} bytes at once, and the bound is {}", self.peak, self.bound);
        assert!(allocated <= each.0, "{allocated} bytes allocated for each of {units}, not {}", each.0);
        assert!(outputs <= each.1 as f64, "{outputs} outputs for each of {units}, not {}", each.1);
        self
    }
}

/// Prints the table.
pub(crate) fn print(rows: &[(&str, Row)]) {
    println!("| attack | units | sent | peak memory | bound | CPU per unit | how it ends |");
    println!("|---|---|---|---|---|---|---|");
    for (name, row) in rows {
        let each = row.spent / u32::try_from(row.units).expect("a count");
        println!(
            "| {name} | {} {} | {} | {} | {} | {} | {} |",
            grouped(row.units),
            row.unit,
            bytes(row.sent),
            bytes(row.peak as u64),
            bytes(row.bound as u64),
            time(each),
            row.end
        );
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| std::str::from_utf8(group).expect("digits"));
    [&digits[..first]].into_iter().filter(|group| !group.is_empty()).chain(groups).collect::<Vec<_>>().join(",")
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} KB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

fn time(time: Duration) -> String {
    match time.as_nanos() {
        0 => "too little".into(),
        nanos @ 1..1000 => format!("{nanos} ns"),
        nanos @ 1000..10_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        nanos @ 10_000..10_000_000 => format!("{} µs", nanos / 1000),
        nanos => format!("{} ms", nanos / 1_000_000),
    }
}

/// The CPU time of this thread where the system tells it (Linux), else nothing: it is printed and never judged.
pub(crate) fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}
