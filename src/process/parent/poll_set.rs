//! The descriptors that the driver's thread sleeps on, and which of them are ready.
//!
//! It is made anew for each turn, and slept on with `poll` and not `epoll`: there are three
//! descriptors for each of a few workers, and what is awaited of them changes with every turn.
//! It has its own references, so that other threads may lock the engine, and drop links, meanwhile.
//!
//! Tests: `parent/driver/crowded.rs`, `tests/process/unread.rs`.

use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;

use super::link::Link;
use crate::process::job::slot_id::SlotId;
use crate::sys::bell::Bell;
use crate::sys::poll::poll_patiently;

/// Anything with a descriptor that `poll` can wait for.
type Descriptor = dyn AsFd + Send + Sync;

/// The descriptors that the thread sleeps on.
pub(super) struct PollSet {
    pub(super) sources: Vec<(Owner, EventSource, Arc<Descriptor>, PollFlags)>,
    pub(super) until: Option<Instant>,
}

impl PollSet {
    /// A set that has only the bell, without a limit in time.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self {
            sources: vec![(Owner::Pool, EventSource::Bell, bell, PollFlags::IN)],
            until: None,
        }
    }

    /// Adds what is awaited of worker `slot`; `reads_stderr`: there is room for that.
    pub(super) fn add(&mut self, slot: SlotId, link: &Link, reads_stderr: bool) {
        let mut add = |source, descriptor: Arc<Descriptor>, events| {
            self.sources.push((Owner::Pool, source, descriptor, events));
        };
        if !link.at_end {
            let mut events = PollFlags::IN;
            let stream = &link.peer.stream;
            let sends = stream.is_sending() && stream.crowded_until.is_none();
            events.set(PollFlags::OUT, sends);
            add(EventSource::Socket(slot), stream.socket.clone(), events);
        }
        if reads_stderr && let Some(stderr) = link.stderr.pipe.descriptor() {
            let source = EventSource::WorkerStderr(slot);
            add(source, stderr.clone(), PollFlags::IN);
        }
        let pipes = [&link.output.pipe, &link.events];
        for pipe in pipes.into_iter().filter_map(|pipe| pipe.descriptor()) {
            add(EventSource::Output(slot), pipe.clone(), PollFlags::IN);
        }
        #[cfg(feature = "inspect")]
        if let Some(bell) = link.bell_to_hear() {
            add(EventSource::Tree(slot), bell.clone(), PollFlags::IN);
        }
        if !link.has_outlived
            && let Some(process) = &link.child.process
        {
            add(EventSource::Process(slot), process.clone(), PollFlags::IN);
        }
    }

    /// Sleeps until a source is ready, or the time is there.
    pub(super) fn sleep(self) -> Vec<News> {
        let mut fds = Vec::with_capacity(self.sources.len());
        for (_, _, descriptor, events) in &self.sources {
            fds.push(PollFd::from_borrowed_fd(descriptor.as_fd(), *events));
        }
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        poll_patiently(&mut fds, self.until.map(left));
        let mut ready = Vec::new();
        for (at, fd) in fds.iter().enumerate() {
            if !fd.revents().is_empty() {
                let (owner, source, ..) = self.sources[at];
                ready.push((owner, source, fd.revents()));
            }
        }
        ready
    }
}

/// Whose descriptor it is: that of this driver, or of its fork server's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Pool,
    Server,
}

/// A descriptor that is ready.
pub(super) type News = (Owner, EventSource, PollFlags);

/// What a descriptor belongs to.
#[derive(Clone, Copy)]
pub(super) enum EventSource {
    Bell,
    Socket(SlotId),
    Process(SlotId),
    WorkerStderr(SlotId),
    Output(SlotId),
    #[cfg(feature = "inspect")]
    Tree(SlotId),
}
