//! Where the next large result goes, in the memory that a worker lends to its parent.
//!
//! **Job.** Blocks one behind the other, given back in the order in which they were taken: results are
//! heard in their order. When none is out the next lies behind the last one, too, for as long as that is within the first
//! [`TURN`] bytes, and at the front again after these.
//!
//! **Protocol.** The worker writes a block and then the record that names it. Where the record ends in the
//! stream of all that the worker says, there the block is *due*. The parent copies the block when it decodes the record,
//! and then says how far in that stream it has understood everything ([`took`]). The worker takes a block's room
//! again when what is due there has been understood.
//!
//! **Invariants.**
//! - **W51** Room that [`Ring::take`] gives has no part in a block that is out: one that is not settled, or whose `due`
//!   is behind what the parent has taken. (Release in `took`, Acquire in `take`: the parent's reading
//!   comes before the worker's next writing.)
//!
//! **Rejected.** Always at the front while none is out: see [`TURN`]. A word for each block, by which the parent gives it back: the order says it all.
//!
//! Tests: below; `checks/tests/loan_models.rs` (under loom); `tests/process/bulk.rs`.

use std::collections::VecDeque;

use crate::loom::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use crate::sys::arena::TURN;

/// Blocks begin at multiples of it.
#[cfg(not(loom))]
const GRAIN: usize = 64;
#[cfg(loom)]
const GRAIN: usize = 1;

#[cfg(loom)]
const TURN: usize = 2;

/// No record has ended with it yet.
const UNSETTLED: u64 = u64::MAX;

/// Parent: everything that lies before `position` in the worker's stream has been understood, and what was
/// lent with it copied.
#[inline]
pub(crate) fn took(taken: &AtomicU64, position: u64) {
    taken.store(position, Ordering::Release);
}

#[derive(Debug)]
struct Out {
    start: usize,
    end: usize,
    due: u64,
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Ring {
    capacity: usize,
    /// Where the next one begins.
    head: usize,
    out: VecDeque<Out>,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            head: 0,
            out: VecDeque::new(),
        }
    }

    /// Forgets what the parent has taken.
    pub(crate) fn release(&mut self, taken: &AtomicU64) {
        if self.out.is_empty() {
            return;
        }
        // Acquire: the parent has copied what lies there.
        let taken = taken.load(Ordering::Acquire);
        while self.out.front().is_some_and(|out| out.due <= taken) {
            self.out.pop_front();
        }
        self.rewind();
    }

    fn rewind(&mut self) {
        if self.out.is_empty() && self.head >= TURN.min(self.capacity) {
            self.head = 0;
        }
    }

    /// Nothing is out.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Room for `length` bytes, at once or not at all.
    pub(crate) fn take(&mut self, length: usize, taken: &AtomicU64) -> Option<usize> {
        self.release(taken);
        let length = length.max(1).checked_next_multiple_of(GRAIN)?;
        let front = self.out.front().map(|out| out.start);
        if front.is_none() && length > self.capacity - self.head {
            self.head = 0;
        }
        let (start, limit) = match front {
            // The room goes on at the front of the memory, and ends at the oldest block.
            Some(front) if self.head <= front => (self.head, front),
            Some(front) if length > self.capacity - self.head => (0, front),
            _ => (self.head, self.capacity),
        };
        if length > limit - start {
            return None;
        }
        self.head = start + length;
        self.out.push_back(Out {
            start,
            end: self.head,
            due: UNSETTLED,
        });
        Some(start)
    }

    /// The record that names what was taken last ends at `position`.
    pub(crate) fn settle(&mut self, position: u64) {
        let unsettled = self.out.iter_mut().rev();
        for out in unsettled.take_while(|out| out.due == UNSETTLED) {
            out.due = position;
        }
    }

    /// There will be no such record.
    pub(crate) fn abandon(&mut self) {
        let mut head = self.head;
        while let Some(out) = self.out.back().filter(|out| out.due == UNSETTLED) {
            head = out.start;
            self.out.pop_back();
        }
        self.head = self.out.back().map_or(head, |out| out.end);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_and_round() {
        let taken = AtomicU64::new(0);
        let mut ring = Ring::new(10 * GRAIN);
        assert_eq!(ring.take(4 * GRAIN, &taken), Some(0));
        ring.settle(1);
        assert_eq!(ring.take(3 * GRAIN - 5, &taken), Some(4 * GRAIN));
        ring.settle(2);
        assert_eq!(ring.take(4 * GRAIN, &taken), None, "neither here nor there");
        took(&taken, 1);
        assert_eq!(ring.take(4 * GRAIN, &taken), Some(0), "round");
        assert_eq!(ring.take(1, &taken), None, "full");
        ring.abandon();
        assert_eq!(ring.take(3 * GRAIN, &taken), Some(7 * GRAIN));
        ring.settle(3);
        assert_eq!(ring.take(5 * GRAIN, &taken), None);
        took(&taken, 2);
        assert_eq!(ring.take(5 * GRAIN, &taken), Some(0));
        ring.settle(4);
        took(&taken, 4);
        assert_eq!(ring.take(10 * GRAIN, &taken), Some(0), "all of it");
        ring.abandon();
        assert!(ring.is_empty());
        assert_eq!(ring.take(10 * GRAIN + 1, &taken), None);
        assert_eq!(ring.take(usize::MAX, &taken), None);
        assert_eq!(ring.take(1, &taken), Some(0));
        assert_eq!(ring.take(1, &taken), Some(GRAIN));
        ring.settle(9);
        took(&taken, 8);
        ring.release(&taken);
        assert!(!ring.is_empty());
        took(&taken, 9);
        ring.release(&taken);
        assert!(ring.is_empty());
    }

    #[test]
    fn what_comes_one_by_one_goes_round_in_the_first_bytes() {
        let taken = AtomicU64::new(0);
        let mut ring = Ring::new(2 * TURN);
        let length = TURN / 4;
        for position in 1..100 {
            let place = (position as usize - 1) % 4 * length;
            assert_eq!(ring.take(length, &taken), Some(place));
            ring.abandon();
            assert_eq!(ring.take(length, &taken), Some(place), "once more");
            ring.settle(position);
            took(&taken, position);
        }
        assert_eq!(ring.take(2 * TURN, &taken), Some(0), "all of it");
    }

    /// Against a plain list of what is out.
    #[test]
    fn what_is_out_never_overlaps() {
        let taken = AtomicU64::new(0);
        let mut ring = Ring::new(100 * GRAIN);
        let mut out: VecDeque<(usize, usize)> = VecDeque::new();
        let (mut seed, mut settled, mut heard) = (7u64, 0u64, 0u64);
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let length = 1 + seed as usize % (30 * GRAIN);
            if seed.is_multiple_of(3) && heard < settled {
                heard += 1;
                out.pop_front();
                took(&taken, heard);
            } else if let Some(start) = ring.take(length, &taken) {
                let end = start + length;
                assert!(end <= 100 * GRAIN);
                assert!(out.iter().all(|(from, to)| end <= *from || *to <= start));
                if seed.is_multiple_of(5) {
                    ring.abandon();
                } else {
                    settled += 1;
                    ring.settle(settled);
                    out.push_back((start, end));
                }
            }
        }
        assert!(settled > 1_000);
    }
}
