//! No std, no libc: a static ELF file whose only way out is the `syscall` instruction.
#![no_std]
#![no_main]

mod left_to_libc;
mod linux;

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::fmt::Write;
use core::panic::PanicInfo;

use linux::{Out, exit};
// A crate that nobody names is not loaded, and then its std isn't noticed.
#[cfg(feature = "with-std")]
use needs_std as _;

// The kernel enters with the stack pointer aligned to 16, a call leaves it 8 beside.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {begin}",
    "ud2",
    begin = sym begin,
);

extern "C" fn begin() -> ! {
    // SAFETY: the first thing done, once, and nobody else names the memory.
    unsafe { heap::init(MEMORY.0.get().cast(), size_of::<Memory>()) };
    for size in [run::SMALL, run::FULL] {
        match run::nested(&size) {
            Ok(figures) => {
                let _ = writeln!(Out, "{}: {figures}", size.name);
            }
            Err(failure) => {
                let _ = writeln!(Out, "{}: failed: {failure:?}", size.name);
                exit(1);
            }
        }
    }
    exit(0)
}

/// With std somewhere in the program this is its second panic handler, which does not compile.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Out, "{info}");
    exit(101)
}

#[repr(C, align(16))]
struct Memory(UnsafeCell<[u8; 2 << 20]>);

// SAFETY: one thread.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; 2 << 20]));
