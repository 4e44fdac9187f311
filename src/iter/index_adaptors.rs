//! Adaptors that need an item's index, applied to the source, where pieces are cut.
//!
//! **Job.** `enumerate`, `zip`, `rev`, `take` and `skip`, `step_by`, `chunks`, and the bounds for
//! the length of pieces. All need a source whose length is known. (That a step or a chunk of 0 is
//! refused: `iter/indexed.rs`. What the bounds do: `thread/map/divide.rs`.)
//!
//! Tests: `tests/iter/main.rs`.

use crate::thread::{Exact, Producer, Seal, Shape, Source, first, iterates, rest, source};

/// Returned by [`IndexedParallelIterator::enumerate`](super::IndexedParallelIterator::enumerate).
#[derive(Clone, Debug)]
pub(super) struct Enumerate<I>(pub(super) I);

source! {
    [I: Source] Enumerate<I> where [I: Exact] is exact, (usize, I::Item), Enumerated<I::Producer<'a>>,
    |this| Enumerated(0, this.0.open(Seal)), |this| this.0.shape(Seal)
}

/// Items and the index of the first.
#[derive(Clone, Debug)]
pub(super) struct Enumerated<P>(usize, P);

impl<P: Producer> Producer for Enumerated<P> {
    type Item = (usize, P::Item);
    fn len(&self) -> usize {
        self.1.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.1.split_at(at);
        let behind = self.0 + near.len();
        (Self(self.0, near), Self(behind, far))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = Self::Item> {
        let first = self.0;
        let items = self.1.forward().enumerate();
        items.map(move |(at, item)| (first + at, item))
    }
    fn backward(self) -> impl Iterator<Item = Self::Item> {
        self.steps_back(1)
    }
    fn steps(self, step: usize) -> impl Iterator<Item = Self::Item> {
        let first = self.0;
        let items = self.1.steps(step).enumerate();
        items.map(move |(nth, item)| (first + nth * step, item))
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = Self::Item> {
        let last = (self.0 + self.1.len()).saturating_sub(1);
        let items = self.1.steps_back(step).enumerate();
        items.map(move |(nth, item)| (last - nth * step, item))
    }
}

/// Returned by [`IndexedParallelIterator::zip`](super::IndexedParallelIterator::zip).
#[derive(Clone, Debug)]
pub(super) struct Zip<A, B>(pub(super) A, pub(super) B);

source! {
    [A: Source, B: Source] Zip<A, B> where [A: Exact, B: Exact] is exact,
    (A::Item, B::Item), Zipped<A::Producer<'a>, B::Producer<'a>>,
    |this| {
        let (a, b) = (this.0.open(Seal), this.1.open(Seal));
        let len = a.len().min(b.len());
        Zipped(first(a, len), first(b, len))
    },
    |this| this.0.shape(Seal).and(this.1.shape(Seal))
}

/// Two runs of the same length.
#[derive(Clone, Debug)]
pub(super) struct Zipped<A, B>(A, B);

impl<A: Producer, B: Producer> Producer for Zipped<A, B> {
    type Item = (A::Item, B::Item);
    fn len(&self) -> usize {
        self.0.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let ((a, more), (b, also)) = (self.0.split_at(at), self.1.split_at(at));
        (Self(a, b), Self(more, also))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = Self::Item> {
        self.0.forward().zip(self.1.forward())
    }
    fn backward(self) -> impl Iterator<Item = Self::Item> {
        self.0.backward().zip(self.1.backward())
    }
    fn steps(self, step: usize) -> impl Iterator<Item = Self::Item> {
        self.0.steps(step).zip(self.1.steps(step))
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = Self::Item> {
        self.0.steps_back(step).zip(self.1.steps_back(step))
    }
}

/// Returned by [`IndexedParallelIterator::rev`](super::IndexedParallelIterator::rev).
#[derive(Clone, Debug)]
pub(super) struct Rev<I>(pub(super) I);

source! {
    [I: Source] Rev<I> where [I: Exact] is exact, I::Item, Reversed<I::Producer<'a>>,
    |this| Reversed(this.0.open(Seal)), |this| this.0.shape(Seal)
}

/// Items from the last to the first.
#[derive(Clone, Debug)]
pub(super) struct Reversed<P>(P);

impl<P: Producer> Producer for Reversed<P> {
    type Item = P::Item;
    fn len(&self) -> usize {
        self.0.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let middle = self.0.len().saturating_sub(at);
        let (near, far) = self.0.split_at(middle);
        (Self(far), Self(near))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = P::Item> {
        self.0.backward()
    }
    fn backward(self) -> impl Iterator<Item = P::Item> {
        self.0.forward()
    }
    fn steps(self, step: usize) -> impl Iterator<Item = P::Item> {
        self.0.steps_back(step)
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = P::Item> {
        self.0.steps(step)
    }
}

/// Returned by [`IndexedParallelIterator::take`](super::IndexedParallelIterator::take) and
/// [`skip`](super::IndexedParallelIterator::skip): the items from one index to another.
#[derive(Clone, Debug)]
pub(super) struct Part<I>(pub(super) I, pub(super) usize, pub(super) usize);

source! {
    [I: Source] Part<I> where [I: Exact] is exact, I::Item, I::Producer<'a>,
    |this| rest(first(this.0.open(Seal), this.2), this.1),
    |this| this.0.shape(Seal).resized(|len| len.min(this.2).saturating_sub(this.1))
}

/// Returned by [`IndexedParallelIterator::step_by`](super::IndexedParallelIterator::step_by).
#[derive(Clone, Debug)]
pub(super) struct StepBy<I>(pub(super) I, pub(super) usize);

source! {
    [I: Source] StepBy<I> where [I: Exact] is exact, I::Item, Stepped<I::Producer<'a>>,
    |this| Stepped(this.0.open(Seal), this.1),
    |this| this.0.shape(Seal).resized(|len| len.div_ceil(this.1))
}

/// Every n-th item.
#[derive(Clone, Debug)]
pub(super) struct Stepped<P>(P, usize);

impl<P: Producer> Producer for Stepped<P> {
    type Item = P::Item;
    fn len(&self) -> usize {
        self.0.len().div_ceil(self.1)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.0.split_at(at.saturating_mul(self.1));
        (Self(near, self.1), Self(far, self.1))
    }
    fn forward(self) -> impl Iterator<Item = P::Item> {
        self.steps(1)
    }
    fn backward(self) -> impl Iterator<Item = P::Item> {
        self.steps_back(1)
    }
    fn steps(self, step: usize) -> impl Iterator<Item = P::Item> {
        self.0.steps(self.1.saturating_mul(step))
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = P::Item> {
        // The last item that the steps reach comes first.
        let end = self.len().saturating_sub(1) * self.1 + 1;
        first(self.0, end).steps_back(self.1.saturating_mul(step))
    }
}

/// Returned by [`IndexedParallelIterator::chunks`](super::IndexedParallelIterator::chunks).
#[derive(Clone, Debug)]
pub(super) struct Chunks<I>(pub(super) I, pub(super) usize);

source! {
    [I: Source] Chunks<I> where [I: Exact] is exact, Vec<I::Item>, Chunked<I::Producer<'a>>,
    |this| Chunked(Some(this.0.open(Seal)), this.1),
    |this| this.0.shape(Seal).resized(|len| len.div_ceil(this.1))
}

/// Groups of a fixed number of items.
#[derive(Clone, Debug)]
pub(super) struct Chunked<P>(Option<P>, usize);

impl<P: Producer> Producer for Chunked<P> {
    type Item = Vec<P::Item>;
    fn len(&self) -> usize {
        let len = self.0.as_ref().map_or(0, Producer::len);
        len.div_ceil(self.1)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (items, size) = (self.0, self.1);
        let (near, far) = items
            .map(|all| all.split_at(at.saturating_mul(size)))
            .unzip();
        (Self(near, size), Self(far, size))
    }
    iterates!();
}

impl<P: Producer> Iterator for Chunked<P> {
    type Item = Vec<P::Item>;
    fn next(&mut self) -> Option<Self::Item> {
        let all = self.0.take().filter(|all| all.len() > 0)?;
        let (chunk, rest) = all.split_at(self.1);
        self.0 = Some(rest);
        Some(chunk.forward().collect())
    }
}

impl<P: Producer> DoubleEndedIterator for Chunked<P> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let all = self.0.take().filter(|all| all.len() > 0)?;
        let at = (all.len() - 1) / self.1 * self.1;
        let (rest, chunk) = all.split_at(at);
        self.0 = Some(rest);
        Some(chunk.forward().collect())
    }
}

/// Returned by [`IndexedParallelIterator::with_min_len`](super::IndexedParallelIterator::with_min_len) and
/// [`with_max_len`](super::IndexedParallelIterator::with_max_len).
#[derive(Clone, Debug)]
pub(super) struct Bounded<I> {
    pub(super) base: I,
    pub(super) min: usize,
    pub(super) max: usize,
}

source! {
    [I: Source] Bounded<I> where [I: Exact] is exact, I::Item, I::Producer<'a>,
    |this| this.base.open(Seal),
    |this| {
        let (shape, min, max) = (this.base.shape(Seal), this.min, this.max.max(1));
        shape.and(Shape { min, max, ..shape })
    }
}
