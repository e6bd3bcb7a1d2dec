//! See `steadfast_fuzz::cookies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steadfast_fuzz::cookies::run(data));
