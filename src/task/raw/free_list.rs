//! Memory for cells: what threads have freed is for the next ones.
//!
//! Tasks come in bursts, all of about the same size. The system's allocator keeps seven pieces of a size where
//! a thread finds them at once; the rest costs some 150 instructions for each allocation, and as many to free it. And where
//! one thread spawns and another runs, it takes its lock and reads and writes its books for each cell on both sides.
//!
//! 1. A thread keeps the memory of cells that it has freed in a list for each size, and takes new ones from there. A full
//!    list has [`LIST`] bytes.
//! 2. When it is full, it goes to the shelf, which all threads share, and the next one begins. A thread whose list is empty takes
//!    one from there, before it asks the allocator: so memory comes back from the threads that run tasks to those that spawn them.
//! 3. The [shelf](super::shelf) has [`PLACES`] places for each size. If all are taken the list goes back to the allocator, and
//!    what was used last is what stays.
//! 4. What a thread keeps it gives back to the allocator when it ends. What lies on the shelf stays there.
//!
//! - **T17** A block in a list is not in use: it came from the global allocator with the layout of its class ([`of_class`]), or
//!   for a cell of that class, which is the same; and its first word is the link to the next, null at the end. A list belongs to one
//!   thread, or lies on the shelf. One on the shelf has exactly as many blocks as a full one of its class.
//!
//! Rejected: slabs for the tasks of a loop, and batches that lie beside the blocks (`docs/DESIGN.md` has the figures).
//!
//! Not under the address sanitizer (`--cfg no_stock`), which would see fewer mistakes, nor under loom,
//! where thread-locals are the model's. Miri runs with it and without.
//!
//! Tests: below, `tests/allocations.rs`; the shelf has a model.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::shelf::Shelf;
use crate::sys::prefetch;

/// So many bytes a full list has, or a little less.
const LIST: usize = 64 << 10;

/// So many full lists of a class lie on the shelf at most.
const PLACES: usize = 4;

/// Classes are for blocks of 8, 24, 40, ... bytes: what the system's allocator gives out, whose own
/// books take 8 of every 16.
const STEP: usize = 16;
const CLASSES: usize = 64;

/// What one thread keeps.
struct FreeLists([Kept; CLASSES]);

/// Of one class.
struct Kept {
    first: Cell<*mut Block>,
    /// How many there are behind `first`.
    count: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

thread_local! {
    static FREE: FreeLists = const { FreeLists([const { Kept::new() }; CLASSES]) };
}

/// Full lists of this class that belong to no thread.
#[cfg(not(loom))]
fn shelf(class: usize) -> &'static Shelf<Block, PLACES> {
    static SHELVES: [Shelf<Block, PLACES>; CLASSES] = [const { Shelf::new() }; CLASSES];
    &SHELVES[class]
}

/// Nothing is kept under loom.
#[cfg(loom)]
fn shelf(_: usize) -> Shelf<Block, PLACES> {
    Shelf::new()
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
const fn of_class(class: usize) -> Layout {
    match Layout::from_size_align(class * STEP + STEP / 2, STEP) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

/// How many blocks a full list has.
#[inline(always)]
const fn full(class: usize) -> usize {
    LIST / of_class(class).size()
}

/// Memory for `layout`, which is that of a cell, so not of size 0: what was freed, or new.
#[inline]
pub(super) fn take(layout: Layout) -> NonNull<u8> {
    let Some(class) = class(layout) else {
        return new(layout);
    };
    FREE.try_with(|lists| lists.0[class].take(class))
        .unwrap_or_else(|_| new(of_class(class)))
}

/// Memory that is not used any more, to this thread's lists, or back.
///
/// # Safety
/// It came from [`take`] with this layout, and it is not used any more.
#[inline]
pub(super) unsafe fn give(memory: NonNull<u8>, layout: Layout) {
    let layout = match class(layout) {
        None => layout,
        Some(class) => {
            // SAFETY: T17: the caller gives it away, and `take` chose the same class for its layout.
            let kept = FREE.try_with(|lists| unsafe { lists.0[class].give(class, memory) });
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

impl Kept {
    const fn new() -> Self {
        Self {
            first: Cell::new(ptr::null_mut()),
            count: Cell::new(0),
        }
    }

    #[inline]
    fn take(&self, class: usize) -> NonNull<u8> {
        let Some(block) = NonNull::new(self.first.get()) else {
            return self.take_more(class);
        };
        // SAFETY: T17: what our list begins with is a block that `give` has written, and only this thread's until it is taken out, below.
        let next = unsafe { block.as_ref() }.next;
        // Perhaps another processor has had it, as a cell.
        fetch(next.cast());
        self.first.set(next);
        self.count.set(self.count.get() - 1);
        block.cast()
    }

    /// The list is empty: one from the shelf, or a new block.
    #[cold]
    #[inline(never)]
    fn take_more(&self, class: usize) -> NonNull<u8> {
        let Some(list) = shelf(class).take() else {
            return new(of_class(class));
        };
        self.first.set(list.as_ptr());
        self.count.set(full(class)); // T17
        self.take(class)
    }

    /// # Safety
    /// T17: `memory` came from the allocator with the layout of this class, which is that of this list, and is not in use any more.
    #[inline]
    unsafe fn give(&self, class: usize, memory: NonNull<u8>) {
        if self.count.get() == full(class) {
            self.put_away(class);
        }
        let block = memory.cast::<Block>();
        let next = self.first.replace(block.as_ptr());
        // SAFETY: T17: it is not in use, and each class has room for a word, and its alignment.
        unsafe { block.write(Block { next }) };
        self.count.set(self.count.get() + 1);
    }

    /// The list is full: the next one begins. What was freed last is kept.
    #[cold]
    #[inline(never)]
    fn put_away(&self, class: usize) {
        let list = self.first.replace(ptr::null_mut());
        self.count.set(0);
        if !shelf(class).put(list) {
            // SAFETY: T17: it was this thread's, which has it no more, and has blocks of this class.
            unsafe { free(class, list) };
        }
    }
}

/// Back to the allocator.
///
/// # Safety
/// T17: the list has blocks of this class, and is the caller's.
unsafe fn free(class: usize, mut list: *mut Block) {
    while let Some(block) = NonNull::new(list) {
        // SAFETY: T17: a block of the caller's list, which `give` has written.
        list = unsafe { block.as_ref() }.next;
        // SAFETY: T17: it is in the list no more, and came from the allocator with the layout of the list's class.
        unsafe { dealloc(block.as_ptr().cast(), of_class(class)) };
    }
}

/// Fetches as much of the memory at `cell` as a usual cell takes, which another processor may have.
#[inline(always)]
pub(super) fn fetch(cell: *const ()) {
    const LINE: usize = 64;
    prefetch::to_write(cell);
    prefetch::to_write(cell.wrapping_byte_add(LINE));
}

impl Drop for FreeLists {
    fn drop(&mut self) {
        for (class, kept) in self.0.iter().enumerate() {
            // SAFETY: T17: this thread's, which does not have it any more, of that class.
            unsafe { free(class, kept.first.replace(ptr::null_mut())) };
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
            assert!(full(class) > 1);
        }
        assert_eq!(class(Layout::from_size_align(96, 64).unwrap()), None);
    }

    /// How many blocks of this class a thread keeps.
    fn kept(class: usize) -> usize {
        FREE.with(|lists| lists.0[class].count.get())
    }

    /// Makes so many, of a size that no other test of this process has, and gives them away.
    fn burst(layout: Layout, count: usize) -> Vec<NonNull<u8>> {
        let blocks: Vec<_> = (0..count).map(|_| take(layout)).collect();
        for block in &blocks {
            // SAFETY: T17: they came from `take`, and are not used.
            unsafe { give(*block, layout) };
        }
        blocks
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread of the test's
    fn what_was_freed_last_is_taken_first_and_not_all_is_kept() {
        std::thread::spawn(|| {
            let layout = Layout::from_size_align(900, 8).unwrap();
            let class = class(layout).unwrap();
            let full = full(class);
            let blocks = burst(layout, (1 + PLACES) * full + 7);
            assert_eq!(kept(class), 7);
            let last = take(layout);
            assert_eq!(Some(&last), blocks.last());
            // SAFETY: T17: it was just taken, and is not used.
            unsafe { give(last, layout) };
            let mut lists = 0;
            while let Some(list) = shelf(class).take() {
                lists += 1;
                // SAFETY: T17, T24: it was on the shelf of this class, and is this thread's now.
                unsafe { free(class, list.as_ptr()) };
            }
            assert_eq!(lists, PLACES);
        })
        .join()
        .unwrap();
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // threads of the test's
    fn what_one_thread_frees_another_takes() {
        let layout = Layout::from_size_align(800, 8).unwrap();
        let class = class(layout).unwrap();
        let given = std::thread::spawn(move || {
            let blocks = burst(layout, 4 * full(class));
            blocks.iter().map(|block| block.addr()).collect::<Vec<_>>()
        });
        let given = given.join().unwrap();
        let block = take(layout);
        assert!(
            given.contains(&block.addr()),
            "the thread has left lists on the shelf"
        );
        assert_eq!(kept(class), full(class) - 1, "a whole list");
        // SAFETY: T17: it was just taken, and is not used.
        unsafe { give(block, layout) };
    }
}
