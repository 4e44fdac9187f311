//! A source that looks at a token before each item, and ends when it is cancelled.
//!
//! **Job.** Looks at the token before each item of another source. When a thread has seen that it
//! is cancelled, its piece ends, and every piece gives up its items the next time that it is
//! divided, as those of a bridge do ([`Producer::settle`]). So neither the dividing engine nor the
//! consumers know of tokens. Whether items were left out is noted, because the result of a consumer
//! is then not that of all items.
//!
//! Tests: `tests/thread/until.rs`, `tests/iter/until.rs`.

use super::source::{Producer, Seal, Shape, Source, source};
use crate::loom::Arc;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::task::{CancelToken, TaskError};

/// A token, and whether an item was left out because of it.
#[derive(Debug)]
pub(crate) struct Stop<'t> {
    token: &'t CancelToken,
    left_out: AtomicBool,
}

impl Stop<'_> {
    /// `result`, or `Cancelled` if an item was left out.
    pub(crate) fn result<R>(&self, result: R) -> Result<R, TaskError> {
        if self.left_out.load(Ordering::Relaxed) {
            self.token.check().and(Err(TaskError::Cancelled))
        } else {
            Ok(result)
        }
    }

    /// Whether an item that is left must not begin.
    #[inline]
    fn is_set(&self) -> bool {
        let is_set = self.token.is_cancelled();
        if is_set {
            self.left_out.store(true, Ordering::Relaxed);
        }
        is_set
    }
}

/// The items of a parallel iterator, until a token is cancelled:
/// [`ParallelIterator::until`](crate::iter::ParallelIterator::until).
#[derive(Debug)]
pub(crate) struct ItemsUntil<'t, S> {
    source: S,
    stop: Arc<Stop<'t>>,
}

/// Items of which none passes after a token is cancelled:
/// [`ParallelIterator::until`](crate::iter::ParallelIterator::until).
///
/// All consumers return [`TaskError::Cancelled`] if an item was left out because of that. The most
/// frequent ones have methods here; [`with`](Self::with) takes any. A panic is resumed even if the
/// token is cancelled.
///
/// ```
/// use trefoil::prelude::*;
/// use trefoil::{CancelToken, TaskError};
///
/// let token = CancelToken::new();
/// let even = (0..10_u64).into_par_iter().until(&token).filter(|n| n % 2 == 0);
/// assert_eq!(even.collect::<Vec<_>>()?, [0, 2, 4, 6, 8]);
/// # Ok::<_, TaskError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until a consumer is called"]
pub struct Cancellable<'t, I> {
    pub(crate) items: I,
    pub(crate) stop: Arc<Stop<'t>>,
}

/// The items of `source` until `token` is cancelled.
pub(crate) fn until<S>(token: &CancelToken, source: S) -> Cancellable<'_, ItemsUntil<'_, S>> {
    let left_out = AtomicBool::new(false);
    let stop = Arc::new(Stop { token, left_out });
    let theirs = stop.clone();
    let items = ItemsUntil {
        source,
        stop: theirs,
    };
    Cancellable { items, stop }
}

source! {
    ['t, S: Source] ItemsUntil<'t, S>, S::Item, UntilPiece<'a, S::Producer<'a>>,
    |this| UntilPiece { items: this.source.open(Seal), stop: &this.stop, is_over: false },
    |this| Shape {
        exact: false,
        ..this.source.shape(Seal)
    }
}

/// A piece of [`ItemsUntil`].
#[derive(Debug)]
pub(crate) struct UntilPiece<'a, P> {
    items: P,
    stop: &'a Stop<'a>,
    /// Whether it has given up its items.
    is_over: bool,
}

impl<P: Producer> Producer for UntilPiece<'_, P> {
    type Item = P::Item;
    fn len(&self) -> usize {
        if self.is_over { 0 } else { self.items.len() }
    }
    fn settle(&mut self) {
        self.items.settle();
        self.is_over = self.len() > 0 && self.stop.is_set();
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.items.split_at(at);
        let piece = |items| Self { items, ..self };
        (piece(near), piece(far))
    }
    #[inline]
    fn forward(self) -> impl Iterator<Item = P::Item> {
        self.items.forward().take_while(|_| !self.stop.is_set())
    }
    fn backward(self) -> impl Iterator<Item = P::Item> {
        self.items.backward().take_while(|_| !self.stop.is_set())
    }
}
