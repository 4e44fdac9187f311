//! A parked thread is replaced: what happens before and after a thread parks in a wait.
//!
//! Tests: `tests/thread/pool.rs::{a_worker_that_says_it_blocks_is_replaced,
//! forty_tasks_of_two_workers_wait_for_tasks_spawned_after_them}`.

use std::time::Duration;

use super::config::STALL;
use super::raw_current as current;
use super::registry::{ask_for_all, look_into_all, some_lack_threads, waiters};
use super::sleep::ProcessWaiters;
use super::worker::Worker;
use crate::parking::park::Blocker;

/// This thread counts as waiting until this is dropped: if queued work of some pool stands still
/// meanwhile, one more thread of that pool runs.
#[must_use]
pub(in crate::thread) struct Waits<'a>(&'a ProcessWaiters);

impl<'a> Waits<'a> {
    #[inline]
    pub(in crate::thread) fn begin(waiters: &'a ProcessWaiters) -> Self {
        if waiters.begin() {
            look_into_all();
        }
        Self(waiters)
    }
}

impl Drop for Waits<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Called before and after any thread parks in a wait of this crate: if it is a worker, its pool
/// lets another thread replace it; and every pool that stands still counts it as waiting. While the
/// system refuses a pool its threads, every thread that waits asks again, whatever it waits for.
pub(in crate::thread) struct Compensate;

impl Blocker for Compensate {
    fn enter(&self, waits: bool) {
        current::with_home(|home| home.map(|home| home.block(waits)));
        if waits {
            std::mem::forget(Waits::begin(waiters()));
        }
        if some_lack_threads() {
            ask_for_all();
        }
    }

    fn leave(&self, waits: bool) {
        current::with_home(|home| home.map(Worker::unblock));
        if waits {
            waiters().end();
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        some_lack_threads().then_some(STALL)
    }
}
