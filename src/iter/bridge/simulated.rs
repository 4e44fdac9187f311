//! Random trees of adaptors with bridges at each place, compared with the sequential program.
//!
//! A tree is made from a seed, together with the items that it should give. Leaves are ranges,
//! vectors, texts and bridges; above them are all adaptors, those that need positions only where
//! they are known. Then
//!
//! - one thread cuts the tree at random, settles and drains pieces in between, so that bridges end
//!   between the plan of a cut and the cut itself, and cuts beyond the end, too. No length changes
//!   unless the piece is settled, and the pieces give each item once, in order if there is one;
//! - where positions are known, the items forwards, backwards and in steps are those of std;
//! - real pools of several widths divide it: as the work goes, along the fixed tree, and in
//!   searches.
//!
//! A run is its seed: a failure names it. Broken on purpose (a bridge's length that is 0 as soon as
//! the iterator has ended, a chain that asks for lengths twice, a range or an adaptor that trusts
//! the cut) it fails within the first hundred.

use std::env;
use std::vec;

use super::Bridge;
use crate::iter::index_adaptors::{Chunks, Enumerate, Part, Rev, StepBy, Zip};
use crate::iter::item_adaptors::{Filtering, FlatMapping, ItemAdaptor, Mapping};
use crate::iter::text::{Chars, SplitText};
use crate::iter::{FromParallelIterator, Par, ParallelIterator};
use crate::thread::map::chain::Chain;
use crate::thread::{Exact, Items, Producer, Seal, Shape, Source, ThreadPool};

type Mapped<S, T> = ItemAdaptor<S, Mapping<fn(T) -> u64>>;
type Owned = Box<dyn Iterator<Item = u64> + Send>;

/// The kinds of nodes: a source for each, and its producer.
macro_rules! kinds {
    ($($kind:ident($source:ty),)*) => {
        enum Tree {
            $($kind(Box<$source>),)*
        }

        enum Pieces<'a> {
            $($kind(Box<<$source as Source>::Producer<'a>>),)*
        }

        impl Source for Tree {
            type Item = u64;
            type Producer<'a> = Pieces<'a>;
            fn open(&mut self, _: Seal) -> Pieces<'_> {
                match self {
                    $(Self::$kind(source) => Pieces::$kind(Box::new(source.open(Seal))),)*
                }
            }
            fn shape(&self, _: Seal) -> Shape {
                match self {
                    $(Self::$kind(source) => source.shape(Seal),)*
                }
            }
        }

        impl<'a> Producer for Pieces<'a> {
            type Item = u64;
            fn len(&self) -> usize {
                match self {
                    $(Self::$kind(items) => Producer::len(&**items),)*
                }
            }
            fn settle(&mut self) {
                match self {
                    $(Self::$kind(items) => items.settle(),)*
                }
            }
            fn split_at(self, at: usize) -> (Self, Self) {
                match self {
                    $(Self::$kind(items) => {
                        let (near, far) = Producer::split_at(*items, at);
                        (Self::$kind(Box::new(near)), Self::$kind(Box::new(far)))
                    })*
                }
            }
            fn forward(self) -> impl Iterator<Item = u64> {
                let items: Box<dyn Iterator<Item = u64> + 'a> = match self {
                    $(Self::$kind(items) => Box::new(items.forward()),)*
                };
                items
            }
            fn backward(self) -> impl Iterator<Item = u64> {
                let items: Box<dyn Iterator<Item = u64> + 'a> = match self {
                    $(Self::$kind(items) => Box::new(items.backward()),)*
                };
                items
            }
            fn steps(self, step: usize) -> impl Iterator<Item = u64> {
                let items: Box<dyn Iterator<Item = u64> + 'a> = match self {
                    $(Self::$kind(items) => Box::new(items.steps(step)),)*
                };
                items
            }
            fn steps_back(self, step: usize) -> impl Iterator<Item = u64> {
                let items: Box<dyn Iterator<Item = u64> + 'a> = match self {
                    $(Self::$kind(items) => Box::new(items.steps_back(step)),)*
                };
                items
            }
        }
    };
}
kinds! {
    Bridge(Bridge<Owned>),
    Range(<std::ops::Range<u64> as Items>::Source),
    Vector(Vec<u64>),
    Text(Mapped<SplitText<'static, Chars>, char>),
    Chain(Chain<Tree, Tree>),
    Map(Mapped<Tree, u64>),
    Filter(ItemAdaptor<Tree, Filtering<fn(&u64) -> bool>>),
    Flat(ItemAdaptor<Tree, FlatMapping<fn(u64) -> vec::IntoIter<u64>>>),
    Zip(Mapped<Zip<Tree, Tree>, (u64, u64)>),
    Enumerate(Mapped<Enumerate<Tree>, (usize, u64)>),
    Rev(Rev<Tree>),
    Part(Part<Tree>),
    StepBy(StepBy<Tree>),
    Chunks(Mapped<Chunks<Tree>, Vec<u64>>),
}

// (Adaptors that need it are put only above trees that are.)
impl Exact for Tree {}
impl ParallelIterator for Tree {}

fn mapped<S, T>(base: S, map: fn(T) -> u64) -> Box<Mapped<S, T>> {
    let kind = Mapping(map);
    Box::new(ItemAdaptor { base, kind })
}

fn odd(n: &u64) -> bool {
    n % 2 == 1
}

fn some(n: u64) -> vec::IntoIter<u64> {
    vec![n; (n % 3) as usize].into_iter()
}

fn folded(items: impl IntoIterator<Item = u64>) -> u64 {
    items.into_iter().fold(7, |a, b| a.wrapping_mul(31) ^ b)
}

/// Numbers without an order, the same ones for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33) as usize % end
    }

    /// A tree, and its items.
    fn tree(&mut self, depth: usize, exact: bool) -> (Tree, Vec<u64>) {
        if depth == 0 || self.below(8) == 0 {
            return self.leaf(exact);
        }
        let kind = self.below(12);
        let (mut of, n) = (
            |exact| self.tree(depth - 1, exact),
            [1, 2, 3, 7, 40][(depth + kind) % 5],
        );
        match kind {
            0..4 => {
                let ((a, mut items), (b, more)) = (of(exact), of(exact));
                items.extend(more);
                (Tree::Chain(Box::new(Chain(a, b))), items)
            }
            4 if !exact => {
                let (base, items) = of(false);
                let kind = Filtering(odd as fn(&u64) -> bool);
                let kept = items.into_iter().filter(odd).collect();
                (Tree::Filter(Box::new(ItemAdaptor { base, kind })), kept)
            }
            5 if !exact => {
                let (base, items) = of(false);
                let kind = FlatMapping(some as fn(u64) -> vec::IntoIter<u64>);
                let all = items.into_iter().flat_map(some).collect();
                (Tree::Flat(Box::new(ItemAdaptor { base, kind })), all)
            }
            6 => {
                let ((a, items), (b, more)) = (of(true), of(true));
                let pairs = items.into_iter().zip(more);
                let all = pairs.map(|(a, b)| folded([a, b])).collect();
                let map = |(a, b)| folded([a, b]);
                (Tree::Zip(mapped(Zip(a, b), map)), all)
            }
            7 => {
                let (base, items) = of(true);
                let map = |(at, n)| folded([at as u64, n]);
                let all = items.into_iter().enumerate().map(map).collect();
                (Tree::Enumerate(mapped(Enumerate(base), map)), all)
            }
            8 => {
                let (base, mut items) = of(true);
                items.reverse();
                (Tree::Rev(Box::new(Rev(base))), items)
            }
            9 => {
                let (base, items) = of(true);
                let all = items.into_iter().take(n + 9).skip(n).collect();
                (Tree::Part(Box::new(Part(base, n, n + 9))), all)
            }
            10 => {
                let (base, items) = of(true);
                let all = items.into_iter().step_by(n).collect();
                (Tree::StepBy(Box::new(StepBy(base, n))), all)
            }
            11 => {
                let (base, items) = of(true);
                let all = items.chunks(n).map(|part| folded(part.to_vec())).collect();
                (Tree::Chunks(mapped(Chunks(base, n), folded)), all)
            }
            _ => {
                let (base, items) = of(exact);
                let map = |n: u64| n ^ 5;
                (
                    Tree::Map(mapped(base, map)),
                    items.into_iter().map(map).collect(),
                )
            }
        }
    }

    fn leaf(&mut self, exact: bool) -> (Tree, Vec<u64>) {
        let start = self.below(1000) as u64;
        let len = [0, 1, 3, 20, 300][self.below(5)];
        let items: Vec<u64> = (start..start + len).collect();
        let leaf = match self.below(if exact { 2 } else { 6 }) {
            0 => Tree::Range(Box::new((start..start + len).into_source(Seal))),
            1 => Tree::Vector(Box::new(items.clone())),
            2 => {
                let text: String = items
                    .iter()
                    .filter_map(|n| char::from_u32(*n as u32))
                    .collect();
                let text = SplitText::<Chars>::new(String::leak(text));
                Tree::Text(mapped(text, u64::from))
            }
            _ => Tree::Bridge(Box::new(Bridge::new(Box::new(items.clone().into_iter())))),
        };
        (leaf, items)
    }
}

fn sorted(mut items: Vec<u64>) -> Vec<u64> {
    items.sort_unstable();
    items
}

/// Cuts, settles and drains pieces at random, and returns what they gave, from left to right.
fn divided(random: &mut Random, items: Pieces<'_>, exact: bool) -> Vec<u64> {
    // What is not drained yet, or was.
    let mut parts = vec![(Some(items), Vec::new())];
    for _ in 0..40 {
        let at = random.below(parts.len());
        let Some(mut items) = parts[at].0.take() else {
            continue;
        };
        if random.below(2) == 0 {
            items.settle();
        }
        let len = items.len();
        // Meanwhile others take items.
        let other = random.below(parts.len());
        let taken = random.below(3) == 0;
        let (other, given) = &mut parts[other];
        if let Some(other) = other.take_if(|other| taken && other.len() <= 1000) {
            given.extend(other.forward());
        }
        assert_eq!(items.len(), len, "a length changes by itself");
        let cut = match random.below(8) {
            0 => len.saturating_add(1),
            1 => usize::MAX,
            2 => len,
            3 => len / 2,
            _ => random.below(40).min(len),
        };
        let (near, far) = items.split_at(cut);
        if exact {
            assert_eq!((near.len(), far.len()), (cut.min(len), len - cut.min(len)));
        }
        parts[at].0 = Some(far);
        parts.insert(at, (Some(near), Vec::new()));
    }
    let all = parts.into_iter().map(|(items, given)| match items {
        Some(items) => items.forward().collect(),
        None => given,
    });
    all.collect::<Vec<Vec<u64>>>().concat()
}

fn check(seed: u64, pools: &[ThreadPool]) {
    let exact = seed.is_multiple_of(4);
    let make = || Random(seed).tree(1 + (seed % 5) as usize, exact);
    let (mut tree, expected) = make();
    let (shape, mut random) = (tree.shape(Seal), Random(!seed));
    let given = divided(&mut random, tree.open(Seal), shape.exact);
    if shape.unordered {
        assert_eq!(sorted(given), sorted(expected.clone()));
    } else {
        assert_eq!(given, expected);
    }
    if shape.exact {
        assert_eq!(make().0.open(Seal).len(), expected.len());
        assert_eq!(make().0.open(Seal).forward().collect::<Vec<_>>(), expected);
        let back: Vec<u64> = expected.iter().rev().copied().collect();
        assert_eq!(make().0.open(Seal).backward().collect::<Vec<_>>(), back);
        for step in [1, 2, 5, 100, usize::MAX] {
            let steps = make().0.open(Seal).steps(step).collect::<Vec<_>>();
            assert_eq!(
                steps,
                expected.iter().copied().step_by(step).collect::<Vec<_>>()
            );
            let steps = make().0.open(Seal).steps_back(step).collect::<Vec<_>>();
            assert_eq!(
                steps,
                back.iter().copied().step_by(step).collect::<Vec<_>>()
            );
        }
    }
    for pool in pools {
        pool.install(|| {
            let all = Vec::from_par_iter(Par(make().0));
            if shape.unordered {
                assert_eq!(sorted(all), sorted(expected.clone()));
            } else {
                assert_eq!(all, expected);
            }
            assert_eq!(make().0.count(), expected.len());
            let sum = expected.iter().fold(0, |a: u64, b| a.wrapping_add(*b));
            assert_eq!(make().0.reduce(|| 0, u64::wrapping_add), sum);
            assert_eq!(make().0.max(), expected.iter().copied().max());
            let strange = make().0.find_any(|n| !expected.contains(n));
            assert_eq!(strange, None, "an item of no part");
        });
    }
}

#[test]
fn every_tree_gives_what_the_sequential_program_gives() {
    let seeds = match env::var_os("TREFOIL_FULL") {
        Some(_) => 20_000,
        None => 120,
    };
    let pools = [1, 2, 4].map(ThreadPool::with_threads);
    for seed in 0..seeds {
        let checked = std::panic::catch_unwind(|| check(seed, &pools));
        assert!(checked.is_ok(), "the seed {seed}");
    }
}
