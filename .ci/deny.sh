#!/usr/bin/env bash
# Licences, duplicates and sources of every dependency, by deny.toml. Advisories need their database
# from the network: `cargo deny check advisories` where it can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${NESTED_TLS_TOOLS_DIR:-${TMPDIR:-/tmp}/nested-tls-tools}
export PATH=$tools/bin:$PATH
command -v cargo-deny >/dev/null || cargo install cargo-deny --locked --root "$tools"
for manifest in Cargo.toml capi/Cargo.toml fuzz/Cargo.toml no_std-check/Cargo.toml tests/bogo/shim/Cargo.toml; do
  echo "-- $manifest"
  # A licence, or an old version, that only another of them needs is not worth a word.
  cargo deny --manifest-path "$manifest" --config deny.toml check \
    -A license-exception-not-encountered -A license-not-encountered \
    -A unnecessary-skip -A unmatched-skip licenses bans sources
done
