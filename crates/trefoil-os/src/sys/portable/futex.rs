//! Waiting for a word in memory: within this process, since no others share memory here.

use std::time::{Duration, Instant};

use crate::loom::atomic::{AtomicU32, Ordering};
use crate::loom::{Condvar, Mutex};
use crate::sys::fork::PerProcess;

/// All that sleep, whatever their words are.
fn sleepers() -> &'static (Mutex<()>, Condvar) {
    static SLEEPERS: PerProcess<(Mutex<()>, Condvar)> = PerProcess::new();
    SLEEPERS.get_or_init(Default::default)
}

/// Sleeps while `word` is `value`, until [`wake`] is called, and for this long at most. It may also
/// return for no reason: the caller looks again.
pub fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let (lock, changed) = sleepers();
    let guard = lock.lock();
    if word.load(Ordering::SeqCst) == value {
        match limit {
            None => drop(changed.wait(guard)),
            Some(limit) => drop(changed.wait_until(guard, Instant::now() + limit)),
        }
    }
}

/// Wakes those that sleep. `word` has been changed before.
pub fn wake(_word: &AtomicU32, _most: u32) {
    let (lock, changed) = sleepers();
    drop(lock.lock());
    changed.notify_all();
}
