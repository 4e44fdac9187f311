//! All items into vectors and other buffers.
//!
//! **Job.** Where the number of items is known, each is written to its place in one vector; else each part fills a buffer of its own,
//! and the buffers are put together in the end.
//!
//! Tests: `tests/iter/collect.rs`.

use crate::thread::{Grouping, Here, Producer, Source, append_all, divide, try_collect};

/// The buffers of all parts, in the order of the items.
pub(super) fn gather<S, B>(mut source: S) -> Vec<B>
where
    S: Source,
    B: Default + Extend<S::Item> + Send,
{
    let (shape, items) = (source.shape(), source.open());
    let fold = |_: Here<'_>, so_far: Option<Vec<B>>, items: _| {
        let mut so_far = so_far.unwrap_or_else(|| vec![B::default()]);
        if let Some(buffer) = so_far.last_mut() {
            buffer.extend(forward(items));
        }
        Some(so_far)
    };
    divide(Grouping::Any, shape, items, fold, together).unwrap_or_default()
}

fn forward<P: Producer>(items: P) -> P::Iter {
    items.forward()
}

fn together<B>(mut left: Vec<B>, mut right: Vec<B>) -> Vec<B> {
    left.append(&mut right);
    left
}

/// Appends all items to a vector.
pub(super) fn append<S: Source>(mut source: S, vec: &mut Vec<S::Item>) {
    if source.shape().exact {
        return append_all(&mut source, vec);
    }
    let mut lists = gather::<S, Vec<S::Item>>(source);
    if vec.is_empty() && lists.len() == 1 {
        *vec = lists.remove(0);
        return;
    }
    vec.reserve(lists.iter().map(Vec::len).sum());
    for mut list in lists {
        vec.append(&mut list);
    }
}

/// All values; or the failure of the lowest index.
pub(super) fn try_gather<S, T, E>(mut source: S) -> Result<Vec<T>, E>
where
    S: Source<Item = Result<T, E>>,
    T: Send,
    E: Send,
{
    if source.shape().exact {
        return try_collect(source);
    }
    let (shape, items) = (source.shape(), source.open());
    let fold = |here: Here<'_>, so_far: Option<Result<Vec<T>, E>>, items: _| {
        let mut so_far = match so_far.unwrap_or(Ok(Vec::new())) {
            Ok(so_far) => so_far,
            failed => return Some(failed),
        };
        for item in forward(items) {
            match item {
                Ok(item) => so_far.push(item),
                Err(error) => {
                    here.stop_behind();
                    return Some(Err(error));
                }
            }
        }
        Some(Ok(so_far))
    };
    let join = |left, right| match (left, right) {
        (Ok(left), Ok(right)) => Ok(together(left, right)),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let all = divide(Grouping::Any, shape, items, fold, join);
    all.unwrap_or(Ok(Vec::new()))
}

/// Items of which some go to the left.
#[derive(Debug)]
pub(super) struct Parted<T>(pub(super) Vec<T>, pub(super) Vec<T>);

impl<T> Default for Parted<T> {
    fn default() -> Self {
        Self(Vec::new(), Vec::new())
    }
}

impl<T> Extend<(bool, T)> for Parted<T> {
    fn extend<I: IntoIterator<Item = (bool, T)>>(&mut self, items: I) {
        for (left, item) in items {
            let side = if left { &mut self.0 } else { &mut self.1 };
            side.push(item);
        }
    }
}
