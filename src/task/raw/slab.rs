//! Slabs: memory for the tasks that a thread makes for itself, and has by the million.
//!
//! **Job.** What a loop spawns is mostly made, run and freed on its thread. So its cells come from memory that belongs
//! to the thread: from the second task on, to take a block is to unlink it, and to give it back is to link
//! it again. Blocks are exactly as large as the cells, side by side; and where there are millions of a size, they
//! come in pieces for which the kernel has large pages, instead of one fault for each forty of them.
//!
//! ```text
//!   a slab, 16 KiB:  ┌────────┬───────┬───────┬─ ─┬───────┐
//!                    │ Slab   │ block │ block │   │ block │
//!                    └────────┴───────┴───────┴─ ─┴───────┘
//!   or 2 MiB:        ┌────────┬───────┬─ ─┬───────┐┌──────┬───────┬─ ─┬───────┐┌ ─ ─
//!                    │ Slab   │ block │   │ block ││ Stub │ block │   │ block ││       128 slices
//!                    └────────┴───────┴─ ─┴───────┘└──────┴───────┴─ ─┴───────┘└ ─ ─
//! ```
//!
//! 1. Each slab has blocks of one size. A slice begins where its address says so, with a pointer to its slab: so a
//!    block leads to its slab.
//! 2. A thread takes from the first of its *open* slabs of a size. One that is full is left alone
//!    ([`returned`](super::returned)): it is in no list until this thread gives a block of it back.
//! 3. A slab all of whose blocks are back is kept if it is the first of its list, else given back to the allocator; a small one
//!    may be kept for another size. So a thread keeps [`SPARE`] slabs at most and one for each size that it has used, and a large one only
//!    beside others that are full.
//! 4. A block that comes back on another thread is linked into its slab's word, and the slab's thread finds it there when it needs
//!    one. If it was the last of a slab that is alone, the slab is freed there and then.
//!    So do all cells that another thread than the loop's has made for it with `spawn_with`.
//! 5. A slab is large once the thread has 128 MiB in blocks of that size ([`MANY`]).
//!
//! What is so spread over its slabs that each of them has a living task in it keeps all of them, as any allocator's: their
//! free blocks are for the next tasks of that size.
//!
//! - **T20** A slab is one allocation of its `length`, aligned to a slice, and begins with a live [`Slab`], each further slice whose
//!   blocks were ever given out with a [`Stub`] that points to it. Pointers to blocks have the whole slab's provenance. Its
//!   `Cell`s belong to the thread whose [`Thread`] owns its `count`; the rest does not change.
//! - **T21** A block that is out is its taker's, and lies in its slab with the size of its class. One that is not is
//!   nobody's, and in one place: linked behind `free`, behind the slab's word (T19), or not carved out yet, at `fresh` or later.
//! - **T22** A slab is in at most one list, of the one thread that keeps it: `open`, or `spare`. `kept` says whether. One in a list is not freed.
//!
//! Rejected: large pages for the allocator as a whole (the program's); one large range of addresses with numbers in place of
//! pointers (limits of address space are real); a header for each block (a sixth of what a task takes).
//!
//! Not under the address sanitizer (`--cfg no_stock`), which would see fewer mistakes, nor under loom; Miri runs with slabs,
//! small ones, and without. Larger blocks and odd alignments come from the [`stock`].
//!
//! Length: a slab and the lists that it is in change together; a third is tests.
//!
//! Tests: below, `tests/allocations.rs`; the word has models.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, OnceCell};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering}; // a count of pieces: no protocol

use super::returned::{Batch, Returned};
use super::stock;
use crate::sys::large_pages;

/// What an address is cut off to, to find its slab.
const SLICE: usize = 16 << 10;
/// A large slab.
const LARGE: usize = large_pages::BLOCK;
/// A thread with so many slices of one size gets large slabs. Below that, pages that the allocator keeps from one burst to the
/// next are better than large ones that the system must find and clear: a million tasks took 90 ns each so, and 280 the other way.
const MANY: usize = (if cfg!(test) { 1 << 20 } else { 128 << 20 }) / SLICE;
/// So many empty slabs a thread keeps for any size.
const SPARE: usize = 8;

/// Sizes of blocks differ by so much, the alignment of a cell.
const STEP: usize = 8;
/// What is larger comes from the stock.
const CLASSES: usize = 96;
/// The class of spares, which have no blocks.
const NONE: usize = 0;

/// What is at the beginning of each slice. Blocks follow it, so it has their alignment.
#[repr(C, align(8))]
struct Stub {
    slab: *mut Slab,
}

/// What is at the beginning of each slab.
#[repr(C)]
struct Slab {
    stub: Stub,
    /// The size of its blocks.
    class: usize,
    /// Bytes, and how many blocks.
    length: usize,
    capacity: u32,
    /// How many blocks are out, as far as its thread knows.
    used: Cell<u32>,
    /// Blocks that have come back.
    free: Cell<*mut Block>,
    /// The next block that was never out, and the last one of that slice.
    fresh: Cell<*mut Block>,
    last: Cell<*mut Block>,
    /// In a list of its thread (T22).
    kept: Cell<bool>,
    before: Cell<*mut Slab>,
    after: Cell<*mut Slab>,
    /// What other threads bring.
    returned: Returned,
    /// How many slices of each size its thread has.
    count: Arc<Counts>,
}

struct Block {
    next: *mut Block,
}

const _: () = assert!(size_of::<Stub>().is_multiple_of(STEP));
const _: () = assert!(size_of::<Slab>().is_multiple_of(STEP));
const _: () = assert!(size_of::<Block>() <= STEP && align_of::<Block>() <= STEP);

type Counts = [AtomicUsize; CLASSES];

/// What a thread has of slabs.
struct Thread {
    /// Those with blocks left, by size; the first is taken from.
    open: [Cell<*mut Slab>; CLASSES],
    /// Empty small ones.
    spare: Cell<*mut Slab>,
    spares: Cell<usize>,
    count: OnceCell<Arc<Counts>>,
}

thread_local! {
    static THREAD: Thread = const { Thread::new() };
}

/// The class of such blocks; `None`: they are not ours.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    let class = layout.size().div_ceil(STEP);
    if class == NONE || class >= CLASSES || layout.align() > STEP {
        return None;
    }
    Some(class)
}

/// Slabs are in use at all.
const ON: bool = !cfg!(any(loom, no_stock));

/// Memory for `layout`, which is not of size 0.
#[inline]
pub(super) fn take(layout: Layout) -> NonNull<u8> {
    match class(layout) {
        Some(class) if ON => take_of(class),
        _ => stock::take(layout),
    }
}

#[inline]
fn take_of(class: usize) -> NonNull<u8> {
    THREAD
        .try_with(|thread| thread.take(class))
        .unwrap_or_else(|_| take_alone(class))
}

/// Memory that is not used any more.
///
/// # Safety
/// It came from [`take`] with this layout, and nobody uses it any more.
#[inline]
pub(super) unsafe fn give(memory: NonNull<u8>, layout: Layout) {
    match class(layout) {
        // SAFETY: T21: `take` took it from a slab of that class, since the layout is the same, and the caller gives it away.
        Some(class) if ON => unsafe { give_of(memory, class) },
        // SAFETY: T17, as the caller promises: `take` went the same way.
        _ => unsafe { stock::give(memory, layout) },
    }
}

/// # Safety
/// It came from [`take_of`] with this class, and nobody uses it any more.
#[inline]
unsafe fn give_of(memory: NonNull<u8>, class: usize) {
    let block = memory.cast::<Block>();
    // SAFETY: T21: it is out: the caller's, until it goes below.
    let slab = unsafe { slab_of(block) };
    // SAFETY: T21: the caller's block, of this slab and class, which it gives away.
    let given = THREAD.try_with(|thread| unsafe { thread.give(slab, block, class) });
    if given != Ok(true) {
        // SAFETY: T21: `Thread::give` has not taken it: it is the caller's still, of this slab, and goes.
        unsafe { give_elsewhere(slab, block) };
    }
}

/// The slab of a block.
///
/// # Safety
/// T21: the block is out.
#[inline]
unsafe fn slab_of(block: NonNull<Block>) -> NonNull<Slab> {
    let slice = block.as_ptr().map_addr(|address| address & !(SLICE - 1));
    // SAFETY: T20: its slice had a block given out, so it begins with a stub, which does not change, and the block keeps the slab (T19).
    let slab = unsafe { (*slice.cast::<Stub>()).slab };
    // SAFETY: T20: it points to its slab, not to null.
    unsafe { NonNull::new_unchecked(slab) }
}

/// A block of another thread's slab, or of a thread that has ended.
///
/// # Safety
/// T21: the block is the caller's, of this slab, and goes.
#[cold]
#[inline(never)]
unsafe fn give_elsewhere(slab: NonNull<Slab>, block: NonNull<Block>) {
    // SAFETY: T20: the block that is out keeps it (T19), and this does not change.
    let capacity = unsafe { (*slab.as_ptr()).capacity };
    // SAFETY: T20: as above; a reference to the word alone, which may go while we look at it no more.
    let returned = unsafe { &(*slab.as_ptr()).returned };
    let all = returned.push(place(slab, block), capacity, |last| {
        // SAFETY: T20: the word has it from a `push` of a block of this slab.
        let next = last.map_or(ptr::null_mut(), |last| unsafe { at(slab, last) }.as_ptr());
        // SAFETY: T21: the block is the caller's until the word has it, and has room for a link.
        unsafe { block.write(Block { next }) };
    });
    if all {
        // SAFETY: T19: `push` says that all blocks are back and that nobody keeps it: it is for us to free.
        unsafe { free(slab) };
    }
}

/// Where in the slab the block lies, in steps.
fn place(slab: NonNull<Slab>, block: NonNull<Block>) -> u32 {
    ((block.addr().get() - slab.addr().get()) / STEP) as u32
}

/// The block at this place.
///
/// # Safety
/// T20: [`place`] gave it for a block of this slab.
unsafe fn at(slab: NonNull<Slab>, place: u32) -> NonNull<Block> {
    // SAFETY: T20: so it lies inside of the allocation, which the pointer is good for.
    unsafe { slab.byte_add(place as usize * STEP) }.cast()
}

/// This thread is about to end, and keeps nothing any more: a slab for one block.
#[cold]
fn take_alone(class: usize) -> NonNull<u8> {
    let slab = new(class, SLICE, Arc::new(no_counts()));
    // SAFETY: T20: nobody else knows of it, so this thread keeps it.
    let block = unsafe { pop(slab) };
    // SAFETY: T19, T20: nobody else knows of it, and `block` keeps it.
    let slab = unsafe { slab.as_ref() };
    let all = slab.returned.abandon(slab.capacity - 1, slab.capacity);
    debug_assert!(!all);
    block.unwrap_or_else(|| unreachable!("a slab without a block"))
}

const fn no_counts() -> Counts {
    [const { AtomicUsize::new(0) }; CLASSES]
}

const SMALL: Layout = match Layout::from_size_align(SLICE, SLICE) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// How many blocks of a class fit behind `head` bytes of a slice.
const fn blocks(class: usize, head: usize) -> usize {
    (SLICE - head) / (class * STEP)
}

/// A new one, in no list.
fn new(class: usize, length: usize, count: Arc<Counts>) -> NonNull<Slab> {
    let slab = if length == LARGE {
        match large_pages::map() {
            Some(memory) => memory,
            None => return new(class, SLICE, count),
        }
    } else {
        // SAFETY: T20 begins here: its size is not 0.
        let memory = unsafe { alloc(SMALL) };
        NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(SMALL))
    };
    let slab = slab.cast::<Slab>();
    let more = (length / SLICE - 1) * blocks(class, size_of::<Stub>());
    let capacity = blocks(class, size_of::<Slab>()) + more;
    count[class].fetch_add(length / SLICE, Ordering::Relaxed);
    let whole = Slab {
        stub: Stub {
            slab: slab.as_ptr(),
        },
        class,
        length,
        capacity: capacity as u32,
        used: Cell::new(0),
        free: Cell::new(ptr::null_mut()),
        fresh: Cell::new(ptr::null_mut()),
        last: Cell::new(ptr::null_mut()),
        kept: Cell::new(false),
        before: Cell::new(ptr::null_mut()),
        after: Cell::new(ptr::null_mut()),
        returned: Returned::new(),
        count,
    };
    // SAFETY: T20: it was just allocated, aligned to a slice, with room for a slice at least.
    unsafe { slab.write(whole) };
    // SAFETY: T20: it is ours alone, this is its first slice, and its blocks come behind what is at its beginning.
    unsafe { begin_slice(slab, slab.cast(), size_of::<Slab>()) };
    slab
}

/// Blocks are carved out of this slice from now on.
///
/// # Safety
/// T20, T21: this thread keeps the slab, whose slice it is; nothing is carved out of it, or all that was is back, and `head` bytes at its beginning are not
/// for blocks.
unsafe fn begin_slice(slab: NonNull<Slab>, slice: NonNull<u8>, head: usize) {
    // SAFETY: T20: it is alive, and only its `Cell`s change, which are this thread's.
    let whole = unsafe { slab.as_ref() };
    let size = whole.class * STEP;
    let last = head + (blocks(whole.class, head) - 1) * size;
    // SAFETY: T20: `head` is less than a slice.
    whole
        .fresh
        .set(unsafe { slice.byte_add(head) }.as_ptr().cast());
    // SAFETY: T20: `blocks` counts those that fit into the slice behind `head`, so the last begins inside.
    whole
        .last
        .set(unsafe { slice.byte_add(last) }.as_ptr().cast());
}

/// # Safety
/// T19: all of its blocks are back, nobody keeps it, and it is the caller's.
#[cold]
unsafe fn free(slab: NonNull<Slab>) {
    // SAFETY: T19: it is the caller's, so it has not been freed.
    let whole = unsafe { slab.as_ref() };
    let length = whole.length;
    whole.count[whole.class].fetch_sub(length / SLICE, Ordering::Relaxed);
    // SAFETY: T19: nobody else has it, and what is at its beginning is not used any more; `whole` neither.
    unsafe { slab.drop_in_place() };
    if length == LARGE {
        // SAFETY: T19: it is the caller's alone; `new` mapped those of this length, and the mapping is the slab.
        unsafe { large_pages::unmap(slab.cast()) };
    } else {
        // SAFETY: T19: it is the caller's alone; `new` allocated those of any other length, with this layout.
        unsafe { dealloc(slab.as_ptr().cast(), SMALL) };
    }
}

/// A block of it, if it has one at hand.
///
/// # Safety
/// T20: this thread keeps it.
#[inline(always)]
unsafe fn pop(slab: NonNull<Slab>) -> Option<NonNull<u8>> {
    // SAFETY: T20, T22: this thread keeps it (the caller's promise), so it is alive, and its `Cell`s are ours.
    let slab = unsafe { slab.as_ref() };
    let block = match NonNull::new(slab.free.get()) {
        Some(block) => {
            // SAFETY: T21: what `free` begins with is nobody's, and was written as a link when it came back.
            slab.free.set(unsafe { block.as_ref() }.next);
            block
        }
        None => {
            let fresh = slab.fresh.get();
            if fresh > slab.last.get() {
                return None;
            }
            slab.fresh.set(fresh.wrapping_byte_add(slab.class * STEP));
            // SAFETY: T21: it is at or before `last`, so inside of the slab, not null.
            unsafe { NonNull::new_unchecked(fresh) }
        }
    };
    slab.used.set(slab.used.get() + 1);
    Some(block.cast())
}

/// More blocks for one that has none at hand: of its next slice, or from other threads. False: there are none.
///
/// # Safety
/// T20: this thread keeps it.
unsafe fn refill(slab: NonNull<Slab>) -> bool {
    // SAFETY: T20, T22: this thread keeps it (the caller's promise), so it is alive, and its `Cell`s are ours.
    let whole = unsafe { slab.as_ref() };
    let carved = whole.last.get().addr() & !(SLICE - 1);
    let next = carved + SLICE - slab.addr().get();
    if next < whole.length {
        // SAFETY: T20: `next` is less than its length: inside.
        let slice = unsafe { slab.byte_add(next) };
        let stub = Stub {
            slab: slab.as_ptr(),
        };
        // SAFETY: T20, T21: slices are carved one after the other, so nothing was ever out of this one: its beginning is nobody's.
        unsafe { slice.cast::<Stub>().write(stub) };
        // SAFETY: T20: as above; its blocks come behind the stub.
        unsafe { begin_slice(slab, slice.cast(), size_of::<Stub>()) };
        return true;
    }
    // SAFETY: T20: this thread keeps it; T21: `pop` has found nothing at hand, and no slice was left.
    unsafe { take_back(slab, whole.returned.collect()) }
}

/// Blocks that other threads have brought. False: there are none.
///
/// # Safety
/// T20: this thread keeps it, and has no block of it at hand (T21).
unsafe fn take_back(slab: NonNull<Slab>, batch: Batch) -> bool {
    let Some(last) = batch.last else { return false };
    // SAFETY: T20, T22: this thread keeps it (the caller's promise), so it is alive, and its `Cell`s are ours.
    let whole = unsafe { slab.as_ref() };
    // SAFETY: T20: the word had it from a `push` of a block of this slab.
    whole.free.set(unsafe { at(slab, last) }.as_ptr());
    whole.used.set(whole.used.get() - batch.count);
    true
}

/// An empty small one gets blocks of this size, or of none.
///
/// # Safety
/// T22: this thread keeps it, all of its blocks are back, nobody else knows of it, and its length is a slice.
unsafe fn recast(slab: NonNull<Slab>, class: usize) {
    let mut slab = slab;
    // SAFETY: T20: none of its blocks is out, so nobody else looks at it: the caller's promise.
    let whole = unsafe { slab.as_mut() };
    whole.count[whole.class].fetch_sub(1, Ordering::Relaxed);
    whole.count[class].fetch_add(1, Ordering::Relaxed);
    whole.class = class;
    if class != NONE {
        whole.capacity = blocks(class, size_of::<Slab>()) as u32;
        whole.free.set(ptr::null_mut());
        // SAFETY: T20, T21: it is ours, and all that was carved out of its only slice is back.
        unsafe { begin_slice(slab, slab.cast(), size_of::<Slab>()) };
    }
}

impl Thread {
    const fn new() -> Self {
        Self {
            open: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            spare: Cell::new(ptr::null_mut()),
            spares: Cell::new(0),
            count: OnceCell::new(),
        }
    }

    #[inline]
    fn take(&self, class: usize) -> NonNull<u8> {
        if let Some(slab) = NonNull::new(self.open[class].get()) {
            // SAFETY: T20, T22: it is in our list, so this thread keeps it.
            if let Some(block) = unsafe { pop(slab) } {
                return block;
            }
        }
        self.take_more(class)
    }

    /// The first open slab has nothing at hand.
    #[cold]
    #[inline(never)]
    fn take_more(&self, class: usize) -> NonNull<u8> {
        loop {
            let slab = match NonNull::new(self.open[class].get()) {
                Some(slab) => slab,
                None => self.open_one(class),
            };
            // SAFETY: T20, T22: it is in our list, so this thread keeps it.
            if let Some(block) = unsafe { pop(slab) } {
                return block;
            }
            // SAFETY: T22: it is in our list still.
            if unsafe { refill(slab) } {
                continue;
            }
            // SAFETY: T22: it is in our list still; a reference to the word alone, as the slab may go while it is left.
            let returned = unsafe { &(*slab.as_ptr()).returned };
            // SAFETY: T22: it is in our list, until this takes it out.
            if !returned.leave(|| unsafe { self.unlink(slab) }) {
                // SAFETY: T22: it was just taken out, and not left.
                unsafe { self.link(slab, class) };
            }
        }
    }

    /// Another slab for this class.
    fn open_one(&self, class: usize) -> NonNull<Slab> {
        let count = self.count.get_or_init(|| Arc::new(no_counts()));
        if let Some(slab) = NonNull::new(self.spare.get()) {
            // SAFETY: T22: it is in our list, so it is alive.
            let next = unsafe { slab.as_ref() }.after.get();
            self.spare.set(next);
            self.spares.set(self.spares.get() - 1);
            // SAFETY: T22: it was just taken out of the spares, small slabs all of whose blocks are back.
            unsafe { recast(slab, class) };
            // SAFETY: T22: it is ours, of this class now, and in no list.
            unsafe { self.link(slab, class) };
            return slab;
        }
        let large = !cfg!(miri) && count[class].load(Ordering::Relaxed) >= MANY;
        let slab = new(class, if large { LARGE } else { SLICE }, count.clone());
        // SAFETY: T22: it is new, so in no list.
        unsafe { self.link(slab, class) };
        slab
    }

    /// Puts it behind the first of its list: that one is to be used up.
    ///
    /// # Safety
    /// T22: it is this thread's to keep, of this class, and in no list.
    unsafe fn link(&self, slab: NonNull<Slab>, class: usize) {
        // SAFETY: T22: it is ours to keep, so it is alive.
        let whole = unsafe { slab.as_ref() };
        whole.kept.set(true);
        let first = NonNull::new(self.open[class].get());
        // SAFETY: T22: what is in our list is alive, and its `Cell`s are ours.
        let first = first.map(|first| unsafe { first.as_ref() });
        let second = first.map_or(ptr::null_mut(), |first| first.after.get());
        whole.before.set(self.open[class].get());
        whole.after.set(second);
        match first {
            Some(first) => first.after.set(slab.as_ptr()),
            None => self.open[class].set(slab.as_ptr()),
        }
        // SAFETY: T22: null, or in our list, too.
        if let Some(second) = unsafe { second.as_ref() } {
            second.before.set(slab.as_ptr());
        }
    }

    /// Takes it out of its list.
    ///
    /// # Safety
    /// T22: it is in an `open` list of this thread.
    unsafe fn unlink(&self, slab: NonNull<Slab>) {
        // SAFETY: T22: what is in our list is alive, and its `Cell`s are ours.
        let whole = unsafe { slab.as_ref() };
        whole.kept.set(false);
        let (before, after) = (whole.before.get(), whole.after.get());
        // SAFETY: T22: null, or its neighbour in our list.
        match unsafe { before.as_ref() } {
            Some(before) => before.after.set(after),
            None => self.open[whole.class].set(after),
        }
        // SAFETY: T22: null, or its other neighbour.
        if let Some(after) = unsafe { after.as_ref() } {
            after.before.set(before);
        }
    }

    /// False: it is not this thread's.
    ///
    /// # Safety
    /// T21: the block is the caller's, of this slab, of this class, and goes.
    #[inline]
    unsafe fn give(&self, slab: NonNull<Slab>, block: NonNull<Block>, class: usize) -> bool {
        // SAFETY: T20: the block that is out keeps it (T19), and this does not change.
        let count = unsafe { &(*slab.as_ptr()).count };
        if !self.count.get().is_some_and(|own| Arc::ptr_eq(own, count)) {
            return false;
        }
        // SAFETY: T20: it has our count, so its `Cell`s are this thread's; the block that is out keeps it (T19).
        let whole = unsafe { slab.as_ref() };
        if !whole.kept.get() {
            // SAFETY: T19, T22: it is ours, in no list, and has this block out.
            unsafe { self.keep(slab, class) };
        }
        let next = whole.free.get();
        // SAFETY: T21: the caller has given it away, so it is nobody's, and has room for a link.
        unsafe { block.write(Block { next }) };
        whole.free.set(block.as_ptr());
        let used = whole.used.get() - 1;
        whole.used.set(used);
        // The first of the list is left as it is, unless it is large.
        if used == 0 && (self.open[class].get() != slab.as_ptr() || whole.length != SLICE) {
            // SAFETY: T22: it is in our list by now, and all of its blocks are back.
            unsafe { self.emptied(slab, class) };
        }
        true
    }

    /// It was alone.
    ///
    /// # Safety
    /// T19, T22: it is this thread's, of this class, in no list, and the caller has a block of it.
    #[cold]
    #[inline(never)]
    unsafe fn keep(&self, slab: NonNull<Slab>, class: usize) {
        // SAFETY: T19: the caller's block keeps it.
        let whole = unsafe { slab.as_ref() };
        let batch = whole.returned.keep();
        whole.used.set(whole.capacity);
        // SAFETY: T22: the word says that it is ours to keep again.
        unsafe { self.link(slab, class) };
        // SAFETY: T20: this thread keeps it again; T21: when it was left there was no block at hand.
        let _some = unsafe { take_back(slab, batch) };
    }

    /// All of its blocks are back.
    ///
    /// # Safety
    /// T22: that is so, and it is in this thread's list of this class.
    #[cold]
    #[inline(never)]
    unsafe fn emptied(&self, slab: NonNull<Slab>, class: usize) {
        if self.open[class].get() != slab.as_ptr() {
            // SAFETY: T22: the caller's promise is the same.
            unsafe { self.put_away(slab) };
        }
        // A large one stays the first only while others are full.
        let Some(first) = NonNull::new(self.open[class].get()) else {
            return;
        };
        // SAFETY: T22: what is in our list is alive, and its `Cell`s are ours.
        let whole = unsafe { first.as_ref() };
        let others = whole.count[class].load(Ordering::Relaxed) - whole.length / SLICE;
        let room = first != slab; // of a whole slab: less would be used up at once
        if whole.length != SLICE && whole.used.get() == 0 && (room || others == 0) {
            // SAFETY: T22: it is in our list, and `used` says that all of its blocks are back.
            unsafe { self.put_away(first) };
        }
    }

    /// An empty one: to the spares, or back to where it came from.
    ///
    /// # Safety
    /// T22: it is in an `open` list of this thread, and all of its blocks are back.
    unsafe fn put_away(&self, slab: NonNull<Slab>) {
        // SAFETY: T22: the caller's promise.
        unsafe { self.unlink(slab) };
        // SAFETY: T20, T22: it was in our list until now, and nobody else knows of it.
        let whole = unsafe { slab.as_ref() };
        if whole.length == SLICE && self.spares.get() < SPARE {
            whole.kept.set(true);
            whole.after.set(self.spare.replace(slab.as_ptr()));
            // SAFETY: T22: it is small, and all of its blocks are back (the caller's promise).
            unsafe { recast(slab, NONE) };
            self.spares.set(self.spares.get() + 1);
        } else {
            // SAFETY: T19, T22: all of its blocks are back (the caller's promise), and it was just taken out of our list.
            unsafe { free(slab) };
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        while let Some(slab) = NonNull::new(self.spare.get()) {
            // SAFETY: T22: what is in our list is alive, and its `Cell`s are ours.
            self.spare.set(unsafe { slab.as_ref() }.after.get());
            // SAFETY: T19, T22: a spare has all of its blocks, and it was just taken out of the list.
            unsafe { free(slab) };
        }
        for class in 0..CLASSES {
            while let Some(slab) = NonNull::new(self.open[class].get()) {
                // SAFETY: T22: it is the first of our list.
                unsafe { self.unlink(slab) };
                // SAFETY: T20: it is ours until `abandon` gives it away: it is not looked at after that.
                let whole = unsafe { &*slab.as_ptr() };
                let (here, capacity) = (whole.capacity - whole.used.get(), whole.capacity);
                if whole.returned.abandon(here, capacity) {
                    // SAFETY: T19: `abandon` says that all of its blocks are back, and nobody keeps it.
                    unsafe { free(slab) };
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::disallowed_methods)] // threads of the tests'
mod tests {
    use super::*;
    use std::thread;

    /// A class with few blocks in a slab.
    const CLASS: usize = CLASSES - 1;
    const FEW: usize = blocks(CLASS, size_of::<Slab>());

    /// How many slabs there are that this thread has made.
    struct Slabs(Arc<Counts>);

    impl Slabs {
        fn here() -> Self {
            Self(THREAD.with(|thread| thread.count.get_or_init(|| Arc::new(no_counts())).clone()))
        }

        fn slices(&self) -> usize {
            self.0
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .sum()
        }

        /// All but these, and the thread's, have the counts no longer.
        fn are_gone(&self) -> bool {
            self.slices() == 0 && Arc::strong_count(&self.0) == 1
        }
    }

    /// A block on its way to another thread; what is written in it stays.
    struct Out(NonNull<u8>);

    // SAFETY: T21: a block that is out is its taker's.
    unsafe impl Send for Out {}

    impl Out {
        fn take() -> Self {
            let block = take_of(CLASS);
            let bytes = CLASS * STEP;
            // SAFETY: T21: so many bytes of it are ours.
            unsafe { block.write_bytes(block.addr().get() as u8, bytes) };
            Self(block)
        }

        fn many(count: usize) -> Vec<Self> {
            (0..count).map(|_| Self::take()).collect()
        }
    }

    impl Drop for Out {
        fn drop(&mut self) {
            for byte in [0, CLASS * STEP - 1] {
                // SAFETY: T21: inside of the block.
                let at = unsafe { self.0.byte_add(byte) };
                // SAFETY: T21: it is ours until it is given back below.
                let value = unsafe { at.read() };
                assert_eq!(
                    value,
                    self.0.addr().get() as u8,
                    "somebody else has it, too"
                );
            }
            // SAFETY: T21: it goes.
            unsafe { give_of(self.0, CLASS) };
        }
    }

    fn on_a_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(f).join().unwrap()
    }

    #[test]
    fn blocks_fill_their_slices_and_do_not_overlap() {
        on_a_thread(|| {
            for class in 1..CLASSES {
                let mut blocks: Vec<_> = (0..300).map(|_| take_of(class)).collect();
                blocks.sort();
                for pair in blocks.windows(2) {
                    assert!(pair[1].addr().get() - pair[0].addr().get() >= class * STEP);
                }
                for block in blocks {
                    let within = block.addr().get() % SLICE;
                    assert!(within >= size_of::<Stub>() && within + class * STEP <= SLICE);
                    // SAFETY: T21: taken above.
                    unsafe { give_of(block, class) };
                }
            }
            assert_eq!(class(Layout::new::<u128>()), None);
            assert_eq!(class(Layout::new::<[u64; CLASSES]>()), None);
            assert_eq!(class(Layout::new::<[u8; 9]>()), Some(2));
        });
    }

    #[test]
    fn what_was_given_last_is_taken_first_and_few_empty_slabs_are_kept() {
        let slabs = on_a_thread(|| {
            let slabs = Slabs::here();
            let first = Out::take();
            let place = first.0;
            drop(first);
            assert_eq!(take_of(CLASS), place);
            let mut blocks = vec![Out::many(FEW * 40)];
            assert!(slabs.slices() >= 40);
            // Every other one first: all slabs are kept again.
            let (even, odd): (Vec<_>, Vec<_>) = blocks
                .remove(0)
                .into_iter()
                .enumerate()
                .partition(|(n, _)| n % 2 == 0);
            drop(even);
            assert!(slabs.slices() >= 40);
            drop(odd);
            assert!(slabs.slices() <= SPARE + 2, "{}", slabs.slices());
            // Spares serve other sizes.
            let before = slabs.slices();
            let small = take_of(1);
            assert_eq!(slabs.slices(), before);
            for (block, class) in [(small, 1), (place, CLASS)] {
                // SAFETY: T21: taken above.
                unsafe { give_of(block, class) };
            }
            slabs
        });
        assert!(slabs.are_gone());
    }

    #[test]
    #[cfg_attr(miri, ignore = "it maps nothing")]
    fn many_come_in_large_slabs_which_are_given_back() {
        const COUNT: usize = 30_000;
        let slabs = on_a_thread(|| {
            let slabs = Slabs::here();
            let blocks = Out::many(COUNT);
            assert!(slabs.slices() > MANY + LARGE / SLICE);
            drop(blocks);
            assert!(slabs.slices() <= SPARE + 1, "{}", slabs.slices());
            // Once more, and the other way round.
            let mut blocks = Out::many(COUNT);
            while blocks.pop().is_some() {}
            assert!(slabs.slices() <= SPARE + 1, "{}", slabs.slices());
            slabs
        });
        assert!(slabs.are_gone());
    }

    #[test]
    fn blocks_are_given_back_on_other_threads() {
        let slabs = on_a_thread(|| {
            let slabs = Slabs::here();
            let blocks = Out::many(FEW * 40);
            let more = Out::take();
            // All of them: those slabs go that are alone, whoever sleeps.
            on_a_thread(move || drop(blocks));
            assert!(slabs.slices() <= 2, "{}", slabs.slices());
            // Half of them here: they are taken again.
            let (mut here, there): (Vec<_>, Vec<_>) = Out::many(FEW * 20)
                .into_iter()
                .enumerate()
                .partition(|(n, _)| n % 2 == 0);
            on_a_thread(move || drop(there));
            here.retain(|(n, _)| n % 10 == 0);
            let before = slabs.slices();
            let again = Out::many(FEW * 16);
            assert!(slabs.slices() <= before + 1, "{}", slabs.slices());
            drop((again, here, more));
            slabs
        });
        assert!(slabs.are_gone());
    }

    #[test]
    fn blocks_outlive_their_thread() {
        let (slabs, blocks) = on_a_thread(|| (Slabs::here(), Out::many(FEW * 3 + 1)));
        assert_eq!(slabs.slices(), 4);
        let (mut first, rest) = (blocks, Vec::new());
        let rest: Vec<Out> = rest.into_iter().chain(first.drain(FEW..)).collect();
        on_a_thread(move || drop(rest));
        assert_eq!(slabs.slices(), 1);
        drop(first);
        assert!(slabs.are_gone());
    }

    #[test]
    fn a_thread_that_ends_takes_and_gives() {
        struct Late(Option<Out>);
        impl Drop for Late {
            fn drop(&mut self) {
                drop(self.0.take());
                drop(Out::many(2)); // nothing is kept any more
            }
        }
        thread_local! {
            static LATE: std::cell::RefCell<Late> = const { std::cell::RefCell::new(Late(None)) };
        }
        let slabs = on_a_thread(|| {
            // First, so that it is dropped after what the thread has of slabs, or before: both must do.
            LATE.with(|late| late.borrow_mut().0.take());
            LATE.with(|late| late.borrow_mut().0 = Some(Out::take()));
            Slabs::here()
        });
        assert!(slabs.are_gone());
    }

    #[test]
    fn threads_exchange_blocks() {
        const ROUNDS: usize = if cfg!(miri) { 3 } else { 300 };
        let slabs: Vec<_> = thread::scope(|scope| {
            let (left, right) = std::sync::mpsc::sync_channel::<Vec<Out>>(4);
            let (back, forth) = std::sync::mpsc::sync_channel::<Vec<Out>>(4);
            let work = |send: std::sync::mpsc::SyncSender<Vec<Out>>,
                        receive: std::sync::mpsc::Receiver<Vec<Out>>| {
                move || {
                    let slabs = Slabs::here();
                    for round in 0..ROUNDS {
                        let _gone = send.send(Out::many(FEW + round % 7));
                        let mut others = receive.recv().unwrap_or_default();
                        others.truncate(FEW / 2);
                        let own = Out::many(FEW);
                        drop(others);
                        drop(own);
                    }
                    slabs
                }
            };
            let threads = [
                scope.spawn(work(left, forth)),
                scope.spawn(work(back, right)),
            ];
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert!(slabs.iter().all(Slabs::are_gone));
    }
}
