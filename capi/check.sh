#!/usr/bin/env bash
# The C interface as a whole: its tests, and the example under AddressSanitizer, in conversations that succeed and that
# must fail. Needs Rust, a C compiler and the `openssl` program. CFLAGS replaces the sanitizers.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
: "${CFLAGS:=-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined}"

cargo test --quiet --locked
cargo build --quiet --locked

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
example=$work/nested
# shellcheck disable=SC2086 # flags are words
cc -std=c11 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror $CFLAGS -Iinclude examples/nested.c \
  "$target/debug/libnested_tls_capi.a" -lpthread -ldl -lm -o "$example"
# The header is C++, too.
echo '#include "nested_tls.h"' | c++ -Wall -Wextra -Werror -fsyntax-only -Iinclude -x c++ -

# A host and a client that are pinned; a customer's authority for both ends of the inner layer; and strangers.
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key" 2>/dev/null; }
for name in host client stranger customer; do
  key "$name"
  openssl req -x509 -new -key "$work/$name.key" -subj "/O=Test/CN=$name" -days 2 -out "$work/$name.pem"
done
for name in hsm user; do
  key "$name"
  openssl req -new -key "$work/$name.key" -subj "/O=Test/CN=$name" -out "$work/$name.csr"
  openssl x509 -req -in "$work/$name.csr" -CA "$work/customer.pem" -CAkey "$work/customer.key" -set_serial 7 -days 2 \
    -out "$work/$name.pem" 2>/dev/null
done

# One conversation: what the client is called with, then what each side must end with and say.
converse() {
  local client_status=$1 server_status=$2 client_says=$3 server_says=$4 status=0
  shift 4
  # Before the server starts: what the last one said must not be read again.
  : >"$work/server.out"
  "$example" server "$work" >>"$work/server.out" 2>&1 &
  local server=$!
  until grep -q '^listening on' "$work/server.out"; do
    kill -0 "$server" || { cat "$work/server.out"; return 1; }
    sleep 0.01
  done
  local port
  port=$(sed -n 's/^listening on //p' "$work/server.out")
  "$example" client "$work" "$port" "$@" >"$work/client.out" 2>&1 || status=$?
  local other=0
  wait "$server" || other=$?
  if [ "$status" != "$client_status" ] || [ "$other" != "$server_status" ] ||
    ! grep -qE "$client_says" "$work/client.out" || ! grep -qE "$server_says" "$work/server.out"; then
    echo "FAILED: client $* ended with $status, its server with $other" >&2
    cat "$work/client.out" "$work/server.out" >&2
    return 1
  fi
  echo "client ${*:-as it should be}:"
  grep -hE "$client_says|$server_says" "$work/client.out" "$work/server.out" | sed 's/^/  /'
}
converse 0 0 '^client: sent 1048576, received 3145728$' '^server: sent 3145728, received 1048576$'
converse 1 1 'client: outer TLS in the outer handshake phase: certificate not pinned: expected certificate .*, found certificate' \
  'server: outer TLS in the outer handshake phase: received fatal alert' stranger
converse 1 1 'client: inner TLS .*: received fatal alert' \
  'server: inner TLS in the inner handshake phase: .*: expected .*, found ' host stranger
converse 0 1 '^client: sent' 'server: inner TLS in the .* phase: cut short: expected the peer.s close_notify' host vanish
