//! Are the halves of joins on offer worth a wake-up?
//!
//! **Job.** To wake a sleeping thread costs whoever does it some microseconds. For a half that takes half a microsecond
//! that is a bad bargain, and for a program that does nothing but such joins, one that would be made
//! again and again. Whether it is good cannot be known beforehand; but a
//! thread that was woken can tell afterwards.
//!
//! **Protocol.** 1. A thief takes the time of each half that it has stolen. 2. If it goes to
//! sleep, and the last thing that it ran was a half shorter than
//! [`TINY`], it becomes the *lookout*, unless there is one: it sleeps for a short
//! time only ([`FIRST_NAP`], then twice as long each time), takes what is on offer, and
//! sleeps again. 3. While there is a lookout, joins wake nobody, and
//! threads that are asleep do not count as takers. 4. While the lookout runs something there is none. It ends its
//! watch when that took longer, or when it has found nothing for [`GIVE_UP`].
//!
//! So a program of tiny joins runs at the speed of one thread, disturbed some hundred times
//! in a second; one that turns from tiny to long joins has its first helper within [`LONGEST_NAP`]; and an idle
//! pool sleeps without a timer.
//!
//! Likewise, outside threads that work along (guests) are taken for workers: a pool of two that one such thread
//! brings work to needs one of its own threads, not two. They are counted here and not in `idle.rs`, because tasks
//! that nobody waits for must not depend on a guest, who runs none.
//!
//! What is overlooked is a chance of parallelism, never work: whoever offers a half takes it back if nobody
//! comes. Spawned tasks wake sleepers as always.
//!
//! Rejected: a heartbeat thread (it costs while nothing happens); never to wake for joins (a long
//! half would wait for the next heartbeat).
//!
//! Tests: `tests/thread/pool.rs` (an idle pool sleeps; long halves after tiny ones are shared).

use std::cell::Cell;
use std::time::Duration;

use crate::loom::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sys::ticks;

/// A half shorter than this is not worth its theft.
pub(super) const TINY: u64 = 2 * ticks::MICROSECOND;

/// How long a lookout sleeps at first.
pub(super) const FIRST_NAP: Duration = Duration::from_micros(100);

/// How long it sleeps at most.
pub(super) const LONGEST_NAP: Duration = Duration::from_millis(2);

/// When it has found nothing for so long, it goes to sleep like all others.
pub(super) const GIVE_UP: Duration = Duration::from_millis(20);

/// A pool's only lookout.
#[derive(Debug, Default)]
pub(super) struct Grain {
    lookout: AtomicBool,
    /// How many outside threads work along.
    guests: AtomicU32,
    /// How many threads wait for the thief of a half, and would help it.
    waiting: AtomicU32,
}

/// Counts this thread while it lives.
#[must_use]
pub(super) struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Grain {
    /// Joins are too small to wake anybody for.
    #[inline]
    pub(super) fn is_fine(&self) -> bool {
        // A hint: no data depends on it.
        self.lookout.load(Ordering::Relaxed)
    }

    /// How many sleepers a join need not count as takers: all, if joins are too small; and as many as there are
    /// guests who do their work, since no more threads should run than the pool is wide.
    #[inline]
    pub(super) fn stand_ins(&self) -> u64 {
        if self.is_fine() {
            u64::from(u32::MAX)
        } else {
            u64::from(self.guests.load(Ordering::Relaxed))
        }
    }

    /// An outside thread works along until the guard is dropped.
    pub(super) fn guest(&self) -> Counted<'_> {
        Counted::new(&self.guests)
    }

    /// This thread waits for a thief until the guard is dropped.
    pub(super) fn waiter(&self) -> Counted<'_> {
        Counted::new(&self.waiting)
    }

    /// How many threads wait for a thief: they would take what it offers.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The caller becomes the lookout. False: there is one.
    pub(super) fn post(&self) -> bool {
        !self.lookout.swap(true, Ordering::Relaxed)
    }

    /// The lookout ends its watch.
    pub(super) fn relieve(&self) {
        self.lookout.store(false, Ordering::Relaxed);
    }
}

/// What one worker knows of the halves that it has stolen.
#[derive(Debug)]
pub(super) struct Findings {
    /// What it ran last was a tiny half.
    tiny: Cell<bool>,
    /// It is the lookout.
    posted: Cell<bool>,
    nap: Cell<Duration>,
    in_vain: Cell<Duration>,
}

impl Findings {
    pub(super) fn new() -> Self {
        Self {
            tiny: Cell::new(false),
            posted: Cell::new(false),
            nap: Cell::new(FIRST_NAP),
            in_vain: Cell::new(Duration::ZERO),
        }
    }

    /// It has found something to do, or is told to look for it: it is no lookout meanwhile.
    #[inline]
    pub(super) fn leave_post(&self, grain: &Grain) {
        if self.posted.replace(false) {
            grain.relieve();
        }
    }

    /// It has run something.
    pub(super) fn ran(&self, tiny: bool) {
        self.tiny.set(tiny);
        self.in_vain.set(Duration::ZERO);
        if !tiny {
            self.nap.set(FIRST_NAP);
        }
    }

    /// It goes to sleep. True: as the lookout.
    pub(super) fn take_post(&self, grain: &Grain) -> bool {
        if !self.posted.get() && self.tiny.get() && grain.post() {
            self.posted.set(true);
        }
        self.posted.get()
    }

    /// How long the lookout sleeps now. `None`: it has been in vain for too long, its watch has ended.
    pub(super) fn next_nap(&self, grain: &Grain) -> Option<Duration> {
        let (nap, in_vain) = (self.nap.get(), self.in_vain.get());
        if in_vain >= GIVE_UP {
            self.ran(false);
            self.leave_post(grain);
            return None;
        }
        self.nap.set((nap * 2).min(LONGEST_NAP));
        self.in_vain.set(in_vain + nap);
        Some(nap)
    }
}
