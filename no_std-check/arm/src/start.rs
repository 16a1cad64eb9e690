//! From reset to `begin`. In assembler, as no Rust may run before its statics hold their values.

use core::arch::global_asm;

global_asm!(
    ".section .vectors, \"a\"",
    ".word stack_top",
    ".word reset",
    // NMI, hard fault, memory, bus and usage faults. No interrupt is ever enabled.
    ".rept 5",
    ".word fault",
    ".endr",
    ".text",
    ".thumb_func",
    ".globl reset",
    "reset:",
    // .data comes from flash
    "ldr r0, =data_start",
    "ldr r1, =data_end",
    "ldr r2, =data_in_flash",
    "b 2f",
    "1:",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "2:",
    "cmp r0, r1",
    "bne 1b",
    // .bss is 0
    "ldr r0, =bss_start",
    "ldr r1, =bss_end",
    "mov r2, #0",
    "b 2f",
    "1:",
    "str r2, [r0], #4",
    "2:",
    "cmp r0, r1",
    "bne 1b",
    // the stack is painted, so that its use shows
    "ldr r0, =stack_bottom",
    "ldr r2, ={paint}",
    "b 2f",
    "1:",
    "str r2, [r0], #4",
    "2:",
    "cmp r0, sp",
    "bne 1b",
    "bl {begin}",
    "udf #0",
    paint = const crate::stack::PAINT,
    begin = sym crate::begin,
);

/// The stack went beyond its end, or worse.
#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    crate::semihosting::exit(103)
}
