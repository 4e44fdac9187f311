//! Slices of slices: chunks and windows.
//!
//! Tests: `tests/iter/sources.rs`.

use std::{mem, slice};

use crate::thread::{Exact, Producer, Seal, Shape, Source, iterates, source};

/// A source made of a slice and a piece size: the number of pieces, and where to cut after a number
/// of them.
macro_rules! pieces {
    ($(#[$doc:meta])* $name:ident, $slice:ty, $bound:ident, $iter:ident, $method:ident,
     |$len:ident, $size:ident, $at:ident| $count:expr, $cut:ident: $where:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name<'s, T> {
            slice: $slice,
            size: usize,
        }

        impl<'s, T> $name<'s, T> {
            pub(super) fn new(slice: $slice, size: usize) -> Self {
                assert!(size > 0, "a piece of a slice has one item or more");
                Self { slice, size }
            }
        }

        source! {
            ['s, T: $bound] $name<'s, T> where ['s, T: $bound] is exact,
            <slice::$iter<'s, T> as Iterator>::Item, Self,
            |this| {
                let slice = mem::take(&mut this.slice);
                Self { slice, ..*this }
            },
            |this| Shape::exact(this.len())
        }

        impl<'s, T> IntoIterator for $name<'s, T> {
            type Item = <slice::$iter<'s, T> as Iterator>::Item;
            type IntoIter = slice::$iter<'s, T>;
            fn into_iter(self) -> Self::IntoIter {
                self.slice.$method(self.size)
            }
        }

        impl<'s, T: $bound> Producer for $name<'s, T> {
            type Item = <slice::$iter<'s, T> as Iterator>::Item;
            iterates!(steps);
            fn len(&self) -> usize {
                let ($len, $size) = (self.slice.len(), self.size);
                $count
            }
            fn split_at(self, $at: usize) -> (Self, Self) {
                let ($len, $size) = (self.slice.len(), self.size);
                let (near, far) = $cut(self.slice, $where, $size);
                (Self { slice: near, ..self }, Self { slice: far, ..self })
            }
        }
    };
}

fn front<T>(slice: &[T], at: usize, _: usize) -> (&[T], &[T]) {
    slice.split_at(at)
}

fn front_mut<T>(slice: &mut [T], at: usize, _: usize) -> (&mut [T], &mut [T]) {
    slice.split_at_mut(at)
}

/// Cuts a slice of windows in two. The last windows of the first part reach into the second.
fn overlapping<T>(slice: &[T], at: usize, size: usize) -> (&[T], &[T]) {
    let end = slice.len().min(at + size - 1);
    (&slice[..end], &slice[at..])
}

pieces! {
    /// [`ParallelSlice::par_chunks`](super::ParallelSlice::par_chunks).
    SliceChunks, &'s [T], Sync, Chunks, chunks,
    |len, size, at| len.div_ceil(size), front: len.min(at.saturating_mul(size))
}
pieces! {
    /// [`ParallelSlice::par_windows`](super::ParallelSlice::par_windows).
    SliceWindows, &'s [T], Sync, Windows, windows,
    |len, size, at| len.saturating_sub(size - 1), overlapping: at.min(len)
}
pieces! {
    /// [`ParallelSliceMut::par_chunks_mut`](super::ParallelSliceMut::par_chunks_mut).
    SliceChunksMut, &'s mut [T], Send, ChunksMut, chunks_mut,
    |len, size, at| len.div_ceil(size), front_mut: len.min(at.saturating_mul(size))
}
