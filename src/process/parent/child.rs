//! The process of a worker: what signals, ends and reaps it.
//!
//! **Refusal.** This process may have no right to signal the worker (it has changed its user), or
//! no such call (a filter). Then to kill is to shut the stream down: the worker's watcher ends it
//! and its children. And the lifeline can be cut, which ends the process alone.
//!
//! **Invariants.**
//! - **W20** [`Own`] has the process from when it was started until just before it is reaped, and
//!   signals are sent under the same lock: none reaches another process.
//!
//! Tests: `tests/process/one.rs`, `tests/process/host.rs`.

use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};

use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};

use crate::loom::Mutex;
use crate::sys::child::{Handle, Signal};
use crate::sys::family::Family;
use crate::sys::lifeline::Lifeline;

/// A worker's process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// `None` if other code of this program reaped the child before it could be opened.
    pub(crate) process: Option<Arc<Handle>>,
    /// It, and what it starts.
    pub(crate) family: Option<Family>,
    pub(crate) socket: Arc<OwnedFd>,
    /// Our end of the lifeline: when this is dropped, the kernel kills the process.
    pub(crate) lifeline: Option<Lifeline>,
}

impl Child {
    /// Sends a signal to the process alone. False: it may not be signalled, or is gone.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| process.signal(signal).is_ok())
    }

    /// Kills the process, which has not been reaped, and its children. False: it may not be
    /// signalled, or is gone.
    pub(crate) fn kill(&self) -> bool {
        // First by the descriptor: it fails if the process is gone and its number may be another's.
        let alive = self.signal(Signal::KILL);
        if let (true, Some(family)) = (alive, &self.family) {
            family.kill();
        }
        alive
    }

    /// Ends the stream to it: it ends itself, and its children.
    pub(crate) fn shut(&self) {
        let _ = shutdown(&self.socket, Shutdown::Write);
    }

    /// Ends it where it has been stopped, too.
    pub(crate) fn cut(&self) {
        if let Some(lifeline) = &self.lifeline {
            lifeline.cut();
        }
    }

    /// How it has ended. Other code of this program may have reaped it; then that is not known.
    pub(crate) fn reap(&self) -> Option<ExitStatus> {
        let process = self.process.as_ref()?;
        process.fetch().ok().flatten()
    }
}

/// The child `process` runs, and has to be reaped some time.
pub(crate) fn runs(process: &Handle) -> bool {
    matches!(process.fetch(), Ok(None))
}

/// The one process of a [`Process`](crate::process::Process), as it and its driver share it.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) name: Arc<str>,
    pid: OnceLock<u32>,
    /// W20.
    child: Mutex<Option<Arc<Child>>>,
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

    /// It has been started.
    pub(crate) fn runs(&self, child: &Arc<Child>) {
        let _ = self.pid.set(child.pid);
        *self.child.lock() = Some(child.clone());
    }

    /// It has ended and is about to be reaped.
    pub(crate) fn ended(&self) {
        *self.child.lock() = None;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.get().copied().unwrap_or_default()
    }

    /// Looks at the process, if it has not been reaped.
    pub(crate) fn with_child<T>(&self, look: impl FnOnce(&Child) -> T) -> Option<T> {
        self.child.lock().as_deref().map(look)
    }
}
