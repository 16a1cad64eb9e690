#!/usr/bin/env bash
# What the same work costs with each provider: microseconds of CPU time of both ends, medians over
# the repetitions, in which the providers take turns. With --write the table goes into README.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${NESTED_TLS_BENCH_REPETITIONS:-5}
providers=(ring aws-lc-rs graviola)
suites=(TLS13_AES_128_GCM_SHA256 TLS13_AES_256_GCM_SHA384 TLS13_CHACHA20_POLY1305_SHA256)
bin=$(cargo bench --features tokio,graviola,__bench-aws-lc-rs --bench ratios --no-run 2>&1 |
  sed -n 's/.*(\(.*ratios-.*\))/\1/p')

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

row() { # work suite
  declare -A times=()
  for _ in $(seq "$repetitions"); do
    for provider in "${providers[@]}"; do
      times[$provider]+=$(NESTED_TLS_BENCH_PROVIDER=$provider NESTED_TLS_BENCH_SUITE=$2 "$bin" --time "$1")$'\n'
    done
  done
  printf '| %s | %s |' "$1" "$2"
  for provider in "${providers[@]}"; do
    printf ' %s |' "$(printf '%s' "${times[$provider]}" | median)"
  done
  printf '\n'
}

table() {
  printf '| work | suite of both layers |'
  printf ' %s |' "${providers[@]}"
  printf '\n|---|---|%s\n' "$(printf -- '--:|%.0s' "${providers[@]}")"
  for suite in "${suites[@]}"; do row 'bulk, full records' "$suite"; done
  for suite in "${suites[@]}"; do row '256 B one way, one per transmission' "$suite"; done
  row 'full nested handshake, both ends' "${suites[0]}"
}

table=$(table)
printf '%s\n' "$table"
if [ "${1-}" = --write ]; then
  printf '%s\n' "$table" | benches/put.sh providers
fi
