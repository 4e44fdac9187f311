//! A worker that has just been started, by whatever means, or could not be.
//!
//! Tests: `tests/process/pool.rs::what_is_opened_while_a_worker_is_started_is_not_its_own`,
//! `tests/process/launcher.rs`, `tests/process/fork_server.rs`.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::driver::{Driver, PoolState};
use super::link::Link;
use crate::process::job::slot_id::SlotId;
use crate::task::WorkerExit;

impl Driver {
    /// Worker `slot` has a process, or could not be started.
    pub(super) fn starts(&mut self, slot: SlotId, link: io::Result<Link>) {
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
                    .started(slot, pid, link.peer.for_sched(link.is_launched()), now);
                self.shared.pids.lock()[slot.0] = link.child.pid;
                self.links[slot.0] = Some(link);
            }
            Err(error) => {
                let mut exit = WorkerExit::new(0);
                exit.note = Some(format!("a worker process could not be started: {error}"));
                self.refused = Some(error);
                self.sched.died(slot, &exit, false, now);
            }
        }
    }
}
