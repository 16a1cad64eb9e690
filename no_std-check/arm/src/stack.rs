//! How deep the stack was.

/// What `reset` fills the stack with.
pub(crate) const PAINT: u32 = 0xacce_55ed;

unsafe extern "C" {
    // The linker's: only their addresses mean something.
    static stack_bottom: u32;
    static stack_top: u32;
}

/// The most bytes that the stack ever took, and the bytes that it has.
pub(crate) fn used() -> (usize, usize) {
    let (bottom, top) = (&raw const stack_bottom, &raw const stack_top);
    let mut at = bottom;
    // SAFETY: within the stack's memory. Volatile, as it is not Rust's.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    (top as usize - at as usize, top as usize - bottom as usize)
}
