#!/bin/sh
# Build every fuzz target with libFuzzer's instrumentation, on stable, without cargo-fuzz.
# The programs are in fuzz/target/x86_64-unknown-linux-gnu/release/.
set -eu
cd "$(dirname "$0")"
sancov="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares"
# An explicit target keeps these flags from build scripts and macros.
RUSTFLAGS="$(echo $sancov) ${RUSTFLAGS-}" \
  exec cargo build --release --target "${TARGET:-x86_64-unknown-linux-gnu}" "$@"
