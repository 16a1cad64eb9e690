//! What machines take from the heap, counted by the allocator.
//!
//! The counts are those of the process, so the tests run one by one and nothing beside them: no
//! harness with a thread of its own, which would allocate while it prints.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bound;
mod records;

use std::alloc::System;
use std::env;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes taken and not given back.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// How often `call` asks the allocator for memory, or for more of it.
fn allocations(call: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    call();
    let change = region.change();
    change.allocations + change.reallocations
}

macro_rules! tests {
    ($($module:ident::$name:ident,)*) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),*]
    };
}

/// Run the tests whose names have the argument in them; a test that fails ends the rest.
fn main() {
    let tests = tests![
        bound::a_peer_that_never_reads_and_writes_without_end,
        bound::a_large_message_in_the_smallest_fragments,
        bound::a_large_ticket_in_the_smallest_fragments,
        bound::tickets_without_end,
        records::receiving_a_record_allocates_nothing,
        records::sending_a_record_allocates_once_per_layer,
        records::a_queue_that_was_long_takes_no_more_than_before,
        records::an_idle_connection_gives_its_buffers_back,
    ];
    let wanted = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut passed = 0;
    for (name, test) in tests {
        if wanted.as_ref().is_none_or(|part| name.contains(part.as_str())) {
            test();
            println!("test {name} ... ok");
            passed += 1;
        }
    }
    println!("test result: ok. {passed} passed");
}
