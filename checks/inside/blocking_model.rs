//! Calls that may block, for the models: a pool that is made wider while its call ends.
//!
//! What it drives is `sleep` as it is, for a pool of one thread; the clocks are not there: whoever
//! makes it wider says that he has seen the call wait. The models are in
//! `checks/tests/blocking.rs`.
//!
//! Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::Arc;

use super::sleep::{Need, Sleep};

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Step 5: whoever makes the pool wider does not look whether there still is a call.
    NoSecondLook,
    /// Step 1: the call begins without a fence.
    NoFence,
}

/// A pool of one runner.
pub struct Caller {
    sleep: Sleep,
    broken: Broken,
}

impl Caller {
    /// Its runner runs.
    pub fn new(broken: Broken) -> Arc<Self> {
        let this = Self {
            sleep: Sleep::new(1),
            broken,
        };
        let _last = this.sleep.found();
        Arc::new(this)
    }

    /// As `Worker::begin_call`. True: nobody watches, and somebody should if there is something
    /// queued.
    pub fn begin(&self) -> bool {
        if self.broken == Broken::NoFence {
            self.sleep.call_begins_unfenced();
        } else {
            self.sleep.call_begins();
        }
        self.sleep.is_unwatched()
    }

    /// As `Worker::end_call`.
    pub fn end(&self) {
        self.sleep.call_ends();
    }

    /// The watcher has seen one call wait.
    pub fn widen(&self) {
        if self.broken == Broken::NoSecondLook {
            self.sleep.widen_blindly(1);
        } else {
            self.sleep.widen(1);
        }
    }

    /// After a push. True: a watcher is wanted.
    pub fn published(&self) -> bool {
        self.sleep.need_after_push() == Some(Need::Watch)
    }

    /// How many threads should run.
    pub fn target(&self) -> usize {
        self.sleep.target(self.sleep.counts())
    }
}
