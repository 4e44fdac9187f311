//! Memory for cells on its way from the threads that free them to those that make them.
//!
//! Where one thread spawns and another runs, one [`stock`](super::stock) is always empty and the other full, and
//! each cell would go through the system's allocator: which takes its lock on both sides, and reads and writes
//! books beside the blocks that the other processor has in its cache. So a thread
//! that has enough gathers what it frees in a [`Batch`], and leaves that here; one that has none takes a batch.
//!
//! 1. One lock for all, taken once for each batch, and only if it is free: who meets another goes to the
//!    allocator as ever. So nobody waits, also not in a child that was forked meanwhile.
//! 2. A batch is an array beside the blocks: neither who gathers nor who takes
//!    touches a block to learn of the next, and who takes has them fetched early.
//! 3. Nothing is searched for: batches lie here by class, and a word says of which there are any, without the lock.
//! 4. All batches together have room for [`MOST`] bytes at most; where there is no more, those of another size than that
//!    which comes go to the allocator, or else that.
//! 5. A thread has a batch for each of [`SLOTS`] classes. Where two of the same place take turns their blocks go to the
//!    allocator, as ever: a batch comes here when it is full, so that a lock and its own memory are worth it.
//!
//! - **T24** A block in a batch is nobody's, and of the batch's class, as one in a stock is (T17).
//!
//! Tests: below, `tests/allocations.rs`.
#![allow(unsafe_code)]

use std::alloc::dealloc;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering}; // a static, and a hint: no protocol

use super::stock::{CLASSES, of_class};
use crate::sys::prefetch;

/// Batches for so many bytes are kept here at most.
const MOST: usize = 1 << 20;

/// A batch has so many blocks; with its two words it takes half a kibibyte.
const BLOCKS: usize = 62;

/// So many batches a thread takes from, and as many it fills.
const SLOTS: usize = 4;

/// So many blocks ahead of the one that is taken, memory is fetched.
const AHEAD: usize = 4;

/// Blocks of one class.
pub(super) struct Batch {
    class: usize,
    count: usize,
    blocks: [NonNull<u8>; BLOCKS],
}

// SAFETY: T24: its blocks are nobody's, so it owns them as it would a box; whoever takes one out has it alone.
unsafe impl Send for Batch {}

struct Batches {
    #[allow(clippy::vec_box)] // they go in and out by the pointer
    full: [Vec<Box<Batch>>; CLASSES],
    /// A bit for each class of which there are any.
    here: u64,
    /// What those have room for.
    bytes: usize,
    /// The memory of one that is empty; there is no need for more.
    empty: Option<Box<Batch>>,
}

const _: () = assert!(CLASSES <= u64::BITS as usize);

/// [`Batches::here`]: a hint, so that nobody takes the lock for nothing.
static HERE: AtomicU64 = AtomicU64::new(0);

/// Calls `f` with all batches, unless somebody else has them now.
#[cfg(not(loom))]
fn with<R>(f: impl FnOnce(&mut Batches) -> R) -> Option<R> {
    static BATCHES: crate::loom::Mutex<Batches> = crate::loom::Mutex::new(Batches::new());
    let mut batches = BATCHES.try_lock()?;
    let result = f(&mut batches);
    HERE.store(batches.here, Ordering::Relaxed);
    Some(result)
}

/// Nobody has any under loom.
#[cfg(loom)]
fn with<R>(_: impl FnOnce(&mut Batches) -> R) -> Option<R> {
    None
}

impl Batch {
    fn new(class: usize) -> Box<Self> {
        Box::new(Self {
            class,
            count: 0,
            blocks: [NonNull::dangling(); BLOCKS],
        })
    }

    /// # Safety
    /// T17, T24: the block came from the allocator with the layout of the batch's class, and is nobody's.
    unsafe fn push(&mut self, block: NonNull<u8>) {
        self.blocks[self.count] = block;
        self.count += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        self.count = self.count.checked_sub(1)?;
        if let Some(later) = self.count.checked_sub(AHEAD) {
            fetch(self.blocks[later]);
        }
        Some(self.blocks[self.count])
    }

    /// Its blocks go back to the allocator.
    fn free(&mut self) {
        for block in &self.blocks[..self.count] {
            // SAFETY: T17: it came from the allocator with the layout of its class, which is the batch's; T24: it is nobody's, and leaves the
            // batch by the next line but one.
            unsafe { dealloc(block.as_ptr(), of_class(self.class)) };
        }
        self.count = 0;
    }
}

/// What a batch of this class has room for.
const fn room(class: usize) -> usize {
    BLOCKS * of_class(class).size()
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.free();
    }
}

/// Another processor has had it, as a cell.
#[inline]
fn fetch(block: NonNull<u8>) {
    const LINE: usize = 64;
    let block: *const () = block.as_ptr().cast_const().cast();
    prefetch::to_write(block);
    prefetch::to_write(block.wrapping_byte_add(LINE));
}

/// What one thread has of batches: those that it takes from.
pub(super) struct Taking([Option<Box<Batch>>; SLOTS]);

/// Those that it fills.
pub(super) struct Giving([Option<Box<Batch>>; SLOTS]);

impl Taking {
    pub(super) const fn new() -> Self {
        Self([const { None }; SLOTS])
    }

    /// A block of this class.
    #[inline]
    pub(super) fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(batch) = &mut self.0[class % SLOTS]
            && batch.class == class
            && let Some(block) = batch.pop()
        {
            return Some(block);
        }
        self.refill(class)
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self, class: usize) -> Option<NonNull<u8>> {
        if HERE.load(Ordering::Relaxed) & (1 << class) == 0 {
            return None;
        }
        let slot = &mut self.0[class % SLOTS];
        with(|batches| {
            let batch = batches.take(class)?;
            if let Some(before) = slot.replace(batch) {
                batches.put(before);
            }
            Some(())
        })??;
        let batch = slot.as_mut()?;
        let last = &batch.blocks[batch.count.saturating_sub(AHEAD)..batch.count];
        last.iter().for_each(|block| fetch(*block));
        batch.pop()
    }
}

impl Giving {
    pub(super) const fn new() -> Self {
        Self([const { None }; SLOTS])
    }

    /// # Safety
    /// T17, T24: the block came from the allocator with the layout of this class, and is nobody's.
    #[inline]
    pub(super) unsafe fn give(&mut self, class: usize, block: NonNull<u8>) {
        match &mut self.0[class % SLOTS] {
            Some(batch) if batch.class == class && batch.count < BLOCKS => {
                // SAFETY: T24: the caller's promise, and the batch is of that class.
                unsafe { batch.push(block) }
            }
            // SAFETY: T17, T24: the caller's promise is the same.
            slot => unsafe { begin(slot, class, block) },
        }
    }
}

/// The first block of another batch.
///
/// # Safety
/// As [`Giving::give`].
#[cold]
#[inline(never)]
unsafe fn begin(slot: &mut Option<Box<Batch>>, class: usize, block: NonNull<u8>) {
    let mut batch = slot.take();
    if batch.as_ref().is_some_and(|batch| batch.count == BLOCKS) {
        let next = with(|batches| {
            batch.take().into_iter().for_each(|full| batches.put(full));
            batches.empty.take()
        });
        batch = next.unwrap_or(batch);
    }
    let mut batch = batch.unwrap_or_else(|| Batch::new(class));
    // Of another class and not full; or full, and the lock is not free.
    batch.free();
    batch.class = class;
    // SAFETY: T24: the caller's promise, and the batch is empty and of that class.
    unsafe { batch.push(block) };
    *slot = Some(batch);
}

impl Batches {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            full: [const { Vec::new() }; CLASSES],
            here: 0,
            bytes: 0,
            empty: None,
        }
    }

    fn take(&mut self, class: usize) -> Option<Box<Batch>> {
        let batch = self.full[class].pop()?;
        self.bytes -= room(class);
        if self.full[class].is_empty() {
            self.here &= !(1 << class);
        }
        Some(batch)
    }

    fn put(&mut self, mut batch: Box<Batch>) {
        let class = batch.class;
        if batch.count > 0 && self.make_room(class) {
            self.bytes += room(class);
            self.here |= 1 << class;
            self.full[class].push(batch);
        } else {
            batch.free();
            self.empty = Some(batch);
        }
    }

    /// For one more: what is of another class goes. It was wanted earlier, if anybody wants it.
    fn make_room(&mut self, class: usize) -> bool {
        while self.bytes + room(class) > MOST {
            let others = self.here & !(1 << class);
            if others == 0 {
                return false;
            }
            drop(self.take(others.trailing_zeros() as usize));
        }
        true
    }
}

#[cfg(all(test, not(any(loom, miri, no_stock))))]
mod tests {
    use super::*;
    use std::alloc::alloc;

    fn new(class: usize) -> NonNull<u8> {
        // SAFETY: T17: not of size 0.
        NonNull::new(unsafe { alloc(of_class(class)) }).unwrap()
    }

    #[test]
    fn what_one_has_given_another_takes() {
        // A class that no other test of this process has in a depot.
        const CLASS: usize = 61;
        let (mut giving, mut taking) = (Giving::new(), Taking::new());
        let given: Vec<_> = (0..=3 * BLOCKS).map(|_| new(CLASS)).collect();
        for block in &given {
            // SAFETY: T17, T24: `new` made it of this class, and nobody uses it.
            unsafe { giving.give(CLASS, *block) };
        }
        // Three batches, but for those that others were in the way of; the rest is still here.
        let taken: Vec<_> = std::iter::from_fn(|| taking.take(CLASS)).collect();
        assert!(taken.len() <= 3 * BLOCKS && taken.len() % BLOCKS == 0);
        assert!(taken.iter().all(|block| given.contains(block)));
        for block in taken {
            // SAFETY: T17: `new` had it from the allocator with the layout of its class, and it is given back once: here.
            unsafe { dealloc(block.as_ptr(), of_class(CLASS)) };
        }
        let left = with(|batches| {
            assert!(batches.bytes <= MOST);
            batches.full[CLASS].len()
        });
        assert!(left.is_none_or(|left| left == 0));
    }

    #[test]
    fn sizes_that_take_turns_bring_no_small_batches() {
        // Of the same place, and of two.
        for classes in [[58, 58 - SLOTS], [58, 57]] {
            let mut giving = Giving::new();
            for _ in 0..5 * BLOCKS {
                classes.iter().for_each(|of| {
                    // SAFETY: T17, T24: `new` has just made it of this class.
                    unsafe { giving.give(*of, new(*of)) };
                });
            }
            let mut taking = Taking::new();
            for class in classes {
                let taken: Vec<_> = std::iter::from_fn(|| taking.take(class)).collect();
                assert_eq!(taken.len() % BLOCKS, 0, "whole batches");
                for block in taken {
                    // SAFETY: T17: `new` had it from the allocator with the layout of its class, and it is given back once: here.
                    unsafe { dealloc(block.as_ptr(), of_class(class)) };
                }
            }
        }
    }

    #[test]
    fn what_comes_pushes_out_what_is_of_another_size() {
        let fill = |batches: &mut Batches, class| {
            for n in 0..MOST / room(class) + 3 {
                let mut batch = Batch::new(class);
                // Not all of them are full, which makes no difference.
                (0..=n % BLOCKS).for_each(|_| {
                    // SAFETY: T17, T24: `new` has just made it of the batch's class.
                    unsafe { batch.push(new(class)) };
                });
                batches.put(batch);
                assert!(batches.bytes <= MOST);
            }
            batches.full[class].len() * room(class)
        };
        let mut batches = Batches::new();
        for class in [7, 5, 9] {
            let all = fill(&mut batches, class);
            assert_eq!((all, batches.here), (batches.bytes, 1 << class));
            assert!(all > MOST - room(class));
        }
    }
}
