//! What the driver does of its own accord with a worker's process, and when.
//!
//! These times are not the scheduler's (`sched/due.rs`), because they follow from sockets and
//! processes, which it does not know. They have the same form: one list, the next of which is both
//! what the driver sleeps for and what it does then.
//!
//! Tests: `parent/driver/crowded.rs`, `tests/process/{undying,deaths}.rs`.

use std::time::Instant;

use super::link::Link;

/// Something that is done with a link when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkDue {
    /// The kernel lacked memory or descriptors: send again.
    Send,
    /// See whether a process that starts waits or computes.
    LookAtStart,
    /// Its stream has ended, and the process that stands for it lives on.
    FinishOff,
    /// Every way to end it has been tried.
    Abandon,
}

impl Link {
    /// What is due next; `is_starting`: its worker has not said hello.
    pub(super) fn next_due(&self, is_starting: bool) -> Option<(Instant, LinkDue)> {
        let look = self.startup.as_ref().filter(|_| is_starting);
        let all = [
            (self.peer.stream.crowded_until, LinkDue::Send),
            (look.map(|watch| watch.next), LinkDue::LookAtStart),
            (self.finish_at, LinkDue::FinishOff),
            (self.abandon_at, LinkDue::Abandon),
        ];
        let times = all.into_iter().filter_map(|(at, what)| Some((at?, what)));
        times.min_by_key(|(at, _)| *at)
    }
}
