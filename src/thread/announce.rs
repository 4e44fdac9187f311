//! Says how many items there are before the first is worked on.
//!
//! **Job.** [`Announced`] is a source of items like the one that it wraps, so that `map` and all
//! its siblings take it; when the pool asks for the items, it calls a function with their
//! number first. How many there are only the producer knows: a collection may have to be
//! emptied into a vector, and a range counts in its own type.
//!
//! Tests: `tests/progress.rs`.

use super::items::sealed::{Callback, Producer, Source};

/// Items, and the function that is told how many there are.
pub(crate) struct Announced<I, G>(pub(crate) I, pub(crate) G);

impl<I: Source, G: FnOnce(usize)> Source for Announced<I, G> {
    type Of = I::Of;

    fn produce<C: Callback<I::Of>>(self, callback: C) -> C::Output {
        self.0.produce(Telling(callback, self.1))
    }
}

struct Telling<C, G>(C, G);

impl<T, C: Callback<T>, G: FnOnce(usize)> Callback<T> for Telling<C, G> {
    type Output = C::Output;

    fn call<P: Producer<Item = T>>(self, producer: P) -> C::Output {
        (self.1)(producer.len());
        self.0.call(producer)
    }
}
