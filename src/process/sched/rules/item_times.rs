//! How long the items of a call with copies took, so how long one may run before it is copied, and
//! which have been.
//!
//! The median is exact, and costs a few comparisons per item: two heaps hold the shorter and the
//! longer half of the times.
//!
//! The least number of items, and the least time: `limits`. Who gets a copy: `hedge`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use crate::process::limits::{HEDGE_AFTER_ITEMS, HEDGE_FROM};

/// The times of a call's items, and its copies.
#[derive(Debug, Default)]
pub(super) struct ItemTimes {
    factor: f64,
    /// In nanoseconds: the shorter half, which has the median as its maximum.
    short: BinaryHeap<u64>,
    long: BinaryHeap<Reverse<u64>>,
    /// The items that have been copied: once at most, so that the number of workers that an item
    /// can cost is limited.
    copied: HashSet<usize>,
}

impl ItemTimes {
    /// (A factor below 1, or none at all, counts as 1.)
    pub(super) fn new(factor: f64) -> Self {
        Self {
            factor: factor.max(1.0),
            ..Self::default()
        }
    }

    /// An item has taken so long.
    pub(super) fn learn(&mut self, nanos: u64) {
        self.short.push(nanos);
        self.long.extend(self.short.pop().map(Reverse));
        if self.long.len() > self.short.len() {
            self.short
                .extend(self.long.pop().map(|Reverse(nanos)| nanos));
        }
    }

    /// How long the item at `index` may run until it is copied; `None`: it is not copied, or not
    /// yet.
    pub(super) fn patience(&self, index: usize) -> Option<Duration> {
        let median = *self.short.peek()?;
        if self.short.len() + self.long.len() < HEDGE_AFTER_ITEMS || self.copied.contains(&index) {
            return None;
        }
        // A time that no `Duration` can hold is never over.
        let patience = Duration::try_from_secs_f64(self.factor * median as f64 / 1e9).ok()?;
        Some(patience.max(HEDGE_FROM))
    }

    /// The item at `index` is copied.
    pub(super) fn copies(&mut self, index: usize) {
        self.copied.insert(index);
    }

    /// A copy of the item at `index` came back before it began: there may be another.
    pub(super) fn returns(&mut self, index: usize) {
        self.copied.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_median() {
        let mut hedge = ItemTimes::new(2.0);
        let mut times = Vec::new();
        let mut next = 12345u64;
        for round in 0..200 {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let time = (next >> 40) * 1000 + 10_000_000;
            hedge.learn(time);
            times.push(time);
            times.sort_unstable();
            let expected = Duration::from_nanos(2 * times[round / 2]);
            assert_eq!(hedge.patience(7), (round >= 2).then_some(expected));
        }
        hedge.copies(7);
        assert!(hedge.patience(7).is_none() && hedge.patience(8).is_some());
        hedge.returns(7);
        assert!(hedge.patience(7).is_some());
    }

    #[test]
    fn any_factor_is_possible() {
        for factor in [f64::NAN, f64::NEG_INFINITY, 0.0, 1.0, f64::INFINITY] {
            let mut hedge = ItemTimes::new(factor);
            for _ in 0..3 {
                hedge.learn(10_000_000);
            }
            let expected = (factor != f64::INFINITY).then_some(HEDGE_FROM);
            assert_eq!(hedge.patience(0), expected, "{factor}");
        }
    }
}
