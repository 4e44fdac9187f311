//! Parallel iterators.

mod attempt;
mod bridge;
mod collect;
mod gather;
mod indexed;
mod order;
mod par;
mod parallel;
mod raw_merge;
mod slices;
mod sort;
mod sources;
mod stage;
mod text;

pub use bridge::Bridge;
pub use collect::ParallelDrainRange;
pub use indexed::IndexedParallelIterator;
pub use order::{Bounded, Chain, Chunks, Enumerate, Rev, Skip, StepBy, Take, Zip};
pub use par::Par;
pub use parallel::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};
pub use slices::{SliceChunks, SliceChunksMut, SliceRChunks, SliceRChunksMut, SliceWindows};
pub use sources::{
    IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelBridge, ParallelSlice,
    ParallelSliceMut, ParallelString,
};
pub use stage::{Filter, FilterMap, FlatMapIter, Fold, Map, MapInit, Stage, WhileSome};
