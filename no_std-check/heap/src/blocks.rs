//! Memory as one row of blocks, each behind its header.

use core::alloc::Layout;

/// The alignment that every block has; nothing here asks for more.
const ALIGN: usize = 2 * size_of::<usize>();

const FREE: u32 = 0;

#[cfg_attr(target_pointer_width = "64", repr(C, align(16)))]
#[cfg_attr(target_pointer_width = "32", repr(C, align(8)))]
struct Header {
    /// Header included; a multiple of `ALIGN`.
    size: u32,
    /// `FREE`, or whose block it is.
    tag: u32,
}

const HEADER: usize = size_of::<Header>();

pub(crate) struct Blocks {
    start: *mut u8,
    end: *mut u8,
}

impl Blocks {
    pub(crate) const NONE: Self = Self { start: core::ptr::null_mut(), end: core::ptr::null_mut() };

    /// # Safety
    /// Nobody else uses the memory.
    pub(crate) unsafe fn new(memory: *mut u8, len: usize) -> Self {
        let skip = memory.align_offset(ALIGN);
        let len = (len - skip) / ALIGN * ALIGN;
        // SAFETY: both stay within the memory, which is longer than one alignment.
        let (start, end) = unsafe { (memory.add(skip), memory.add(skip + len)) };
        // SAFETY: aligned, and ours.
        unsafe { start.cast::<Header>().write(Header { size: len as u32, tag: FREE }) };
        Self { start, end }
    }

    /// A block for `layout`, tagged, with the bytes it takes; `None` if there is no room.
    pub(crate) fn take(&mut self, layout: Layout, tag: u32) -> Option<(*mut u8, usize)> {
        if layout.align() > ALIGN {
            return None;
        }
        let need = layout.size().checked_add(HEADER + ALIGN - 1)? / ALIGN * ALIGN;
        let mut at = self.start;
        while at < self.end {
            // SAFETY: `at` goes from header to header, and this is the only reference to it.
            let header = unsafe { &mut *at.cast::<Header>() };
            if header.tag == FREE {
                self.join(at, header);
                let size = header.size as usize;
                if size >= need {
                    if size > need {
                        let rest = Header { size: (size - need) as u32, tag: FREE };
                        // SAFETY: within this free block, at a multiple of the alignment.
                        unsafe { at.add(need).cast::<Header>().write(rest) };
                    }
                    *header = Header { size: need as u32, tag };
                    // SAFETY: the block is longer than its header.
                    return Some((unsafe { at.add(HEADER) }, need));
                }
            }
            // SAFETY: at most the end of the memory.
            at = unsafe { at.add(header.size as usize) };
        }
        None
    }

    /// The block's tag and the bytes it took.
    ///
    /// # Safety
    /// `payload` came from `take` and was not given back.
    pub(crate) unsafe fn give_back(&mut self, payload: *mut u8) -> (u32, usize) {
        // SAFETY: the header stands before the payload.
        let header = unsafe { &mut *payload.sub(HEADER).cast::<Header>() };
        let tag = core::mem::replace(&mut header.tag, FREE);
        (tag, header.size as usize)
    }

    /// Makes the free blocks behind this free one a part of it.
    fn join(&self, at: *mut u8, header: &mut Header) {
        loop {
            // SAFETY: at most the end of the memory.
            let next = unsafe { at.add(header.size as usize) };
            if next >= self.end {
                return;
            }
            // SAFETY: a header stands behind each block but the last.
            let next = unsafe { &*next.cast::<Header>() };
            if next.tag != FREE {
                return;
            }
            header.size += next.size;
        }
    }
}
