//! How many operations a task may do in one poll without a wait.
//!
//! No poll is interrupted, so an operation that is always ready must be refused now and then: then
//! it wakes its task and is pending, the poll ends, and other tasks run. The parts of a task
//! (`join!`, `select!`, a `FuturesUnordered`) are polled in an order of their own. If they shared
//! one count, the first of them could use it up each time. So each *source* (one direction of
//! a socket, a signal, an interval) has its own [`Share`]:
//!
//! 1. In one *round*, that is one poll of a task, a source may complete [`EACH`] operations.
//! 2. After [`ALL`] operations of all sources, each of those that had none in this round may still
//!    complete one. So a part that is polled gets on, and a round ends after `ALL` operations and
//!    one for each source.
//! 3. An operation that has to wait counts for nothing: it costs other tasks no time.
//!
//! A refusal helps only if the loop is what polls again. Inside another executor, which was called
//! in a task and blocks it, a refused operation is polled again in the same round. That is noticed
//! when no operation of any source was completed since it was refused: what polls it had nothing
//! else to do. Then a new round begins, in which each source may complete one operation. (A
//! combinator that polls a woken part again at once causes this, too, a limited number of times. An
//! executor that makes a new operation for each attempt is not noticed: it must wait, or return.)
//! Each operation remembers its own refusal, because another one of the same source, which another
//! part of the task has begun, proves nothing.
//!
//! Rejected: one count for each poll, in common (it starves parts, and their timeouts); a rotation
//! in our own `join!` alone (the macros of other crates starve); a limit in time (it says nothing
//! about parts); to recognise the other executor by its waker (`FuturesUnordered` has wakers of its
//! own, too).
//!
//! Tests: `tests/event_loop/budget.rs`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed}; // counters of one thread: no protocol
use std::task::{Context, Poll, ready};

use super::limits::{ALL, EACH};

/// The loop's part: the round, and what is left in it. Numbers may wrap around: a share that takes
/// an old round for the present one is refused too early, once.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    round: Cell<u32>,
    /// The round for which `left` holds.
    counted: Cell<u32>,
    /// How many operations are left of [`ALL`].
    left: Cell<u32>,
    /// How many operations were completed since the loop began.
    completed: Cell<u32>,
    /// The round in which an operation was last refused.
    refused: Cell<u32>,
}

/// How many operations of one source were completed in the present round. Only the thread of the
/// source's loop uses it.
#[derive(Debug, Default)]
pub(crate) struct Share {
    round: AtomicU32,
    /// How many operations were completed in that round.
    used: AtomicU32,
    /// For the source's `poll_…` methods, whose calls belong to one operation: its last refusal.
    refused: AtomicU32,
}

/// How many operations had been completed when this one was last refused.
#[derive(Debug, Default)]
pub(crate) struct Refusal(u32);

impl Budget {
    /// Begins a round: a poll.
    #[inline]
    pub(super) fn next_round(&self) {
        self.round.set(self.round.get().wrapping_add(1));
    }

    /// Called before an operation that may not have to wait: refuses it if it would keep the loop
    /// from other tasks.
    #[inline]
    pub(crate) fn poll(&self, share: &Share, refusal: &mut Refusal, cx: &Context<'_>) -> Poll<()> {
        let round = self.round.get();
        if share.round.load(Relaxed) != round {
            share.round.store(round, Relaxed);
            share.used.store(0, Relaxed);
            if self.counted.get() != round {
                self.counted.set(round);
                self.left.set(ALL);
            }
            return Poll::Ready(()); // the first one of each source
        }
        let used = share.used.load(Relaxed);
        if used == 0 || used < EACH && self.left.get() > 0 {
            return Poll::Ready(());
        }
        self.refuse(share, refusal, cx)
    }

    /// Does an operation that may not have to wait. (One that is written between [`poll`](Self::poll)
    /// and [`complete`](Self::complete) takes 15 instructions more.)
    #[inline]
    pub(crate) fn operate<R>(
        &self,
        share: &Share,
        refusal: &mut Refusal,
        cx: &Context<'_>,
        operation: impl FnOnce(&Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        ready!(self.poll(share, refusal, cx));
        let polled = operation(cx);
        if polled.is_ready() {
            self.complete(share);
        }
        polled
    }

    /// Like [`poll`](Self::poll), for a `poll_…` method.
    #[inline]
    pub(crate) fn poll_as_method(&self, share: &Share, cx: &Context<'_>) -> Poll<()> {
        let mut refusal = Refusal(share.refused.load(Relaxed));
        let polled = self.poll(share, &mut refusal, cx);
        share.refused.store(refusal.0, Relaxed);
        polled
    }

    #[cold]
    fn refuse(&self, share: &Share, refusal: &mut Refusal, cx: &Context<'_>) -> Poll<()> {
        let completed = self.completed.get();
        if refusal.0 == completed {
            self.next_round();
            self.counted.set(self.round.get());
            self.left.set(0);
            return self.poll(share, refusal, cx);
        }
        refusal.0 = completed;
        self.refused.set(self.round.get());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Called after an operation that did not have to wait.
    #[inline]
    pub(crate) fn complete(&self, share: &Share) {
        let used = share.used.load(Relaxed);
        share.used.store(used.wrapping_add(1), Relaxed);
        self.left.set(self.left.get().saturating_sub(1));
        self.completed.set(self.completed.get().wrapping_add(1));
    }

    /// Begins a round if an operation was refused in this one. `false`: none was.
    pub(super) fn renew(&self) -> bool {
        let has_refused = self.refused.get() == self.round.get();
        if has_refused {
            self.next_round();
            self.refused.set(self.round.get()); // for a time limit around the one that asks
        }
        has_refused
    }
}
