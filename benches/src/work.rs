//! The work that the pools are given: a tree, fib, and loops of known length.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

/// A node of a binary tree, each in a box of its own.
pub struct Node {
    /// What is summed up.
    pub value: u64,
    /// The left child.
    pub left: Option<Box<Node>>,
    /// The right child.
    pub right: Option<Box<Node>>,
}

impl Node {
    /// A full tree of so many layers, its left half first in memory.
    #[must_use]
    pub fn tree(layers: u32) -> Self {
        Self {
            value: 1,
            left: (layers > 1).then(|| Box::new(Self::tree(layers - 1))),
            right: (layers > 1).then(|| Box::new(Self::tree(layers - 1))),
        }
    }
}

/// How many nodes a tree of so many layers has.
#[must_use]
pub const fn nodes(layers: u32) -> u64 {
    (1 << layers) - 1
}

/// The sum of a tree, left half first.
#[must_use]
pub fn sum_left(node: &Node) -> u64 {
    let left = node.left.as_deref().map_or(0, sum_left);
    let right = node.right.as_deref().map_or(0, sum_left);
    node.value + left + right
}

/// The sum of a tree, right half first.
#[must_use]
pub fn sum_right(node: &Node) -> u64 {
    let right = node.right.as_deref().map_or(0, sum_right);
    let left = node.left.as_deref().map_or(0, sum_right);
    node.value + left + right
}

/// The sequential one.
#[must_use]
pub fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    fib(n - 1) + fib(n - 2)
}

/// The same with two calls for each sum, because the compiler turns [`fib`] into a loop with one.
/// If another thread may run the second half, its call cannot become a loop.
#[must_use]
pub fn fib_two_calls(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    fib_two_calls(n - 1) + black_box(fib_two_calls(n - 2))
}

/// How many joins fib(n) makes.
#[must_use]
pub fn fib_joins(n: u32) -> u64 {
    fib(n + 1) - 1
}

/// A chain of so many multiplications, each waiting for the one before. It is one function for
/// every peer: inlined, its loop takes a fifth longer in one caller than in another, on some
/// processors.
#[inline(never)]
#[must_use]
pub fn chain(seed: u64, links: u64) -> u64 {
    (0..links).fold(seed | 1, |x, i| {
        black_box(x)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(i)
    })
}

/// How many links of a [`chain`] take a microsecond; the best of several measurements.
#[must_use]
pub fn links_per_us() -> f64 {
    static LINKS: OnceLock<f64> = OnceLock::new();
    *LINKS.get_or_init(|| {
        const TRY: u64 = 1_000_000;
        let rate = |_| {
            let start = Instant::now();
            black_box(chain(1, TRY));
            TRY as f64 / (start.elapsed().as_nanos() as f64 / 1e3)
        };
        (0..9).map(rate).fold(0.0, f64::max)
    })
}

/// Computes for so many microseconds.
#[inline]
pub fn spin(us: f64) -> u64 {
    chain(1, (us * links_per_us()) as u64)
}

/// Trial division.
#[must_use]
pub fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}
