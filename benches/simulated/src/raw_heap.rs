//! An allocator that charges for memory: who allocates it writes it, and who frees it, too.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

use crate::lines::Access;
use crate::raw_threads::{costs, is_mine, touch, work};

/// The lines of an allocation that are charged for: a task is no longer.
const MOST: usize = 128;

/// The system's allocator, for `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

// SAFETY: it is the system's allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let memory = unsafe { System.alloc(layout) };
        if is_mine() {
            work(costs().allocation);
            touch(memory, layout.size().min(MOST), Access::Write);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_mine() {
            work(costs().allocation);
            touch(memory, layout.size().min(16), Access::Write);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) };
    }
}
