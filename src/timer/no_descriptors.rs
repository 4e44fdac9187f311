//! In a build without descriptors the helper thread waits for deadlines only.

use std::convert::Infallible;
use std::time::Instant;

use super::timers::TimerKey;
use crate::loom::{Condvar, Mutex};

/// There are none.
pub(super) type WatchedFds = Infallible;

/// No timer has descriptors.
#[derive(Default)]
pub(super) struct Watched {}

impl Watched {
    pub(super) fn insert(&self, _: TimerKey, interest: WatchedFds) {
        match interest {}
    }

    pub(super) fn remove(&self, _: TimerKey) -> Option<WatchedFds> {
        None
    }

    pub(super) fn take_ended(&self, _: impl FnMut(TimerKey) -> bool) -> [WatchedFds; 0] {
        []
    }

    pub(super) fn list(&self) -> [WatchedFds; 0] {
        []
    }
}

/// Ends the helper thread's wait.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// A silent bell, which the system cannot refuse.
    pub(super) fn new() -> Result<Self, Infallible> {
        Ok(Self::default())
    }

    pub(super) fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }
}

/// Waits for the bell, which there always is, until `until`, and silences it.
pub(super) fn look(bell: Option<&Bell>, _: &[WatchedFds], until: Instant) -> Vec<TimerKey> {
    if let Some(bell) = bell {
        let (mut rung, mut late) = (bell.rung.lock(), false);
        while !*rung && !late {
            (rung, late) = bell.changed.wait_until(rung, until);
        }
        *rung = false;
    }
    Vec::new()
}
