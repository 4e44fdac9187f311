//! A collection as a parallel iterator.
//!
//! **Job.** A collection (a vector, a slice, a range of integers) is not a parallel iterator
//! itself: a range already has a `map`, and a call of it would be ambiguous. [`Par`] around it is
//! one.

use crate::thread::{Exact, Seal, Shape, Source, source};

/// A collection as a parallel iterator: what `into_par_iter`, `par_iter` and `par_iter_mut` return.
///
/// ```
/// use trefoil::prelude::*;
///
/// let words = ["pear", "fig"].into_par_iter(); // a `Par`, until the first adaptor
/// assert_eq!(words.map(str::len).sum::<usize>(), 7);
/// ```
#[derive(Clone, Debug)]
pub struct Par<S>(pub(super) S);

source! {
    [S: Source] Par<S> where [S: Exact] is exact, S::Item, S::Producer<'a>,
    |this| this.0.open(Seal), |this| this.0.shape(Seal)
}
