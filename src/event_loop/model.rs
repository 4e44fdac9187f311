//! The mailbox and the references to a loop, for the models in `checks/`.
//!
//! It exists under `--cfg loom` only. Sleeping is a condition variable of loom's
//! here, in the place of the kernel's wait; all else is what the loop runs.
#![allow(missing_docs)]

use std::sync::Arc;

use super::doorbell::fault;
use super::mailbox::Mailbox;
use super::raw_link;
use crate::loom::{Condvar, Mutex};
use crate::task::{self, Runnable, Task};

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

/// A mailbox, and the descriptor that its loop sleeps on.
#[derive(Clone)]
pub struct Mail(Arc<(Mailbox, Mutex<bool>, Condvar)>);

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail")
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self(Arc::new((
            Mailbox::new(),
            Mutex::new(false),
            Condvar::new(),
        )))
    }
}

impl Mail {
    /// Any thread.
    pub fn post(&self, entry: Entry) {
        let (mailbox, written, waits) = &*self.0;
        mailbox.post(entry.0, || {
            *written.lock() = true;
            waits.notify_one();
        });
    }

    /// The loop.
    pub fn collect(&self) -> Vec<Entry> {
        self.0.0.collect().map(Entry).collect()
    }

    /// The loop: as `turn.rs` sleeps.
    pub fn sleep(&self) {
        let (mailbox, written, waits) = &*self.0;
        mailbox.lie_down();
        if mailbox.is_empty() {
            let mut guard = written.lock();
            while !*guard {
                guard = waits.wait(guard);
            }
            *guard = false;
        }
        mailbox.get_up();
    }

    pub fn close(&self) {
        self.0.0.close();
    }
}

/// Leaves the fence out of `lie_down` (or puts it back).
pub fn break_fence(on: bool) {
    fault::break_fence(on);
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
