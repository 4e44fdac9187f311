//! A task is inside of its pool, whoever runs it.
//!
//! **Job.** A thread that waits for a spawned closure may claim and run it. That thread may be no worker
//! of the pool, or one that is a guest of another pool just then; yet in the closure `trefoil::join` and
//! its siblings shall use the pool that it was spawned on, as they do on a worker, and not the global one. So who
//! claims it becomes a guest for as long as it runs.
//!
//! **Protocol.** 1. The task has its pool's tag; where that is not the tag of the thread's home, or the thread is inside of
//! another pool than its home, the stem hands what it has claimed to [`as_guest`]. 2. The pool is looked up: in what this thread keeps as a guest, else in a list
//! of all pools, which refers to them weakly. 3. A pool that is not found has ended, or is a parent process's:
//! the closure is called as it is.
//!
//! Rejected: a reference to the pool in each closure (two writes to a line that all spawners share, or at least a
//! look at a thread-local, for what is seldom needed).
//!
//! Tests: `tests/thread/siege.rs`, `tests/thread/within.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::guest;
use super::registry::Registry;
use crate::loom::Mutex;
use crate::sys::fork::PerProcess;

type All = Mutex<HashMap<u32, Weak<Registry>>>;

fn all() -> &'static All {
    static ALL: PerProcess<All> = PerProcess::new();
    ALL.get_or_init(|| Mutex::new(HashMap::new()))
}

/// A pool begins.
pub(super) fn enlist(registry: &Arc<Registry>) {
    all()
        .lock()
        .insert(registry.tag(), Arc::downgrade(registry));
}

/// The pool with this tag, made by this process, is gone.
pub(super) fn strike(tag: u32) {
    let gone = all().lock().remove(&tag);
    drop(gone);
}

/// Calls `run` inside of the pool with this tag. See [`context::set_guest`](crate::task::context::set_guest).
pub(super) fn as_guest(tag: u32, run: &mut dyn FnMut()) {
    let found = guest::known(tag).or_else(|| all().lock().get(&tag)?.upgrade());
    match found {
        Some(registry) => {
            let _helping = registry.grain().guest();
            registry.seated(|_| run());
        }
        None => run(),
    }
}
