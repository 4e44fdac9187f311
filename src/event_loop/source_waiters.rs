//! The tasks that wait for one direction of one source.
//!
//! There is nearly always one task, so the first needs no allocation. But several tasks may wait
//! (many accept from one listener), and none may be lost: each future has a number, keeps one entry
//! under it, and removes it when it is dropped. The `poll_…` methods of the futures-io traits have
//! no such future; they share the entry [`SHARED`], which keeps the latest waker, as those traits
//! specify.
//!
//! No user code runs in here: wakers that are no longer needed are returned, and the caller drops
//! them when it holds no borrow.

use std::collections::HashMap;
use std::mem;
use std::task::Waker;

/// The number of the entry that the `poll_…` methods share.
pub(crate) const SHARED: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct SourceWaiters {
    first: Option<(u64, Waker)>,
    /// The others, if there have been any. (In a box, because few directions have a second waiter.)
    #[allow(clippy::box_collection)]
    rest: Option<Box<HashMap<u64, Waker>>>,
}

impl SourceWaiters {
    /// Sets the waker under `number`; returns the earlier one.
    pub(super) fn set(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        let is_alone = !self.has_rest();
        match &mut self.first {
            Some((waiting, current)) if *waiting == number => Some(mem::replace(current, waker)),
            none @ None if is_alone => {
                *none = Some((number, waker));
                None
            }
            _ => self.rest.get_or_insert_default().insert(number, waker),
        }
    }

    /// Removes the entry of `number`.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waker> {
        let first = self.first.take_if(|(waiting, _)| *waiting == number);
        match first {
            Some((_, waker)) => Some(waker),
            None => self.rest.as_mut()?.remove(&number),
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.first.iter().len() + self.rest.iter().map(|rest| rest.len()).sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && !self.has_rest()
    }

    fn has_rest(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.is_empty())
    }

    /// Moves all wakers into `woken`: the first, then the others in the order in which their
    /// futures began.
    pub(super) fn take_all(&mut self, woken: &mut Vec<Waker>) {
        if let Some((_, waker)) = self.first.take() {
            woken.push(waker);
        }
        if let Some(rest) = &mut self.rest {
            let mut numbers: Vec<u64> = rest.keys().copied().collect();
            numbers.sort_unstable();
            for number in numbers {
                woken.extend(rest.remove(&number));
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_number_keeps_one_entry() {
        let mut waiters = SourceWaiters::default();
        for (number, known) in [
            (3, false),
            (SHARED, false),
            (7, false),
            (3, true),
            (7, true),
        ] {
            let earlier = waiters.set(number, Waker::noop().clone());
            assert_eq!(earlier.is_some(), known, "entry {number}");
        }
        assert!(waiters.remove(7).is_some());
        assert!(waiters.remove(7).is_none());
        let mut woken = Vec::new();
        waiters.take_all(&mut woken);
        assert_eq!(woken.len(), 2);
        assert!(waiters.remove(3).is_none());
        // No future has two entries, even if the first one was removed before the rest.
        for number in [5, 6] {
            assert!(waiters.set(number, Waker::noop().clone()).is_none());
        }
        assert!(waiters.remove(5).is_some());
        assert!(waiters.set(6, Waker::noop().clone()).is_some());
        assert_eq!(waiters.len(), 1);
        assert!(waiters.remove(6).is_some() && waiters.is_empty());
    }
}
