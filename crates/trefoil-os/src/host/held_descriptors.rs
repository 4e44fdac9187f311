//! How many descriptors from other processes this process may hold: those that have
//! arrived, and copies that it has made instead of them, until the value that they belong to has
//! been decoded.
//!
//! The descriptors of a process are few, and everything in it needs some. So what other processes
//! send takes at most half of them, all links together: what exceeds that is closed at once, and
//! missing when its value is decoded. (What has been decoded belongs to the program.)
//!
//! Tests: below; `tests/process/hostile.rs`.

use super::handover;
use crate::sys::files;

// A count: no protocol to model.
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are held.
static ALL: AtomicUsize = AtomicUsize::new(0);

/// As long as it exists, this number of descriptors counts as held.
#[derive(Debug, Default)]
pub struct HeldDescriptors(usize);

impl HeldDescriptors {
    /// Counts `count` more; `None` if they would be too many.
    pub fn count(count: usize) -> Option<Self> {
        if count == 0 {
            return Some(Self(0));
        }
        Self::count_of(
            count,
            (files::most_open() / 2).max(handover::MOST_DESCRIPTORS),
        )
    }

    fn count_of(count: usize, most: usize) -> Option<Self> {
        let more = |all: usize| all.checked_add(count).filter(|sum| *sum <= most);
        let taken = ALL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Self(count)) // (only then: its drop counts)
    }
}

impl Drop for HeldDescriptors {
    fn drop(&mut self) {
        if self.0 > 0 {
            ALL.fetch_sub(self.0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// (Other tests hold some meanwhile, but far fewer.)
    #[test]
    fn more_than_there_may_be_is_refused() {
        const MANY: usize = 1 << 28;
        let some = HeldDescriptors::count_of(MANY, 2 * MANY).unwrap();
        assert!(HeldDescriptors::count_of(MANY + 1, 2 * MANY).is_none());
        assert!(
            HeldDescriptors::count_of(MANY + 1, 2 * MANY).is_none(),
            "what was refused counts"
        );
        let more = HeldDescriptors::count_of(MANY / 2, 2 * MANY).unwrap();
        assert!(HeldDescriptors::count_of(MANY, 2 * MANY).is_none());
        drop((some, more));
        assert!(HeldDescriptors::count_of(MANY + MANY / 2, 2 * MANY).is_some());
    }
}
