//! A loop whose events and time a test controls.
//!
//! The real turn runs, with the real queue, table, timers, waiters and readiness. Events are
//! [injected](EventLoop::inject) in any order instead of being reported by the kernel, and the
//! (virtual) clock moves only [on demand](EventLoop::advance). The test in
//! `src/io/source/simulated.rs` uses it.

use std::time::Duration;

use super::{EventLoop, SourceKey, entered_loop, turn};
use crate::sys::poller::Readiness;
use crate::task::panic::contain;

impl EventLoop {
    /// One turn, which never waits. True: there is more to do.
    pub(crate) fn turn_simulated(&self) -> bool {
        let _entered = entered_loop::enter(&self.local);
        turn::simulate(&self.local)
    }

    /// Injects an event, as if the kernel had reported it, possibly for a source that is gone.
    /// Returns how many tasks it wakes.
    pub(crate) fn inject(&self, key: SourceKey, ready: [Readiness; 2]) -> usize {
        let mut woken = Vec::new();
        let reactor = &self.local.reactor;
        reactor.borrow_mut().pretend(key, ready, &mut woken);
        let count = woken.len();
        for waker in woken {
            contain(|| waker.wake());
        }
        count
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: Duration) {
        let clock = self.local.shared.clock();
        clock.expect("it has a virtual clock").advance(by);
    }

    /// How many futures wait for descriptors.
    pub(crate) fn count_waiters(&self) -> usize {
        self.local.reactor.borrow().count_waiters()
    }

    /// How many tasks have not ended.
    pub(crate) fn count_tasks(&self) -> usize {
        self.local.table.borrow().tasks().count()
    }
}
