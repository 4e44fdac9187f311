//! Memory for the cells of tasks, and for the tasks of scopes: freed blocks are kept and reused.
//!
//! Tasks come in bursts, all of about the same size. glibc's allocator caches seven blocks of a
//! size for each thread; each further allocation costs some 150 instructions, and as many to free
//! it. And where one thread spawns and another runs, both threads take the allocator's lock for
//! each cell, and read and write its bookkeeping.
//!
//! 1. A thread keeps the memory of cells that it has freed in a list for each size class, and takes
//!    memory for new ones from there. The blocks of a full list have `LIST` bytes together, and
//!    each has the address of the next: a list takes no memory of its own.
//! 2. A full list goes to the shelf, which all threads share, and the thread begins another. A
//!    thread whose list is empty takes one from the shelf before it asks the allocator. So memory
//!    comes back from the threads that run tasks to those that spawn them.
//! 3. The shelf has `PLACES` places for each class. If all are taken, a thread whose list is full
//!    gives further blocks back to the allocator: those that were freed first stay. After a burst
//!    they are seldom those at the heap's end, which the allocator gives back to the system. No
//!    thread waits for the shelf's lock: while another thread has it, or if another had it when
//!    this process was forked, a full list stays full, and an empty one empty.
//! 4. A thread that ends gives its lists back to the allocator. The lists on the shelf stay.
//!
//! - **Y97** A block in a list is not in use, but for its first word, the address of the next. It
//!   came from the global allocator with the layout of its class (`of_class`).
//!
//! Rejected: slabs for the tasks of a loop, and batches next to the blocks for each exchange
//! (`docs/internals/decisions/cell-memory.md`).
//!
//! It is off under the address sanitizer (`--cfg no_free_list`), which would find fewer mistakes,
//! and under loom, where thread-locals belong to the model. Miri runs with it and without it.
//!
//! Tests: below, `tests/allocations.rs`.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::mem;
use std::ptr::NonNull;
use std::sync::Mutex; // only `try_lock`: no protocol to model
use std::sync::atomic::{AtomicUsize, Ordering}; // a hint: no protocol to model

/// How many bytes the blocks of a full list have in total, or a little less.
const LIST: usize = 64 << 10;

/// How many full lists of a class are on the shelf at most.
const PLACES: usize = 4;

/// Blocks of the classes have 24, 40, 56, ... bytes: the sizes that glibc's allocator gives out,
/// whose header takes 8 bytes of a multiple of 16.
const STEP: usize = 16;
const CLASSES: usize = 64;

/// The first word of a free block.
struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

/// Free blocks of one class.
struct FreeBlocks {
    first: Option<NonNull<FreeBlock>>,
    len: usize,
}

// SAFETY: Y97: the blocks contain nothing, and any thread may use memory and give it back.
unsafe impl Send for FreeBlocks {}

/// The free blocks of one thread: a list for each class.
struct FreeLists([RefCell<FreeBlocks>; CLASSES]);

thread_local! {
    static FREE: FreeLists = const { FreeLists([const { RefCell::new(FreeBlocks::EMPTY) }; CLASSES]) };
}

impl FreeBlocks {
    const EMPTY: Self = Self {
        first: None,
        len: 0,
    };

    /// Adds a block.
    ///
    /// # Safety
    /// Y97: it has the layout of this list's class, and is not used any more.
    #[inline(always)]
    unsafe fn push(&mut self, block: NonNull<u8>) {
        let block = block.cast::<FreeBlock>();
        // SAFETY: Y97: each class has room for a word, and is aligned for it.
        unsafe { block.write(FreeBlock { next: self.first }) };
        self.first = Some(block);
        self.len += 1;
    }

    /// Takes out the block that was added last.
    #[inline(always)]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = self.first?;
        // SAFETY: Y97: it is in this list, so `push` has written that.
        self.first = unsafe { block.read() }.next;
        self.len -= 1;
        Some(block.cast())
    }
}

/// Full lists of one class.
struct Shelf {
    lists: [FreeBlocks; PLACES],
    len: usize,
}

/// Full lists of each class that belong to no thread. (Empty, it is all zeros, and takes no room in
/// the file of a program.)
static SHELF: [Mutex<Shelf>; CLASSES] = [const {
    Mutex::new(Shelf {
        lists: [FreeBlocks::EMPTY; PLACES],
        len: 0,
    })
}; CLASSES];

/// How many lists are on the shelf, so that a burst of new cells does not take the lock for each
/// only to find none.
static SHELVED: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];

/// The class of blocks for this layout; `None`: they are not kept.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    let class = (layout.size() + STEP / 2 - 1) / STEP;
    if cfg!(any(loom, no_free_list)) || class == 0 || class >= CLASSES || layout.align() > STEP {
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

/// Memory for `layout`, whose size is not 0: a freed block, or a new one.
#[inline]
pub fn take(layout: Layout) -> NonNull<u8> {
    let Some(class) = class(layout) else {
        return new(layout);
    };
    let kept = FREE.try_with(|lists| {
        let mut list = lists.0[class].borrow_mut();
        list.pop().or_else(|| {
            refill(&mut list, class);
            list.pop()
        })
    });
    kept.ok().flatten().unwrap_or_else(|| new(of_class(class)))
}

/// Puts memory that is no longer used into this thread's lists, or gives it back to the allocator.
///
/// # Safety
/// `block` came from [`take`] with this layout, and is not used any more.
#[inline]
pub unsafe fn give(memory: NonNull<u8>, layout: Layout) {
    let layout = match class(layout) {
        None => layout,
        Some(class) => {
            let kept = FREE.try_with(|lists| {
                let mut list = lists.0[class].borrow_mut();
                let has_room = list.len < full(class) || empty(&mut list, class);
                if has_room {
                    // SAFETY: Y97: the caller gives it away, and `take` chose this class for its
                    // layout.
                    unsafe { list.push(memory) };
                }
                has_room
            });
            if kept == Ok(true) {
                return;
            }
            of_class(class)
        }
    };
    // SAFETY: Y97: `take` had it from the allocator with this layout: that of its class, if it has
    // one, else its own; the caller gives it away.
    unsafe { dealloc(memory.as_ptr(), layout) }
}

#[cold]
#[inline(never)]
fn new(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "nothing needs no memory");
    // SAFETY: Y97: the size is not 0, as was just checked.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Replaces an empty list by a full one from the shelf, if there is one.
#[cold]
#[inline(never)]
fn refill(list: &mut FreeBlocks, class: usize) {
    if SHELVED[class].load(Ordering::Relaxed) > 0
        && let Ok(mut shelf) = SHELF[class].try_lock()
        && shelf.len > 0
    {
        shelf.len -= 1;
        let last = shelf.len;
        mem::swap(list, &mut shelf.lists[last]);
        SHELVED[class].store(last, Ordering::Relaxed);
    }
}

/// Puts a full list on the shelf, and begins an empty one. False: the shelf is full, too.
#[cold]
#[inline(never)]
fn empty(list: &mut FreeBlocks, class: usize) -> bool {
    if SHELVED[class].load(Ordering::Relaxed) < PLACES
        && let Ok(mut shelf) = SHELF[class].try_lock()
        && shelf.len < PLACES
    {
        let place = shelf.len;
        mem::swap(list, &mut shelf.lists[place]);
        shelf.len += 1;
        SHELVED[class].store(shelf.len, Ordering::Relaxed);
        return true;
    }
    false
}

/// Gives all blocks of a list back to the allocator.
///
/// # Safety
/// Y97: the list has blocks of this class.
unsafe fn free(mut list: FreeBlocks, class: usize) {
    while let Some(block) = list.pop() {
        // SAFETY: Y97: it is in no list any more, and came from the allocator with the layout of
        // the list's class.
        unsafe { dealloc(block.as_ptr(), of_class(class)) };
    }
}

impl Drop for FreeLists {
    fn drop(&mut self) {
        for (class, list) in self.0.iter_mut().enumerate() {
            let list = mem::replace(list.get_mut(), FreeBlocks::EMPTY);
            // SAFETY: Y97: this thread's, of that class.
            unsafe { free(list, class) };
        }
    }
}

#[cfg(all(test, not(any(loom, miri, no_free_list))))]
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

    /// How many blocks of this class this thread keeps.
    fn kept(class: usize) -> usize {
        FREE.with(|lists| lists.0[class].borrow().len)
    }

    /// Allocates `count` blocks of a size that no other test of this process uses, and frees them.
    fn burst(layout: Layout, count: usize) -> Vec<NonNull<u8>> {
        let blocks: Vec<_> = (0..count).map(|_| take(layout)).collect();
        for block in &blocks {
            // SAFETY: Y97: they came from `take`, and are not used.
            unsafe { give(*block, layout) };
        }
        blocks
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread of the test
    fn a_full_list_and_a_full_shelf_keep_what_was_freed_first() {
        std::thread::spawn(|| {
            let layout = Layout::from_size_align(900, 8).unwrap();
            let class = class(layout).unwrap();
            let full = full(class);
            let blocks = burst(layout, (1 + PLACES) * full + 7);
            assert_eq!(kept(class), full);
            let last = take(layout);
            assert_eq!(last, blocks[(1 + PLACES) * full - 1]);
            // SAFETY: Y97: it was just taken, and is not used.
            unsafe { give(last, layout) };
            let mut shelf = SHELF[class].lock().unwrap();
            assert_eq!(mem::take(&mut shelf.len), PLACES);
            SHELVED[class].store(0, Ordering::Relaxed);
            for list in &mut shelf.lists {
                assert_eq!(list.len, full);
                // SAFETY: Y97: the list was on the shelf of this class.
                unsafe { free(mem::replace(list, FreeBlocks::EMPTY), class) };
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // threads of the test
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
        // SAFETY: Y97: it was just taken, and is not used.
        unsafe { give(block, layout) };
    }
}
