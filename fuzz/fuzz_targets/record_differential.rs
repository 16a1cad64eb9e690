#![no_main]

use std::sync::OnceLock;

/// `MIX=0` to `MIX=3` holds every input to one role mix, so that each gets its time.
static MIX: OnceLock<Option<u8>> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mix = MIX.get_or_init(|| std::env::var("MIX").ok()?.parse().ok());
    let Some((mix, (flags, rest))) = mix.zip(data.split_first()) else {
        return nested_tls_fuzz::targets::record_differential::run(data);
    };
    // Of the first byte, bit 1 is the victim's role and bit 4 says whether its other layer has
    // the other one.
    let flags = flags & !0b1_0010 | (mix & 1) << 1 | (mix & 2) << 3;
    nested_tls_fuzz::targets::record_differential::run(&[&[flags], rest].concat());
});
