#!/usr/bin/env bash
# Install the programs that the tests talk to, where they are missing.
set -euo pipefail
missing=()
want() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
want openssl openssl
want python3 python3
# OpenSSL's own build.
want perl perl
want make make
# libFuzzer is C++.
want g++ g++
# Judges of what the program prints: completions, manual pages, the unit file.
want fish fish
want groff groff-base
want systemd-analyze systemd
want zsh zsh
# Peers of tests/peers.
want apache2 apache2-bin
want curl curl
want go golang-go
want haproxy haproxy
want java openjdk-17-jdk-headless
[ -e /usr/include/gnutls/gnutls.h ] || missing+=(libgnutls28-dev)
[ -e /usr/include/wolfssl/ssl.h ] || missing+=(libwolfssl-dev)
want nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
want node nodejs
want socat socat
want stunnel stunnel4
want tshark tshark
if ((${#missing[@]})); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
echo "installed: ${missing[*]:-nothing, all there}"
