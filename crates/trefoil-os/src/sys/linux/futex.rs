//! Waiting for a word in memory that processes share.

use std::sync::atomic::AtomicU32; // shared with other processes: no protocol here
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

/// Sleeps while `word` is `value`, until [`wake`] is called for it, and for this long at most. It
/// may also return for no reason: the caller looks again.
#[inline]
pub fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let _ = futex::wait(word, Flags::empty(), value, limit.as_ref());
}

/// Wakes up to `most` of those that sleep on `word`, in any process.
#[inline]
pub fn wake(word: &AtomicU32, most: u32) {
    let _ = futex::wake(word, Flags::empty(), most);
}
