# Sourced by arm.sh and wasm.sh: a compiler that can build core and alloc for other targets.
#
# rustup's targets can't be fetched everywhere, and build-std needs the source of the very release
# that the compiler is. Debian has both: rustc-web and rust-web-src. The packages are unpacked under
# $kit, not installed. Cargo and rust-lld are those of the Rust in the PATH.

target=${CARGO_TARGET_DIR:-$(dirname "$0")/target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
kit=$target/kit
libraries=$kit/root/usr/lib/x86_64-linux-gnu:$kit/root/lib/x86_64-linux-gnu
cd "$(dirname "$0")"

skip() {
    echo "$(basename "$0"): not run: $1"
    exit 0
}

# unpack PACKAGE...: the packages and what of their dependencies this machine lacks
unpack() {
    mark=$kit/$1.unpacked
    [ ! -e "$mark" ] || return 0
    mkdir -p "$kit/deb"
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "no apt-get and dpkg here"
    # Lists that are out of date may still do; only root may renew them.
    [ "$(id -u)" != 0 ] || apt-get update -qq >/dev/null 2>&1 || true
    names=$(apt-get -s install --reinstall --no-install-recommends "$@" 2>/dev/null |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    [ -n "$names" ] || skip "no such packages: $*"
    # shellcheck disable=SC2086
    (cd "$kit/deb" && apt-get download -qq $names) >"$kit/log" 2>&1 || {
        cat "$kit/log"
        skip "the packages can't be downloaded"
    }
    for deb in "$kit"/deb/*.deb; do dpkg -x "$deb" "$kit/root"; done
    rm -r "$kit/deb"
    touch "$mark"
}

# of_kit PROGRAM...: runs what needs the libraries of the kit
of_kit() {
    LD_LIBRARY_PATH=$libraries "$@"
}

# Unpack the compiler, and make cargo use it with build-std.
use_compiler() {
    unpack rustc-web rust-web-src
    sysroot=$(rustc --print sysroot)
    lld=$(echo "$sysroot"/lib/rustlib/*/bin/rust-lld)
    [ -x "$lld" ] || skip "the Rust in the PATH has no rust-lld"
    cat >"$kit/rustc" <<END
#!/bin/sh
export LD_LIBRARY_PATH=$libraries
exec $kit/root/usr/bin/rustc "\$@"
END
    chmod +x "$kit/rustc"
    "$kit/rustc" --version || skip "the unpacked compiler does not run"
    export RUSTC="$kit/rustc" RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_THUMBV7EM_NONE_EABI_LINKER="$lld"
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$lld"
}
