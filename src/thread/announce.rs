//! Reports the number of items before the first one is processed.
//!
//! **Job.** [`Announced`] wraps a source of items and is one itself, so that `map` and similar
//! methods take it. When the pool asks for the items, it first calls a function with their number.
//! Only the producer knows the number: a collection may have to be emptied into a vector, and a
//! range counts in its own type.
//!
//! Tests: `tests/progress.rs`.

use super::source::{Producer, Seal, Shape, Source};

/// Items, and the function that is called with their number.
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
