//! Where normal work from outside arrives: an *inbox*, into which a push needs no lock.
//!
//! **Protocol.** 1. One addition to a word gives a push its number, and says what the pool accepts
//! at that moment. A push that is refused leaves an empty entry behind. 2. Each number has a slot.
//! There are [`ROOM`] slots, used in turn, so a push waits until its number is below the *limit*:
//! [`ROOM`] above the oldest entry. 3. The store of the slot's turn shows the entry. The thread
//! that has the [`Outlet`] takes entries out in the order of their numbers, and stops where one is
//! not shown yet. 4. It counts them elsewhere before the head passes them ([`Drained`]). Threads
//! that look for work read the head and its slot first, and that count afterwards, so an entry is
//! always seen in one of the two.
//!
//! So pushes do not wait for those who take, and each moves one cache line, its slot's. Where there
//! is no room, a push takes entries out itself (`make_room`), and so does each that uses the first
//! slot, because then the caller may sweep. A thread that is preempted between 1 and 3 holds up
//! the entries behind its own, as one that has a lock would.
//!
//! - **P38** A slot is one push's from when the limit is above the push's number until the slot
//!   shows the entry, and then the outlet's, until a head above that number is stored, which is
//!   never above the outlet. Each inbox has one outlet, which passes each entry once.
//!
//! Rejected: workers that take entries out without a lock (all want the oldest, and take its line
//! from each other, which is slower than the lock).
//!
//! Tests: `tests/thread/pool.rs::{many_outside_threads_use_one_pool_at_once,
//! wait_runs_everything_and_then_refuses}`;
//! `tests/trefoil-checks/tests/pool.rs::{an_inbox_gives_out_what_was_pushed_in_order,
//! an_inbox_that_closes_accepts_or_refuses}` (loom).
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{UnsafeCell, thread};

/// The distance between two numbers. Below are the bits that say what is accepted.
pub(in crate::thread) const ONE: usize = 4;

/// How often a thread yields before it sleeps, and for how long.
#[cfg(not(loom))]
const YIELDS: u32 = 100;
#[cfg(not(loom))]
const NAP: std::time::Duration = std::time::Duration::from_micros(50);

/// How many entries there is room for.
pub(super) const ROOM: usize = if cfg!(loom) { 2 } else { 256 };

/// What each push changes or reads.
struct Entrance {
    /// The number of the next entry, and what is accepted.
    word: AtomicUsize,
    /// Numbers below it have room.
    limit: AtomicUsize,
}

struct RingSlot<T> {
    /// The number behind that of the entry that was put here last.
    turn: AtomicUsize,
    /// `None`: it was not accepted.
    entry: UnsafeCell<MaybeUninit<Option<T>>>,
}

/// The queue's end for the pushes.
pub(in crate::thread) struct OutsideQueue<T> {
    entrance: CachePadded<Entrance>,
    /// The number of the oldest entry.
    head: CachePadded<AtomicUsize>,
    slots: [RingSlot<T>; ROOM],
}

/// The other end: the number of the oldest entry.
pub(in crate::thread) struct Outlet(usize);

// SAFETY: P38: an entry is used by one thread at a time.
unsafe impl<T: Send> Sync for OutsideQueue<T> {}

impl<T> OutsideQueue<T> {
    pub(in crate::thread) fn new() -> (Self, Outlet) {
        let slot = |_| RingSlot {
            turn: AtomicUsize::new(0),
            entry: UnsafeCell::new(MaybeUninit::uninit()),
        };
        let inbox = Self {
            entrance: CachePadded::new(Entrance {
                word: AtomicUsize::new(0),
                limit: AtomicUsize::new(ROOM * ONE),
            }),
            head: CachePadded::new(AtomicUsize::new(0)),
            slots: std::array::from_fn(slot),
        };
        (inbox, Outlet(0))
    }

    #[inline]
    fn slot(&self, number: usize) -> &RingSlot<T> {
        &self.slots[number / ONE % ROOM]
    }

    /// Adds an entry, or returns it if what the pool accepts now is not what `accepts` asks for.
    /// `make_room` takes entries out.
    #[inline]
    pub(in crate::thread) fn push(
        &self,
        entry: T,
        accepts: impl FnOnce(usize) -> bool,
        make_room: impl Fn(),
    ) -> Result<(), T> {
        // Acquire: a push that is refused sees what was before `close`.
        let word = self.entrance.word.fetch_add(ONE, Ordering::Acquire);
        let number = word - word % ONE;
        if (number / ONE).is_multiple_of(ROOM) || !self.has_room(number) {
            make_room();
            let mut wait = Wait::default();
            while !self.has_room(number) {
                wait.again(); // for a push that has got its number before
                make_room();
            }
        }
        let slot = self.slot(number);
        let (entry, refused) = if accepts(word % ONE) {
            (Some(entry), Ok(()))
        } else {
            (None, Err(entry))
        };
        #[cfg(loom)]
        if fault::is(Fault::ShowsFirst) {
            slot.turn.store(number.wrapping_add(ONE), Ordering::Release);
        }
        // SAFETY: P38: the number is below the limit, so the slot is this push's, and empty.
        slot.entry
            .with_mut(|place| unsafe { place.write(MaybeUninit::new(entry)) });
        // Release: pairs with `drain`.
        slot.turn.store(number.wrapping_add(ONE), Ordering::Release);
        refused
    }

    /// Whether this number is below the limit, which is raised if that helps.
    #[inline]
    fn has_room(&self, number: usize) -> bool {
        #[cfg(loom)]
        if fault::is(Fault::NoLimit) {
            return true;
        }
        let is_below = |limit: usize| number.wrapping_sub(limit).cast_signed() < 0;
        // Acquire, and Release: as with the head.
        is_below(self.entrance.limit.load(Ordering::Acquire)) || {
            let before = self.entrance.limit.load(Ordering::Relaxed);
            // Acquire: pairs with `Drained`, so that the entry before is out.
            let limit = self.head.load(Ordering::Acquire).wrapping_add(ROOM * ONE);
            // (Not a store: a thread that has slept here must not bring back an old limit.)
            let raised = self.entrance.limit.compare_exchange(
                before,
                limit,
                Ordering::Release,
                Ordering::Relaxed,
            );
            raised.is_ok() && is_below(limit)
        }
    }

    /// Takes out what is there, the oldest first. The caller counts it, and then drops what this
    /// returns.
    #[inline]
    pub(in crate::thread) fn drain(
        &self,
        outlet: &mut Outlet,
        mut put: impl FnMut(T),
    ) -> Drained<'_> {
        loop {
            let (slot, next) = (self.slot(outlet.0), outlet.0.wrapping_add(ONE));
            if slot.turn.load(Ordering::Acquire) != next {
                break;
            }
            // SAFETY: P38: it is shown, so a push has written it, and it is the outlet's, which
            // goes on to the next, so that it is not read again.
            let entry = slot
                .entry
                .with(|place| unsafe { place.cast::<Option<T>>().read() });
            outlet.0 = next;
            if let Some(entry) = entry {
                put(entry);
            }
        }
        Drained {
            head: &self.head,
            next: outlet.0,
        }
    }

    /// What is accepted changes by as much. Numbers given before were accepted by what was before,
    /// and pushes with later ones see what was before this call.
    pub(in crate::thread) fn close(&self, by: usize) {
        self.entrance.word.fetch_add(by, Ordering::Release);
    }

    /// How many entries it has: a hint.
    pub(in crate::thread) fn len(&self) -> usize {
        // Acquire: the word is then not older than the head.
        let head = self.head.load(Ordering::Acquire);
        let word = self.entrance.word.load(Ordering::Relaxed);
        word.wrapping_sub(head) / ONE
    }

    /// The number of the next push.
    pub(in crate::thread) fn next(&self) -> usize {
        let word = self.entrance.word.load(Ordering::Relaxed);
        word - word % ONE
    }

    /// Whether the oldest entry is there: a hint, which errs to the side of yes.
    #[inline]
    pub(in crate::thread) fn has_some(&self) -> bool {
        loop {
            // Acquire: what is not here any more is counted elsewhere.
            let head = self.head.load(Ordering::Acquire);
            let turn = self.slot(head).turn.load(Ordering::Acquire);
            // A later entry has its slot already: the next look sees a later head.
            match turn.wrapping_sub(head).cast_signed() {
                later if later > ONE.cast_signed() => {}
                turn => return turn == ONE.cast_signed(),
            }
        }
    }
}

impl Outlet {
    /// The number of the oldest entry.
    pub(in crate::thread) fn number(&self) -> usize {
        self.0
    }

    /// Whether all entries with lower numbers than this have been taken out.
    pub(in crate::thread) fn is_past(&self, number: usize) -> bool {
        self.0.wrapping_sub(number).cast_signed() >= 0
    }
}

/// What was taken out and not counted yet: the head passes it when this is dropped.
#[must_use = "first it is counted elsewhere"]
pub(in crate::thread) struct Drained<'a> {
    head: &'a AtomicUsize,
    next: usize,
}

impl Drop for Drained<'_> {
    #[inline]
    fn drop(&mut self) {
        // (Only the thread that has the outlet writes it.)
        if self.head.load(Ordering::Relaxed) != self.next {
            // Release: after the entries were read, and counted.
            self.head.store(self.next, Ordering::Release);
        }
    }
}

/// The pauses of a thread that waits for a push in progress, which takes some instructions, unless
/// its thread is preempted.
#[derive(Default)]
pub(super) struct Wait(u32);

impl Wait {
    /// Gives way; after some times, sleeps, because a thread of a lower priority may never get the
    /// processor from one that only yields.
    pub(super) fn again(&mut self) {
        self.0 += 1;
        #[cfg(not(loom))]
        if self.0 > YIELDS {
            std::thread::sleep(NAP);
            return;
        }
        thread::yield_now();
    }
}

/// An injected fault, which the models must catch.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Step 2: a push does not wait for its slot.
    NoLimit,
    /// Step 3: the slot shows the entry before it is there.
    ShowsFirst,
}

#[cfg(loom)]
pub(in crate::thread) mod fault {
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::Fault;

    pub(in crate::thread) static INJECTED: AtomicUsize = AtomicUsize::new(usize::MAX);

    pub(super) fn is(fault: Fault) -> bool {
        INJECTED.load(SeqCst) == fault as usize
    }
}
