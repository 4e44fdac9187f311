//! A loop whose events and whose time a test invents.
//!
//! The real turn runs, with the real queue, table, timers, waiters and readiness; what the kernel
//! would report is [injected](EventLoop::inject) instead, in whatever order a test likes, and
//! the (virtual) clock moves only when it is [told to](EventLoop::advance). The test that does so
//! is the one beside `io::source`.

use std::time::Duration;

use super::{EventLoop, SourceKey, current, turn};
use crate::sys::poller::Readiness;
use crate::task::panic::contain;

impl EventLoop {
    /// One turn, which never waits. True: there is more to do.
    pub(crate) fn turn_simulated(&self) -> bool {
        let _entered = current::enter(&self.local);
        turn::simulate(&self.local)
    }

    /// An event, as if the kernel had reported it; of a source that is gone, too. How many it
    /// wakes.
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

    /// Time goes by.
    pub(crate) fn advance(&self, by: Duration) {
        let clock = self.local.shared.clock();
        clock.expect("it has a virtual clock").advance(by);
    }

    /// How many wait for descriptors.
    pub(crate) fn count_waiters(&self) -> usize {
        self.local.reactor.borrow().count_waiters()
    }
}
