//! The nested client on a Cortex-M4, with its peer beside it.
#![no_std]
#![no_main]

mod semihosting;
mod stack;
mod start;

use core::cell::UnsafeCell;
use core::fmt::Write;
use core::panic::PanicInfo;

use semihosting::{Out, exit};

/// Called by `reset` when the memory is as Rust expects it.
extern "C" fn begin() -> ! {
    // SAFETY: the first thing done, once, and nobody else names the memory.
    unsafe { heap::init(MEMORY.0.get().cast(), size_of::<Memory>()) };
    let status = match run::nested(&run::SMALL) {
        Ok(figures) => {
            let _ = writeln!(Out, "{}: {figures}", run::SMALL.name);
            0
        }
        Err(failure) => {
            let _ = writeln!(Out, "{}: failed: {failure:?}", run::SMALL.name);
            1
        }
    };
    let (used, size) = stack::used();
    let _ = writeln!(Out, "stack: {used} of {size} bytes");
    // A stack used up has run into the statics.
    exit(if used < size { status } else { 1 })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Out, "{info}");
    exit(101)
}

#[repr(C, align(8))]
struct Memory(UnsafeCell<[u8; 64 << 10]>);

// SAFETY: one thread.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; 64 << 10]));
