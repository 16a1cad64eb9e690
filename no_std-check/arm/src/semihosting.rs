//! Output and exit through the debugger's interface, which QEMU plays.
//! <https://github.com/ARM-software/abi-aa/blob/main/semihosting/semihosting.rst>

use core::arch::asm;
use core::fmt;

const SYS_WRITE0: usize = 0x04;
const SYS_EXIT_EXTENDED: usize = 0x20;
const APPLICATION_EXIT: usize = 0x20026;

pub(crate) fn exit(status: usize) -> ! {
    let reason = [APPLICATION_EXIT, status];
    loop {
        // SAFETY: two words, as the call wants.
        unsafe { call(SYS_EXIT_EXTENDED, reason.as_ptr().cast()) };
    }
}

/// The debugger's console.
pub(crate) struct Out;

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The call wants a NUL at the end.
        let mut piece = [0; 65];
        for bytes in text.as_bytes().chunks(64) {
            piece[..bytes.len()].copy_from_slice(bytes);
            piece[bytes.len()] = 0;
            // SAFETY: a string that ends.
            unsafe { call(SYS_WRITE0, piece.as_ptr()) };
        }
        Ok(())
    }
}

/// # Safety
/// `argument` is right for the call `number`.
unsafe fn call(number: usize, argument: *const u8) {
    // SAFETY: the debugger changes r0 and what the caller vouched for.
    unsafe {
        asm!("bkpt 0xab", inlateout("r0") number => _, in("r1") argument, options(nostack));
    }
}
