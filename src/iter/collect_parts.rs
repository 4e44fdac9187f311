//! Collects all items into vectors and other buffers.
//!
//! **Job.** If the number of items is known, each is written to its place in one vector; otherwise
//! each part fills its own buffer, and the buffers are concatenated at the end.
//!
//! Tests: `tests/iter/collect.rs`.

use crate::thread::{
    FoldPosition, Producer, Seal, Source, append_all, append_right, divide, reserve,
};

/// The buffers of all parts, in the order of the items, each of which is `put` into one.
pub(super) fn gather<S, B, F>(mut source: S, put: F) -> Vec<B>
where
    S: Source,
    B: Default + Send,
    F: Fn(&mut B, S::Item) + Sync,
{
    let (shape, items) = (source.shape(Seal), source.open(Seal));
    let fold = |_: FoldPosition<'_>, so_far: Option<Vec<B>>, items: S::Producer<'_>| {
        let mut so_far = so_far.unwrap_or_else(|| vec![B::default()]);
        if let Some(buffer) = so_far.last_mut() {
            items.forward().for_each(|item| put(buffer, item));
        }
        Some(so_far)
    };
    let buffers = divide(shape, items, fold, append_right);
    drop((source, put)); // before the result is returned: a destructor that panics would lose it
    buffers.unwrap_or_default()
}

/// Appends all items to a vector.
pub(super) fn append<S: Source>(mut source: S, vec: &mut Vec<S::Item>) {
    if source.shape(Seal).exact {
        return append_all(&mut source, vec);
    }
    let mut lists = gather(source, Vec::push).into_iter();
    let mut len = lists.as_slice().iter().map(Vec::len).sum();
    if vec.is_empty() && vec.capacity() < len {
        *vec = lists.next().unwrap_or_default();
        len -= vec.len();
    }
    reserve(vec, len);
    for mut list in lists {
        vec.append(&mut list);
    }
}
