//! One source behind another: `chain`, and a deque, which consists of two slices.
//!
//! Tests: `tests/iter/adaptors.rs`, `tests/thread/maps.rs`.

use super::source::{Exact, Producer, Seal, Shape, Source, source};

/// Returned by [`ParallelIterator::chain`](crate::iter::ParallelIterator::chain).
///
/// ```
/// use trefoil::prelude::*;
///
/// let both = vec![1, 2].into_par_iter().chain(vec![3]);
/// assert_eq!(both.map(|n| n * 10).collect::<Vec<_>>(), [10, 20, 30]);
/// ```
#[derive(Clone, Debug)]
pub struct Chain<A, B>(pub(crate) A, pub(crate) B);

source! {
    [A: Source, B: Source<Item = A::Item>] Chain<A, B> where [A: Exact, B: Exact<Item = A::Item>] is exact,
    A::Item, Chained<A::Producer<'a>, B::Producer<'a>>,
    |this| {
        let known = this.shape(Seal).exact;
        let (a, b) = (this.0.open(Seal), this.1.open(Seal));
        assert!(
            !known || a.len().checked_add(b.len()).is_some(),
            "more than usize::MAX items cannot be divided"
        );
        Chained(a, b)
    },
    |this| {
        let (first, second) = (this.0.shape(Seal), this.1.shape(Seal));
        let len = first.len.saturating_add(second.len);
        first.and(second).resized(|_| len)
    }
}

/// One run behind another.
#[derive(Clone, Debug)]
pub struct Chained<A, B>(A, B);

impl<A: Producer, B: Producer<Item = A::Item>> Producer for Chained<A, B> {
    type Item = A::Item;
    fn len(&self) -> usize {
        // A bridge has as many turns as can be counted.
        self.0.len().saturating_add(self.1.len())
    }
    fn settle(&mut self) {
        self.0.settle();
        self.1.settle();
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let first = self.0.len();
        let (a, more) = self.0.split_at(at.min(first));
        let (b, also) = self.1.split_at(at.saturating_sub(first));
        (Self(a, b), Self(more, also))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = A::Item> {
        self.0.forward().chain(self.1.forward())
    }
    fn backward(self) -> impl Iterator<Item = A::Item> {
        self.1.backward().chain(self.0.backward())
    }
    fn steps(self, step: usize) -> impl Iterator<Item = A::Item> {
        let skipped = short_of(self.0.len(), step);
        let behind = rest(self.1, skipped);
        self.0.steps(step).chain(behind.steps(step))
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = A::Item> {
        let skipped = short_of(self.1.len(), step);
        let end = self.0.len().saturating_sub(skipped);
        let before = first(self.0, end);
        self.1.steps_back(step).chain(before.steps_back(step))
    }
}

/// How many items behind `len` are skipped before the next of every `step`th.
fn short_of(len: usize, step: usize) -> usize {
    match len % step {
        0 => 0,
        over => step - over,
    }
}

/// The first `at` items. The others are dropped first: otherwise a destructor that panics would
/// lose these.
pub(crate) fn first<P: Producer>(items: P, at: usize) -> P {
    let (near, far) = items.split_at(at);
    drop(far);
    near
}

/// The items behind the first `at`.
pub(crate) fn rest<P: Producer>(items: P, at: usize) -> P {
    let (near, far) = items.split_at(at);
    drop(near);
    far
}
