//! Workers that wait in the middle of their work: how many of them are replaced by spares, and when
//! a stall monitor looks after a pool that may be stuck.
//!
//! A worker that parks in a wait of this crate (`join`, the end of a scope, `Task::join`) is
//! *blocked*: another thread takes its place, a *spare* if all others run. When it comes back,
//! there is one runner too many; the next one that looks for work goes to sleep instead
//! (`width.rs`).
//!
//! **Protocol**, step 5. A runner that blocks subtracts itself from the word, executes a fence, and
//! then looks into the queues, as a sleeper does in step 4 (`protocol.rs`). If something is queued,
//! it recruits a thread as in step 2.
//!
//! **How many are replaced.** At once, as many as the pool is wide, at least [`AT_ONCE`]. While
//! more wait, fewer threads run than the pool is wide, and nothing new is begun: two thousand tasks
//! that each wait for the one thread of another pool gain nothing from two thousand threads. There
//! are three exceptions, because the waits might end only by work that is queued:
//!
//! - *Urgent* work is begun at once: a parked thread waits for it and may not run it itself
//!   (`install`, the shares of broadcasts). So a chain of such waits ends.
//! - If workers wait for long for something outside all pools (a promise, a call of
//!   [`blocking`](crate::ThreadPool::blocking)), twice as many are replaced as wait so. The stall
//!   monitor counts these waits.
//! - If nothing is taken from the queues, one more thread runs, then two, four and so on, by the
//!   stall rule. The first of them takes the newest entry.
//!
//! **The stall rule.** As many threads may run as the pool is wide, and all be stuck: in a user's
//! lock, say, which a blocked worker holds. So while a worker is blocked, and work is queued that
//! no free thread will take, the pool has a *stall monitor* (`stall_monitor.rs`). If
//! nothing is taken from the queues for [`STALL`], it lets one more thread run. It waits for longer
//! if too many run already and the process computes, since they may be busy.
//!
//! The lock may also be held by a thread outside the pool that waits for what is queued here. So
//! while any thread of the process waits (`waiters.rs`), there is a stall monitor, too. But then it
//! adds a thread only if one of the runners does not compute, since a busy pool is not stuck.
//!
//! A runner that is seen to be stuck then counts as blocked until it moves again (`standing.rs`),
//! and the further thread takes its place: that one goes on until it is stuck itself, and so comes
//! upon every entry, whatever else renews itself for ever. Only where no runner is seen to be
//! stuck, the further thread is one too many, and sleeps when it has run one entry.
//!
//! Each further thread comes after twice the time of the one before, but at most 16 times
//! [`STALL`]: tasks that block for a moment get little company, and `n` stuck ones are all begun
//! after `n` times that at most.
//!
//! The stall monitor also looks after calls that may block (`thread/spawn_blocking.rs`). While no
//! thread waits, or nothing is queued, there is none: an idle pool has no timer.

use std::time::Duration;

use super::counts::{BLOCKED, MONITORED, RUNNING, ThreadCounts};
use super::protocol::{Afterwards, Need, Recruited, SleepState};
use crate::loom::atomic::{Ordering, fence};
use crate::thread::engine::config::{AT_ONCE, STALL};

impl SleepState {
    /// Whether more workers wait than are replaced, and more run than should: then only urgent work
    /// may be begun.
    #[inline]
    pub(in crate::thread) fn is_full(&self) -> bool {
        // Every search asks. In most pools so many never wait, and then none of them reads the
        // word, which many searches change.
        self.crowded.load(Ordering::Relaxed) && {
            let now = self.counts();
            now.blocked() > AT_ONCE && now.running() > self.target(now)
        }
    }

    /// How many waiting workers are neither replaced at once, nor among `more` others.
    pub(in crate::thread) fn unreplaced(&self, more: usize) -> usize {
        let replaced = self.width().max(AT_ONCE) + more;
        self.counts().blocked().saturating_sub(replaced)
    }

    /// The stall monitor allows this many more replacements. Afterwards the caller must look into
    /// the queues, as after a change of the width.
    pub(in crate::thread) fn grant(&self, more: usize) {
        self.granted.store(more, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// A runner is about to park in a wait. Afterwards it must look into the queues, and recruit as
    /// for a push if there is something.
    pub(in crate::thread) fn block(&self) {
        if cfg!(any(loom, debug_assertions)) {
            let before = ThreadCounts(self.word.load(Ordering::SeqCst));
            assert!(before.running() > 0, "no thread ran");
        }
        // Subtracts from the runners and adds to the blocked in one step.
        self.subtract(RUNNING.wrapping_sub(BLOCKED));
        self.note_crowd();
        // Between the subtraction and the caller's look: step 5.
        fence(Ordering::SeqCst);
    }

    /// A runner stands still, if `marks` can say so: it counts as blocked until it calls
    /// [`unblock`](Self::unblock). Afterwards the caller must look into the queues, as after
    /// [`block`](Self::block).
    pub(in crate::thread) fn block_another(&self, marks: impl FnOnce() -> bool) -> bool {
        // Before the mark: from then on that runner may call `unblock`.
        self.delay_end();
        let marked = marks();
        if marked {
            self.subtract(RUNNING);
            fence(Ordering::SeqCst);
        } else {
            self.allow_end();
        }
        marked
    }

    /// A blocked runner continues.
    pub(in crate::thread) fn unblock(&self) {
        let before = ThreadCounts(self.word.fetch_sub(BLOCKED - RUNNING, Ordering::SeqCst));
        if cfg!(any(loom, debug_assertions)) {
            assert!(before.blocked() > 0, "no thread was blocked");
        }
        if before.blocked() == 1 && self.granted.load(Ordering::Relaxed) > 0 {
            self.granted.store(0, Ordering::Relaxed);
        }
    }

    /// A runner begins a call that may block. Afterwards it must look into the queues, if there is
    /// no stall monitor, and recruit as for a push if there is something.
    pub(in crate::thread) fn call_begins(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // Between the addition and the caller's look, as in step 5.
        fence(Ordering::SeqCst);
    }

    /// For a broken twin in the models.
    #[cfg(loom)]
    pub(in crate::thread) fn call_begins_unfenced(&self) {
        self.calls.store(1, Ordering::Relaxed);
    }

    /// The call has ended: limits the extra width to the number of remaining calls.
    pub(in crate::thread) fn call_ends(&self) {
        let left = self.calls.fetch_sub(1, Ordering::SeqCst) - 1;
        // Between the subtraction and the look at `extra`: pairs with `widen`.
        fence(Ordering::SeqCst);
        if self.extra.load(Ordering::SeqCst) > left {
            self.extra.fetch_min(left, Ordering::SeqCst);
        }
    }

    /// The stall monitor has seen how many calls wait. Afterwards it must look into the queues, as
    /// after a change of the width.
    pub(in crate::thread) fn widen(&self, by: usize) {
        self.extra.store(by, Ordering::SeqCst);
        // Between the store and this look: either it sees that the last call has ended, or that
        // call sees the store.
        fence(Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) == 0 {
            self.extra.store(0, Ordering::SeqCst);
        }
    }

    /// For a broken twin in the models.
    #[cfg(loom)]
    pub(in crate::thread) fn widen_blindly(&self, by: usize) {
        self.extra.store(by, Ordering::SeqCst);
    }

    /// The stall monitor ends: limits the extra width to the number of calls.
    pub(in crate::thread) fn end_trust(&self) {
        let calls = self.calls.load(Ordering::SeqCst);
        self.extra.fetch_min(calls, Ordering::SeqCst);
    }

    /// Whether a worker is blocked, or may be, and there is no stall monitor.
    pub(in crate::thread) fn lacks_monitor(&self) -> bool {
        let counts = self.counts();
        !counts.is_monitored() && self.may_stall(counts)
    }

    /// Whether the pool's own workers need a stall monitor: one is blocked, or may be.
    pub(in crate::thread) fn needs_monitor(&self) -> bool {
        self.may_stall(self.counts())
    }

    /// Whether other waiting threads need one: no thread is free for what is queued, and some
    /// thread of the process waits.
    pub(in crate::thread) fn needs_monitor_for_others(&self) -> bool {
        self.some_wait() && self.is_occupied(self.counts())
    }

    /// Whether as many threads run as should.
    fn is_occupied(&self, now: ThreadCounts) -> bool {
        now.running() >= self.wanted(now)
    }

    /// `Missing`: the caller must start a stall monitor, or say that there is none
    /// ([`end_monitor`](Self::end_monitor)).
    #[cold]
    pub(in crate::thread) fn begin_monitor(&self) -> Recruited {
        let asleep = self.asleep.lock();
        let needed = |now: ThreadCounts| {
            (self.need(now) == Some(Need::Monitor)).then_some(now.0 + MONITORED)
        };
        if asleep.closed {
            Recruited::Done
        } else if self.update(&needed) {
            Recruited::Missing
        } else {
            Recruited::Changed
        }
    }

    /// There is no stall monitor any more. Afterwards the caller must look into the queues, as in
    /// step 5.
    pub(in crate::thread) fn end_monitor(&self) {
        self.word.fetch_sub(MONITORED, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The stall monitor saw no progress: one more thread is to run. As [`recruit`](Self::recruit).
    pub(in crate::thread) fn recruit_more(&self) -> Recruited {
        self.recruit_if(&|_| true, Afterwards::MayWait)
    }

    /// How long the queues may stand still now: longer, the more runners there are too many
    /// already, because they may be busy and not stuck, or are known to be `stuck`.
    pub(in crate::thread) fn patience(&self, stuck: usize) -> Duration {
        STALL * (1 << (self.surplus() + stuck).min(4))
    }

    /// By how many the runners exceed the number that should run.
    fn surplus(&self) -> usize {
        let now = self.counts();
        now.running().saturating_sub(self.target(now))
    }

    /// Whether there are already so many surplus runners that more are added only now and then.
    pub(in crate::thread) fn is_crowded(&self) -> bool {
        self.surplus() >= AT_ONCE
    }
}
