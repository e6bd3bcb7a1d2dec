//! See `steadfast_fuzz::lossy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steadfast_fuzz::lossy::run(data));
