#!/usr/bin/env bash
# The stated rust-version is true: check the crate with Rust 1.85.0 as Debian 12 packages it. The
# packages are unpacked, not installed; where they can't be had, say so and pass.
set -euo pipefail
cd "$(dirname "$0")/.."
version=1.85.0+dfsg3-1~deb12u3
dir=${NESTED_TLS_MSRV_DIR:-${TMPDIR:-/tmp}/nested-tls-msrv}
root=$dir/root
if ! [ -x "$root/usr/bin/rustc" ]; then
  mkdir -p "$dir/deb" && cd "$dir/deb"
  apt-get update -qq || true
  if ! apt-get download -qq rustc-web=$version libstd-rust-web-dev=$version \
    libstd-rust-web-1.85=$version libllvm19 2>/dev/null; then
    echo "SKIPPED: the packages of Rust 1.85 can't be had here"
    exit 0
  fi
  for package in *.deb; do dpkg -x "$package" "$root"; done
  cd - >/dev/null
fi
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu RUSTC=$root/usr/bin/rustc
"$RUSTC" --version
cargo check --target-dir "$dir/target"
cargo check --target-dir "$dir/target" --features cli,futures-io
