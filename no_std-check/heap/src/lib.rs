//! A counting heap over one block of memory, shared by the three programs.
//!
//! Every allocation belongs to the [`Owner`] that was current when it was made, so that one end of
//! a connection can be measured although both run in one program. The search is first fit over all
//! blocks: slow, small and exact.
#![no_std]

mod blocks;
mod count;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use blocks::Blocks;
use count::Counts;
pub use count::{Count, Owner};

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State { blocks: Blocks::NONE, counts: Counts::NONE }));

struct Heap(UnsafeCell<State>);

struct State {
    blocks: Blocks,
    counts: Counts,
}

// SAFETY: the programs have one thread and no interrupt handler that allocates.
unsafe impl Sync for Heap {}

/// Hands the memory over to the heap.
///
/// # Safety
/// Nobody else uses the memory, ever; and nothing was allocated before.
pub unsafe fn init(memory: *mut u8, len: usize) {
    // SAFETY: one thread, and no reference into the state outlives a call.
    let state = unsafe { &mut *HEAP.0.get() };
    // SAFETY: the caller gives the memory away.
    state.blocks = unsafe { Blocks::new(memory, len) };
}

/// Runs `work`; what it allocates belongs to `owner`.
pub fn owned_by<T>(owner: Owner, work: impl FnOnce() -> T) -> T {
    let before = with_counts(|counts| core::mem::replace(&mut counts.current, owner));
    let result = work();
    with_counts(|counts| counts.current = before);
    result
}

/// What `owner` has allocated.
pub fn count(owner: Owner) -> Count {
    with_counts(|counts| *counts.of(owner))
}

/// Starts `owner`'s peak and number of allocations again, from what is allocated.
pub fn restart(owner: Owner) {
    with_counts(|counts| counts.restart(owner));
}

fn with_counts<T>(work: impl FnOnce(&mut Counts) -> T) -> T {
    // SAFETY: one thread, and `work` can't allocate: it sees only numbers.
    work(unsafe { &mut (*HEAP.0.get()).counts })
}

// SAFETY: `Blocks` hands out disjoint blocks of memory that is its own, of the size and alignment
// asked for, or null.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and no reference into the state outlives a call.
        let state = unsafe { &mut *self.0.get() };
        let owner = state.counts.current;
        match state.blocks.take(layout, owner as u32) {
            Some((at, taken)) => {
                state.counts.added(owner, layout.size(), taken);
                at
            }
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        // SAFETY: the caller gives back what `alloc` handed out.
        let (owner, taken) = unsafe { state.blocks.give_back(at) };
        state.counts.removed(Owner::from_tag(owner), layout.size(), taken);
    }
}
