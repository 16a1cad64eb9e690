#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nested_tls_fuzz::targets::framing::run(data));
