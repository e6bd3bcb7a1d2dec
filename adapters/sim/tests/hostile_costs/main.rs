//! What hostile peers cost. Each attack is mounted with bytes made by hand, at large scale, against a machine of small
//! limits. A counting allocator holds its memory against the bound that the documentation computes from these limits;
//! its work is counted in what it allocates and puts out for each unit of the attack, and never timed; an honest client
//! is served meanwhile; and the attack ends as PROTOCOL.md says.
//!
//! Prints the table of SECURITY.md: `cargo test --release -p steadfast-sim --test hostile_costs`. A name, or a part of
//! one, runs only these attacks. One program and not one test each: what another thread allocated would be counted.

mod asks;
mod clients;
mod credit;
mod data;
mod datagrams;
mod floods;
mod handshakes;
mod intruder;
mod lanes;
mod report;
mod stage;
mod victim;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use report::Row;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An attack and what it is called.
type Attack = (&'static str, fn() -> Row);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let attacks =
        [handshakes::ALL, data::ALL, lanes::ALL, credit::ALL, asks::ALL, floods::ALL, clients::ALL, datagrams::ALL]
            .concat();
    let chosen = attacks.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(part)));
    let rows: Vec<_> = chosen
        .map(|(name, attack)| {
            eprintln!("{name}");
            (*name, attack())
        })
        .collect();
    report::print(&rows);
}
