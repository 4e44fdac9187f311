//! Descriptors that the helper thread waits for, besides deadlines.
//!
//! An entry has a timer, whose key is that of its descriptors, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, AsRawFd};

use super::timers::TimerKey;
pub(super) use crate::sys::bell::Bell;
use crate::sys::poll::poll_patiently;

/// How often to check for events that no descriptor reports.
pub(crate) const UNREPORTED_PERIOD: Duration = Duration::from_millis(100);

/// A descriptor, open for as long as it is waited for.
pub(crate) type WatchedFd = Arc<dyn AsFd + Send + Sync>;

/// Descriptors to wait for, and for which event.
#[derive(Clone)]
pub(crate) struct WatchedFds(pub [Option<(WatchedFd, PollFlags)>; 2]);

impl WatchedFds {
    /// As `poll` takes them.
    pub(crate) fn fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = self.0.iter().flatten();
        fds.map(|(source, flags)| PollFd::from_borrowed_fd(source.as_fd(), *flags))
    }
}

/// The descriptors of all timers that have some.
#[derive(Default)]
pub(super) struct Watched(HashMap<TimerKey, WatchedFds>);

impl Watched {
    pub(super) fn insert(&mut self, key: TimerKey, interest: WatchedFds) {
        self.0.insert(key, interest);
    }

    pub(super) fn remove(&mut self, key: TimerKey) -> Option<WatchedFds> {
        self.0.remove(&key)
    }

    /// Those whose timer is gone.
    pub(super) fn take_ended(
        &mut self,
        mut is_gone: impl FnMut(TimerKey) -> bool,
    ) -> Vec<WatchedFds> {
        let gone = self.0.extract_if(|key, _| is_gone(*key));
        gone.map(|(_, interest)| interest).collect()
    }

    pub(super) fn list(&self) -> Vec<(TimerKey, WatchedFds)> {
        let all = self.0.iter();
        all.map(|(key, interest)| (*key, interest.clone()))
            .collect()
    }
}

/// Waits for the bell and these descriptors until `until`; returns the keys of those that are
/// ready.
pub(super) fn look(
    bell: Option<&Bell>,
    watched: &[(TimerKey, WatchedFds)],
    until: Instant,
) -> Vec<TimerKey> {
    let mut fds: Vec<PollFd<'_>> = bell
        .map(|bell| PollFd::new(bell, PollFlags::IN))
        .into_iter()
        .collect();
    // Each descriptor is polled once, however many entries wait for it: the kernel polls no more
    // descriptors than may be open.
    let mut places = HashMap::new();
    let mut needs = Vec::with_capacity(watched.len());
    for (key, interest) in watched {
        for ((source, flags), fd) in interest.0.iter().flatten().zip(interest.fds()) {
            let name = (source.as_fd().as_raw_fd(), *flags);
            let place = *places.entry(name).or_insert_with(|| {
                fds.push(fd);
                fds.len() - 1
            });
            needs.push((*key, place));
        }
    }
    let pause = until.saturating_duration_since(Instant::now());
    poll_patiently(&mut fds, Some(pause));
    if let Some(bell) = bell
        && !fds[0].revents().is_empty()
    {
        bell.silence();
    }
    needs.retain(|(_, place)| !fds[*place].revents().is_empty());
    needs.into_iter().map(|(key, _)| key).collect()
}
