//! How much processor time a thread has used: these systems do not report it of other threads.

use std::time::Duration;

/// The clock of one thread: there are none here.
#[derive(Clone, Copy, Debug)]
pub enum ThreadClock {}

impl ThreadClock {
    /// The calling thread's clock.
    pub fn mine() -> Option<Self> {
        None
    }

    /// How much processor time its thread has used. `None`: the thread has ended.
    pub fn read(self) -> Option<Duration> {
        match self {}
    }

    /// Whether its thread is running, or would be if a processor were free. `None`: unknown.
    pub fn wants_to_run(self) -> Option<bool> {
        match self {}
    }

    /// Whether another thread of this process wants to run: unknown here, so `false`.
    pub fn another_wants_to_run() -> bool {
        false
    }
}
