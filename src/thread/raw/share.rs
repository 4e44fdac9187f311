//! A round: one closure on the stack of a thread that waits, called once for each of
//! several places.
//!
//! **Job.** `broadcast` lends its closure to all workers at once. A [`Share`] is the right to
//! call it for one index; it lies in a worker's post until it is taken.
//!
//! **Protocol.** 1. [`round`] makes the shares, each counted, and hands them to `deliver`.
//! 2. The owner of a share consumes it: by running it, or by dropping it (the pool is
//! closed), and then the closure is not called for that index. Either way the borrow goes first, and is
//! counted off then. 3. `round` runs what the caller does itself, waits until the
//! count is zero, and only then returns.
//!
//! - **P30** The references that have lost their lifetime are inside of shares; each is
//!   counted until it has been dropped.
//! - **P31** `round` neither returns nor unwinds before the count is zero; except in a forked
//!   child, where the threads that had the other shares do not exist, and what lies in the posts of a parent's
//!   pool is never looked at.
//!
//! Rejected: a job with a latch for each index (as many wake-ups of the waiter); the
//! queue of a scope (its waiter takes from it, and these are for others).
//!
//! Tests: `tests/thread/resize.rs` (borrows, panics, drops), also under Miri.
#![allow(unsafe_code)]

use std::mem;
use std::sync::Arc;

use crate::task::context::{Inherited, inherit};
use crate::task::panic::{Panic, catch, contain};
use crate::thread::countdown::Countdown;
use crate::thread::latch::Latch;
use crate::thread::wake::WakeHandle;

/// What is called for each index. Does not unwind.
pub(in crate::thread) trait Turn: Send + Sync {
    fn take(&self, index: usize);
}

/// The right to one call.
pub(in crate::thread) struct Share {
    turn: Option<Arc<dyn Turn>>,
    index: usize,
    round: Arc<Round>,
}

/// What outlives the round for a moment.
struct Round {
    /// Shares not yet dropped, and one for the caller.
    left: Countdown,
    /// The task that the round is in.
    inherited: Inherited,
}

impl Share {
    /// The place that it is for.
    pub(in crate::thread) fn index(&self) -> usize {
        self.index
    }

    /// Calls it. Never unwinds.
    pub(in crate::thread) fn run(self) {
        if let Some(turn) = &self.turn {
            // SAFETY: P30, P31: this share is counted, so the caller is still inside of `round`, in the
            // task that it was taken in.
            let _inherited = unsafe { inherit(self.round.inherited) };
            turn.take(self.index);
        }
    }
}

impl Drop for Share {
    /// P30: first the borrow, then the count.
    fn drop(&mut self) {
        let turn = self.turn.take();
        contain(|| drop(turn));
        self.round.left.off();
    }
}

/// Hands a share of `turn` for each of `indices` to `deliver`, runs `here`, and returns when all shares are gone: `wait` returns
/// when the latch is set. What `here` gave, or its panic, comes back.
pub(in crate::thread) fn round<R>(
    waiter: &WakeHandle,
    turn: &Arc<dyn Turn + '_>,
    indices: &[usize],
    deliver: impl FnOnce(Vec<Share>),
    here: impl FnOnce() -> R,
    wait: impl FnOnce(&Latch),
) -> Result<R, Panic> {
    let round = Arc::new(Round {
        left: Countdown::new(indices.len() + 1, waiter.clone()),
        inherited: Inherited::current(),
    });
    let share = |&index| {
        // SAFETY: P30, P31: only the lifetime changes. The reference is in a counted share, and this
        // frame, which borrows the turn, does not end before the count is zero.
        let turn = unsafe { mem::transmute::<Arc<dyn Turn + '_>, Arc<dyn Turn>>(Arc::clone(turn)) };
        Share {
            turn: Some(turn),
            index,
            round: Arc::clone(&round),
        }
    };
    let shares = indices.iter().map(share).collect();
    // P31: between here and the end of the wait nothing unwinds.
    let result = catch(|| {
        deliver(shares);
        here()
    });
    if !round.left.off() {
        wait(round.left.latch());
        assert!(round.left.latch().is_set(), "P31: a share is left");
    }
    result
}
