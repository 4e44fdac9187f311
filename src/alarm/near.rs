//! The timers that are near, in their exact order.
//!
//! 1. A bucket of the wheel that is opened is sorted, once, and then walked ([`Near::open`]): memory in order, and
//!    the slots of those that are next are fetched meanwhile.
//! 2. What is begun later, and is near from the start, goes into a heap beside it.
//! 3. Neither says to a slot where its timer is, for that would be a line of the cache for every entry that moves. So a
//!    timer that is cancelled leaves its entry behind, which is passed over when it comes to the front: the
//!    slot has another generation then.
//!
//! Entries that were left behind are counted. Where there are more of them than of others all are looked through, so
//! they are never many ([`Near::forget`]); and nothing is near for longer than a tick of the wheel.
//!
//! Rejected: one heap of all, whose entries know their places (each that moves writes to its slot: a third of what a
//! timer cost).
//!
//! Checked by the tests of `timers`.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::slots::{Entry, Slots};

/// The number of this list; the wheel's are others.
pub(super) const NEAR: u32 = u32::MAX;

/// So many that were left behind are no matter.
const FEW: usize = 64;
/// So many entries ahead of the first one, the slot is fetched.
const AHEAD: usize = 16;

#[derive(Debug)]
pub(super) struct Near {
    /// The last one is the first that is due.
    sorted: Vec<Entry>,
    heap: BinaryHeap<First>,
    /// How many entries have no timer any longer.
    gone: usize,
}

/// The earlier, the greater.
#[derive(Debug)]
struct First(Entry);

impl Ord for First {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.rank().cmp(&self.0.rank())
    }
}

impl PartialOrd for First {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for First {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for First {}

impl Near {
    pub(super) const fn new() -> Self {
        Self {
            sorted: Vec::new(),
            heap: BinaryHeap::new(),
            gone: 0,
        }
    }

    /// Nothing is here, not even what was left behind.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.heap.is_empty()
    }

    /// The earliest entry; whether it still has a timer, its slot knows.
    #[inline]
    pub(super) fn peek(&self) -> Option<Entry> {
        match (self.sorted.last(), self.heap.peek()) {
            (Some(sorted), Some(First(later))) if later.before(sorted) => Some(*later),
            (None, Some(First(later))) => Some(*later),
            (sorted, _) => sorted.copied(),
        }
    }

    /// Takes the earliest entry out, which is `first`, as `peek` gave it.
    #[inline]
    fn pop<T>(&mut self, slots: &Slots<T>, first: Entry) {
        match self.sorted.last() {
            Some(sorted) if sorted.rank() == first.rank() => {
                self.sorted.pop();
                if let Some(ahead) = self.sorted.len().checked_sub(AHEAD) {
                    slots.prefetch(self.sorted[ahead]);
                }
            }
            _ => {
                self.heap.pop();
            }
        }
    }

    /// Ends the earliest timer, whose entry `peek` gave; `None`: it had left that behind.
    #[inline]
    pub(super) fn take<T>(&mut self, slots: &mut Slots<T>, first: Entry) -> Option<T> {
        self.pop(slots, first);
        if slots.has(first) {
            return slots.vacate(first.slot);
        }
        self.gone = self.gone.saturating_sub(1);
        None
    }

    /// The earliest timer.
    pub(super) fn first<T>(&mut self, slots: &Slots<T>) -> Option<Entry> {
        loop {
            let first = self.peek()?;
            if slots.has(first) {
                return Some(first);
            }
            self.pop(slots, first);
            self.gone = self.gone.saturating_sub(1);
        }
    }

    /// One timer more.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.heap.push(First(entry));
    }

    /// Those of a bucket that is opened; nothing was here, and more may come before [`sort`](Self::sort). Gives an array
    /// back, which is empty.
    pub(super) fn open(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        debug_assert!(self.sorted.is_empty());
        std::mem::replace(&mut self.sorted, entries)
    }

    /// One of those.
    pub(super) fn add(&mut self, entry: Entry) {
        self.sorted.push(entry);
    }

    /// The bucket is open.
    pub(super) fn sort<T>(&mut self, slots: &Slots<T>) {
        self.sorted
            .sort_unstable_by_key(|entry| Reverse(entry.rank()));
        for entry in self.sorted.iter().rev().take(AHEAD) {
            slots.prefetch(*entry);
        }
    }

    /// A timer that was here has ended, and left its entry behind.
    pub(super) fn forget<T>(&mut self, slots: &Slots<T>) {
        self.gone += 1;
        if self.gone > FEW + (self.sorted.len() + self.heap.len()) / 2 {
            self.sorted.retain(|entry| slots.has(*entry));
            self.heap.retain(|First(entry)| slots.has(*entry));
            self.gone = 0;
        }
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.heap.len()
    }
}
