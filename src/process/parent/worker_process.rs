//! The process of a worker: what signals, ends and reaps it.
//!
//! **Refusal.** This process may have no right to signal the worker (the worker has changed its
//! user), or a filter may refuse the call. Then the stream is shut down instead: the worker's
//! watcher kills it and its children. The lifeline can be cut, too, which kills only the process
//! itself.
//!
//! **Invariants.**
//! - **W20** [`Own`] has the process from when it was started until just before it is reaped, and
//!   signals are sent under the same lock: none reaches another process.
//! - **W58** A worker's process group is killed only while the worker has not been reaped: until
//!   then no other process and no other group can get its number. So [`WorkerProcess::end_group`]
//!   comes before the status is fetched. If other code of the program has fetched it, the group
//!   lives on.
//!
//! Tests: `tests/process/one.rs`,
//! `tests/process/host.rs::a_child_that_is_about_to_end_is_killed_without_an_error`; W58:
//! `tests/process/pool.rs::children_may_be_stolen`.

use std::sync::{Arc, OnceLock};

use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};

use crate::loom::Mutex;
use crate::sys::child::{Handle, Signal};
use trefoil_os::host::lifeline::Lifeline;
use trefoil_os::host::process_group::ProcessGroup;

/// A worker's process.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pub(crate) pid: u32,
    /// `None` if other code of this program reaped the child before it could be opened.
    pub(crate) process: Option<Arc<Handle>>,
    /// The worker and the processes that it starts.
    pub(crate) group: Option<ProcessGroup>,
    pub(crate) socket: Arc<OwnedFd>,
    /// Another handle of its end of the stream, if the stream would be reset with its last one.
    pub(crate) kept: Option<OwnedFd>,
    /// Our end of the lifeline: when this is dropped, the kernel kills the process.
    pub(crate) lifeline: Option<Lifeline>,
}

impl WorkerProcess {
    /// Sends a signal to the process alone. False: that is not allowed, or it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| process.signal(signal).is_ok())
    }

    /// Kills the process, which has not been reaped, and its children. False: that is not allowed,
    /// or it is gone.
    pub(crate) fn kill(&self) -> bool {
        // First by the descriptor, which fails if the process is gone and its number may be another
        // process's.
        let alive = self.signal(Signal::KILL);
        if alive && let Some(group) = &self.group {
            group.kill();
        }
        alive
    }

    /// The process has ended, or is abandoned, and is about to be reaped: kills what it has started
    /// and left in its group (W58).
    pub(crate) fn end_group(&self) {
        if let (Some(process), Some(group)) = (&self.process, &self.group)
            && process.has_its_number()
        {
            group.kill();
        }
    }

    /// Shuts the stream down, so that the worker kills itself and its children.
    pub(crate) fn shut(&self) {
        let _ = shutdown(&self.socket, Shutdown::Write);
    }

    /// The process is gone: ends its stream after everything that it has sent. False: no handle of
    /// its end was kept, so the stream has ended with the process.
    pub(crate) fn end(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| shutdown(kept, Shutdown::Write).is_ok())
    }

    /// Kills the process, even if it is stopped.
    pub(crate) fn cut(&self) {
        if let Some(lifeline) = &self.lifeline {
            lifeline.cut();
        }
    }
}

/// The one process of a [`Process`](crate::process::Process), as it and its driver share it.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) name: Arc<str>,
    pid: OnceLock<u32>,
    /// The process, until just before it is reaped (W20).
    pub(crate) child: Mutex<Option<Arc<WorkerProcess>>>,
}

impl Own {
    pub(crate) fn new(name: Option<String>) -> Self {
        // A counter: no protocol.
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let unnamed = || format!("process-{}", NUMBERS.fetch_add(1, Ordering::Relaxed));
        Self {
            name: name.unwrap_or_else(unnamed).into(),
            pid: OnceLock::new(),
            child: Mutex::default(),
        }
    }

    /// The process has been started.
    pub(crate) fn runs(&self, child: &Arc<WorkerProcess>) {
        let _ = self.pid.set(child.pid);
        *self.child.lock() = Some(child.clone());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.get().copied().unwrap_or_default()
    }
}
