//! See `steadfast_fuzz::datagrams`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steadfast_fuzz::datagrams::run(data));
