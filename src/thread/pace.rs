//! Which joins are offered to the other workers, and which are just two calls.
//!
//! **Job.** Offering the second half of a join costs some nanoseconds, even if nobody takes it:
//! a frame is filled in, the deque is pushed and popped. Where a join is as small as a node of a
//! tree, that is more than the node. But if enough larger halves are on offer already, one more is of no
//! use to anybody, so the join is *run in turn*: first one half, then the other, as a plain call.
//!
//! **Protocol.** Each worker has a count of joins that it may run in turn, its
//! *window* (it lies in `raw/current.rs`, where a join finds it with one load). A join takes one from it. When it is used up, the worker *looks*:
//! 1. How many threads of the pool have nothing to do? How many halves does this worker have on offer? One more than the
//!    idle are wanted, and some ([`KEEP`] and the width's logarithm) even if nobody is idle. If there are fewer, the window stays
//!    shut: this join is offered. Who has
//!    had to take back [`IN_VAIN`] halves in a row no longer believes that the idle will come (a pool may
//!    be wider than its machine), until one is stolen.
//! 2. How long ago did it look last? If that is less than [`SHORT`], the window is opened twice as wide as
//!    the last one, up to [`LONGEST`]; if not, it stays shut.
//!
//! So a window is open only while joins are so small that all of it, together with what was
//! not offered in it, is over in some microseconds; and if a join in it turns out to be long, then
//! larger halves are on offer meanwhile. When one of those is taken back, or has been stolen, the window is shut, and what is left of
//! it is saved until that half has been replaced.
//!
//! A worker begins every job, and every region that a thread outside brings, with its window shut: nothing
//! is known about it yet.
//!
//! Rejected: a fixed share of the joins (chili runs 63 of 64 in turn: one long half among them is stranded); a
//! clock read at each join (ten times what the join costs); offering only on a heartbeat (halves are
//! stranded while their owner is inside a long one).
//!
//! Tests: `tests/thread/pool.rs` (the ladder of long halves); instructions per join in `benches/`.

use std::cell::Cell;

use super::raw::current;
use crate::sys::ticks;

/// So many halves are kept on offer, also while nobody would take them: the oldest, which are the
/// largest.
const KEEP: u32 = 0;

/// A window that took less may be followed by a longer one.
const SHORT: u64 = 10 * ticks::MICROSECOND;

/// The longest window, in joins.
const LONGEST: u32 = 64;

/// After so many halves in a row that nobody took, nobody is expected.
const IN_VAIN: u32 = 64;

/// What one worker knows of its joins.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many halves are kept on offer.
    keep: u32,
    /// How wide the last window was; 0: joins are long, or nothing is known of them.
    window: Cell<u32>,
    /// How much was left of it when it was shut early.
    saved: Cell<u32>,
    /// When the worker looked at the clock last.
    looked: Cell<u64>,
    /// How many halves in a row were taken back.
    in_vain: Cell<u32>,
}

impl Pace {
    /// For one of `width` workers.
    pub(super) fn new(width: usize) -> Self {
        Self {
            keep: KEEP + width.max(1).ilog2(),
            window: Cell::new(0),
            saved: Cell::new(0),
            looked: Cell::new(0),
            in_vain: Cell::new(0),
        }
    }

    /// Something new begins.
    #[inline]
    pub(super) fn reset(&self) {
        current::open_window(0);
        self.window.set(0);
        self.saved.set(0);
    }

    /// There is one half less on offer: the next join may have to replace it.
    #[inline]
    pub(super) fn shut(&self) {
        self.saved.set(current::shut_window());
    }

    /// A half that was offered has been taken back, or stolen.
    #[inline]
    pub(super) fn came_back(&self, stolen: bool) {
        let in_vain = if stolen {
            0
        } else {
            self.in_vain.get().saturating_add(1)
        };
        self.in_vain.set(in_vain);
    }

    /// The window is shut; `offered` halves lie in the deque, and `takers` threads have nothing to do.
    /// True: it has been opened again, and this join is in it.
    #[inline]
    pub(super) fn look(&self, offered: u32, takers: u32) -> bool {
        let wanted = match takers {
            0 => self.keep,
            _ if self.in_vain.get() > IN_VAIN => self.keep,
            takers => self.keep.max(takers + 1),
        };
        if offered < wanted {
            return false;
        }
        let window = match self.saved.replace(0) {
            0 => self.widen(),
            saved => saved,
        };
        current::open_window(window.saturating_sub(1));
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
