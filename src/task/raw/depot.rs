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
//! 3. All batches together have [`MOST`] bytes at most; what is more goes to the allocator, first of all
//!    what is of another size than that which comes.
//!
//! - **T24** A block in a batch is nobody's, and of the batch's class, as one in a stock is (T17).
//!
//! Tests: below, `tests/allocations.rs`.
#![allow(unsafe_code)]

use std::alloc::dealloc;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering}; // a static, and a hint: no protocol

use super::stock::of_class;
use crate::loom::Mutex;
use crate::sys::prefetch;

/// So many bytes are kept here at most.
const MOST: usize = 1 << 20;

/// A batch has so many blocks; with its two words it takes half a kibibyte.
const BLOCKS: usize = 62;

/// So many blocks ahead of the one that is taken, memory is fetched.
const AHEAD: usize = 4;

/// Blocks of one class.
pub(super) struct Batch {
    class: usize,
    count: usize,
    blocks: [NonNull<u8>; BLOCKS],
}

// SAFETY: T24: its blocks are nobody's.
unsafe impl Send for Batch {}

struct Depot {
    /// How many batches are here: a hint, so that nobody takes the lock for nothing.
    count: AtomicUsize,
    batches: OnceLock<Mutex<Batches>>,
}

#[derive(Default)]
struct Batches {
    #[allow(clippy::vec_box)] // they go in and out by the pointer
    full: Vec<Box<Batch>>,
    bytes: usize,
    /// The memory of one that is empty; there is no need for more.
    empty: Option<Box<Batch>>,
}

static DEPOT: Depot = Depot {
    count: AtomicUsize::new(0),
    batches: OnceLock::new(),
};

impl Batch {
    fn new(class: usize) -> Box<Self> {
        Box::new(Self {
            class,
            count: 0,
            blocks: [NonNull::dangling(); BLOCKS],
        })
    }

    fn bytes(&self) -> usize {
        self.count * of_class(self.class).size()
    }

    fn push(&mut self, block: NonNull<u8>) {
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
            // SAFETY: T17, T24.
            unsafe { dealloc(block.as_ptr(), of_class(self.class)) };
        }
        self.count = 0;
    }
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

/// What one thread has of batches: the one that it takes from.
pub(super) struct Taking(Option<Box<Batch>>);

/// The one that it fills.
pub(super) struct Giving(Option<Box<Batch>>);

impl Taking {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// A block of this class.
    #[inline]
    pub(super) fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(batch) = &mut self.0
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
        if DEPOT.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut batches = DEPOT.batches.get()?.try_lock()?;
        let at = batches
            .full
            .iter()
            .rposition(|batch| batch.class == class)?;
        let batch = batches.full.swap_remove(at);
        batches.bytes -= batch.bytes();
        if let Some(before) = self.0.replace(batch) {
            batches.put(before);
        }
        DEPOT.count.store(batches.full.len(), Ordering::Relaxed);
        drop(batches);
        let batch = self.0.as_mut()?;
        let last = &batch.blocks[batch.count.saturating_sub(AHEAD)..batch.count];
        last.iter().for_each(|block| fetch(*block));
        batch.pop()
    }
}

impl Giving {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// A block of this class, which is nobody's (T24).
    #[inline]
    pub(super) fn give(&mut self, class: usize, block: NonNull<u8>) {
        match &mut self.0 {
            Some(batch) if batch.class == class && batch.count < BLOCKS => batch.push(block),
            _ => self.begin(class, block),
        }
    }

    /// The first block of another batch.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, class: usize, block: NonNull<u8>) {
        let full = self.0.take();
        let mut next = None;
        if let Some(mut batches) = DEPOT.batches.get_or_init(Mutex::default).try_lock() {
            next = batches.empty.take();
            if let Some(full) = full {
                batches.put(full);
            }
            DEPOT.count.store(batches.full.len(), Ordering::Relaxed);
        } else if let Some(mut full) = full {
            full.free();
            next = Some(full);
        }
        let mut batch = next.unwrap_or_else(|| Batch::new(class));
        batch.class = class;
        batch.push(block);
        self.0 = Some(batch);
    }
}

impl Batches {
    /// Where there is no room, what is of another class goes first: it was wanted earlier, if anybody wants it.
    fn put(&mut self, mut batch: Box<Batch>) {
        while self.bytes + batch.bytes() > MOST {
            let mut all = self.full.iter();
            match all.position(|other| other.class != batch.class) {
                Some(at) => {
                    let earlier = self.full.remove(at);
                    self.bytes -= earlier.bytes();
                    drop(earlier);
                }
                None => batch.free(),
            }
        }
        if batch.count == 0 {
            self.empty = Some(batch);
        } else {
            self.bytes += batch.bytes();
            self.full.push(batch);
        }
    }
}

#[cfg(all(test, not(any(loom, miri, no_stock))))]
mod tests {
    use super::*;
    use std::alloc::alloc;

    #[test]
    fn what_one_has_given_another_takes() {
        // A class that no other test of this process has in a depot.
        const CLASS: usize = 61;
        let (mut giving, mut taking) = (Giving::new(), Taking::new());
        let new = || {
            // SAFETY: T17: not of size 0.
            NonNull::new(unsafe { alloc(of_class(CLASS)) }).unwrap()
        };
        let given: Vec<_> = (0..=3 * BLOCKS).map(|_| new()).collect();
        for block in &given {
            giving.give(CLASS, *block);
        }
        // Three batches, but for those that others were in the way of; the rest is still here.
        let taken: Vec<_> = std::iter::from_fn(|| taking.take(CLASS)).collect();
        assert!(taken.len() <= 3 * BLOCKS && taken.len() % BLOCKS == 0);
        assert!(taken.iter().all(|block| given.contains(block)));
        for block in taken {
            // SAFETY: T17.
            unsafe { dealloc(block.as_ptr(), of_class(CLASS)) };
        }
        let batches = DEPOT.batches.get().unwrap().lock();
        assert!(batches.bytes <= MOST);
        assert!(batches.full.iter().all(|batch| batch.class != CLASS));
    }

    #[test]
    fn what_comes_pushes_out_what_is_of_another_size() {
        let fill = |batches: &mut Batches, class| {
            for _ in 0..MOST / (BLOCKS * of_class(class).size()) + 3 {
                let mut batch = Batch::new(class);
                // SAFETY: T17: not of size 0.
                let new = || NonNull::new(unsafe { alloc(of_class(class)) }).unwrap();
                (0..BLOCKS).for_each(|_| batch.push(new()));
                batches.put(batch);
                assert!(batches.bytes <= MOST);
            }
            let of_it = batches.full.iter().filter(|batch| batch.class == class);
            of_it.map(|batch| batch.bytes()).sum::<usize>()
        };
        let mut batches = Batches::default();
        for class in [7, 5, 9] {
            let all = fill(&mut batches, class);
            assert_eq!(all, batches.bytes);
            assert!(all > MOST - BLOCKS * of_class(class).size());
        }
    }
}
