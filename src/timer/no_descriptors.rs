//! In a build without descriptors the helper thread waits for deadlines only.

use std::convert::Infallible;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::timers::TimerKey;
use crate::sys::bell::Bell;
use crate::sys::poll::poll_patiently;

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

/// Waits for the bell until `until`.
pub(super) fn look(bell: Option<&Bell>, _: &[WatchedFds], until: Instant) -> Vec<TimerKey> {
    let mut fds = bell.map(|bell| [PollFd::new(bell, PollFlags::IN)]);
    let fds: &mut [PollFd<'_>] = fds.as_mut().map_or(&mut [], |fds| fds);
    let pause = until.saturating_duration_since(Instant::now());
    poll_patiently(fds, Some(pause));
    if let (Some(bell), [polled]) = (bell, fds)
        && !polled.revents().is_empty()
    {
        bell.silence();
    }
    Vec::new()
}
