//! Says how many items there are before the first is worked on.
//!
//! **Job.** [`Announced`] is a source of items like the one that it wraps, so that `map` and all
//! its siblings take it; when the pool asks for the items, it calls a function with their
//! number first. How many there are only the producer knows: a collection may have to be
//! emptied into a vector, and a range counts in its own type.
//!
//! Tests: `tests/progress.rs`.

use super::source::{Producer, Seal, Shape, Source};

/// Items, and the function that is told how many there are.
pub(crate) struct Announced<S, G>(pub(crate) S, pub(crate) G);

impl<S: Source, G: Fn(usize)> Source for Announced<S, G> {
    type Item = S::Item;
    type Producer<'a>
        = S::Producer<'a>
    where
        Self: 'a;

    fn open(&mut self, _: Seal) -> Self::Producer<'_> {
        let all = self.0.open(Seal);
        (self.1)(all.len());
        all
    }

    fn shape(&self, _: Seal) -> Shape {
        self.0.shape(Seal)
    }
}
