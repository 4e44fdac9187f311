//! Which cells came last into an inbox: hints for the drainer's memory accesses.
//!
//! Pushers leave the addresses of their cells in a ring. The drainer of a list would wait at each link for a line of a pusher's
//! cache; from the ring it knows which cells come, many links ahead, and has them fetched. Nothing else is done with the addresses,
//! so they may be as stale as they like, and pushers that meet may overwrite each other's.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering}; // hints: no protocol

use super::free_list::fetch;
use super::header::Header;

/// So many are known; a power of two. What a loop finds in one look is mostly less.
const LENGTH: usize = 256;

/// So many links ahead of the one that is followed, memory is fetched.
const AHEAD: usize = 12;

/// A ring of addresses.
pub(super) struct Trail {
    /// How many were left.
    at: AtomicUsize,
    cells: [AtomicUsize; LENGTH],
}

impl Trail {
    pub(super) fn new() -> Self {
        Self {
            at: AtomicUsize::new(0),
            cells: [const { AtomicUsize::new(0) }; LENGTH],
        }
    }

    #[inline]
    pub(super) fn leave(&self, cell: NonNull<Header>) {
        let at = self.at.load(Ordering::Relaxed);
        self.cells[at % LENGTH].store(cell.addr().get(), Ordering::Relaxed);
        self.at.store(at.wrapping_add(1), Ordering::Relaxed);
    }

    /// From the newest back.
    pub(super) fn follow(&self) -> Steps<'_> {
        let mut steps = Steps {
            trail: self,
            at: self.at.load(Ordering::Relaxed),
            left: LENGTH,
        };
        (0..AHEAD).for_each(|_| steps.step());
        steps
    }
}

pub(super) struct Steps<'a> {
    trail: &'a Trail,
    at: usize,
    left: usize,
}

impl Steps<'_> {
    /// Another link was followed.
    #[inline]
    pub(super) fn step(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            self.at = self.at.wrapping_sub(1);
            let cell = self.trail.cells[self.at % LENGTH].load(Ordering::Relaxed);
            fetch(std::ptr::without_provenance(cell));
        }
    }
}
