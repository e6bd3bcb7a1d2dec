//! See `steadfast_fuzz::packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steadfast_fuzz::packets::run(data));
