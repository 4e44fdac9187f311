//! The merge sort: pieces sorted by std, then merged by pairs, from the slice into a buffer, and
//! back.
//!
//! **Job.** Two adjacent runs are merged by two threads: the middle item of the longer run is
//! searched in the other, and the items before both cuts are merged separately from those behind.
//! What is in order already is not moved: so each part reports where its items are, and a part of
//! the buffer that nothing is merged into takes no memory.
//!
//! - **Q1** Merging copies items bit by bit: until a merge has ended, all items are still in their
//!   old places, each once. Copies are neither compared nor dropped before that, and an item that
//!   has been copied is not compared again, because comparing may change it.
//! - **Q2** The slice holds each of its items once whenever the caller's code may unwind out of
//!   here: a merge into the buffer leaves the slice unchanged; a merge from the buffer into the
//!   slice, if it unwinds, first copies the buffer back ([`CopyBack`]).
//!   After the first comparison in the buffer the items go back, merged or not.
//! - **Q3** The buffer never drops its contents as items, and a finished merge into it has all
//!   items of its part of the slice.
//! - **Q4** Both runs and the target are borrowed mutably, so only one thread at a time has access
//!   to an item: `T: Send` is enough.
//!
//! Rejected: copying back after each merge (as much memory traffic again).
//!
//! Tests: `tests/iter/sort.rs` (panics in each comparison, counted), and below.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::thread::{join, reserve};

/// Two runs with fewer items in total are merged by one thread.
const MERGE: usize = if cfg!(miri) { 8 } else { 8192 };

/// Items, or copies of items.
type MergeSlot<T> = MaybeUninit<T>;

/// Sorts `items`, which are not zero-sized; equal ones keep their order. Runs of at most `piece`
/// items are sorted by one thread.
pub(super) fn sort<T: Send, F>(items: &mut [T], piece: usize, order: &F)
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    let mut buffer = Vec::new();
    reserve(&mut buffer, items.len());
    let buffer = &mut buffer.spare_capacity_mut()[..items.len()];
    let items = ptr::from_mut(items) as *mut [MergeSlot<T>];
    // SAFETY: Q2: the places hold items again when this borrow ends, however it ends.
    let items = unsafe { &mut *items };
    if sort_part(items, buffer, piece, false, order) {
        copy(buffer, items);
    }
}

/// Sorts the items of a part of the slice. Returns whether the result is in its part of the buffer:
/// as `into_buffer` asks, or in the slice if nothing had to be moved.
fn sort_part<T: Send, F>(
    items: &mut [MergeSlot<T>],
    buffer: &mut [MergeSlot<T>],
    piece: usize,
    into_buffer: bool,
    order: &F,
) -> bool
where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    if items.len() <= piece {
        let whole = ptr::from_mut(items) as *mut [T];
        // SAFETY: Q2: the slice holds its items.
        let whole = unsafe { &mut *whole };
        if whole.is_sorted_by(|a, b| order(a, b).is_le()) {
            return false;
        }
        whole.sort_by(order);
        if into_buffer {
            copy(items, buffer);
        }
        return into_buffer;
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at_mut(middle);
    let (left_buffer, right_buffer) = buffer.split_at_mut(middle);
    let (left_moved, right_moved) = join(
        || sort_part(left, left_buffer, piece, !into_buffer, order),
        || sort_part(right, right_buffer, piece, !into_buffer, order),
    );
    if left_moved && right_moved {
        let restore = CopyBack(buffer, items);
        let (left, right) = restore.0.split_at_mut(middle);
        if !in_order(left, right, order) {
            merge(left, right, restore.1, order);
            mem::forget(restore);
        }
        return false;
    }
    let (left, right) = items.split_at_mut(middle);
    let (left_buffer, right_buffer) = buffer.split_at_mut(middle);
    if left_moved {
        copy(left_buffer, left);
    }
    if right_moved {
        copy(right_buffer, right);
    }
    let merges = !in_order(left, right, order);
    if merges {
        merge(left, right, buffer, order);
    }
    merges
}

/// Copies the runs back when it is dropped: because the merge unwinds, or there is none.
struct CopyBack<'a, T>(&'a mut [MergeSlot<T>], &'a mut [MergeSlot<T>]);

impl<T> Drop for CopyBack<'_, T> {
    fn drop(&mut self) {
        copy(self.0, self.1);
    }
}

/// Copies the bits of the items.
fn copy<T>(from: &[MergeSlot<T>], to: &mut [MergeSlot<T>]) {
    assert_eq!(from.len(), to.len());
    // SAFETY: Q1: bits are copied; the two have the same length and are borrowed separately; a
    // place may hold anything.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), from.len()) };
}

/// Whether `a` goes before `b`.
#[inline(always)]
fn is_less<T, F>(a: &MergeSlot<T>, b: &MergeSlot<T>, order: &F) -> bool
where
    F: Fn(&T, &T) -> Ordering,
{
    // SAFETY: Q1, Q3: the places that are merged hold items.
    let a = unsafe { a.assume_init_ref() };
    // SAFETY: Q1, Q3: as above.
    let b = unsafe { b.assume_init_ref() };
    order(a, b).is_lt()
}

/// Whether nothing of the right run goes before anything of the left one.
fn in_order<T, F>(left: &[MergeSlot<T>], right: &[MergeSlot<T>], order: &F) -> bool
where
    F: Fn(&T, &T) -> Ordering,
{
    match (left.last(), right.first()) {
        (Some(last), Some(first)) => !is_less(first, last, order),
        _ => true,
    }
}

/// Whether all of the right run goes before anything of the left one: halves that have changed
/// places, or pieces of a falling run.
fn comes_before<T, F>(right: &[MergeSlot<T>], left: &[MergeSlot<T>], order: &F) -> bool
where
    F: Fn(&T, &T) -> Ordering,
{
    match (right.last(), left.first()) {
        (Some(last), Some(first)) => is_less(last, first, order),
        _ => false,
    }
}

/// Copies two sorted runs into one; of equal items the left one comes first.
fn merge<T: Send, F>(
    left: &mut [MergeSlot<T>],
    right: &mut [MergeSlot<T>],
    target: &mut [MergeSlot<T>],
    order: &F,
) where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    if in_order(left, right, order) {
        let (near, far) = target.split_at_mut(left.len());
        copy(left, near);
        return copy(right, far);
    }
    if comes_before(right, left, order) {
        let (near, far) = target.split_at_mut(right.len());
        copy(right, near);
        return copy(left, far);
    }
    if target.len() < MERGE {
        return merge_here(left, right, target, order);
    }
    let (at, other);
    if left.len() >= right.len() {
        at = left.len() / 2;
        let pivot = &left[at];
        other = right.partition_point(|item| is_less(item, pivot, order));
        return merge_parts(left, right, target, (at, other), order);
    }
    at = right.len() / 2;
    let pivot = &right[at];
    other = left.partition_point(|item| !is_less(pivot, item, order));
    merge_parts(left, right, target, (other, at), order);
}

/// Divides a merge into two: the items before both cuts, and those behind.
fn merge_parts<T: Send, F>(
    left: &mut [MergeSlot<T>],
    right: &mut [MergeSlot<T>],
    target: &mut [MergeSlot<T>],
    cuts: (usize, usize),
    order: &F,
) where
    F: Fn(&T, &T) -> Ordering + Sync,
{
    let (left, left_behind) = left.split_at_mut(cuts.0);
    let (right, right_behind) = right.split_at_mut(cuts.1);
    let (near, far) = target.split_at_mut(cuts.0 + cuts.1);
    join(
        || merge(left, right, near, order),
        || merge(left_behind, right_behind, far, order),
    );
}

/// Merges from both ends in turn, so that neither waits for the other's comparisons. What one end
/// has taken the other compares no more (Q1).
fn merge_here<T, F>(
    left: &[MergeSlot<T>],
    right: &[MergeSlot<T>],
    target: &mut [MergeSlot<T>],
    order: &F,
) where
    F: Fn(&T, &T) -> Ordering,
{
    let ((mut l, mut r), (mut l_end, mut r_end)) = ((0, 0), (left.len(), right.len()));
    while l < l_end && r < r_end {
        let takes_right = is_less(&right[r], &left[l], order);
        let from = if takes_right { &right[r] } else { &left[l] };
        copy_one(from, &mut target[l + r]);
        l += usize::from(!takes_right);
        r += usize::from(takes_right);
        if l == l_end || r == r_end {
            break;
        }
        let (last_left, last_right) = (&left[l_end - 1], &right[r_end - 1]);
        let takes_left = is_less(last_right, last_left, order);
        let from = if takes_left { last_left } else { last_right };
        copy_one(from, &mut target[l_end + r_end - 1]);
        l_end -= usize::from(takes_left);
        r_end -= usize::from(!takes_left);
    }
    let (near, far) = target[l + r..l_end + r_end].split_at_mut(l_end - l);
    copy(&left[l..l_end], near);
    copy(&right[r..r_end], far);
}

fn copy_one<T>(from: &MergeSlot<T>, to: &mut MergeSlot<T>) {
    copy(std::slice::from_ref(from), std::slice::from_mut(to));
}
