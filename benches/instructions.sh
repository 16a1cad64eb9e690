#!/usr/bin/env bash
# Instructions per message of each contestant, by callgrind: the difference between two counts of
# messages, so that handshakes don't count. Without a busy machine's noise, but also without its
# caches: AEAD instructions do more work each than most.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(cargo bench --features tokio --bench ratios --no-run 2>&1 | sed -n 's/.*(\(.*ratios-.*\))/\1/p')

count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bin" --only "$1" "$2" "$3" 2>&1 |
    sed -n 's/.*Collected : //p'
}

works=('bulk, full records' '256 B one way, one per transmission' '256 B one way, 16 waiting together')
who=('nested-tls' 'two glued rustls connections' 'two glued unbuffered rustls connections'
  "rustls' encrypters and decrypters alone" 'bare AEAD')
table() {
  printf '| work | who | instructions |\n|---|---|--:|\n'
  for work in "${works[@]}"; do
    for name in "${who[@]}"; do
      few=$(count "$work" "$name" 200)
      many=$(count "$work" "$name" 1200)
      printf '| %s | %s | %d |\n' "$work" "$name" $(((many - few) / 1000))
    done
  done
}

table=$(table)
printf '%s\n' "$table"
if [ "${1-}" = --write ]; then
  printf '%s\n' "$table" | benches/put.sh instructions
fi
