//! A worker that has just been started, by whatever means, or could not be.
//!
//! Tests: `tests/process/pool.rs::what_is_opened_while_a_worker_is_started_is_not_its_own`,
//! `tests/process/launcher.rs`, `tests/process/fork_server.rs`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::driver::{Driver, PoolState};
use super::link::Link;
use super::mailbox::Mail;
use crate::process::launch::launched::{Launched, Started};
use crate::task::WorkerExit;

/// Has the driver look at a launcher's task.
struct LaunchWaker {
    shared: Weak<PoolState>,
    index: usize,
}

impl Wake for LaunchWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            // (If it is refused, nothing waits for a worker any more.)
            let _ = shared.mailbox.push([Mail::Launched(self.index)]);
        }
    }
}

impl Driver {
    /// Takes worker `index`, if the launcher has started it.
    pub(super) fn take_launched(&mut self, index: usize) {
        let Some(task) = &mut self.launches[index] else {
            return;
        };
        let shared = Arc::downgrade(&self.shared);
        let waker = Waker::from(Arc::new(LaunchWaker { shared, index }));
        let Poll::Ready(result) = Pin::new(task).poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        self.launches[index] = None;
        let started = result.unwrap_or_else(|error| Err(io::Error::other(error)));
        let started = started.map(|Launched(started)| started);
        let link = started.and_then(|started| {
            let pid = match started.pid {
                0 => u32::try_from(index + 1).unwrap_or(u32::MAX),
                pid => pid,
            };
            Link::new_to(index, Started { pid, ..started }, &self.settings)
        });
        self.starts(index, link);
    }

    /// Worker `index` has a process, or could not be started.
    pub(super) fn starts(&mut self, index: usize, link: io::Result<Link>) {
        let now = Instant::now();
        match link {
            Ok(mut link) => {
                let shared: Weak<PoolState> = Arc::downgrade(&self.shared);
                link.peer.stream.memory.watched_by(shared);
                if let Some(own) = &self.settings.own {
                    own.runs(&link.child);
                }
                let pid = link.child.pid;
                self.sched
                    .started(index, pid, link.peer.for_sched(link.is_launched()), now);
                self.shared.pids.lock()[index] = link.child.pid;
                self.links[index] = Some(link);
            }
            Err(error) => {
                let mut exit = WorkerExit::new(0);
                exit.note = Some(format!("a worker process could not be started: {error}"));
                self.refused = Some(error);
                self.sched.died(index, &exit, false, now);
            }
        }
    }
}
