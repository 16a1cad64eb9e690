//! The two system calls that the program makes.

use core::arch::asm;
use core::fmt;

const WRITE: usize = 1;
const EXIT_GROUP: usize = 231;

pub(crate) fn exit(status: usize) -> ! {
    // SAFETY: takes no memory.
    unsafe { call(EXIT_GROUP, status, 0, 0) };
    loop {
        core::hint::spin_loop();
    }
}

/// Standard output.
pub(crate) struct Out;

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            // SAFETY: the kernel reads the slice and nothing else.
            let n = unsafe { call(WRITE, 1, left.as_ptr() as usize, left.len()) };
            match usize::try_from(n) {
                Ok(n) if n > 0 => left = left.get(n..).unwrap_or_default(),
                _ => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

/// # Safety
/// The arguments are right for the call `number`.
unsafe fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel changes rax, rcx and r11 and what the caller vouched for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
