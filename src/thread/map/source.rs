//! The sources of `map` and similar methods, and of the parallel iterators.
//!
//! **Job.** A [`Source`] owns or borrows its items; [opened](Source::open), it gives a
//! [`Producer`], a run of items that can be cut in two, again and again, until each piece is turned
//! into a standard iterator. The producer borrows from the source, so that a vector whose elements
//! are moved out one by one has an owner. This file has the sources that can be cut without cost:
//! vectors, slices and ranges of integers. `crate::iter` adds the adaptors.
//!
//! A producer may count in its own unit (bytes of a text): then its pieces have no known number of
//! items, and `split_at` may cut further right than asked, where an item ends. It never cuts
//! further left, so cutting off one unit or more makes progress.
//!
//! Tests: `tests/thread/maps.rs` and `tests/iter/main.rs` (every source, order, drops).

use std::{iter, mem};

use super::raw_drain::{DrainPart, drain};

/// What is known about a source's items before any of them is produced.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whether a producer yields exactly as many items as its length.
    pub exact: bool,
    /// Whether each of them, or each unit of the length, gives one item at most.
    pub single: bool,
    /// The total number of items, if it is known.
    pub len: usize,
    /// Whether beginning a piece is expensive, so that there should be few.
    pub few: bool,
    /// Whether a piece gets arbitrary items, so that they have no order.
    pub unordered: bool,
    /// The least and greatest length of a piece.
    pub min: usize,
    /// See `min`.
    pub max: usize,
}

impl Shape {
    /// The shape of this many items.
    pub(crate) fn exact(len: usize) -> Self {
        Self {
            exact: true,
            single: true,
            len,
            few: false,
            unordered: false,
            min: 1,
            max: usize::MAX,
        }
    }

    /// The shape of an unknown number of items.
    pub(crate) fn unknown() -> Self {
        Self {
            exact: false,
            ..Self::exact(0)
        }
    }

    /// This shape with another number of items.
    pub(crate) fn resized(self, resize: impl FnOnce(usize) -> usize) -> Self {
        let len = resize(self.len);
        Self { len, ..self }
    }

    /// The shape of items from two sources, paired.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            exact: self.exact && other.exact,
            single: self.single && other.single,
            len: self.len.min(other.len),
            few: self.few || other.few,
            unordered: self.unordered || other.unordered,
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        }
    }
}

/// A token of the crate's: without it, methods that come with the bounds of its public traits
/// cannot be called:
///
/// ```compile_fail,E0061
/// use trefoil::prelude::*;
///
/// fn open<I: ParallelIterator>(mut items: I) {
///     items.open();
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Seal;

/// What can be divided among threads: vectors, slices, and all [parallel iterators](crate::iter).
///
/// It is sealed: the ways to cut are trefoil's own. A bound `ParallelIterator<Item = T>` is the one
/// to write.
pub trait Source: Sized {
    /// What it consists of.
    type Item: Send;
    /// All its items, borrowed from it.
    #[doc(hidden)]
    type Producer<'a>: Producer<Item = Self::Item>
    where
        Self: 'a;
    /// All its items. To be called once: a second time there may be none.
    #[doc(hidden)]
    fn open(&mut self, _: Seal) -> Self::Producer<'_>;
    /// What is known about them.
    #[doc(hidden)]
    fn shape(&self, _: Seal) -> Shape;
}

/// A [`Source`] whose number of items is known before any is made. The bound to write is
/// [`IndexedParallelIterator`](crate::iter::IndexedParallelIterator).
pub trait Exact: Source {}

/// A [`Source`]: when its length is exact, its items, its producer, how that is opened, and its
/// shape.
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
pub(crate) use source;

source! {
    ['s, T: Sync] &'s [T] where ['s, T: Sync] is exact, &'s T, &'s [T],
    |this| this, |this| Shape::exact(<[T]>::len(this))
}
source! {
    ['s, T: Send] &'s mut [T] where ['s, T: Send] is exact, &'s mut T, &'s mut [T],
    |this| mem::take(this), |this| Shape::exact(<[T]>::len(this))
}
source! {
    [T: Send] Vec<T> where [T: Send] is exact, T, DrainPart<'a, T>,
    |this| drain(this), |this| Shape::exact(this.len())
}
source! {
    [T: Int] IntRange<T> where [T: Int] is exact, T, Self,
    |this| *this, |this| Shape::exact(this.len)
}

/// A run of items that can be cut. It drops the items that are not taken, and so do its iterators.
///
/// Its length is its own: `len` reads nothing that another thread may change. So a cut is made with
/// the length that it was planned with, even if the source ends meanwhile (`par_bridge`).
#[allow(clippy::len_without_is_empty)]
pub trait Producer: Send + Sized {
    /// What it consists of.
    type Item;
    /// The number of items, or of the units that it counts in.
    fn len(&self) -> usize;
    /// Gives up the units for which there are no items any more. Only this and a cut change the
    /// length; it is called before a division is planned.
    #[inline]
    fn settle(&mut self) {}
    /// The first `at` (or all, if there are fewer), and the others.
    fn split_at(self, at: usize) -> (Self, Self);
    /// Its items, in their order.
    fn forward(self) -> impl Iterator<Item = Self::Item>;
    /// Its items, from the last to the first. (Asked for only where the shape is exact, as are the
    /// steps.)
    fn backward(self) -> impl Iterator<Item = Self::Item>;
    /// Every `step`th item, from the first on. It costs nothing for the items in between, unless
    /// they must be dropped.
    fn steps(self, step: usize) -> impl Iterator<Item = Self::Item> {
        let mut all = Some(self);
        iter::from_fn(move || {
            let (next, others) = all.take()?.split_at(1);
            all = Some(others.split_at(step - 1).1);
            next.forward().next()
        })
    }
    /// Every `step`th item, from the last on.
    fn steps_back(self, step: usize) -> impl Iterator<Item = Self::Item> {
        let mut all = Some(self);
        iter::from_fn(move || {
            let items = all.take()?;
            let last = items.len().checked_sub(1)?;
            let (others, next) = items.split_at(last);
            all = Some(others.split_at((last + 1).saturating_sub(step)).0);
            next.forward().next()
        })
    }
}

/// `forward` and `backward` of a type that is a double-ended iterator; and the steps, if it passes
/// over items without making them.
macro_rules! iterates {
    (steps) => {
        iterates!();
        fn steps(self, step: usize) -> impl Iterator<Item = Self::Item> {
            self.into_iter().step_by(step)
        }
        fn steps_back(self, step: usize) -> impl Iterator<Item = Self::Item> {
            self.into_iter().rev().step_by(step)
        }
    };
    () => {
        #[inline]
        fn forward(self) -> impl Iterator<Item = Self::Item> {
            self.into_iter()
        }
        #[inline]
        fn backward(self) -> impl Iterator<Item = Self::Item> {
            self.into_iter().rev()
        }
    };
}
pub(crate) use iterates;

impl<'s, T: Sync> Producer for &'s [T] {
    type Item = &'s T;
    iterates!(steps);
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        <[T]>::split_at(self, at.min(<[T]>::len(self)))
    }
}

impl<'s, T: Send> Producer for &'s mut [T] {
    type Item = &'s mut T;
    iterates!(steps);
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(<[T]>::len(self));
        self.split_at_mut(at)
    }
}

impl<T: Send> Producer for DrainPart<'_, T> {
    type Item = T;
    iterates!(steps);
    fn len(&self) -> usize {
        DrainPart::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        DrainPart::split_at(self, at)
    }
}

/// Other crates cannot name it, so they cannot implement [`Int`]. Nothing else asks for it: a
/// constant gives its value away.
#[derive(Debug)]
pub struct IntSeal;

/// What ranges that can be divided are made of: the integers, and `char`. It is sealed, and opens
/// no other seal:
///
/// ```compile_fail,E0308
/// use trefoil::thread::{Int, Items};
///
/// Items::into_source(vec![1], <u8 as Int>::SEAL);
/// ```
// One generic impl for all of them, not one for each: so the compiler knows that
// the items of `Range<T>` are `T` while it does not yet know what `T` is, and
// `pool.map(0..9, |i| ..)` needs no annotation.
pub trait Int: Copy + PartialOrd + Send {
    /// Only this crate can name its type.
    #[doc(hidden)]
    const SEAL: IntSeal;
    /// The number of steps from here up to `end`, which is not below.
    #[doc(hidden)]
    fn distance(self, end: Self) -> u128;
    /// `steps` further, wrapping: an empty run may begin past the last integer.
    #[doc(hidden)]
    fn forward(self, steps: usize) -> Self;
}

macro_rules! integers {
    ($($int:ident),*) => {$(
        impl Int for $int {
            const SEAL: IntSeal = IntSeal;
            #[inline]
            fn distance(self, end: Self) -> u128 {
                (end as u128).wrapping_sub(self as u128)
            }
            #[inline]
            fn forward(self, steps: usize) -> Self {
                self.wrapping_add(steps as $int)
            }
        }
    )*};
}
integers!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);

/// The first number that is not a `char`, and how many such numbers there are.
const SURROGATES: (u32, u32) = (0xD800, 0x800);

impl Int for char {
    const SEAL: IntSeal = IntSeal;
    fn distance(self, end: Self) -> u128 {
        let place = |c: char| match u32::from(c) {
            low if low < SURROGATES.0 => low,
            high => high - SURROGATES.1,
        };
        u128::from(place(end) - place(self))
    }
    fn forward(self, steps: usize) -> Self {
        let at = u32::from(self).saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        let skips = u32::from(self) < SURROGATES.0 && at >= SURROGATES.0;
        char::from_u32(if skips {
            at.saturating_add(SURROGATES.1)
        } else {
            at
        })
        .unwrap_or_default()
    }
}

/// Neighbouring integers.
#[derive(Clone, Copy, Debug)]
pub struct IntRange<T> {
    pub(in crate::thread) start: T,
    pub(in crate::thread) len: usize,
}

impl<T: Int> Producer for IntRange<T> {
    type Item = T;
    iterates!(steps);
    fn len(&self) -> usize {
        self.len
    }
    fn split_at(mut self, at: usize) -> (Self, Self) {
        let at = at.min(self.len);
        let (start, len) = (self.start.forward(at), self.len - at);
        self.len = at;
        (self, Self { start, len })
    }
}

impl<T: Int> Iterator for IntRange<T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        let next = self.start;
        self.start = next.forward(1);
        Some(next)
    }
    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
    #[inline]
    fn count(self) -> usize {
        self.len
    }
    #[inline]
    fn nth(&mut self, n: usize) -> Option<T> {
        let passed = n.min(self.len);
        self.start = self.start.forward(passed);
        self.len -= passed;
        self.next()
    }
}

impl<T: Int> DoubleEndedIterator for IntRange<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        Some(self.start.forward(self.len))
    }
    #[inline]
    fn nth_back(&mut self, n: usize) -> Option<T> {
        self.len = self.len.saturating_sub(n);
        self.next_back()
    }
}
