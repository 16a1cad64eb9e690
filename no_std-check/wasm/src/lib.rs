//! The same run as a module for a JavaScript host: one function out, one in.
#![no_std]

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The host's: `len` bytes of UTF-8 to print.
    fn print(text: *const u8, len: usize);
}

/// The one thing that the host calls, once; 0 when all went well.
#[unsafe(no_mangle)]
extern "C" fn begin() -> u32 {
    // SAFETY: the first thing done, once, and nobody else names the memory.
    unsafe { heap::init(MEMORY.0.get().cast(), size_of::<Memory>()) };
    for size in [run::SMALL, run::FULL] {
        match run::nested(&size) {
            Ok(figures) => {
                let _ = writeln!(Out, "{}: {figures}", size.name);
            }
            Err(failure) => {
                let _ = writeln!(Out, "{}: failed: {failure:?}", size.name);
                return 1;
            }
        }
    }
    0
}

struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the host reads the slice and nothing else.
        unsafe { print(text.as_ptr(), text.len()) };
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Out, "{info}");
    core::arch::wasm32::unreachable()
}

#[repr(C, align(16))]
struct Memory(UnsafeCell<[u8; 1 << 20]>);

// SAFETY: one thread.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; 1 << 20]));
