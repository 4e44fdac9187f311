//! A collection as a parallel iterator.
//!
//! **Job.** A collection (a vector, a slice, a range of integers) is not a parallel iterator
//! itself: a range already has a `map`, and a call of it would be ambiguous. [`Par`] around it is
//! one.

use crate::thread::{Exact, Seal, Shape, Source};

/// A source over others: when its length is exact, its items, its producer, how that is opened, and
/// its shape.
macro_rules! source {
    ([$($generic:tt)*] $name:ty $(where [$($exact:tt)*] is exact)?, $item:ty, $producer:ty,
     |$this:ident| $open:expr, |$that:pat_param| $shape:expr) => {
        $(#[doc(hidden)]
        impl<$($exact)*> Exact for $name {})?

        #[doc(hidden)]
        impl<$($generic)*> Source for $name {
            type Item = $item;
            type Producer<'a>
                = $producer
            where
                Self: 'a;
            fn open(&mut self, _: Seal) -> Self::Producer<'_> {
                let $this = self;
                $open
            }
            fn shape(&self, _: Seal) -> Shape {
                let $that = self;
                $shape
            }
        }
    };
}
pub(super) use source;

/// A collection as a parallel iterator: what `into_par_iter`, `par_iter` and `par_iter_mut` return.
#[derive(Clone, Debug)]
pub struct Par<S>(pub(super) S);

source! {
    [S: Source] Par<S> where [S: Exact] is exact, S::Item, S::Producer<'a>,
    |this| this.0.open(Seal), |this| this.0.shape(Seal)
}
