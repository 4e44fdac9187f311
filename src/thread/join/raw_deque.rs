//! The halves that one worker's joins have on offer: a deque whose two ends are in one word.
//!
//! A join pushes its second half, runs the first, and pops; thieves take the oldest half meanwhile.
//! `tail` and `head` are the halves of one 64-bit word: what is below `tail` has been stolen. A copy of `head` and the room in the
//! buffer are the owner's alone. There is a picture in `docs/SCHEDULER.md`, with the reason why each entry goes to one thread.
//!
//! **Protocol.** 1. *Push*: write the slot at `head`; 2. add one to `head` (release). 3. *Steal*: read the word; if `tail < head`,
//! exchange it for one with `tail + 1` (acquire), and only then load the buffer and read the slot. 4. *Pop* of the entry at
//! `head - 1`: if `tail` is past it, it has been stolen, and so have all older ones: reset the word to empty at this place. If
//! not, exchange the word for one whose `head` is its place, and read the slot. 5. *Grow*, when the buffer is full: copy all
//! slots into one twice as long, store its address (release), keep the old one.
//!
//! - **P21** Entry *i* lies in slot *i* and belongs to the join that is *i* deep among those of this
//!   worker that are on offer. Each push is followed by exactly one pop, in nested order.
//! - **P22** `tail <= head <= room` whenever the owner is in none of its methods, and the owner's copy equals the word's `head`.
//! - **P23** The thread that moves `tail` past *i*, or pops *i* without meeting that, has the one right to
//!   read slot *i*. The slot is not written again before that read: an owner whose entry was stolen
//!   pushes nothing until it has heard from the thief: the join has ended (the latch), or has begun (`StackJob::thief`).
//! - **P24** A buffer is freed with the deque, not before; slot *i* of an old one is never written
//!   again, so a thief that loads an old address reads the same entry.
//!
//! **A stale word does no harm (ABA)**: a thief
//! that read the word before the owner reset it, and exchanges it after it has come to the same value again, reads the slot
//! after the exchange, and gets what is on offer now.
//!
//! Rejected: `crossbeam-deque` (the fence in each pop; an epoch for each steal; undefined behaviour by
//! its own account under Miri); a private part that thieves do not see, as in Lace (an owner
//! inside a long half publishes nothing); a fixed capacity.
//!
//! Tests: the loom models in `checks/tests/deque.rs`; below; `tests/thread/pool.rs` as a whole.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::loom::{Mutex, UnsafeCell};

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// Where the tail is counted in the word.
const TAIL: u64 = 1 << 32;

/// How many entries fit before the first growth.
#[cfg(not(loom))]
const ROOM: u32 = 256;
#[cfg(loom)]
const ROOM: u32 = 2;

fn pack(tail: u32, head: u32) -> u64 {
    u64::from(tail) * TAIL + u64::from(head)
}

fn tail(word: u64) -> u32 {
    (word >> 32) as u32
}

fn head(word: u64) -> u32 {
    word as u32
}

struct Shared<T> {
    word: CachePadded<AtomicU64>,
    /// Slot 0 of the newest buffer.
    slots: AtomicPtr<Slot<T>>,
    /// All buffers, old and new (P24).
    buffers: Mutex<Vec<Arc<[Slot<T>]>>>,
}

// SAFETY: P23: a `T` is handed from the owner to at most one thief, and may be sent (`T: Send`).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: P23: `&Shared` gives an entry to the one thread that has moved the word past it; everything else in it is atomic or behind a lock.
unsafe impl<T: Send> Sync for Shared<T> {}

fn buffer<T>(room: u32) -> Arc<[Slot<T>]> {
    (0..room)
        .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
        .collect()
}

/// Slot `at` of the buffer that begins at `slots`.
///
/// # Safety
/// The buffer is alive as long as the reference is, and `at` is in it.
#[inline(always)]
unsafe fn nth<'a, T>(slots: *const Slot<T>, at: u32) -> &'a Slot<T> {
    // SAFETY: P24: `at` is in the buffer (the caller's promise), so this is inside of the allocation.
    let slot = unsafe { slots.add(at as usize) };
    // SAFETY: P24: the buffer is alive (the caller's promise), and a slot is a cell: shared references to it are always fine.
    unsafe { &*slot }
}

/// The owner's end.
pub(in crate::thread) struct Owner<T> {
    shared: Arc<Shared<T>>,
    head: Cell<u32>,
    room: Cell<u32>,
    slots: Cell<*const Slot<T>>,
}

// SAFETY: P23: an owner that moves to another thread takes its entries along; a
// `T` may be sent.
unsafe impl<T: Send> Send for Owner<T> {}

/// The thieves' end.
pub(in crate::thread) struct Thief<T>(Arc<Shared<T>>);

/// An empty deque.
pub(in crate::thread) fn new<T: Send>() -> (Owner<T>, Thief<T>) {
    let slots = buffer(ROOM);
    let start = slots.as_ptr();
    let shared = Arc::new(Shared {
        word: CachePadded::new(AtomicU64::new(0)),
        slots: AtomicPtr::new(start.cast_mut()),
        buffers: Mutex::new(vec![slots]),
    });
    let thief = Thief(Arc::clone(&shared));
    let owner = Owner {
        shared,
        head: Cell::new(0),
        room: Cell::new(ROOM),
        slots: Cell::new(start),
    };
    (owner, thief)
}

impl<T> Owner<T> {
    /// # Safety
    /// P22: `at` is less than `room`.
    #[inline]
    unsafe fn slot(&self, at: u32) -> &Slot<T> {
        // SAFETY: P22, P24: the newest buffer has `room` slots, and lives as long as `shared`.
        unsafe { nth(self.slots.get(), at) }
    }

    /// Adds the newest entry.
    #[inline]
    pub(in crate::thread) fn push(&self, entry: T) {
        let at = self.head.get();
        if at == self.room.get() {
            self.grow();
        }
        // SAFETY: P22: `at` is at most `room`, and if it was that, there is more room now.
        let slot = unsafe { self.slot(at) };
        // SAFETY: P23: slot `at` belongs to this thread: it is past the newest entry.
        slot.with_mut(|slot| unsafe { slot.cast::<T>().write(entry) });
        self.head.set(at + 1);
        // Release: the entry; pairs with `steal`.
        #[cfg(loom)]
        let order = fault::order_of_push();
        #[cfg(not(loom))]
        let order = Ordering::AcqRel;
        self.shared.word.fetch_add(1, order);
    }

    /// Takes the newest entry back; `None`: it has been stolen (or there was none). Once for each push (P21).
    #[inline]
    pub(in crate::thread) fn pop(&self) -> Option<T> {
        let at = self.head.get().checked_sub(1)?;
        self.head.set(at);
        if !self.reclaim(at) {
            return None;
        }
        // SAFETY: P22: it is below what `head` was, which is at most `room`.
        let slot = unsafe { self.slot(at) };
        // SAFETY: P23: no longer on offer, so only we read it; it was written by the push that this pop answers.
        Some(slot.with(|slot| unsafe { slot.cast::<T>().read() }))
    }

    /// Takes the newest entry off the offer. False: it has been stolen.
    #[inline(never)]
    fn reclaim(&self, at: u32) -> bool {
        let mut word = self.shared.word.load(Ordering::Relaxed);
        loop {
            let old = tail(word);
            if old > at {
                // No thief can move the tail of an empty deque, so a store will do.
                self.shared.word.store(pack(at, at), Ordering::Release);
                return false;
            }
            #[cfg(loom)]
            if fault::reclaims_blindly() {
                self.shared.word.store(pack(old, at), Ordering::Release);
                return true;
            }
            match self.shared.word.compare_exchange_weak(
                word,
                pack(old, at),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// How many entries are on offer (a thief may be about to take some).
    #[inline]
    pub(in crate::thread) fn len(&self) -> u32 {
        let word = self.shared.word.load(Ordering::Relaxed);
        self.head.get().saturating_sub(tail(word))
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) {
        let room = self.room.get();
        let longer = buffer(room * 2);
        for (at, slot) in longer.iter().enumerate().take(room as usize) {
            // SAFETY: P22: `take` ends before `room`.
            let old = unsafe { self.slot(at as u32) };
            // SAFETY: P23, P24: all slots below `head`, which is `room`, have been written. Bytes are
            // copied; the thread with the right to one copy has it to the other.
            let entry = old.with(|old| unsafe { old.read() });
            // SAFETY: P24: no other thread has seen the new buffer yet.
            slot.with_mut(|new| unsafe { new.write(entry) });
        }
        let start = longer.as_ptr();
        self.shared.buffers.lock().push(longer);
        // Release: the copies; pairs with `steal`.
        self.shared.slots.store(start.cast_mut(), Ordering::Release);
        self.slots.set(start);
        self.room.set(room * 2);
    }
}

impl<T> Thief<T> {
    /// Takes the oldest entry.
    pub(in crate::thread) fn steal(&self) -> Option<T> {
        let mut word = self.0.word.load(Ordering::Relaxed);
        while tail(word) < head(word) {
            // Acquire: pairs with `push`.
            match self.0.word.compare_exchange_weak(
                word,
                word + TAIL,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let slots = self.0.slots.load(Ordering::Acquire);
                    // SAFETY: P24: the buffer lives as long as `self`, and it was at least this long
                    // when the entry was pushed.
                    let slot = unsafe { nth(slots, tail(word)) };
                    // SAFETY: P23: we have moved the tail past it.
                    return Some(slot.with(|slot| unsafe { slot.cast::<T>().read() }));
                }
                Err(now) => word = now,
            }
        }
        None
    }

    /// Nothing is on offer.
    #[inline]
    pub(in crate::thread) fn is_empty(&self) -> bool {
        let word = self.0.word.load(Ordering::Relaxed);
        tail(word) >= head(word)
    }
}

/// Faults to inject, so that the models can be seen to catch them.
#[cfg(loom)]
pub(in crate::thread) mod fault {
    use super::Ordering;
    // Switches of the tests: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    /// Step 2 releases nothing.
    pub(in crate::thread) static RELAXED_PUSH: AtomicBool = AtomicBool::new(false);
    /// Step 4 stores where it must exchange.
    pub(in crate::thread) static BLIND_RECLAIM: AtomicBool = AtomicBool::new(false);

    pub(super) fn order_of_push() -> Ordering {
        if RELAXED_PUSH.load(SeqCst) {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        }
    }

    pub(super) fn reclaims_blindly() -> bool {
        BLIND_RECLAIM.load(SeqCst)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::loom::atomic::AtomicBool;

    #[test]
    fn newest_first_for_the_owner_and_oldest_first_for_thieves() {
        let (owner, thief) = new();
        for entry in 0..6 {
            owner.push(entry);
        }
        assert_eq!((thief.steal(), thief.steal()), (Some(0), Some(1)));
        assert_eq!(owner.len(), 4);
        // What is older than what is taken back stays on offer.
        assert_eq!(owner.pop(), Some(5));
        assert_eq!(owner.len(), 3);
        assert_eq!(owner.pop(), Some(4));
        assert_eq!(thief.steal(), Some(2));
        assert_eq!(owner.pop(), Some(3));
        assert_eq!((owner.pop(), owner.pop(), owner.pop()), (None, None, None));
        assert_eq!(owner.len(), 0);
        assert!(thief.is_empty());
        owner.push(7);
        assert_eq!(owner.pop(), Some(7));
    }

    #[test]
    fn grows_while_some_is_stolen() {
        let (owner, thief) = new();
        let deep = 5 * ROOM;
        for entry in 0..deep {
            owner.push(entry);
            if entry % 3 == 0 {
                assert_eq!(thief.steal(), Some(entry / 3));
            }
        }
        let stolen = deep.div_ceil(3);
        for entry in (0..deep).rev() {
            assert_eq!(owner.pop(), (entry >= stolen).then_some(entry));
        }
    }

    #[test]
    fn each_entry_goes_to_one_thread() {
        const DEPTH: usize = 40;
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let (owner, thief) = new::<usize>();
        let done = AtomicBool::new(false);
        // P23: a slot is written again only when its thief has read it.
        let read = [const { AtomicBool::new(false) }; DEPTH];
        let sum = std::thread::scope(|scope| {
            let thieves: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut sum = 0;
                        while !done.load(Ordering::Acquire) {
                            if let Some(entry) = thief.steal() {
                                sum += entry;
                                read[entry % DEPTH].store(true, Ordering::Release);
                            }
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = 0;
            for round in 0..rounds {
                for entry in 0..DEPTH {
                    owner.push(round * DEPTH + entry);
                }
                for at in (0..DEPTH).rev() {
                    match owner.pop() {
                        Some(entry) => sum += entry,
                        None => {
                            while !read[at].swap(false, Ordering::AcqRel) {
                                std::thread::yield_now();
                            }
                        }
                    }
                }
            }
            done.store(true, Ordering::Release);
            sum + thieves
                .into_iter()
                .map(|thief| thief.join().unwrap())
                .sum::<usize>()
        });
        let all = rounds * DEPTH;
        assert_eq!(sum, all * (all - 1) / 2);
    }
}
