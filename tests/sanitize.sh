#!/usr/bin/env bash
# The tests under AddressSanitizer and LeakSanitizer: the crate, and every crate that it calls; not the
# C and assembler inside the providers. Needs Linux and `rustup toolchain install nightly`.
# Arguments are the test binaries; all that hold the core to anything, if there are none.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- nested identity adapters fuzz_corpus memory
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/asan RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS-}"
export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS-}"
# An explicit target keeps the flags from build scripts and macros.
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
cargo +nightly test --no-fail-fast --target "$host" --features cli "${@/#/--test=}"
