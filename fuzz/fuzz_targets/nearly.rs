#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| opros_fuzz::fuzzed::nearly(data));
