//! Memory for cells: each thread keeps some of what it has freed.
//!
//! Tasks come in bursts, all of about the same size. The system's allocator keeps seven pieces of a size where
//! a thread finds them at once; the rest costs some 150 instructions for each allocation, and as many to free it.
//! So a thread keeps the memory of cells that it has freed, [`KEPT`] bytes at most, by size, and takes new
//! ones from there. What it keeps it gives back when it ends.
//!
//! A cell is often freed on another thread than it was made on. That thread keeps it then, or, if it has enough, gives it
//! to the [`depot`](super::depot), from which those take that have none.
//!
//! - **T17** A block in a stock is nobody's: it came from the global allocator with the layout of its class
//!   ([`of_class`]), or for a cell of that class, which is the same; and its first word is the link to the next.
//!
//! What a thread makes for itself alone, the local tasks of a loop, comes from its [slabs](super::slab) instead.
//!
//! Rejected: slabs for these, too (what one thread makes and the other frees would be brought back block by
//! block); a stock for each loop (other threads' cells go through it, too).
//!
//! Not under the address sanitizer (`--cfg no_stock`), which would see fewer mistakes, nor under loom,
//! where thread-locals are the model's. Miri runs with it and without.
//!
//! Tests: below, `tests/allocations.rs`.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};

use super::depot::{Giving, Taking};

/// So many bytes a thread keeps at most.
const KEPT: usize = 256 << 10;

/// Classes are for blocks of 8, 24, 40, ... bytes: what the system's allocator gives out, whose own
/// books take 8 of every 16.
const STEP: usize = 16;
pub(super) const CLASSES: usize = 64;

struct Stock {
    first: [Cell<*mut Block>; CLASSES],
    /// So many bytes may be kept yet.
    room: Cell<usize>,
    taking: RefCell<Taking>,
    giving: RefCell<Giving>,
}

struct Block {
    next: *mut Block,
}

thread_local! {
    static STOCK: Stock = const {
        Stock {
            first: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            room: Cell::new(KEPT),
            taking: RefCell::new(Taking::new()),
            giving: RefCell::new(Giving::new()),
        }
    };
}

/// The class for such blocks; `None`: none is kept.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    let class = (layout.size() + STEP / 2 - 1) / STEP;
    if cfg!(any(loom, no_stock)) || class == 0 || class >= CLASSES || layout.align() > STEP {
        return None;
    }
    Some(class)
}

/// The layout of all blocks of a class.
#[inline(always)]
pub(super) const fn of_class(class: usize) -> Layout {
    match Layout::from_size_align(class * STEP + STEP / 2, STEP) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

/// Memory for `layout`, which is that of a cell, so not of size 0: from this thread's stock, or new.
#[inline]
pub(super) fn take(layout: Layout) -> NonNull<u8> {
    let Some(class) = class(layout) else {
        return new(layout);
    };
    match STOCK.try_with(|stock| stock.take(class)) {
        Ok(Some(block)) => block,
        _ => new(of_class(class)),
    }
}

/// Memory that is not used any more, to this thread's stock, or back.
///
/// # Safety
/// It came from [`take`] with this layout, and nobody uses it any more.
#[inline]
pub(super) unsafe fn give(memory: NonNull<u8>, layout: Layout) {
    let layout = match class(layout) {
        None => layout,
        Some(class) => {
            // SAFETY: T17: the caller gives it away, and `take` chose the same class for its layout.
            let kept = STOCK.try_with(|stock| unsafe { stock.give(class, memory) });
            if kept.is_ok() {
                return;
            }
            of_class(class)
        }
    };
    // SAFETY: T17: `take` had it from the allocator with this layout: that of its class, if it has one, else its own; the caller gives it away.
    unsafe { dealloc(memory.as_ptr(), layout) }
}

#[cold]
#[inline(never)]
fn new(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a cell has a header");
    // SAFETY: T17: not of size 0, as just looked.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Stock {
    #[inline]
    fn take(&self, class: usize) -> Option<NonNull<u8>> {
        let Some(block) = NonNull::new(self.first[class].get()) else {
            return self.import(class);
        };
        // SAFETY: T17: what our list begins with is a block that `give` has written, and nobody else's until it is taken out, below.
        let next = unsafe { block.as_ref() }.next;
        self.first[class].set(next);
        self.room.set(self.room.get() + of_class(class).size());
        Some(block.cast())
    }

    /// There is none of this class.
    #[cold]
    #[inline(never)]
    fn import(&self, class: usize) -> Option<NonNull<u8>> {
        self.taking.borrow_mut().take(class)
    }

    /// There is no room.
    ///
    /// # Safety
    /// As [`give`](Self::give).
    #[cold]
    #[inline(never)]
    unsafe fn export(&self, class: usize, memory: NonNull<u8>) {
        // SAFETY: T17, T24: the caller's promise: it is of that class, and nobody's.
        unsafe { self.giving.borrow_mut().give(class, memory) };
    }

    /// # Safety
    /// T17: `memory` came from the allocator with the layout of this class, and is nobody's any more.
    #[inline]
    unsafe fn give(&self, class: usize, memory: NonNull<u8>) {
        let Some(room) = self.room.get().checked_sub(of_class(class).size()) else {
            // SAFETY: T17: the caller's promise is the same.
            return unsafe { self.export(class, memory) };
        };
        let block = memory.cast::<Block>();
        let next = self.first[class].get();
        // SAFETY: T17: it is nobody's, and each class has room for a word, and its alignment.
        unsafe { block.write(Block { next }) };
        self.first[class].set(block.as_ptr());
        self.room.set(room);
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for (class, first) in self.first.iter().enumerate() {
            while let Some(block) = NonNull::new(first.get()) {
                // SAFETY: T17: a block of our list, which `give` has written, and which nobody else has.
                first.set(unsafe { block.as_ref() }.next);
                // SAFETY: T17: it is in the list no more, and came from the allocator with the layout of the list's class.
                unsafe { dealloc(block.as_ptr().cast(), of_class(class)) };
            }
        }
    }
}

#[cfg(all(test, not(any(loom, miri, no_stock))))]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_room_for_its_sizes_and_no_more_than_the_system_takes() {
        for size in 1..2_000 {
            let layout = Layout::from_size_align(size, 8).unwrap();
            let Some(class) = class(layout) else {
                assert!(size <= STEP / 2 || size > 1000, "{size}");
                continue;
            };
            let room = of_class(class).size();
            assert!(room >= size && room < size + STEP, "{size}: {room}");
        }
        assert_eq!(class(Layout::from_size_align(96, 64).unwrap()), None);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread of the test's
    fn what_was_freed_last_is_taken_first_and_not_all_is_kept() {
        std::thread::spawn(|| {
            let layout = Layout::from_size_align(100, 8).unwrap();
            let room = || STOCK.with(|stock| stock.room.get());
            let blocks: Vec<_> = (0..10_000).map(|_| take(layout)).collect();
            assert_eq!(room(), KEPT);
            for block in &blocks {
                // SAFETY: T17: they came from `take`, and are not used.
                unsafe { give(*block, layout) };
            }
            let size = of_class(class(layout).unwrap()).size();
            assert_eq!(room(), KEPT % size);
            let last = take(layout);
            assert_eq!(last, blocks[KEPT / size - 1]);
            // SAFETY: T17: it was just taken, and is not used.
            unsafe { give(last, layout) };
        })
        .join()
        .unwrap();
    }
}
