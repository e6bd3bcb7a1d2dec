//! See `steadfast_fuzz::mitm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steadfast_fuzz::mitm::run(data));
