//! The mailbox and the references to a loop, for the models in `checks/`.
//!
//! It exists under `--cfg loom` only. Sleeping is a condition variable of loom's
//! here, in the place of the kernel's wait; all else is what the loop runs.
#![allow(missing_docs)]

use std::sync::Arc;

use super::mailbox::Mailbox;
use super::raw_link;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Condvar, Mutex};
use crate::task::{self, Brought, Runnable, Sleep, Task, inbox_fault};

/// One queue entry.
#[derive(Debug)]
pub struct Entry(Runnable);

impl Entry {
    pub fn run(self) {
        self.0.run();
    }
}

pub fn closure<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Entry, Task<T>) {
    let (runnable, task) = task::closure(f, false);
    (Entry(runnable), task)
}

/// A mailbox, the descriptor that its loop sleeps on, and a note beside it.
#[derive(Clone)]
pub struct Mail(Arc<Parts>);

struct Parts {
    mailbox: Mailbox,
    /// One for each way to sleep: a wake-up in the wrong place is lost.
    written: [Mutex<bool>; 2],
    waits: [Condvar; 2],
    noted: AtomicBool,
}

impl Parts {
    fn wake(&self, sleep: Sleep) {
        let which = sleep as usize;
        *self.written[which].lock() = true;
        self.waits[which].notify_one();
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail")
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self(Arc::new(Parts {
            mailbox: Mailbox::new(),
            written: [Mutex::new(false), Mutex::new(false)],
            waits: [Condvar::new(), Condvar::new()],
            noted: AtomicBool::new(false),
        }))
    }
}

impl Mail {
    /// Any thread; `new`: the loop is to keep a reference.
    pub fn post(&self, entry: Entry, new: bool) {
        let kept = new.then(|| entry.0.task_ref());
        let runnable = entry.0;
        let parts = &*self.0;
        let brought = Brought { runnable, kept };
        parts.mailbox.post(brought, |sleep| parts.wake(sleep));
    }

    /// Any thread: a note, as `Shared` has it.
    pub fn note(&self) {
        let parts = &*self.0;
        parts.noted.store(true, Ordering::Release);
        parts.mailbox.ring(|sleep| parts.wake(sleep));
    }

    /// The loop: there was one.
    pub fn take_note(&self) -> bool {
        let noted = &self.0.noted;
        noted.load(Ordering::Relaxed) && noted.swap(false, Ordering::Acquire)
    }

    /// The loop: the entries, and whether it is to keep a reference.
    pub fn collect(&self) -> Vec<(Entry, bool)> {
        let brought = self.0.mailbox.collect();
        let entry = |brought: Brought| (Entry(brought.runnable), brought.kept.is_some());
        brought.map(entry).collect()
    }

    /// The loop: as `turn.rs` sleeps; `parks`: in the other way.
    pub fn sleep(&self, parks: bool) {
        let how = if parks { Sleep::Parked } else { Sleep::Asleep };
        let Parts {
            mailbox,
            written,
            waits,
            noted,
        } = &*self.0;
        let (written, waits) = (&written[how as usize], &waits[how as usize]);
        if mailbox.lie_down(how) && mailbox.is_empty() && !noted.load(Ordering::Relaxed) {
            let mut guard = written.lock();
            while !*guard {
                guard = waits.wait(guard);
            }
            *guard = false;
        }
        mailbox.get_up();
    }

    pub fn close(&self) {
        drop(self.0.mailbox.close());
    }
}

/// Leaves the fence out of `lie_down` (or puts it back).
pub fn break_fence(on: bool) {
    inbox_fault::break_fence(on);
}

/// Makes `lie_down` a look and a store (or one step again).
pub fn lie_down_in_two_steps(on: bool) {
    inbox_fault::lie_down_in_two_steps(on);
}

/// A loop's own reference to what it shares.
pub struct Owner<T>(raw_link::Owner<T>);

/// Anybody's.
pub struct Link<T>(raw_link::Link<T>);

/// The loop runs on this thread.
#[derive(Debug)]
pub struct Here(#[allow(dead_code)] raw_link::Here);

impl<T> Owner<T> {
    pub fn new(value: T) -> Self {
        Self(raw_link::Owner::new(value))
    }

    pub fn link(&self) -> Link<T> {
        Link(self.0.link())
    }

    pub fn enter(&self) -> Here {
        Here(raw_link::enter(&self.0))
    }
}

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::ops::Deref for Link<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::fmt::Debug for Owner<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner")
    }
}

impl<T> std::fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// An owner that goes does not add what was counted on its thread (or does again).
pub fn forget_the_local_count(on: bool) {
    raw_link::fault::forget_the_local_count(on);
}
