//! What a pool knows of calls that may block, and whose places are lent meanwhile.
//!
//! A call that waits uses no processor, so its thread's place is *lent*: it counts as blocked, and another thread is woken
//! or started. See `blocking.rs` for the protocol.
//!
//! - **P35** A place's phase changes under its lock, and the word of `sleep` changes before that lock is let go of: so a
//!   thread is never counted twice as blocked, and never taken for a runner while it is not one.
//!
//! Tests: loom models in `checks/tests/blocking.rs`.

use std::time::Duration;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::sys::thread_clock::ThreadClock;

/// So many places of one pool are lent at a time.
const MOST: usize = 512;

/// What a thread does with its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No call is in progress, or it waits for a task, and has said so itself.
    #[default]
    Free,
    /// One is, and the thread counts as running.
    Taken,
    /// One is, and the thread counts as blocked, because the watcher has seen to it.
    Lent,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Which call it is.
    call: u64,
    /// It has been seen to wait.
    known: bool,
    clock: Option<ThreadClock>,
}

/// One thread's place, as far as calls are concerned.
#[derive(Debug, Default)]
pub(super) struct Lending(Mutex<State>);

/// A call in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) call: u64,
    pub(super) lent: bool,
    clock: Option<ThreadClock>,
    /// What its thread has used of a processor, if that can be told.
    used: Option<Duration>,
    /// It has been seen to wait for something else than a processor.
    pub(super) waits: bool,
}

impl Lending {
    /// The calling thread takes it over.
    pub(super) fn occupy(&self) {
        self.0.lock().clock = ThreadClock::mine();
    }

    /// A call begins; `lent`: already counted as blocked.
    pub(super) fn begin(&self, lent: bool) {
        let mut state = self.0.lock();
        state.call += 1;
        state.known = false;
        state.phase = if lent { Phase::Lent } else { Phase::Taken };
    }

    /// The call ends, or waits for a task. `unblock` is called if it was counted as blocked.
    pub(super) fn end(&self, unblock: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let lent = std::mem::take(&mut state.phase) == Phase::Lent;
        if lent {
            unblock();
        }
        lent
    }

    /// The call goes on after it has waited for a task.
    pub(super) fn go_on(&self) {
        self.0.lock().phase = Phase::Taken;
    }

    /// The watcher has seen that this call waits. `block` is called if it still counts as running.
    pub(super) fn lend(&self, call: u64, block: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let counted = state.phase == Phase::Taken && state.call == call;
        if counted {
            block();
            state.phase = Phase::Lent;
        }
        counted
    }

    /// This call has been seen to wait. True: for the first time.
    pub(super) fn vouch(&self, call: u64) -> bool {
        let mut state = self.0.lock();
        state.call == call && !std::mem::replace(&mut state.known, true)
    }

    pub(super) fn sample(&self) -> Option<Sample> {
        let state = self.0.lock();
        if state.phase == Phase::Free {
            return None;
        }
        Some(Sample {
            call: state.call,
            lent: state.phase == Phase::Lent,
            clock: state.clock,
            used: state.clock.and_then(ThreadClock::read),
            waits: false,
        })
    }
}

impl Sample {
    /// Where there are no such clocks, all wait.
    pub(super) fn is_waiting(&self, before: &Self, least: Duration) -> bool {
        let (Some(clock), Some(now), Some(earlier)) = (self.clock, self.used, before.used) else {
            return true;
        };
        now.saturating_sub(earlier) <= least && (before.waits || clock.wants_to_run() != Some(true))
    }
}

/// What a pool knows of its calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    lent: AtomicUsize,
    /// So many may begin on trust.
    trust: AtomicUsize,
}

impl Calls {
    /// A place may be lent: it counts from now on.
    pub(super) fn admit(&self) -> bool {
        let more = |lent: usize| (lent < MOST).then_some(lent + 1);
        self.lent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(super) fn is_full(&self) -> bool {
        self.lent.load(Ordering::Relaxed) >= MOST
    }

    pub(super) fn give_back(&self) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next call may begin as if it had been seen to wait.
    pub(super) fn on_trust(&self) -> bool {
        let less = |trust: usize| trust.checked_sub(1);
        self.trust
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
            && self.admit()
    }

    /// So many calls may begin on trust; none, when no thread looks any more.
    pub(super) fn trust(&self, calls: usize) {
        self.trust.store(calls, Ordering::Relaxed);
    }
}
