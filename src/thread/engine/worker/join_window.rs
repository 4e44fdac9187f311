//! Which joins are offered to the other workers, and which are just two calls.
//!
//! **Job.** Offering the second half of a join costs some nanoseconds, even if no thread takes it.
//! If a join is as small as a node of a tree, that is more than the node itself. But if enough
//! larger halves are already on offer, one more is of no use, so the join is *run in turn*: first
//! one half, then the other, as plain calls. Either way is correct; only speed depends on it.
//!
//! **Protocol.** Each thread has a count of joins that it may run in turn, its *window*. A join
//! takes one from it. When it is used up, the worker *looks* ([`Splitter::reopen_window`]):
//! 1. How many threads of the pool have nothing to do? How many halves does this worker have on
//!    offer? The target is one more than there are idle threads, and the width's logarithm even if
//!    none is idle. If there are fewer, the window stays shut: this join is offered. A worker that
//!    has taken back [`IN_VAIN`] halves in a row ignores the idle threads (a pool may be wider than
//!    its machine), until one is stolen.
//! 2. How long ago did it look last? If that is less than [`SHORT`], the window is opened twice as
//!    wide as the last one, up to [`LONGEST`]; if not, it stays shut.
//!
//! So a window is open only while joins are so small that all of it is over in some microseconds;
//! and if a join in it turns out to be long, larger halves are on offer meanwhile. When one of
//! those is taken back, or has been stolen, the window is shut, and its rest is saved until that
//! half has been replaced.
//!
//! A worker begins every job, and every region from an outside thread, with its window shut:
//! nothing is known about it yet.
//!
//! Rejected: a fixed share of the joins (chili runs 63 of 64 in turn: one long half among them is
//! stranded); a clock read at each join (ten times what the join costs); offering only on a
//! heartbeat (halves are stranded while their owner is inside a long one).
//!
//! Tests: `tests/thread/pool.rs::queued_halves_are_not_stranded_behind_a_long_leaf`; instructions
//! per join in `benches/`.

use std::cell::Cell;

use super::Worker;
use crate::loom::per_thread;
use crate::sys::ticks;
use crate::thread::engine::lent::raw_job::JobRef;
use crate::thread::engine::sleep::{Afterwards, Need};

/// A window that took less may be followed by a longer one.
const SHORT: u64 = 10 * ticks::MICROSECOND;

/// The longest window, in joins.
const LONGEST: u32 = 64;

/// After this many halves in a row taken back, no thief is expected.
const IN_VAIN: u32 = 64;

/// How many joins this thread may run in turn, and the address of the pool for which this holds.
struct Window {
    left: Cell<u32>,
    pool: Cell<usize>,
}

per_thread! {
    static WINDOW: Window = Window { left: Cell::new(0), pool: Cell::new(0) };
}

/// Takes a join from the window of whatever pool this thread is inside. True: it runs in turn.
#[inline(always)]
pub(in crate::thread) fn step() -> bool {
    WINDOW.try_with(step_in).unwrap_or(false)
}

/// Like [`step`], only if the thread is inside the pool at `address`.
#[inline(always)]
pub(in crate::thread) fn step_of(address: usize) -> bool {
    WINDOW
        .try_with(|window| window.pool.get() == address && step_in(window))
        .unwrap_or(false)
}

#[inline(always)]
fn step_in(window: &Window) -> bool {
    let left = window.left.get();
    if left == 0 {
        return false;
    }
    window.left.set(left - 1);
    true
}

/// This thread is inside the pool at `address` from now on (0: inside none), with its window shut.
pub(in crate::thread) fn move_to(address: usize) {
    let _ = WINDOW.try_with(|window| {
        window.left.set(0);
        window.pool.set(address);
    });
}

/// Opens this thread's window for this many joins; returns how many were left.
#[inline]
fn open(joins: u32) -> u32 {
    WINDOW
        .try_with(|window| window.left.replace(joins))
        .unwrap_or(0)
}

/// One worker's statistics of its joins.
#[derive(Debug)]
pub(in crate::thread) struct Splitter {
    /// How many halves are kept on offer even while no thread would take them: the oldest, which
    /// are the largest.
    keep: u32,
    /// The width of the last window; 0: joins are long, or unknown.
    window: Cell<u32>,
    /// How much was left of it when it was shut early.
    saved: Cell<u32>,
    /// When the worker looked at the clock last.
    looked: Cell<u64>,
    /// How many halves in a row were taken back.
    in_vain: Cell<u32>,
}

impl Splitter {
    /// For one of `width` workers.
    pub(in crate::thread) fn new(width: usize) -> Self {
        Self {
            keep: width.max(1).ilog2(),
            window: Cell::new(0),
            saved: Cell::new(0),
            looked: Cell::new(0),
            in_vain: Cell::new(0),
        }
    }

    /// Forgets everything, because unrelated work begins.
    #[inline]
    pub(in crate::thread) fn reset(&self) {
        open(0);
        self.window.set(0);
        self.saved.set(0);
    }

    /// A half that was offered has been taken back, or stolen. There is one half less on offer: the
    /// next join may have to replace it.
    #[inline]
    pub(in crate::thread) fn came_back(&self, stolen: bool) {
        let left = open(0);
        if left > 0 {
            self.saved.set(left);
        }
        let in_vain = if stolen {
            0
        } else {
            self.in_vain.get().saturating_add(1)
        };
        self.in_vain.set(in_vain);
    }

    /// The window is shut: opens it again, if `offered` halves in the deque are enough for `takers`
    /// idle threads, and joins are short. True: this join runs in turn.
    #[inline]
    pub(in crate::thread) fn reopen_window(&self, offered: usize, takers: u32) -> bool {
        let wanted = match takers {
            0 => self.keep,
            _ if self.in_vain.get() > IN_VAIN => self.keep,
            takers => self.keep.max(takers + 1),
        };
        if offered < wanted as usize {
            return false;
        }
        let window = match self.saved.replace(0) {
            0 => self.widen(),
            saved => saved,
        };
        if window > 0 {
            open(window - 1);
        }
        window > 0
    }

    fn widen(&self) -> u32 {
        let now = ticks::now();
        let short = now.saturating_sub(self.looked.replace(now)) < SHORT;
        let window = if short {
            (self.window.get() * 2).clamp(1, LONGEST)
        } else {
            0
        };
        self.window.set(window);
        window
    }
}

impl Worker {
    /// The window for joins that are run in turn is shut: opens it again, if there is no reason to
    /// offer this join. True: it runs in turn.
    pub(in crate::thread) fn runs_in_turn(&self) -> bool {
        // An outside thread that may not run the pool's work opens no window.
        self.may_run()
            && self
                .splitter
                .reopen_window(self.owned.local.jobs.len(), self.registry().takers())
    }

    /// Offers the second half of a join, and wakes a thread for it, if there is one to wake.
    #[inline]
    pub(in crate::thread) fn push_job(&self, job: JobRef) {
        let (registry, jobs) = (self.registry(), &self.owned.local.jobs);
        jobs.push(job);
        match registry.sleep.need_after_offer() {
            // As many threads may be on their way as there are halves on offer. (While none is, the
            // need says it all.)
            None if registry.sleep.some_search() && registry.lacks_searchers(jobs.len()) => {
                registry.wake_another(jobs.len());
            }
            None => {}
            Some(Need::Runner) if registry.takers() == 0 => {}
            Some(need) => registry.wake_or_start(need, Afterwards::Computes),
        }
    }

    /// Whether a thread would take a half that is offered now.
    #[inline]
    pub(in crate::thread) fn is_wanted(&self) -> bool {
        self.registry().takers() > 0
    }

    /// Whether nothing that this worker has offered is left to steal.
    #[inline]
    pub(in crate::thread) fn offers_nothing(&self) -> bool {
        self.owned.local.jobs.is_empty()
    }

    /// The half that was offered last, unless a thief has it.
    #[inline]
    pub(in crate::thread) fn take_job_back(&self) -> Option<JobRef> {
        let back = self.owned.local.jobs.pop();
        self.splitter.came_back(back.is_none());
        back
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Splitter, open};

    /// As if no time had passed since it looked last.
    fn look(splitter: &Splitter) -> bool {
        splitter.looked.set(u64::MAX);
        splitter.reopen_window(1, 0)
    }

    #[test]
    fn what_is_left_of_a_window_outlives_halves_that_are_offered_meanwhile() {
        let splitter = Splitter::new(2);
        assert!(look(&splitter) && look(&splitter) && look(&splitter));
        assert_eq!(splitter.window.get(), 4);
        splitter.came_back(false); // three are left
        splitter.came_back(false); // the window is shut
        assert!(look(&splitter), "the clock is not looked at");
        assert_eq!((splitter.window.get(), open(0)), (4, 2));
    }
}
