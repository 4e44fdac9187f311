//! Waiting for a word in memory: within this process, since no others share memory here.

use crate::loom::atomic::{AtomicU32, Ordering};
use crate::loom::{Condvar, Mutex};

/// All that sleep, whatever their words are.
static SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Sleeps while `word` is `value`, until [`wake`] is called. It may also return for no reason: the
/// caller looks again.
pub fn wait(word: &AtomicU32, value: u32) {
    let guard = SLEEPERS.0.lock();
    if word.load(Ordering::SeqCst) == value {
        drop(SLEEPERS.1.wait(guard));
    }
}

/// Wakes those that sleep. `word` has been changed before.
pub fn wake(_word: &AtomicU32, _most: u32) {
    drop(SLEEPERS.0.lock());
    SLEEPERS.1.notify_all();
}
