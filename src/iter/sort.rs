//! Sorting: a merge sort that keeps the order of equal items, and a quicksort in place.
//!
//! **Job.** Divides the slice into some pieces for each thread, which std's sorts finish: these
//! handle items that are already sorted, reversed, or mostly equal. The merge sort is in
//! `raw_merge.rs`, and loses no item if a comparison panics (Q2). The quicksort cuts at the median
//! of a sample. It only swaps items, so a comparison that panics loses none. After several bad
//! cuts, std's sort, which has a worst-case bound, sorts the rest.
//!
//! Rejected: cutting with all threads (they would compare with one pivot at the same time, which
//! `T: Send` does not allow).
//!
//! Tests: `tests/iter/sort.rs`.

use std::cmp::Ordering;

use super::raw_merge;
use crate::thread;

/// Slices of at most this length are sorted by one thread.
const SHORT: usize = if cfg!(miri) { 8 } else { 2048 };

/// The size of the sample whose median is the pivot.
const SAMPLE: usize = 63;

/// Sorts; equal items keep their order.
pub(super) fn stable<T: Send, F>(items: &mut [T], order: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    let pieces = match thread::width() {
        1 => 1,
        width => (2 * width).next_power_of_two(),
    };
    let piece = items.len().div_ceil(pieces).max(SHORT);
    if items.len() <= piece || size_of::<T>() == 0 {
        return items.sort_by(order);
    }
    if items.is_sorted_by(|a, b| order(a, b).is_gt()) {
        return items.reverse();
    }
    raw_merge::sort(items, piece, order);
}

/// Sorts in place.
pub(super) fn unstable<T: Send, F>(items: &mut [T], order: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    let piece = (items.len() / (8 * thread::width())).max(SHORT);
    if items.is_sorted_by(|a, b| order(a, b).is_le()) {
        return;
    }
    if items.is_sorted_by(|a, b| order(a, b).is_gt()) {
        return items.reverse();
    }
    quicksort(items, piece, items.len().ilog2(), order);
}

/// `bad`: how many bad cuts are allowed.
fn quicksort<T: Send, F>(items: &mut [T], piece: usize, bad: u32, order: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    if items.len() <= piece || bad == 0 {
        return items.sort_unstable_by(order);
    }
    items.swap(0, median(items, order));
    let Some((pivot, rest)) = items.split_first_mut() else {
        return;
    };
    let len = rest.len();
    let middle = partition(rest, |item| order(item, pivot).is_lt());
    // Separates items equal to the pivot, if there may be many.
    let (small, large) = rest.split_at_mut(middle);
    let few = small.len().min(large.len()) < len / 8;
    let equal = if few {
        partition(large, |item| order(pivot, item).is_ge())
    } else {
        0
    };
    // Between the two sides, where it belongs.
    items.swap(0, middle);
    let (small, large) = items.split_at_mut(middle);
    let large = &mut large[1 + equal..];
    let bad = bad - u32::from(few);
    thread::join(
        || quicksort(small, piece, bad, order),
        || quicksort(large, piece, bad, order),
    );
}

/// The index of the median of a sample.
fn median<T, F: Fn(&T, &T) -> Ordering>(items: &[T], order: &F) -> usize {
    let step = items.len() / SAMPLE;
    let mut sample: [usize; SAMPLE] = std::array::from_fn(|at| at * step + step / 2);
    sample.sort_unstable_by(|a, b| order(&items[*a], &items[*b]));
    sample[SAMPLE / 2]
}

/// Moves the items that go to the left by swapping; returns their number.
fn partition<T>(items: &mut [T], is_left: impl Fn(&T) -> bool) -> usize {
    let mut left = 0;
    for at in 0..items.len() {
        let goes = is_left(&items[at]);
        items.swap(left, at);
        left += usize::from(goes);
    }
    left
}
