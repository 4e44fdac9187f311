//! The traits of the [parallel iterators](crate::iter), to be imported together.
//!
//! ```
//! use trefoil::prelude::*;
//!
//! let words = ["three", "small", "words"];
//! assert_eq!(words.par_iter().map(|word| word.len()).sum::<usize>(), 15);
//! ```

#[doc(no_inline)]
pub use crate::iter::{
    FromParallelIterator, IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator,
    IntoParallelRefMutIterator, ParallelBridge, ParallelDrainRange, ParallelExtend,
    ParallelIterator, ParallelSlice, ParallelSliceMut, ParallelString,
};
