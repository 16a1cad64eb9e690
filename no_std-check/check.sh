#!/bin/sh
# The gate: the core of nested-tls runs without std and without libc, and std can't come in unseen.
# Needs stable Rust for x86_64-unknown-linux-gnu and nothing else.
set -eu
target=${CARGO_TARGET_DIR:-$(dirname "$0")/target}
mkdir -p "$target"
export CARGO_TARGET_DIR="$(cd "$target" && pwd)"
target=$CARGO_TARGET_DIR
cd "$(dirname "$0")/elf"
elf=$target/x86_64-unknown-linux-gnu/release/elf

cargo build --locked --release
"$elf"

if readelf --dynamic --program-headers "$elf" | grep -E 'NEEDED|INTERP'; then
    echo "check.sh: the program is not static" >&2
    exit 1
fi
echo "static, without libc"

# Each feature brings std in another way: a dependency of the program, and std turned on in the
# core. Both must fail, and for this reason.
for feature in with-std core-std; do
    log=$target/$feature.log
    if cargo check --locked --release --features "$feature" >"$log" 2>&1; then
        echo "check.sh: it compiles with $feature: std would not be noticed" >&2
        exit 1
    fi
    if ! grep -q 'error\[E0152\].*panic_impl' "$log"; then
        cat "$log" >&2
        echo "check.sh: with $feature it fails for another reason than std" >&2
        exit 1
    fi
    echo "$feature: refused, $(grep -o 'first defined in crate.*' "$log")"
done
