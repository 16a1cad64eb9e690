#!/usr/bin/env bash
# Which lines of src/nested and src/identity the tests and the fuzzers' corpora reach: a table, and
# the lines that nothing reaches. Needs `rustup component add llvm-tools`.
# Arguments are the test binaries; all that hold the two folders to anything, if there are none.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- nested identity adapters fuzz_corpus memory cli
target=${CARGO_TARGET_DIR:-$PWD/target}/coverage
llvm=$(rustc --print target-libdir)/../bin
rm -rf "$target/profiles"
export CARGO_TARGET_DIR=$target RUSTFLAGS="-C instrument-coverage ${RUSTFLAGS-}"
export LLVM_PROFILE_FILE=$target/profiles/%p-%m.profraw
tests=("${@/#/--test=}")
objects=$(cargo test --features cli "${tests[@]}" --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/--object \1/p')
cargo test --no-fail-fast --features cli "${tests[@]}" || echo "what failed counts as far as it came"
"$llvm/llvm-profdata" merge -sparse "$target"/profiles/*.profraw -o "$target/merged.profdata"
# shellcheck disable=SC2086 # one word per option
"$llvm/llvm-cov" export --format=lcov --instr-profile "$target/merged.profdata" $objects \
  --sources src/nested src/identity | awk -F'[:,]' '
  function flush() { if (from) missed = missed " " (from == to ? from : from "-" to); from = 0 }
  function row(name, hit, all) { printf "%-32s %5d of %5d %6.2f %%\n", name, hit, all, 100 * hit / all }
  /^SF:/ { name = substr($0, 4); sub(/.*\/src\//, "src/", name); all = hit = from = 0; missed = "" }
  /^DA:/ { all++; if ($3 > 0) { hit++; flush() } else { if (!from) from = $2; to = $2 } }
  /^end_of_record/ {
    flush(); row(name, hit, all); sum_all += all; sum_hit += hit
    if (missed) list = list name ":" missed "\n"
  }
  END { row("all", sum_hit, sum_all); printf "\nnot reached\n%s", list }'
