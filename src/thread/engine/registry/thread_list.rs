//! The places of a pool's threads, and the handles to join them by.
//!
//! A place is the number of one of the pool's threads. There are only ever more of them. The slot
//! of a place without a thread is kept here, with whatever is still in its deques and its mailbox.
//!
//! - A handle is in `handles` from the start of its thread until one caller takes it out to
//!   join it, or until that thread's function has returned (its thread-locals may still be
//!   dropped).
//!
//! Tests: `tests/thread/resize.rs::a_pool_grows_and_shrinks_and_its_threads_come_and_go`,
//! `tests/thread/pool.rs::a_hundred_pools_leave_no_thread_behind`.

use std::thread::ThreadId;

use crate::loom::thread::JoinHandle;
use crate::loom::{Condvar, Mutex};
use crate::thread::engine::slot::OwnedSlot;

/// The places and the thread handles of a pool.
#[derive(Default)]
pub(in crate::thread) struct ThreadList {
    /// By place: its slot, while no thread has it. There are at least as many places as the pool is
    /// wide.
    pub(in crate::thread) vacant: Mutex<Vec<Option<OwnedSlot>>>,
    pub(in crate::thread) handles: Mutex<Handles>,
    joined: Condvar,
}

#[derive(Default)]
pub(in crate::thread) struct Handles {
    pub(in crate::thread) running: Vec<JoinHandle<()>>,
    /// The threads whose handles have been taken out and are being joined.
    joining: Vec<ThreadId>,
    /// Threads of the pool that have called `shutdown` themselves.
    pub(in crate::thread) in_shutdown: Vec<ThreadId>,
}

impl Handles {
    /// Whether `thread` is one of the pool's threads.
    pub(in crate::thread) fn has(&self, thread: ThreadId) -> bool {
        let is_it = |handle: &JoinHandle<()>| handle.thread().id() == thread;
        self.running.iter().any(is_it) || self.joining.contains(&thread)
    }

    /// Whether `shutdown` waits for this thread: see [`ThreadList::join_threads`].
    fn awaits(&self, thread: ThreadId, inside: bool) -> bool {
        !inside || !self.in_shutdown.contains(&thread)
    }

    /// Takes a handle to join out.
    fn begin_join(&mut self, inside: bool) -> Option<JoinHandle<()>> {
        for at in 0..self.running.len() {
            let thread = self.running[at].thread().id();
            if self.awaits(thread, inside) {
                self.joining.push(thread);
                return Some(self.running.swap_remove(at));
            }
        }
        None
    }

    fn end_join(&mut self, thread: ThreadId) {
        self.joining.retain(|other| *other != thread);
    }

    /// Whether other threads join some that `shutdown` waits for.
    fn others_join(&self, inside: bool) -> bool {
        let is_awaited = |thread: &ThreadId| self.awaits(*thread, inside);
        self.joining.iter().any(is_awaited)
    }
}

impl ThreadList {
    /// Joins the handles that no other thread joins, and waits for the threads that join others.
    /// `inside`: the caller is one of the threads that are themselves inside `shutdown`, which are
    /// not waited for.
    pub(in crate::thread) fn join_threads(&self, inside: bool) {
        let mut handles = self.handles.lock();
        loop {
            if let Some(handle) = handles.begin_join(inside) {
                drop(handles);
                let thread = handle.thread().id();
                drop(handle.join());
                handles = self.handles.lock();
                handles.end_join(thread);
                self.joined.notify_all();
            } else if handles.others_join(inside) {
                handles = self.joined.wait(handles);
            } else {
                return;
            }
        }
    }
}
