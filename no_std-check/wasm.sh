#!/bin/sh
# The same run as wasm32-unknown-unknown in node. Says so and succeeds where node or the packages
# that it needs can't be had.
set -eu
. "$(dirname "$0")/kit.sh"
command -v node >/dev/null || skip "no node here"
use_compiler

cd wasm
cargo build --locked --release --target wasm32-unknown-unknown -Zbuild-std=core,alloc \
    --target-dir "$target/build-std"
wasm=$target/build-std/wasm32-unknown-unknown/release/wasm.wasm
echo "module: $(wc -c <"$wasm") bytes"
timeout 300 node run.mjs "$wasm"
