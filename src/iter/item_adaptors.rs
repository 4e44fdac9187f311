//! Adaptors that handle items one by one: standard iterator adaptors, applied to each piece.
//!
//! **Job.** An [`ItemAdaptor`] is divided like the source below it. When a piece becomes an
//! iterator, its [`AdaptItems`] puts std's adaptor around it: `map`, `filter`, `filter_map`,
//! `flat_map`. The two kinds with a state for each piece (`map_init`, `fold`) have their own
//! adaptors.
//!
//! Tests: `tests/iter/main.rs`.

use std::iter;

use crate::thread::{Exact, Producer, Seal, Shape, Source};

/// A parallel iterator whose items go through an adaptor.
#[derive(Clone, Debug)]
pub struct ItemAdaptor<I, K> {
    pub(super) base: I,
    pub(super) kind: K,
}

/// The adaptors by their names: what is public of a stage.
macro_rules! adaptors {
    ($($of:ident: $name:ident<$($f:ident),*> of $kind:ident;)*) => {$(
        #[doc = concat!("Returned by [`ParallelIterator::", stringify!($of), "`](super::ParallelIterator::", stringify!($of), ").")]
        #[derive(Clone, Debug)]
        pub struct $name<I, $($f),*>(pub(super) ItemAdaptor<I, $kind<$($f),*>>);

        #[doc(hidden)]
        impl<I, $($f),*> Source for $name<I, $($f),*>
        where
            ItemAdaptor<I, $kind<$($f),*>>: Source,
        {
            type Item = <ItemAdaptor<I, $kind<$($f),*>> as Source>::Item;
            type Producer<'a>
                = <ItemAdaptor<I, $kind<$($f),*>> as Source>::Producer<'a>
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
        impl<I, $($f),*> Exact for $name<I, $($f),*> where ItemAdaptor<I, $kind<$($f),*>>: Exact {}
    )*};
}
adaptors! {
    map: Map<F> of Mapping;
    filter: Filter<F> of Filtering;
    filter_map: FilterMap<F> of FilterMapping;
    map_init: MapInit<N, F> of Initing;
}

/// How a stage adapts the iterator over a piece.
pub trait AdaptItems<T>: Sync {
    /// The items of the adapted iterator.
    type Out: Send;
    /// Whether it yields exactly one item for each item of the source.
    const EXACT: bool;
    /// Whether it yields at most one item for each item of the source.
    const SINGLE: bool = true;
    /// Whether beginning a piece is expensive.
    const FEW: bool = false;
    /// Puts the adaptor around the iterator.
    fn apply(&self, items: impl Iterator<Item = T>) -> impl Iterator<Item = Self::Out>;
}

impl<I: Source, K: AdaptItems<I::Item>> Source for ItemAdaptor<I, K> {
    type Item = K::Out;
    type Producer<'a>
        = AdaptedPiece<'a, I::Producer<'a>, K>
    where
        Self: 'a;
    fn open(&mut self, _: Seal) -> Self::Producer<'_> {
        AdaptedPiece(self.base.open(Seal), &self.kind)
    }
    fn shape(&self, _: Seal) -> Shape {
        let base = self.base.shape(Seal);
        Shape {
            exact: base.exact && K::EXACT,
            single: base.single && K::SINGLE,
            few: base.few || K::FEW,
            ..base
        }
    }
}

/// The items of a stage.
#[derive(Clone, Debug)]
pub struct AdaptedPiece<'a, P, K>(P, &'a K);

impl<P: Producer, K: AdaptItems<P::Item>> Producer for AdaptedPiece<'_, P, K> {
    type Item = K::Out;
    fn len(&self) -> usize {
        self.0.len()
    }
    fn settle(&mut self) {
        self.0.settle();
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.0.split_at(at);
        (Self(near, self.1), Self(far, self.1))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = K::Out> {
        self.1.apply(self.0.forward())
    }
    #[inline]
    fn backward(self) -> impl Iterator<Item = K::Out> {
        self.1.apply(self.0.backward())
    }
    fn steps(self, step: usize) -> impl Iterator<Item = K::Out> {
        self.1.apply(self.0.steps(step))
    }
    fn steps_back(self, step: usize) -> impl Iterator<Item = K::Out> {
        self.1.apply(self.0.steps_back(step))
    }
}

/// Kinds that put one of std's adaptors with their closure around an iterator.
macro_rules! kinds {
    ($($doc:literal $vis:vis $name:ident: [$($generic:tt)*] Fn($arg:ty) -> $result:ty,
       $adaptor:ident, $out:ty, exact: $exact:literal, single: $single:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug)]
        $vis struct $name<F>(pub(super) F);

        impl<T: Send, $($generic)* F: Fn($arg) -> $result + Sync> AdaptItems<T> for $name<F> {
            type Out = $out;
            const EXACT: bool = $exact;
            const SINGLE: bool = $single;
            #[inline]
            fn apply(&self, items: impl Iterator<Item = T>) -> impl Iterator<Item = $out> {
                items.$adaptor(&self.0)
            }
        }
    )*};
}
kinds! {
    "One item for each."
    pub Mapping: [R: Send,] Fn(T) -> R, map, R, exact: true, single: true;
    "Some of the items."
    pub Filtering: [] Fn(&T) -> bool, filter, T, exact: false, single: true;
    "One item for some of them."
    pub FilterMapping: [R: Send,] Fn(T) -> Option<R>, filter_map, R, exact: false, single: true;
    "An iterator for each."
    pub(super) FlatMapping: [U: IntoIterator<Item: Send>,] Fn(T) -> U, flat_map, U::Item, exact: false, single: false;
}

/// The kinds that yield exactly one item for each item of the source.
pub trait OneToOne {}
impl<F> OneToOne for Mapping<F> {}
impl<N, F> OneToOne for Initing<N, F> {}
impl<I: Exact, K: AdaptItems<I::Item> + OneToOne> Exact for ItemAdaptor<I, K> {}

/// The kind that maps each item by a function with a state.
#[derive(Clone, Debug)]
pub struct Initing<N, F>(pub(super) N, pub(super) F);

impl<T, S, R, N, F> AdaptItems<T> for Initing<N, F>
where
    R: Send,
    N: Fn() -> S + Sync,
    F: Fn(&mut S, T) -> R + Sync,
{
    type Out = R;
    const EXACT: bool = true;
    const FEW: bool = true;
    fn apply(&self, items: impl Iterator<Item = T>) -> impl Iterator<Item = R> {
        Inited(items, (self.0)(), &self.1)
    }
}

/// The iterator of `map_init`.
struct Inited<'a, I, S, F>(I, S, &'a F);

impl<I: Iterator, S, R, F: Fn(&mut S, I::Item) -> R> Iterator for Inited<'_, I, S, F> {
    type Item = R;
    #[inline]
    fn next(&mut self) -> Option<R> {
        self.0.next().map(|item| (self.2)(&mut self.1, item))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
    fn fold<A, G: FnMut(A, R) -> A>(self, first: A, mut fold: G) -> A {
        let Self(items, mut state, f) = self;
        let all = items.fold(first, |so_far, item| fold(so_far, f(&mut state, item)));
        drop(state); // before the result is returned: a destructor that panics would lose it
        all
    }
}

/// The kind that folds each piece.
#[derive(Clone, Debug)]
pub(super) struct Folding<N, F>(pub(super) N, pub(super) F);

impl<T, A, N, F> AdaptItems<T> for Folding<N, F>
where
    A: Send,
    N: Fn() -> A + Sync,
    F: Fn(A, T) -> A + Sync,
{
    type Out = A;
    const EXACT: bool = false;
    const FEW: bool = true;
    fn apply(&self, items: impl Iterator<Item = T>) -> impl Iterator<Item = A> {
        iter::once(items).map(|items| items.fold((self.0)(), &self.1))
    }
}
