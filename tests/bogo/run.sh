#!/usr/bin/env bash
# BoringSSL's test runner ("BoGo") against this crate's machines; README.md says what comes of it.
#
#   tests/bogo/run.sh [--mode session|nested|bytewise]... [arguments of the runner, as -test 'KeyUpdate-*']
#
# Without a mode all three run, and the outcome of each case must be the same in all. Nothing is
# installed: Go, its libraries and the runner are packages, unpacked below target/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${CARGO_TARGET_DIR:-$root/target}/bogo
runner=$cache/boringssl/ssl/test/runner

RUNNER_CRATE=boring-sys RUNNER_VERSION=5.4.0
GO=1.27
GO_PACKAGES=("golang-$GO-go" "golang-$GO-src"
  golang-golang-x-{crypto,net,sys,term,text}-dev golang-filippo-edwards25519-dev)

modes=()
while [[ ${1:-} == --mode ]]; do
  modes+=("$2")
  shift 2
done
((${#modes[@]})) || modes=(session nested bytewise)

# Go and its libraries: packages of a newer Debian, from where this machine has its own, in a
# package database beside this machine's.
if [[ ! -e $cache/go/done ]]; then
  debian=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SITE)' |
    awk '$1 == "Debian" && $2 ~ /^[a-z]+$/ { print $3; exit }')
  if [[ -z $debian ]]; then
    echo 'this machine knows no Debian packages; does "apt-get update" help?' >&2
    exit 1
  fi
  apt=$cache/apt
  mkdir -p "$apt"/{lists,cache,packages} "$cache/go"
  for suite in trixie trixie-backports; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian $suite main"
  done >"$apt/sources.list"
  options=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=-
    -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache"
    -o APT::Sandbox::User="$(id -un)" -o APT::Default-Release=trixie-backports)
  apt-get "${options[@]}" update
  (cd "$apt/packages" && apt-get "${options[@]}" download "${GO_PACKAGES[@]}")
  for package in "$apt"/packages/*.deb; do
    dpkg -x "$package" "$cache/go"
  done
  rm -rf "$apt"
  touch "$cache/go/done"
fi

# The runner: from the crate that carries BoringSSL's source, whose checksum Cargo compares.
if [[ ! -e $cache/runner.test ]]; then
  fetch=$cache/fetch
  mkdir -p "$fetch/src"
  : >"$fetch/src/lib.rs"
  printf '[package]\nname = "fetch"\nedition = "2024"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
    "$RUNNER_CRATE" "$RUNNER_VERSION" >"$fetch/Cargo.toml"
  manifest=$(cd "$fetch" && cargo metadata --quiet --format-version 1 |
    grep -o "\"manifest_path\":\"[^\"]*/$RUNNER_CRATE-$RUNNER_VERSION/Cargo.toml\"" | cut -d'"' -f4)
  source=$(dirname "$manifest")/deps/boringssl
  rm -rf "$cache/boringssl"
  mkdir -p "$runner" "$cache/boringssl/util"
  cp -r "$source/ssl/test/runner/." "$runner"
  cp -r "$source/util/testresult" "$cache/boringssl/util"
  chmod -R u+w "$cache/boringssl"
  # Its libraries are the packages'; nothing is fetched by Go.
  gocode=$cache/go/usr/share/gocode/src
  {
    printf 'module boringssl.googlesource.com/boringssl.git\n\ngo %s\n' "$GO"
    for module in golang.org/x/{crypto,net,sys,term,text} filippo.io/edwards25519; do
      printf 'require %s v0.0.0\nreplace %s => %s\n' "$module" "$module" "$gocode/$module"
      if [[ ! -e $gocode/$module/go.mod ]]; then
        printf 'module %s\n' "$module" >"$gocode/$module/go.mod"
      fi
    done
  } >"$cache/boringssl/go.mod"
  # The crate leaves out the keys that the runner embeds; any of their kind serve.
  for bits in 1024 2048; do
    openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits" -out "$runner/rsa_${bits}_key.pem"
  done
  for key in ecdsa_p256:P-256 ecdsa_p384:P-384 ecdsa_p521:P-521 channel_id:P-256; do
    openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:${key#*:}" -out "$runner/${key%:*}_key.pem"
  done
  openssl genpkey -quiet -algorithm ED25519 -out "$runner/ed25519_key.pem"
  (
    cd "$runner"
    export GOROOT=$cache/go/usr/lib/go-$GO GOPATH=$cache/gopath GOCACHE=$cache/gocache
    export GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off GOFLAGS=-mod=mod
    nice -n 10 "$GOROOT/bin/go" test -c -o "$cache/runner.test"
  )
fi

# The names of all cases, also of those that the configuration disables: what a shim that can't do
# anything is asked.
if [[ ! -e $cache/names ]]; then
  printf '#!/bin/sh\n[ "$1" = -is-handshaker-supported ] && echo No || exit 89\n' >"$cache/incapable"
  chmod +x "$cache/incapable"
  (cd "$runner" && "$cache/runner.test" -shim-path "$cache/incapable" -pipe -allow-unimplemented \
    -num-workers 1 -test.timeout 0) | sed -n 's/^UNIMPLEMENTED (\(.*\))$/\1/p' >"$cache/names.part"
  mv "$cache/names.part" "$cache/names"
fi

CARGO_INCREMENTAL=1 cargo build --quiet --manifest-path "$here/shim/Cargo.toml" --target-dir "$cache/shim"

for mode in "${modes[@]}"; do
  out=$cache/$mode
  rm -f "$out".*
  case $mode in
    session) environment=(BOGO_MODE=session) ;;
    nested) environment=(BOGO_MODE=nested) ;;
    bytewise) environment=(BOGO_MODE=crossed BOGO_CHUNK=1) ;;
    *) echo "no mode is called $mode" >&2 && exit 2 ;;
  esac
  # The runner's own verdict counts cases that fail as the configuration says; judge.py knows better.
  (cd "$runner" && env "${environment[@]}" BOGO_REASONS="$out.reasons" nice -n 10 "$cache/runner.test" \
    -shim-path "$cache/shim/debug/bogo-shim" -shim-config "$here/config.json" -pipe \
    -allow-unimplemented -num-workers 1 -idle-timeout 60s -test.timeout 0 \
    -json-output "$out.json" "$@") >"$out.log" 2>&1 || true
done
judge=("$here/judge.py" --config "$here/config.json" --names "$cache/names")
(($#)) && judge+=(--some)
python3 "${judge[@]}" "${modes[@]/#/$cache/}"
