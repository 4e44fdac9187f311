//! A collection as a parallel iterator.
//!
//! **Job.** A collection (a vector, a slice, a range of integers) is not a parallel iterator
//! itself: a range already has a `map`, and a call of it would be ambiguous. [`Par`] around it is
//! one.

use crate::thread::{Exact, Seal, Shape, Source};

/// A collection as a parallel iterator: what `into_par_iter`, `par_iter` and `par_iter_mut` return.
#[derive(Clone, Debug)]
pub struct Par<S>(pub(super) S);

#[doc(hidden)]
impl<S: Source> Source for Par<S> {
    type Item = S::Item;
    type Producer<'a>
        = S::Producer<'a>
    where
        Self: 'a;
    fn open(&mut self, _: Seal) -> Self::Producer<'_> {
        self.0.open(Seal)
    }
    fn shape(&self, _: Seal) -> Shape {
        self.0.shape(Seal)
    }
}

#[doc(hidden)]
impl<S: Exact> Exact for Par<S> {}
