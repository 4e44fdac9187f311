//! Calls that may block, for the models: a pool that is widened while its call ends.
//!
//! It drives the real `sleep`, for a pool of one thread, without clocks: the model itself says when
//! the call was seen to wait. The models are in `tests/trefoil-checks/tests/blocking.rs`.
//!
//! Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::Arc;

use super::engine::sleep::{Need, ProcessWaiters, SleepState};

/// A step that a broken twin of a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Step 5: the thread that widens the pool does not check whether there still is a call.
    NoSecondLook,
    /// Step 1: the call begins without a fence.
    NoFence,
}

/// A pool of one runner.
pub struct Caller {
    sleep: SleepState,
    broken: Broken,
}

impl Caller {
    /// A pool whose runner runs.
    pub fn new(broken: Broken) -> Arc<Self> {
        let this = Self {
            sleep: SleepState::new(1, Arc::new(ProcessWaiters::new())),
            broken,
        };
        let _last = this.sleep.found();
        Arc::new(this)
    }

    /// Like `Worker::begin_call`. True: there is no stall monitor, and one is needed if something
    /// is queued.
    pub fn begin(&self) -> bool {
        if self.broken == Broken::NoFence {
            self.sleep.call_begins_unfenced();
        } else {
            self.sleep.call_begins();
        }
        self.sleep.lacks_monitor()
    }

    /// Like `Worker::end_call`.
    pub fn end(&self) {
        self.sleep.call_ends();
    }

    /// The stall monitor has seen one call wait.
    pub fn widen(&self) {
        if self.broken == Broken::NoSecondLook {
            self.sleep.widen_blindly(1);
        } else {
            self.sleep.widen(1);
        }
    }

    /// After a push. True: a stall monitor is needed.
    pub fn published(&self) -> bool {
        self.sleep.need_after_push() == Some(Need::Monitor)
    }

    /// How many threads should run.
    pub fn target(&self) -> usize {
        self.sleep.target(self.sleep.counts())
    }
}
