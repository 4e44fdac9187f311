//! Any iterator, from which the threads take items one by one.
//!
//! **Job.** A piece is a number of turns, not of items: each turn takes one item under a lock. So
//! pieces are cut, stolen and stopped like those of other sources. When the iterator has ended,
//! each piece gives up its turns the next time that it is divided. The order is lost.
//!
//! Tests: `tests/iter/sources.rs`; in trees of adaptors: `simulated`.

#[cfg(all(test, not(loom)))]
mod simulated;

use std::{hint, iter, mem};

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::thread::{Producer, Seal, Shape, Source, source};

/// So often a thread tries to take the lock, after pauses that double (some microseconds in all),
/// before it sleeps. Where items are trivial, one thread then takes many in a row, and the lock
/// does not move between two caches for each of them.
const ATTEMPTS: u32 = 9;

/// Returned by [`ParallelBridge::par_bridge`](super::ParallelBridge::par_bridge).
#[derive(Debug)]
pub(super) struct Bridge<I> {
    /// The iterator, and whether it must not be called any more because it has ended or panicked.
    items: Mutex<(I, bool)>,
    /// Whether the iterator has ended or panicked, and a turn has seen that.
    ended: AtomicBool,
}

impl<I> Bridge<I> {
    pub(super) fn new(items: I) -> Self {
        Self {
            items: Mutex::new((items, false)),
            ended: AtomicBool::new(false),
        }
    }
}

source! {
    [I: Iterator<Item: Send> + Send] Bridge<I>, I::Item, BridgeTurns<'a, I>,
    |this| BridgeTurns(this, usize::MAX),
    |_| Shape {
        unordered: true,
        ..Shape::unknown()
    }
}

/// A number of turns at an iterator.
#[derive(Debug)]
pub(super) struct BridgeTurns<'a, I>(&'a Bridge<I>, usize);

impl<I: Iterator<Item: Send> + Send> Producer for BridgeTurns<'_, I> {
    type Item = I::Item;
    fn len(&self) -> usize {
        self.1
    }
    fn settle(&mut self) {
        if self.0.ended.load(Ordering::Relaxed) {
            self.1 = 0;
        }
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.1);
        (Self(self.0, at), Self(self.0, self.1 - at))
    }
    fn forward(self) -> impl Iterator<Item = I::Item> {
        self
    }
    fn backward(self) -> impl Iterator<Item = I::Item> {
        iter::empty()
    }
}

impl<I: Iterator> Iterator for BridgeTurns<'_, I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        self.1 = self.1.checked_sub(1)?;
        let attempt = |n: u32| {
            (0..(1_u32 << n) >> 1).for_each(|_| hint::spin_loop());
            self.0.items.try_lock()
        };
        let quick = (0..ATTEMPTS).find_map(attempt);
        let mut items = quick.unwrap_or_else(|| self.0.items.lock());
        if mem::replace(&mut items.1, true) {
            self.0.ended.store(true, Ordering::Relaxed);
            return None;
        }
        let item = items.0.next();
        items.1 = item.is_none();
        item
    }
}
