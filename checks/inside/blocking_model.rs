//! Calls that may block, for the models: a place that is lent while its owner goes on.
//!
//! What it drives are `lending.rs` and `sleep` as they are, for a pool of one thread; the clocks are not there: whoever
//! lends says that he has seen the call wait. The models are in `checks/tests/blocking.rs`.
//!
//! Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::Arc;

use super::lending::Lending;
use super::sleep::{Need, Sleep, Sleeper, WakeCell};

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// P35: the place is lent first, and counted after the lock has been let go of.
    CountedLate,
    /// Step 1: the call begins without a fence.
    NoFence,
}

#[derive(Clone)]
struct NoSleeper(Arc<WakeCell>);

impl Sleeper for NoSleeper {
    fn wake_cell(&self) -> &WakeCell {
        &self.0
    }
    fn index(&self) -> usize {
        0
    }
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A pool of one runner, and its place.
pub struct Caller {
    sleep: Sleep<NoSleeper>,
    lending: Lending,
    broken: Broken,
}

impl Caller {
    /// Its runner runs.
    pub fn new(broken: Broken) -> Arc<Self> {
        let this = Self {
            sleep: Sleep::new(1),
            lending: Lending::default(),
            broken,
        };
        let _last = this.sleep.found();
        Arc::new(this)
    }

    /// As `Worker::begin_call`. True: nobody watches, and somebody should if there is something queued.
    pub fn begin(&self) -> bool {
        if self.broken == Broken::NoFence {
            self.sleep.call_begins_unfenced();
        } else {
            self.sleep.call_begins();
        }
        self.lending.begin(false);
        self.sleep.is_unwatched()
    }

    /// As `Worker::take_place_back`.
    fn take_place_back(&self) -> bool {
        self.lending.end(|| self.sleep.unblock())
    }

    /// As `Worker::end_call`.
    pub fn end(&self) -> bool {
        let lent = self.take_place_back();
        self.sleep.call_ends();
        lent
    }

    /// As `Worker::block`, inside the call.
    pub fn wait(&self) -> bool {
        let lent = self.take_place_back();
        self.sleep.block();
        lent
    }

    /// As `Worker::unblock`.
    pub fn go_on(&self) {
        self.sleep.unblock();
        self.lending.go_on();
    }

    /// The watcher has seen the first call wait.
    pub fn lend(&self) -> bool {
        if self.broken == Broken::CountedLate {
            let lent = self.lending.lend(1, || ());
            if lent {
                self.sleep.block();
            }
            return lent;
        }
        self.lending.lend(1, || self.sleep.block())
    }

    /// After a push. True: a watcher is wanted.
    pub fn published(&self) -> bool {
        self.sleep.publish() == Need::Watcher
    }

    /// How many run, and how many are blocked.
    pub fn census(&self) -> (u64, u64) {
        {
            let counts = self.sleep.counts();
            (counts.running() as u64, counts.blocked() as u64)
        }
    }
}
