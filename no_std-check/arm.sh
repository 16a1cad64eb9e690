#!/bin/sh
# The same run on a Cortex-M4 with 1 MiB of flash and 128 KiB of RAM, under QEMU. Says so and
# succeeds where the packages that it needs can't be had.
set -eu
. "$(dirname "$0")/kit.sh"
use_compiler
unpack qemu-system-arm
qemu=$kit/root/usr/bin/qemu-system-arm
of_kit "$qemu" --version | head -1
of_kit "$qemu" --version >/dev/null || skip "the unpacked QEMU does not run"

cd arm
cargo build --locked --release -Zbuild-std=core,alloc --target-dir "$target/build-std"
elf=$target/build-std/thumbv7em-none-eabi/release/arm

# The code, and what .data starts with.
flash=$(size "$elf" | awk 'NR == 2 { print $1 + $2 }')
echo "flash: $flash of 1048576 bytes, both ends and their certificates"
of_kit timeout 300 "$qemu" -L "$kit/root/usr/share/qemu" -M netduinoplus2 -nographic \
    -semihosting-config enable=on,target=native -kernel "$elf" </dev/null
